//go:build !386

package mount

import (
	"github.com/hanwen/go-fuse/v2/fuse"
)

// With the write-back cache a write(2) is over before the server hears of it.
// What then cannot be stored is told by fsync(2) and close(2); a program that
// does nothing but write would go on for ever in an image that is full.
//
// There is one question that the kernel asks before it takes data for an open
// file: what its attributes are, if it does not know. So a failure makes it
// forget them, and the next who asks with a file open for writing is told. The
// question is the same where such a file is read behind its end, or its end is
// sought: then these fail instead, once.
//
// The kernel does not say what fsync(2) and close(2) have told. But who has
// fsynced with success, or closed, was told there of all that was lost until then;
// if nobody else has the file open for writing, no write fails for it any more.

// lose notes that err kept data that the kernel had taken from being stored.
func (h *handler) lose(id uint64, err error) {
	n, unknown := h.node(id)
	if unknown != nil {
		return
	}
	if n.lost.Swap(uint32(errno(err))) == 0 && h.kernel != nil {
		h.kernel.InodeNotify(id, -1, 0)
	}
}

// loss is what a question must be answered with, 0 for none. It is told once:
// the next data may fit.
func (n *node) loss(in *fuse.GetAttrIn) fuse.Status {
	if n.lost.Load() == 0 || in.Flags()&fuse.FUSE_GETATTR_FH == 0 || in.Fh()&fhWrites == 0 {
		return fuse.OK
	}
	return fuse.Status(n.lost.Swap(0))
}

// attrValid is how long the kernel may keep attributes, in seconds.
func (n *node) attrValid() uint64 {
	if n.lost.Load() != 0 {
		return 0
	}
	return forever
}

// knownLost notes that everybody concerned knows of what was lost.
func (n *node) knownLost() { n.lost.Store(0) }

// synced is knownLost after an fsync by the only one who writes.
func (n *node) synced(fh uint64) {
	if fh&fhWrites != 0 && n.writers.Load() == 1 {
		n.knownLost()
	}
}
