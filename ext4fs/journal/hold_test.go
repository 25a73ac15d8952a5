package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// TestHold_afterWantedCommit: somebody who waits for room, with locks that the
// holder will want, must not wait for the holder.
func TestHold_afterWantedCommit(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	busy, gate := make(chan struct{}), make(chan struct{})
	first := uint32(0)
	w.cfg.OnCommit = func(id uint32) {
		if first == 0 {
			first = id
			close(busy)
			<-gate
		}
	}
	j := w.start()
	id := w.change(1, 1)
	go j.Commit(context.Background(), id)
	<-busy // the next commit cannot begin yet
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
	for {
		j.mu.Lock()
		wanted := j.wanted
		j.mu.Unlock()
		if wanted {
			break
		}
		time.Sleep(time.Millisecond)
	}
	held := make(chan func())
	go func() { held <- j.Hold() }()
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

func TestUnheld(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	release := j.Hold()
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
