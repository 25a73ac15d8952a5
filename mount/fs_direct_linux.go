//go:build !386

package mount

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Before a direct write the kernel drops the pages that it has of the range, and
// afterwards once more if it has waited for the write. It has not for those of
// io_submit(2): pages that somebody has read meanwhile stay as they were before,
// for everybody and for as long as there is memory. So it is told to drop them.

// maxDropping is how many requests may wait for that. It takes locks of pages,
// which who reads them holds until his request is answered: there must be
// readers left for that, and background requests that the kernel lets through.
const maxDropping = 8

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
		h.drops.behind.Go(drop)
	}
}
