//go:build !386

package mount

import (
	"syscall"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Linux lets several writes past the cache into a file at a time only where the
// file was opened with FOPEN_DIRECT_IO, which it does not take for what O_DIRECT
// alone says. But above a write-back cache, where the times of files are the
// kernel's, such writes leave them alone, and what the server says of times does
// not count while the kernel has the inode. So this is for who asks for it, see
// Options.ParallelDirect: the server keeps the times of such writes, and when the
// file is closed has the kernel forget it, so that it asks again.

// forgetAfter are the waits before the kernel is told to forget a file that was
// closed. It tells the server a little before it lets go of the file.
var forgetAfter = [...]time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond}

// pruner is a [Notifier] that has the kernel forget a node that nobody uses.
type pruner interface {
	PruneNotify(node uint64) fuse.Status
}

// parallel is fhDirect if the writes of a file opened so may go on at the same
// time as others.
func (h *handler) parallel(flags uint32) uint64 {
	if h.o.ParallelDirect && !h.noOpen && flags&syscall.O_DIRECT != 0 {
		return fhDirect
	}
	return 0
}

// openFlags is what the kernel is told about the use of a file handle.
func openFlags(fh uint64) uint32 {
	const flags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_PARALLEL_DIRECT_WRITES // without effect alone
	if fh&fhDirect != 0 {
		return flags | fuse.FOPEN_DIRECT_IO
	}
	return flags
}

// wroteParallel gives a file the times of a write that the kernel does not stamp.
func (h *handler) wroteParallel(n *node, in *fuse.WriteIn) error {
	if in.Fh&fhDirect == 0 || in.WriteFlags&fuse.WRITE_CACHE != 0 {
		return nil
	}
	n.staleTimes.Store(true)
	now := Clock()
	if r := n.ino.Raw(); r.Mtime().Equal(now) && r.Ctime().Equal(now) {
		return nil
	}
	return n.ino.SetAttr(&ext4fs.SetAttr{
		Valid: ext4fs.AttrMtime | ext4fs.AttrCtime, Mtime: now, Ctime: now,
	})
}

// closedParallel has the kernel forget a file that was closed, if it has old times
// of it. While somebody else has it open it does not.
func (h *handler) closedParallel(n *node) {
	p, ok := h.kernel.(pruner)
	if !ok || !n.staleTimes.Load() || n.writers.Load() > 0 {
		return
	}
	id := nodeID(n.ino.Number())
	h.drops.behind.Go(func() {
		for _, d := range forgetAfter {
			time.Sleep(d)
			if h.nodes.get(id) != n || n.writers.Load() > 0 || p.PruneNotify(id) != fuse.OK {
				return
			}
		}
	})
}
