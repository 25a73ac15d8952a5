package ext4fs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// live is what a file system open for writing has besides.
//
// Order of locks, top to bottom: rename, directories, files (see node), then a
// handle of the journal, then mapMu of an inode, shared, quota, the groups of
// alloc, orphans, super, and what cache and journal lock inside.
type live struct {
	dev     device.Writer
	journal *journal.Journal
	alloc   *alloc.Allocator
	nodes   nodes
	data    DataMode
	tables  []disk.BlockNum // of inodes, by group; they never move

	rename  sync.Mutex // held while a directory gets another parent
	orphans orphans
	super   superState
	quota   *quotas // nil without the feature
	shared  sharedXattrs
	mmp     *MMPKeeper // nil without the feature

	recovered RecoverReport
	wasValid  bool         // the image was clean before
	settled   bool         // what the open has to put right is done
	replaying bool         // fast commits are being applied, see orphanAdd
	batches   atomic.Int64 // open ones
	// leaveTimes: see LeaveTimes.
	leaveTimes atomic.Bool
	closing    atomic.Bool // Close has begun
	sealed     atomic.Bool // only orphans can be changed any more
	closed     atomic.Bool // nothing can be changed any more
	close      sync.Once
	closeErr   error // of the first Close
	// keeper is journal for who may lose the protection before it has begun.
	keeper atomic.Pointer[journal.Journal]
}

// txn is the part of one operation in a transaction.
type txn = journal.Handle

// begin starts an operation that adds at most credits blocks to the running
// transaction. The caller must not have begun another one.
func (f *FS) begin(credits int) (*txn, error) {
	if f.live != nil && f.live.sealed.Load() {
		return nil, ErrReadOnly
	}
	h, err := f.beginLast(credits)
	if err == nil && f.live.sealed.Load() {
		// Close may have counted the open handles before this one.
		return nil, f.end(h, ErrReadOnly)
	}
	return h, err
}

// begin is FS.begin, for cleaning up as well: what is done with an orphan makes
// none that is not done away with at once, so Close lets it pass up to the end.
// Called with mu.
func (i *Inode) begin(credits int) (*txn, error) {
	if i.orphan.kind == orphanNone {
		return i.fs.begin(credits)
	}
	return i.fs.beginLast(credits)
}

// beginLast is begin without regard to sealed.
func (f *FS) beginLast(credits int) (*txn, error) {
	if f.live == nil || f.live.closed.Load() {
		return nil, ErrReadOnly
	}
	h, err := f.live.journal.Begin(f.context(), credits)
	switch {
	case err == nil:
		return h, nil
	case errors.Is(err, journal.ErrTooLarge) && f.live.journal.Err() == nil:
		return nil, noSpace(err)
	}
	return nil, f.liveError(err)
}

// end ends what begin started. An err of the operation goes first; one about
// the image is noted in the superblock.
func (f *FS) end(h *txn, err error) error {
	if e := h.End(); e != nil && err == nil {
		err = f.liveError(e)
	}
	f.noteDamage(err)
	return err
}

// noteDamage is noteError of an error that is about the image, if it is one.
func (f *FS) noteDamage(err error) {
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrChecksum) {
		f.noteError(err)
	}
}

// liveError tells a caller of a journal that was aborted, or closed meanwhile,
// that the file system is read-only now, and why.
func (f *FS) liveError(err error) error {
	if errors.Is(err, journal.ErrAborted) || errors.Is(err, journal.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

// abort makes the file system read-only: an operation failed half way, and
// what it has done must not become durable.
func (f *FS) abort(err error) error {
	f.live.journal.Abort(err)
	return f.liveError(fmt.Errorf("%w: %w", journal.ErrAborted, err))
}

// withSpace runs op again after a commit where it failed for want of blocks
// while some that were freed wait for that commit, or are just being freed; the
// latter for want of quota too.
func (f *FS) withSpace(op func() error) error {
	err := op()
	for range 3 {
		full := errors.Is(err, syscall.ENOSPC)
		if !full && !errors.Is(err, ErrQuota) || f.batched() || !f.awaitReaping() && !(full && f.live.alloc.Pending()) {
			break
		}
		if e := f.commitNow(); e != nil {
			return e
		}
		err = op()
	}
	return err
}

// commitNow commits for who wants what a commit gives back: space, credits. It
// does not wait for the end of a batch, whose owner may want what the caller
// has locked.
func (f *FS) commitNow() error {
	err := f.live.journal.SyncUnheld(f.context())
	if errors.Is(err, journal.ErrHeld) {
		return nil // without it, then
	}
	return f.liveError(err)
}

// context is what ends waiting: Options.Context, but for Close, which has to
// leave a clean image also when that is done.
func (f *FS) context() context.Context {
	if f.live != nil && f.live.closing.Load() {
		return context.WithoutCancel(f.opts.Context)
	}
	return f.opts.Context
}

// now is the time for time stamps.
func (f *FS) now() time.Time { return f.opts.Clock() }

// LeaveTimes says whether the caller keeps the times of regular files himself,
// as the kernel does above FUSE with its write-back cache: what changes their
// content then leaves the times alone, and SetAttr brings them.
func (f *FS) LeaveTimes(on bool) {
	if f.live != nil {
		f.live.leaveTimes.Store(on)
	}
}

// Sync makes all changes durable.
func (f *FS) Sync(ctx context.Context) error {
	if f.live == nil {
		return nil
	}
	return f.liveError(f.live.journal.Sync(ctx))
}

// Fsync makes the inode's changes durable, with dataOnly only those that
// reading its content back needs.
func (i *Inode) Fsync(ctx context.Context, dataOnly bool) error {
	if i.node == nil {
		return nil
	}
	tid := i.tid.Load()
	if dataOnly {
		tid = i.dataTID.Load()
	}
	if tid == 0 {
		return i.fs.liveError(i.fs.live.journal.Flush(ctx))
	}
	return i.fs.liveError(i.fs.live.journal.Commit(ctx, tid))
}

// fsyncUnheld is Fsync for where an inode or a directory asks for it, and not
// the caller: a batch, in which that would never end, has a commit of its own.
func (i *Inode) fsyncUnheld() error {
	f := i.fs
	tid := i.tid.Load()
	if tid == 0 || f.batched() {
		return nil
	}
	err := f.live.journal.CommitUnheld(f.context(), tid)
	if errors.Is(err, journal.ErrHeld) {
		return nil
	}
	return f.liveError(err)
}

// Writable reports whether the file system is open for writing.
func (f *FS) Writable() bool {
	return f.live != nil && !f.live.closed.Load() && f.live.journal.Err() == nil
}

var _ cache.Tx = (*txn)(nil)
