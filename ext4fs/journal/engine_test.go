package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func forKinds(t *testing.T, f func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

func TestCommit_isRecovered(t *testing.T) {
	forKinds(t, func(t *testing.T, k kind) {
		w := newWorld(t, k, 1024, nil)
		w.start()
		id := w.change(5, 1, 2, 3)
		if id != 2 {
			t.Errorf("first transaction is %d, want 2", id)
		}
		w.commit(id)
		rec := w.load()
		if len(rec.Transactions) != 1 || rec.EndID != 3 || rec.Transactions[0].Start != 1 {
			t.Fatalf("recovery finds %+v", rec.Transactions)
		}
		w.expect(w.dev, 0, 1, 2, 3) // not home yet
		w.expect(rec.Overlay(w.dev), 5, 1, 2, 3)
		w.commit(w.change(6, 2, 390))
		w.expect(w.load().Overlay(w.dev), 6, 2, 390)
		w.expect(w.load().Overlay(w.dev), 5, 1, 3)
		if err := w.j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.expect(w.dev, 6, 2, 390)
		w.expect(w.dev, 5, 1, 3)
		sb, bad, err := ReadSuperblock(w.log, w.bs)
		if err != nil || bad != nil {
			t.Fatal(err, bad)
		}
		want := k.incompat &^ disk.JournalIncompatRevoke
		if sb.Start != 0 || sb.Sequence != 4 || sb.Head == 0 || sb.Compat != k.compat || sb.Incompat != want {
			t.Errorf("closed journal: start %d, sequence %d, head %d, features %x %x",
				sb.Start, sb.Sequence, sb.Head, sb.Compat, sb.Incompat)
		}
		// It goes on where it was.
		w.open()
		w.start()
		if id := w.change(7, 9); id != 5 {
			t.Errorf("transaction after a clean start is %d, want 5", id)
		}
		w.commit(5)
		if rec := w.load(); rec.Transactions[0].Start != sb.Head {
			t.Errorf("log begins at %d, want %d", rec.Transactions[0].Start, sb.Head)
		}
	})
}

func TestCommit_withoutLog(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	w.log = nil
	w.start()
	id := w.change(5, 1, 2, 3)
	w.expect(w.dev, 0, 1, 2, 3)
	w.commit(id)
	w.expect(w.dev, 5, 1, 2, 3)
	w.change(6, 3)
	if err := w.j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.expect(w.dev, 6, 3)
	if st := w.cache.Stats(); st.Pinned != 0 {
		t.Errorf("%d bytes pinned", st.Pinned)
	}
}

func TestHandle_versions(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	w.start()
	old, err := w.cache.Get(7)
	if err != nil {
		t.Fatal(err)
	}
	old.SetVerified(77)
	old.SetPriority(cache.PriorityHigh)
	h := w.begin(2)
	b1, _ := h.Write(7, nil)
	b2, _ := h.Write(7, nil)
	if b1 != b2 || b1 == old || h.Credits() != 1 || !b1.Verified(77) || b1.Priority() != cache.PriorityHigh {
		t.Fatalf("versions %p %p of %p, %d credits left", b1, b2, old, h.Credits())
	}
	put(b1.Data(), 1)
	if cur, _ := w.cache.Get(7); cur != b1 || w.j.Pinned(7) != b1 || !w.j.AnyPinned(0, 100) {
		t.Error("the version is not the current one")
	}
	if !allZeros(old.Data()) {
		t.Error("the old version was changed")
	}
	id := w.end(h)
	w.commit(id)
	frozen, _ := w.cache.Get(7)
	if frozen == b1 || !frozen.Verified(77) || frozen.Owner() != 0 {
		t.Error("the commit left no frozen version")
	}
	w.change(2, 7)
	if v, _ := w.cache.Get(7); v == frozen {
		t.Error("the next transaction changes the frozen version")
	}
	// The committed version goes home, not the running one.
	if err := func() error {
		w.change(3, 8)
		return w.j.Checkpoint(context.Background())
	}(); err != nil {
		t.Fatal(err)
	}
	w.expect(w.dev, 2, 7)
	w.expect(w.dev, 3, 8)
	if w.j.Pinned(7) != nil || w.j.AnyPinned(0, 1<<40) {
		t.Error("still pinned after the checkpoint")
	}
	if cur, _ := w.cache.Get(7); !cur.Verified(77) {
		t.Error("the tag was lost on the way")
	}
}

func TestHandle_credits(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	h := w.begin(1)
	if _, err := h.Fresh(1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Write(2, nil); !errors.Is(err, cache.ErrCredits) {
		t.Errorf("write without credits: %v", err)
	}
	if err := h.Extend(j.Stats().MaxCredits); !errors.Is(err, cache.ErrCredits) {
		t.Errorf("extension beyond the limit: %v", err)
	}
	if err := h.Extend(1); err != nil {
		t.Error(err)
	}
	if _, err := h.Write(2, nil); err != nil {
		t.Error(err)
	}
	if _, err := h.Write(worldBlocks, nil); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("write beyond the file system: %v", err)
	}
	if err := h.Restart(5); err != nil || h.Credits() != 5 {
		t.Errorf("restart: %v, %d credits", err, h.Credits())
	}
	w.end(h)
	if err := h.End(); !errors.Is(err, ErrClosed) {
		t.Errorf("second end: %v", err)
	}
	if _, err := h.Write(2, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("write after the end: %v", err)
	}
	if _, err := j.Begin(context.Background(), 1<<20); !errors.Is(err, ErrTooLarge) {
		t.Errorf("huge handle: %v", err)
	}
	if st := j.Stats(); st.Handles != 0 {
		t.Errorf("%d handles left", st.Handles)
	}
}

// A transaction that is full is committed to make room.
func TestBegin_waitsForRoom(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	most := j.Stats().MaxCredits
	h := w.begin(most)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := j.Begin(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("begin in a full transaction: %v", err)
	}
	for i := range most {
		b, err := h.Fresh(disk.BlockNum(i), testSealer{})
		if err != nil {
			t.Fatal(err)
		}
		put(b.Data(), 1)
	}
	first := w.end(h)
	if second := w.change(2, 1, 2, 3); second != first+1 {
		t.Errorf("transaction %d after %d", second, first)
	}
	// Another full one: this must get the first out of the log in time.
	for range 5 {
		h := w.begin(most)
		for i := range most {
			b, _ := h.Fresh(disk.BlockNum(i), testSealer{})
			put(b.Data(), 4)
		}
		w.commit(w.end(h))
	}
	w.expect(w.load().Overlay(w.dev), 4, 0, 1, disk.BlockNum(most-1))
}

func TestHold(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	w.cfg.Interval = time.Millisecond
	j := w.start()
	release := w.hold()
	id := w.change(1, 1)
	time.Sleep(10 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := j.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sync of a held transaction: %v", err)
	}
	if got := w.change(2, 2); got != id {
		t.Errorf("transaction %d of a batch, want %d", got, id)
	}
	if _, err := j.Begin(context.Background(), j.Stats().MaxCredits); !errors.Is(err, ErrHeld) {
		t.Errorf("begin in a full batch: %v", err)
	}
	if w.load().Needed {
		t.Error("a held transaction was committed")
	}
	release()
	release()
	w.commit(id)
	w.expect(w.load().Overlay(w.dev), 1, 1)
	w.expect(w.load().Overlay(w.dev), 2, 2)
}

func TestInterval(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	w.cfg.Interval = 5 * time.Millisecond
	committed := make(chan uint32, 10)
	w.cfg.OnCommit = func(id uint32) { committed <- id }
	w.start()
	w.end(w.begin(3)) // changes nothing
	id := w.change(1, 1)
	select {
	case got := <-committed:
		if got != id {
			t.Errorf("committed %d, want %d", got, id)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no commit")
	}
}

// Revokes: what was in the log must not come back over what is there now.
func TestForget(t *testing.T) {
	forKinds(t, func(t *testing.T, k kind) {
		w := newWorld(t, k, 1024, nil)
		j := w.start()
		w.commit(w.change(1, 1, 2, 3, 4))
		h := w.begin(2)
		b, err := h.Write(1, testSealer{})
		if err != nil {
			t.Fatal(err)
		}
		put(b.Data(), 2)
		h.Forget(1)   // written and freed
		h.Forget(2)   // freed
		h.Forget(3)   // freed and back
		h.Forget(100) // never logged: needs no record
		if _, err := h.Write(3, testSealer{}); err != nil {
			t.Fatal(err)
		}
		w.commit(w.end(h))
		if st := j.Stats(); st.Revokes != 2 || st.Pending != 2 {
			t.Errorf("%d revokes, %d blocks not home; want 2 and 2", st.Revokes, st.Pending)
		}
		if w.j.AnyPinned(1, 2) && (w.j.Pinned(1) != nil || w.j.Pinned(2) != nil) {
			t.Error("freed blocks are pinned")
		}
		// Now others write there, past the journal.
		data := make([]byte, 2*w.bs)
		for i := range 2 {
			put(data[i*w.bs:][:w.bs], 99)
			testSealer{}.Seal(0, data[i*w.bs:][:w.bs], nil)
		}
		if _, err := w.dev.WriteAt(data, int64(w.bs)); err != nil {
			t.Fatal(err)
		}
		rec := w.load()
		w.expect(rec.Overlay(w.dev), 99, 1, 2)
		w.expect(rec.Overlay(w.dev), 1, 3, 4)
		w.commit(w.change(5, 2)) // metadata again
		w.expect(w.load().Overlay(w.dev), 5, 2)
		if b, _ := w.cache.Get(1); string(b.Data()) != string(data[:w.bs]) {
			t.Error("the cache has a freed block")
		}
		if err := j.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.expect(w.dev, 99, 1)
		w.expect(w.dev, 5, 2)
		w.expect(w.dev, 1, 3, 4)
		sb, _, _ := ReadSuperblock(w.log, w.bs)
		if !sb.Incompat.Has(disk.JournalIncompatRevoke) {
			t.Error("no REVOKE feature")
		}
	})
}

// Forget, then Write or Fresh: the block is part of the transaction again.
func TestForget_takenBack(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	w.start()
	w.commit(w.change(1, 1, 2))
	h := w.begin(4)
	b, _ := h.Write(1, testSealer{})
	put(b.Data(), 7)
	h.Forget(1)
	again, err := h.Write(1, testSealer{})
	if err != nil || again != b {
		t.Errorf("write after forget: %v", err)
	}
	if cached, _ := h.Write(1, testSealer{}); cached != b {
		t.Error("and again")
	}
	b, _ = h.Write(2, testSealer{})
	put(b.Data(), 8)
	h.Forget(2)
	if fresh, _ := h.Fresh(2, testSealer{}); fresh == b || !allZeros(fresh.Data()) {
		t.Error("fresh block is not")
	}
	if h.Credits() != 2 {
		t.Errorf("%d credits left, want 2", h.Credits())
	}
	w.commit(w.end(h))
	o := w.load().Overlay(w.dev)
	w.expect(o, 7, 1)
	if st := w.j.Stats(); st.Revokes != 0 {
		t.Errorf("%d revokes", st.Revokes)
	}
}

// The log goes round many times, and the tail follows.
func TestLog_wraps(t *testing.T) {
	forKinds(t, func(t *testing.T, k kind) {
		for _, fc := range []bool{false, true} {
			w := newWorld(t, k, 1024, nil)
			w.fc = fc
			w.format()
			w.start()
			var last [20]uint64
			for i := range 300 {
				var blocks []disk.BlockNum
				for n := range i%15 + 1 {
					bn := (i*7 + n*3) % len(last)
					blocks = append(blocks, disk.BlockNum(bn))
					last[bn] = uint64(i + 1)
				}
				w.commit(w.change(uint64(i+1), blocks...))
				if i%37 == 0 {
					o := w.load().Overlay(w.dev)
					for bn, v := range last {
						w.expect(o, v, disk.BlockNum(bn))
					}
				}
			}
			if st := w.j.Stats(); st.Checkpoints == 0 || st.LogUsed >= st.LogBlocks {
				t.Errorf("%+v", st)
			}
		}
	})
}

func TestStart_refuses(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	w.start()
	w.commit(w.change(1, 1))
	w.open()
	if _, err := Start(w.config()); !errors.Is(err, ErrNotClean) {
		t.Errorf("start on a log with a transaction: %v", err)
	}
	c := w.config()
	c.Resume = true
	if _, err := Start(c); !errors.Is(err, ErrNotClean) {
		t.Errorf("resume on a log with a transaction: %v", err)
	}
	if _, err := Start(Config{}); err == nil {
		t.Error("start without anything")
	}
}

func TestClose(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	h := w.begin(1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := j.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("close with an open handle: %v", err)
	}
	if _, err := j.Begin(context.Background(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("begin while closing: %v", err)
	}
	if err := h.Restart(1); err != nil {
		t.Errorf("restart while closing: %v", err)
	}
	b, err := h.Write(3, testSealer{})
	if err != nil {
		t.Fatal(err)
	}
	put(b.Data(), 3)
	if err := h.End(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(w.dev, 3, 3)
	for _, err := range []error{j.Sync(ctx), j.Commit(ctx, 2), j.Flush(ctx), j.Checkpoint(ctx)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	}
}

func TestCommit_timesDoNotGoBack(t *testing.T) {
	w := newWorld(t, kinds[6], 1024, nil)
	times := []time.Time{time.Unix(1000, 5), time.Unix(900, 7), time.Unix(1000, 4), time.Unix(1001, 0)}
	i := 0
	w.cfg.Now = func() time.Time { i++; return times[i-1] }
	w.start()
	for n := range times {
		w.commit(w.change(uint64(n+1), 1))
	}
	got := ""
	for _, tr := range w.load().Transactions {
		got += fmt.Sprintf("%d.%d ", tr.Seconds, tr.Nanoseconds)
	}
	if want := "1000.5 1000.5 1000.5 1001.0 "; got != want {
		t.Errorf("commit times %s, want %s", got, want)
	}
}

// Numbers of transactions go round at 2^32.
func TestCommit_numbersWrap(t *testing.T) {
	w := newWorld(t, kinds[6], 1024, nil)
	sb, _, err := ReadSuperblock(w.log, w.bs)
	if err != nil {
		t.Fatal(err)
	}
	sb.Sequence = 1<<32 - 20
	if err := rewriteSuper(w.log, sb); err != nil {
		t.Fatal(err)
	}
	w.start()
	for i := range uint64(300) {
		id := w.change(i+1, disk.BlockNum(i%7), disk.BlockNum(7+i%5))
		if want := uint32(1<<32 - 19 + i); id != want {
			t.Fatalf("transaction %d, want %d", id, want)
		}
		w.commit(id)
	}
	w.expect(w.load().Overlay(w.dev), 300, 299%7, 7+299%5)
	w.expect(w.load().Overlay(w.dev), 299, 298%7, 7+298%5)
}

func TestCommit_blockSizes(t *testing.T) {
	for _, bs := range []int{2048, 4096, 65536} {
		w := newWorld(t, kinds[6], bs, nil)
		w.start()
		for i := range uint64(20) {
			var blocks []disk.BlockNum
			for n := range 40 {
				blocks = append(blocks, disk.BlockNum(n)*3)
			}
			w.commit(w.change(i+1, blocks...))
		}
		w.expect(w.load().Overlay(w.dev), 20, 0, 3, 39*3)
		if err := w.j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.expect(w.dev, 20, 0, 3, 39*3)
	}
}
