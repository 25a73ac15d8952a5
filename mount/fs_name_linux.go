//go:build !386

package mount

import (
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// newNode says what the caller wants to be made.
func (h *handler) newNode(c *fuse.Caller, mode uint16, umask uint32) ext4fs.NewNode {
	uid, gid := h.newOwner(c)
	return ext4fs.NewNode{Mode: mode, Umask: uint16(umask), UID: uid, GID: gid, KeepReserved: !h.mayReserve(c)}
}

// checkOwner refuses owners that nobody is.
func checkOwner(n *ext4fs.NewNode) error {
	if n.UID == unknownID || n.GID == unknownID {
		return syscall.EOVERFLOW
	}
	return nil
}

// make makes something with a name, and tells the kernel of it.
func (h *handler) make(parent uint64, name string, n *ext4fs.NewNode, out *fuse.EntryOut) (*ext4fs.Inode, error) {
	dir, err := h.changing(parent)
	if err == nil {
		err = checkName(name)
	}
	if err == nil {
		err = checkOwner(n)
	}
	if err != nil {
		return nil, err
	}
	i, err := dir.ino.Create(name, n)
	if err != nil {
		return nil, err
	}
	if err := h.durable(i); err != nil {
		return nil, err
	}
	return i, h.enter(dir.ino, i, out)
}

// Mknod answers mknod(2).
func (h *handler) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	n := h.newNode(&in.Caller, uint16(in.Mode), in.Umask)
	n.Major, n.Minor = splitRdev(in.Rdev)
	_, err := h.make(in.NodeId, name, &n, out)
	return h.fail(err)
}

// Mkdir answers mkdir(2).
func (h *handler) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	n := h.newNode(&in.Caller, uint16(in.Mode)&^disk.ModeType|disk.ModeDir, in.Umask)
	_, err := h.make(in.NodeId, name, &n, out)
	return h.fail(err)
}

// Symlink answers symlink(2).
func (h *handler) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	n := h.newNode(&in.Caller, disk.ModeSymlink|disk.ModePerm, 0)
	n.Target = target
	_, err := h.make(in.NodeId, name, &n, out)
	return h.fail(err)
}

// Create makes a file and opens it.
func (h *handler) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	n := h.newNode(&in.Caller, uint16(in.Mode)&^disk.ModeType|disk.ModeRegular, in.Umask)
	i, err := h.make(in.NodeId, name, &n, &out.EntryOut)
	if err != nil {
		return h.fail(err)
	}
	// The kernel has the directory locked: nobody has removed it.
	if !i.Acquire() {
		h.Forget(out.NodeId, 1)
		return fuse.Status(syscall.ESTALE)
	}
	out.Fh = h.created(i, &in.Caller, in.Flags)
	out.OpenOut.OpenFlags = openFlags(out.Fh)
	return fuse.OK
}

// Tmpfile makes a file without a name and opens it.
func (h *handler) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	dir, err := h.changing(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	n := h.newNode(&in.Caller, uint16(in.Mode)&^disk.ModeType|disk.ModeRegular, in.Umask)
	if err := checkOwner(&n); err != nil {
		return h.fail(err)
	}
	i, err := dir.ino.Tmpfile(&n) // which holds it
	if err != nil {
		return h.fail(err)
	}
	if err := h.introduce(nil, i, true, &out.EntryOut); err != nil {
		_ = i.Release()
		return h.fail(err)
	}
	out.Fh = h.created(i, &in.Caller, in.Flags)
	out.OpenOut.OpenFlags = openFlags(out.Fh)
	return fuse.OK
}

// Link gives a file another name.
func (h *handler) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, err := h.changing(in.NodeId)
	if err == nil {
		err = checkName(name)
	}
	if err != nil {
		return h.fail(err)
	}
	target, err := h.node(in.Oldnodeid)
	if err == nil {
		err = dir.ino.Link(name, target.ino)
	}
	if err == nil {
		err = h.durable(dir.ino, target.ino)
	}
	if err == nil {
		err = h.enter(dir.ino, target.ino, out)
	}
	return h.fail(err)
}

// remove is Unlink or Rmdir.
func (h *handler) remove(parent uint64, name string, drop func(dir *ext4fs.Inode, name string) error) fuse.Status {
	dir, err := h.changing(parent)
	if err == nil && len(name) > disk.MaxNameLen {
		err = ext4fs.ErrNameLong
	}
	if err == nil {
		err = drop(dir.ino, name)
	}
	if err == nil {
		err = h.durable(dir.ino)
	}
	return h.fail(err)
}

// Unlink removes a name.
func (h *handler) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return h.remove(in.NodeId, name, (*ext4fs.Inode).Unlink)
}

// Rmdir removes a directory.
func (h *handler) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return h.remove(in.NodeId, name, (*ext4fs.Inode).Rmdir)
}

// Rename answers renameat2(2); the flags are numbered alike.
func (h *handler) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	const known = ext4fs.RenameNoReplace | ext4fs.RenameExchange | ext4fs.RenameWhiteout
	from, err := h.changing(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	to, err := h.node(in.Newdir)
	switch {
	case err != nil:
	case len(name) > disk.MaxNameLen || len(newName) > disk.MaxNameLen:
		err = ext4fs.ErrNameLong
	case in.Flags&^uint32(known) != 0:
		err = ext4fs.ErrInvalid
	default:
		err = from.ino.Rename(name, to.ino, newName, ext4fs.RenameFlags(in.Flags))
	}
	if err == nil {
		err = h.durable(from.ino, to.ino)
	}
	return h.fail(err)
}

// created counts the opening of a new file. (With noOpen the kernel closes what
// it creates, as always.)
func (h *handler) created(i *ext4fs.Inode, c *fuse.Caller, flags uint32) uint64 {
	n, err := h.node(nodeID(i.Number()))
	if err != nil {
		return 0
	}
	h.files.Add(1)
	return h.opened(n, c, flags)
}
