//go:build !386

package mount

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Before a direct write the kernel drops the pages that it has of the range, and
// afterwards once more if it has waited for the write. It has not for those of
// io_submit(2): pages that somebody has read meanwhile stay as they were before,
// for everybody and for as long as there is memory. So it is told to drop them.

// It takes locks of pages, which who reads them holds until his request is
// answered: there must be readers left for that, and background requests that the
// kernel lets through, of which each write is one. So only few requests may wait
// for as long as it takes. The others wait for a moment, which is enough unless all
// wait for each other; only if it is not they are answered first, and then old
// pages can be read for another moment.
const (
	maxDropping = 8
	maxDropWait = 10 * time.Millisecond
)

// pageDropper is what has the kernel drop pages.
type pageDropper struct {
	waiting chan struct{} // has a place for each of maxDropping
	behind  sync.WaitGroup
}

func newPageDropper() pageDropper { return pageDropper{waiting: make(chan struct{}, maxDropping)} }

// isDirect tells the request from a write of pages, which are locked for it: only
// what comes straight from a process has an owner.
func isDirect(in *fuse.WriteIn) bool {
	return in.WriteFlags&(fuse.WRITE_CACHE|fuse.WRITE_LOCKOWNER) == fuse.WRITE_LOCKOWNER
}

// Blocks implements [blocker]: before such a write is answered pages are dropped,
// which who reads or writes them keeps until his own request is answered.
func (h *handler) Blocks(in *fuse.WriteIn) bool {
	if !isDirect(in) {
		return false
	}
	n, err := h.node(in.NodeId)
	return err == nil && n.pages.Load()
}

// wroteDirect has the kernel drop what it may have read into its cache while size
// bytes at off were written past it.
func (h *handler) wroteDirect(n *node, off uint64, size int) {
	if size == 0 || !n.pages.Load() || h.kernel == nil {
		return
	}
	id := nodeID(n.ino.Number())
	drop := func() { h.kernel.InodeNotify(id, int64(off), int64(size)) }
	select {
	case h.drops.waiting <- struct{}{}:
		drop()
		<-h.drops.waiting
	default:
		done := make(chan struct{})
		h.drops.behind.Go(func() { defer close(done); drop() })
		late := time.NewTimer(maxDropWait)
		defer late.Stop()
		select {
		case <-done:
		case <-late.C:
		}
	}
}
