package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// slowCommit is a journal whose first commit lasts until gate is closed: the next
// one cannot begin before.
func slowCommit(t *testing.T) (w *world, j *Journal, gate chan struct{}) {
	w = newWorld(t, kinds[0], 1024, nil)
	busy, gate := make(chan struct{}), make(chan struct{})
	first := uint32(0)
	w.cfg.OnCommit = func(id uint32) {
		if first == 0 {
			first = id
			close(busy)
			<-gate
		}
	}
	j = w.start()
	id := w.change(1, 1)
	go j.Commit(context.Background(), id)
	<-busy
	return w, j, gate
}

// TestHold_afterWantedCommit: somebody who waits for room, with locks that the
// holder will want, must not wait for the holder.
func TestHold_afterWantedCommit(t *testing.T) {
	w, j, gate := slowCommit(t)
	h := w.begin(3)
	began := make(chan struct{})
	go func() {
		defer close(began)
		o, err := j.Begin(context.Background(), j.Stats().MaxCredits)
		if err != nil {
			t.Error(err)
			return
		}
		o.End()
	}()
	for !w.wanted() {
		time.Sleep(time.Millisecond)
	}
	held := make(chan func())
	go func() { held <- w.hold() }()
	time.Sleep(5 * time.Millisecond)
	if _, err := h.Fresh(disk.BlockNum(1), testSealer{}); err != nil {
		t.Fatal(err)
	}
	w.end(h)
	close(gate)
	release := <-held
	defer release()
	select {
	case <-began:
	case <-time.After(10 * time.Second):
		t.Error("who came before the hold waits for its end")
	}
}

// TestHold_afterCheckpoint: so it is with a checkpoint that is asked for when
// there is nothing to commit, and waits for a commit that comes later.
func TestHold_afterCheckpoint(t *testing.T) {
	w, j, gate := slowCommit(t)
	done := make(chan error, 1)
	go func() { done <- j.CheckpointUnheld(context.Background()) }()
	for jobs := 0; jobs == 0; time.Sleep(time.Millisecond) {
		j.mu.Lock()
		jobs = len(j.jobs)
		j.mu.Unlock()
	}
	id := w.change(2, 2)
	held := make(chan func())
	go func() { held <- w.hold() }()
	time.Sleep(5 * time.Millisecond) // enough for a hold that does not wait
	go j.Commit(context.Background(), id)
	for !w.wanted() {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	release := <-held
	defer release()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a checkpoint that came before the hold waits for its end")
	}
}

// TestHold_byTurns: those who hold one after the other, with no moment between,
// do not put off a commit that somebody waits for.
func TestHold_byTurns(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	first := w.hold()
	id := w.change(1, 1)
	done := make(chan error, 1)
	go func() { done <- j.Commit(context.Background(), id) }()
	for !w.wanted() {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := j.Hold(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second hold: %v", err)
	}
	held := make(chan func())
	go func() { held <- w.hold() }()
	first()
	second := <-held
	defer second()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the commit waits for the second hold")
	}
	if id == j.RunningID() {
		t.Error("it holds what was to be committed")
	}
}

// TestHold_overlapping: without a commit that is due they do not wait.
func TestHold_overlapping(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	a := w.hold()
	id := w.change(1, 1)
	b := w.hold()
	a()
	if again := w.change(1, 2); again != id {
		t.Errorf("transaction %d, want %d", again, id)
	}
	b()
	w.commit(id)
	go j.Close(context.Background())
	for {
		release, err := j.Hold(context.Background())
		if errors.Is(err, ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
}

func (w *world) wanted() bool {
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	return w.j.wanted
}

func TestUnheld(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	release := w.hold()
	id := w.change(1, 1)
	ctx := context.Background()
	for _, wait := range []func() error{
		func() error { return j.CommitUnheld(ctx, id) },
		func() error { return j.SyncUnheld(ctx) },
		func() error { return j.CheckpointUnheld(ctx) },
	} {
		if err := wait(); !errors.Is(err, ErrHeld) {
			t.Errorf("got %v, want ErrHeld", err)
		}
	}
	release()
	if err := errors.Join(j.CommitUnheld(ctx, id), j.SyncUnheld(ctx), j.CheckpointUnheld(ctx)); err != nil {
		t.Error(err)
	}
}
