package ext4fs

import (
	"context"
	"sync"
)

// Batch is a group of changes that become durable together: after a crash all
// of them are there or none.
type Batch struct {
	fs      *FS
	once    sync.Once
	release func()
	err     error
}

// Begin starts a batch. What is changed from then on, by anybody, is part of
// one transaction, up to Commit. That has its limits: a change for which the
// transaction has no room left fails with an error that matches
// journal.ErrHeld, blocks that were freed are not used again before the
// commit, and what makes something durable waits for the end of the batch, so its
// owner must not ask for that: Sync, Fsync, writes to files that were opened with
// O_SYNC. (The flags of inodes and directories that ask for it do not count.)
//
// Batches of several goroutines may overlap, and then become durable together.
// Where a commit is due, or somebody waits for one, Begin waits until it is done,
// or for ctx. So who has a batch open must not begin another. Every batch must be
// committed: there is no way back.
func (f *FS) Begin(ctx context.Context) (*Batch, error) {
	if err := f.mayChange(); err != nil {
		return nil, err
	}
	if f.live.closing.Load() {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	release, err := f.live.journal.Hold(ctx)
	if err != nil {
		return nil, f.liveError(err)
	}
	f.live.batches.Add(1)
	return &Batch{fs: f, release: release}, nil
}

// Commit ends the batch and returns when its changes are durable. Another call
// gives the same answer.
func (b *Batch) Commit(ctx context.Context) error {
	b.once.Do(func() {
		f := b.fs
		tid := f.live.journal.RunningID()
		b.release()
		f.live.batches.Add(-1)
		b.err = f.liveError(f.live.journal.Commit(ctx, tid))
	})
	return b.err
}

// batched reports whether a batch is open, whose owner must not wait for a
// commit.
func (f *FS) batched() bool { return f.live.batches.Load() > 0 }
