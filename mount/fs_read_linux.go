//go:build !386

package mount

import (
	"io"
	"syscall"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Open opens a file: its inode is held, so that it lives on without a name.
func (h *handler) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if h.noOpen {
		return fuse.ENOSYS
	}
	n, err := h.known(in.NodeId)
	if err == nil {
		err = h.mayOpen(n, in.Flags)
	}
	if err != nil {
		return h.fail(err)
	}
	if !n.ino.Acquire() {
		return fuse.Status(syscall.ESTALE)
	}
	h.files.Add(1)
	out.Fh = h.opened(n, &in.Caller, in.Flags)
	out.OpenFlags = openFlags(out.Fh)
	h.openedToRead(n, in.Flags)
	return fuse.OK
}

// mayOpen says why a file cannot be opened so, beyond what the kernel checks.
func (h *handler) mayOpen(n *node, flags uint32) error {
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY && flags&syscall.O_TRUNC == 0 {
		return nil
	}
	if err := h.mayChange(); err != nil {
		return err
	}
	f := n.ino.Flags()
	switch {
	case f&(disk.FlagImmutable|disk.FlagVerity) != 0,
		f.Has(disk.FlagAppend) && (flags&syscall.O_APPEND == 0 || flags&syscall.O_TRUNC != 0):
		return ext4fs.ErrNotPermitted
	case f.Has(disk.FlagEncrypt):
		return ext4fs.ErrNoKey
	}
	return nil
}

// Release ends what Open began.
func (h *handler) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if n, err := h.node(in.NodeId); err == nil {
		h.files.Add(-1)
		n.closed(in.Fh)
		h.closedParallel(n)
		_ = n.ino.Release() // nobody can be told; an orphan is left
	}
}

// Flush has nothing to do, and says so: the kernel does not come again.
func (h *handler) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Read is ReadInto as go-fuse asks for it.
func (h *handler) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, status := h.ReadInto(in, buf)
	if status != fuse.OK {
		return nil, status
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// ReadInto reads file data into the answer.
func (h *handler) ReadInto(in *fuse.ReadIn, dst []byte) (int, fuse.Status) {
	n, err := h.known(in.NodeId)
	if err != nil {
		return 0, h.fail(err)
	}
	if in.Offset > 1<<63-1 {
		return 0, fuse.EINVAL
	}
	if uint32(len(dst)) > in.Size {
		dst = dst[:in.Size]
	}
	if in.ReadFlags&fuse.READ_LOCKOWNER == 0 && !n.pages.Load() {
		n.pages.Store(true) // before the data is read, which may be old in a moment
	}
	done, err := n.ino.ReadAt(dst, int64(in.Offset))
	if err != nil && err != io.EOF {
		return 0, h.fail(err)
	}
	if in.Flags&syscall.O_NOATIME == 0 {
		h.accessed(n)
	}
	return done, fuse.OK
}

// Whence of Lseek.
const (
	seekData = 3
	seekHole = 4
)

// Lseek looks for data and holes; the rest is the kernel's.
func (h *handler) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	n, err := h.known(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	if in.Offset > 1<<63-1 {
		return fuse.Status(syscall.ENXIO)
	}
	if n.writers.Load() > 0 || h.noOpen {
		h.writeBack(in.NodeId)
	}
	var at int64
	switch in.Whence {
	case seekData:
		at, err = n.ino.SeekData(int64(in.Offset))
	case seekHole:
		at, err = n.ino.SeekHole(int64(in.Offset))
	default:
		err = ext4fs.ErrInvalid
	}
	out.Offset = uint64(at)
	return h.fail(err)
}

// writeBack has the kernel write what it has of the file, and returns when it
// has. It asks no questions before it looks for holes, unlike before it copies.
// What it does here is to drop its pages, for which it needs no lock that the
// request under way may hold.
func (h *handler) writeBack(id uint64) {
	if h.kernel != nil {
		h.kernel.InodeNotify(id, 0, 0)
	}
}

// atimeOf is the time of the last access, which may not be in the record yet.
func (h *handler) atimeOf(n *node, r disk.Inode) time.Time {
	if t := n.atime.Load(); t != 0 {
		return time.Unix(0, t)
	}
	return r.Atime()
}

// accessed notes a read that the server has seen, and reports whether that
// changed the time of access.
func (h *handler) accessed(n *node) bool {
	if h.o.Atime == AtimeNever || h.readOnly.Load() {
		return false
	}
	r := n.ino.Raw()
	if r.Flags()&(disk.FlagNoAtime|disk.FlagImmutable) != 0 || r.Links() == 0 {
		return false
	}
	now := Clock()
	if h.o.Atime == AtimeRelative && !staleAtime(h.atimeOf(n, r), r, now) {
		return false
	}
	if h.o.LazyTime {
		n.atime.Store(now.UnixNano())
		return true
	}
	// A read does not fail for its time stamp.
	return n.ino.SetAttr(&ext4fs.SetAttr{
		Valid: ext4fs.AttrAtimeNow | ext4fs.AttrCtime, Ctime: r.Ctime(),
	}) == nil
}

// openedToRead takes an opening for a first read: those that the kernel serves
// from its cache, which has what was written, do not come by here.
func (h *handler) openedToRead(n *node, flags uint32) {
	if flags&(syscall.O_ACCMODE|syscall.O_NOATIME) == syscall.O_RDONLY && h.accessed(n) && h.kernel != nil {
		h.kernel.InodeNotify(nodeID(n.ino.Number()), -1, 0)
	}
}

// storeAtime brings a time of access that has waited to the inode.
func (h *handler) storeAtime(n *node) {
	t := n.atime.Swap(0)
	if t == 0 || h.mayChange() != nil || n.ino.Raw().Links() == 0 {
		return
	}
	_ = n.ino.SetAttr(&ext4fs.SetAttr{
		Valid: ext4fs.AttrAtime | ext4fs.AttrCtime, Atime: time.Unix(0, t), Ctime: n.ino.Raw().Ctime(),
	})
}

// staleAtime is the rule of relatime.
func staleAtime(at time.Time, r disk.Inode, now time.Time) bool {
	return !at.After(r.Mtime()) || !at.After(r.Ctime()) || now.Sub(at) >= 24*time.Hour
}
