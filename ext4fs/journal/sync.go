package journal

import (
	"context"
	"errors"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Commit returns when transaction tid is durable, and with it all file data
// that was written to the device before the call. Callers at the same time
// share one commit. It waits for the open handles of the transaction, so the
// caller must not have one. There is nothing to wait for in a transaction that
// changes nothing, or has not begun.
func (j *Journal) Commit(ctx context.Context, tid uint32) error {
	return j.commitOf(ctx, tid, false)
}

// CommitUnheld is Commit, but gives ErrHeld instead of waiting where somebody
// holds the transaction open: for callers who have what he may want.
func (j *Journal) CommitUnheld(ctx context.Context, tid uint32) error {
	return j.commitOf(ctx, tid, true)
}

func (j *Journal) commitOf(ctx context.Context, tid uint32, unheld bool) error {
	j.mu.Lock()
	if err := j.mayWait(unheld); err != nil {
		j.mu.Unlock()
		return err
	}
	// The committing transaction has to be waited for even if there is
	// nothing in the running one: it is part of what tid stands for.
	t := j.committing
	if j.running != nil && j.running.id == tid {
		if want := j.wantRunning(); want != nil {
			t = want
		}
	} else if t != nil && disk.SequenceBefore(tid, t.id) {
		t = nil
	}
	return j.waitDurable(ctx, t)
}

// Sync returns when the changes of all handles that have ended, and all data
// written to the device before the call, are durable.
func (j *Journal) Sync(ctx context.Context) error { return j.syncAll(ctx, false) }

// SyncUnheld is to Sync what CommitUnheld is to Commit.
func (j *Journal) SyncUnheld(ctx context.Context) error { return j.syncAll(ctx, true) }

// mayWait returns why a commit cannot be waited for. Called with mu.
func (j *Journal) mayWait(unheld bool) error {
	if err := j.usable(); err != nil {
		return err
	}
	if unheld && j.holds > 0 {
		return ErrHeld
	}
	return nil
}

func (j *Journal) syncAll(ctx context.Context, unheld bool) error {
	j.mu.Lock()
	if err := j.mayWait(unheld); err != nil {
		j.mu.Unlock()
		return err
	}
	t := j.wantRunning()
	if t == nil {
		t = j.committing
	}
	return j.waitDurable(ctx, t)
}

// Flush returns when all data written to the device before the call is
// durable. Callers at the same time share flushes.
func (j *Journal) Flush(ctx context.Context) error {
	j.mu.Lock()
	err := j.usable()
	j.mu.Unlock()
	if err != nil {
		return err
	}
	err = j.flusher.flush(ctx)
	if err != nil && ctx.Err() == nil {
		// Nobody knows what is on the device any more.
		j.Abort(err)
		return j.Err()
	}
	return err
}

// wantRunning asks for a commit of the running transaction and returns it, or
// nil if there is nothing in it. Called with mu.
func (j *Journal) wantRunning() *transaction {
	t := j.running
	if t == nil || t.handles == 0 && t.empty() {
		return nil
	}
	j.want()
	return t
}

// waitDurable waits for t, if not nil, and flushes if the transaction's own
// flush may have begun too early for the caller. Called with mu, which it
// gives up.
func (j *Journal) waitDurable(ctx context.Context, t *transaction) error {
	covered := t != nil && !t.covered
	j.mu.Unlock()
	if t != nil {
		select {
		case <-t.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if t.err != nil {
			return t.err
		}
	}
	if covered {
		return nil
	}
	return j.Flush(ctx)
}

// Checkpoint commits what has ended, writes everything home and leaves the log
// empty.
func (j *Journal) Checkpoint(ctx context.Context) error { return j.checkpointOf(ctx, false) }

// CheckpointUnheld is to Checkpoint what CommitUnheld is to Commit.
func (j *Journal) CheckpointUnheld(ctx context.Context) error { return j.checkpointOf(ctx, true) }

func (j *Journal) checkpointOf(ctx context.Context, unheld bool) error {
	j.mu.Lock()
	if err := j.mayWait(unheld); err != nil {
		j.mu.Unlock()
		return err
	}
	w := &job{done: make(chan struct{})}
	j.addJob(w)
	j.mu.Unlock()
	return w.wait(ctx)
}

func (w *job) wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// addJob is called with mu.
func (j *Journal) addJob(w *job) {
	j.wantRunning()
	j.jobs = append(j.jobs, w)
	j.poke()
}

// Close commits, writes everything home, marks the log clean, and ends the
// journal's goroutine. Begin fails from now on; open handles are waited for. If
// ctx is done before that, the work goes on behind the caller's back, and Close
// may be called again to wait for it. After an abort Close returns why.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.stopped
		return j.Err()
	}
	j.closing = true
	w := &job{close: true, done: make(chan struct{})}
	j.addJob(w)
	j.mu.Unlock()
	if err := w.wait(ctx); err != nil {
		return err
	}
	<-j.stopped
	j.flusher.running.Wait()
	return nil
}

// Abort stops the journal for good: what is not durable yet is lost, and
// nothing is written any more but the journal superblock, with the error's
// number. All calls fail with an *AbortError around err.
func (j *Journal) Abort(err error) {
	if err == nil {
		err = errUnknown
	}
	e := &AbortError{Err: err}
	if errors.Is(err, ErrAborted) || !j.aborted.CompareAndSwap(nil, e) {
		return
	}
	j.cancel()
	j.mu.Lock()
	j.broadcast()
	j.poke()
	j.mu.Unlock()
	if j.cfg.OnAbort != nil {
		j.cfg.OnAbort(e)
	}
}

// flusher makes callers at the same time share flushes: who comes while one is
// under way needs another, but one for all of them.
type flusher struct {
	sync    func() error
	running sync.WaitGroup

	mu      sync.Mutex
	current *round // under way
	next    *round // begins after current
}

type round struct {
	done chan struct{}
	err  error
}

func (f *flusher) flush(ctx context.Context) error {
	f.mu.Lock()
	r := f.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		f.next = r
		if f.current == nil {
			f.start()
		}
	}
	f.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start runs the next round, and those that are asked for meanwhile, in a
// goroutine that ends with the last of them. Called with mu.
func (f *flusher) start() {
	f.current, f.next = f.next, nil
	f.running.Go(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for f.current != nil {
			r := f.current
			f.mu.Unlock()
			r.err = f.sync()
			close(r.done)
			f.mu.Lock()
			f.current, f.next = f.next, nil
		}
	})
}

// Stats says what a journal has done and what it holds.
type Stats struct {
	Running     uint32 // the running transaction, 0 if none
	Committed   uint32 // the newest durable transaction
	Handles     int    // open
	Commits     uint64 // transactions committed
	Checkpoints uint64 // rounds of writing home
	Blocks      uint64 // blocks committed
	Revokes     uint64 // revoke records written
	LogBlocks   uint32 // room for transactions in the log
	LogUsed     uint32 // blocks of it in use
	Pending     int    // blocks committed that are not home yet
	MaxCredits  int    // most blocks a transaction can have
}

// Stats returns the counters.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := j.stats
	st.MaxCredits = j.limit
	if t := j.running; t != nil {
		st.Running, st.Handles = t.id, t.handles
	}
	return st
}
