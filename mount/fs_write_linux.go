//go:build !386

package mount

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Write writes file data from the request's buffer.
func (h *handler) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	done, err := h.write(in, data)
	if err != nil {
		if in.WriteFlags&fuse.WRITE_CACHE != 0 {
			h.lose(in.NodeId, err)
		}
		return 0, h.fail(err)
	}
	return uint32(done), fuse.OK
}

func (h *handler) write(in *fuse.WriteIn, data []byte) (int, error) {
	n, err := h.changing(in.NodeId)
	if err == nil && in.Offset > 1<<63-1 {
		err = ext4fs.ErrInvalid
	}
	cached := in.WriteFlags&fuse.WRITE_CACHE != 0
	write := (*ext4fs.Inode).WriteAt
	if cached {
		write = (*ext4fs.Inode).WriteBack
	}
	if err == nil && cached {
		err = h.mayWriteBack(n, data, int64(in.Offset))
	}
	if err == nil {
		err = h.killPriv(n, in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0, &in.Caller)
		if cached && errors.Is(err, ext4fs.ErrNotPermitted) {
			err = nil // it has become immutable since it was written
		}
	}
	if err != nil {
		return 0, err
	}
	done, err := write(n.ino, data, int64(in.Offset))
	if err == nil || done > 0 && !cached {
		// After a short write the rest comes again and gets the error. What the
		// kernel writes from its cache it takes for written unless all of it fails.
		err = h.syncFile(n.ino)
	}
	if isDirect(in) {
		h.wroteDirect(n, in.Offset, done)
	}
	if err == nil {
		err = h.wroteParallel(n, in)
	}
	if err != nil {
		return 0, err
	}
	return done, nil
}

// Writev is Write of data in pieces.
func (h *handler) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if len(data) == 1 {
		return h.Write(cancel, in, data[0])
	}
	var done uint32
	piece := *in
	for _, p := range data {
		n, status := h.Write(cancel, &piece, p)
		done += n
		if status != fuse.OK || int(n) < len(p) {
			if done > 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
				status = fuse.OK
			}
			return done, status
		}
		piece.Offset += uint64(n)
		piece.WriteFlags &^= fuse.WRITE_KILL_SUIDGID
	}
	return done, fuse.OK
}

// killPriv takes away what gives privileges to who runs the file: the
// capabilities with every write, set-id bits if the kernel says so. Where it
// says nothing, root may keep them, as he has CAP_FSETID.
func (h *handler) killPriv(n *node, bits bool, c *fuse.Caller) error {
	var kill *ext4fs.SetAttr
	if bits {
		kill = lostBits(n.ino.Raw(), c)
	}
	if kill == nil && n.noCaps.Load() {
		return nil
	}
	if kill != nil {
		err := n.ino.SetAttr(kill)
		if h.kernel != nil { // which leaves that to us after a direct write, and goes by what it knows
			h.kernel.InodeNotify(nodeID(n.ino.Number()), -1, 0)
		}
		return err
	}
	n.noCaps.Store(true) // before it is looked at: SetXAttr clears it after it has set one
	_, err := n.ino.Xattr(capability)
	switch {
	case err == nil:
		err = n.ino.RemoveXattr(capability)
	case errors.Is(err, ext4fs.ErrNoAttr):
		return nil
	}
	if err != nil && !errors.Is(err, ext4fs.ErrNoAttr) {
		n.noCaps.Store(false)
		return err
	}
	return nil
}

// lostBits is the change that takes set-id bits away when the caller changes the
// content; nil if there is none. Where the group may not execute the file, the
// bit for it is another matter, which a member of the group may leave.
func lostBits(r disk.Inode, c *fuse.Caller) *ext4fs.SetAttr {
	const groupExec = 0o010
	switch mode := r.Mode(); {
	case mode&(disk.ModeSetgid|groupExec) == disk.ModeSetgid && !inGroup(c, r.GID()):
		return &ext4fs.SetAttr{KillPriv: true, Valid: ext4fs.AttrMode, Mode: mode &^ (disk.ModeType | disk.ModeSetgid)}
	case mode&disk.ModeSetuid != 0, mode&(disk.ModeSetgid|groupExec) == disk.ModeSetgid|groupExec:
		return &ext4fs.SetAttr{KillPriv: true}
	}
	return nil
}

// syncFile makes changes of a file durable, where the mount asks for it.
func (h *handler) syncFile(i *ext4fs.Inode) error {
	if !h.o.Sync {
		return nil
	}
	return i.Fsync(context.Background(), false)
}

// Fsync makes a file durable. It cannot be interrupted, as in Linux.
func (h *handler) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	const dataOnly = 1
	n, err := h.known(in.NodeId)
	if err == nil {
		n.synced(in.Fh)
		h.storeAtime(n)
		err = n.ino.Fsync(context.Background(), in.FsyncFlags&dataOnly != 0)
	}
	return h.fail(err)
}

// FsyncDir makes a directory durable.
func (h *handler) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return h.Fsync(cancel, in)
}

// SyncFS makes everything durable. RawFileSystem does not know the request: the
// transport calls this.
func (h *handler) SyncFS(<-chan struct{}, *fuse.InHeader) fuse.Status {
	err := h.alive()
	if err == nil {
		err = h.fsys.Sync(context.Background())
	}
	return h.fail(err)
}

// Fallocate answers fallocate(2). The kernel lets three modes through.
func (h *handler) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	n, err := h.changing(in.NodeId)
	switch {
	case err != nil:
	case in.Offset > 1<<63-1 || in.Length > 1<<63-1:
		err = ext4fs.ErrInvalid
	case in.Offset+in.Length > 1<<63-1:
		err = ext4fs.ErrFileTooBig
	default:
		if err = h.killPriv(n, callerUID(&in.Caller) != 0, &in.Caller); err == nil {
			err = n.ino.Fallocate(ext4fs.FallocateMode(in.Mode), int64(in.Offset), int64(in.Length))
		}
	}
	if err == nil {
		err = h.syncFile(n.ino)
	}
	return h.fail(err)
}

// maxCopy bounds one copy: the answer has 32 bits, and a signal can be served
// between two.
const maxCopy = 1 << 30

// wholeCopy is what is copied whatever signals come: in Linux they end a copy
// only between two pieces, and some programs get many.
const wholeCopy = 1 << 20

// ShortCopy reports whether CopyFileRange will be done with at most wholeCopy
// bytes. Programs ask for more than there is.
func (h *handler) ShortCopy(in *fuse.CopyFileRangeIn) bool {
	if in.Len <= wholeCopy {
		return true
	}
	n, err := h.node(in.NodeId)
	if err != nil {
		return true
	}
	size := uint64(n.ino.Size())
	return in.OffIn >= size || size-in.OffIn <= wholeCopy
}

// CopyFileRange answers copy_file_range(2). The kernel has written back what it
// had of both.
func (h *handler) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	src, err := h.changing(in.NodeId)
	if err != nil {
		return 0, h.fail(err)
	}
	dst, err := h.node(in.NodeIdOut)
	switch {
	case err != nil:
	case in.Flags != 0 || in.OffIn > 1<<63-1 || in.OffOut > 1<<63-1:
		err = ext4fs.ErrInvalid
	default:
		err = h.killPriv(dst, callerUID(&in.Caller) != 0, &in.Caller)
	}
	if err != nil {
		return 0, h.fail(err)
	}
	n, err := copyRange(cancel, dst.ino, src.ino, in)
	if n > 0 {
		err = h.syncFile(dst.ino)
	}
	return uint32(n), h.fail(err)
}

// copyRange copies until a signal comes, but not less than wholeCopy.
func copyRange(cancel <-chan struct{}, dst, src *ext4fs.Inode, in *fuse.CopyFileRangeIn) (int64, error) {
	from, to, length := int64(in.OffIn), int64(in.OffOut), int64(min(in.Len, maxCopy))
	first := min(length, wholeCopy)
	done, err := dst.CopyFrom(context.Background(), src, from, to, first)
	if err != nil || done < first || done == length {
		return done, err
	}
	ctx, stop := cancelled(cancel)
	defer stop()
	n, err := dst.CopyFrom(ctx, src, from+done, to+done, length-done)
	return done + n, err
}

// cancelled is a context that ends with the request.
func cancelled(cancel <-chan struct{}) (context.Context, func()) {
	ctx, stop := context.WithCancel(context.Background())
	if cancel == nil {
		return ctx, stop
	}
	go func() {
		select {
		case <-cancel:
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

// SetAttr answers chmod(2), chown(2), truncate(2) and utimensat(2), and takes
// the times of files that the kernel keeps.
func (h *handler) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, err := h.changing(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	if in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER) == fuse.FATTR_MTIME|fuse.FATTR_CTIME && n.ends() {
		h.fillAttr(n, out) // the kernel stores the time of the removal as its own
		return fuse.OK
	}
	a, err := h.wanted(in, n.ino)
	if err != nil {
		return h.fail(err)
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		if err := h.killPriv(n, in.Valid&fuse.FATTR_KILL_SUIDGID != 0, &in.Caller); err != nil {
			return h.fail(err)
		}
	}
	if err := fixedTimes(n.ino, in.Valid, a); err != nil {
		return h.fail(err)
	}
	if a.Valid != 0 || a.KillPriv {
		if err := n.ino.SetAttr(a); err != nil {
			return h.fail(err)
		}
	}
	if a.Valid&(ext4fs.AttrAtime|ext4fs.AttrAtimeNow) != 0 {
		n.atime.Store(0)
	}
	if err := h.syncFile(n.ino); err != nil {
		return h.fail(err)
	}
	h.fillAttr(n, out)
	return fuse.OK
}

// fixedTimes says which times append-only and immutable files do not take: all
// but the time now for both, which an append-only one does. The kernel leaves
// this to us, and does not tell all of it: its own time stands where now is
// meant, beside the same time of change.
func fixedTimes(i *ext4fs.Inode, valid uint32, a *ext4fs.SetAttr) error {
	const what, now = fuse.FATTR_MTIME | fuse.FATTR_CTIME, fuse.FATTR_ATIME | fuse.FATTR_ATIME_NOW
	flags := i.Flags() & (disk.FlagAppend | disk.FlagImmutable)
	if flags == 0 || valid&(fuse.FATTR_ATIME|fuse.FATTR_MTIME) == 0 {
		return nil
	}
	open := valid&fuse.FATTR_FH != 0
	switch valid &^= fuse.FATTR_FH | fuse.FATTR_LOCKOWNER; {
	case valid == what && (open || a.Mtime.Equal(i.Raw().Mtime())):
		// What the kernel has noted of writes and other changes before the file
		// became so, as it tells when a file is closed, which must not fail. (It
		// would say the same of futimens with a time of change alone.)
		a.Valid = 0
		return nil
	case flags == disk.FlagAppend && valid|fuse.FATTR_CTIME == what|now && a.Mtime.Equal(a.Ctime):
		a.Valid = a.Valid&^ext4fs.AttrMtime | ext4fs.AttrMtimeNow
		return nil
	case flags == disk.FlagAppend && valid&^fuse.FATTR_CTIME == fuse.FATTR_MTIME|fuse.FATTR_MTIME_NOW|now:
		return nil
	}
	return ext4fs.ErrNotPermitted
}

// wanted translates the request.
func (h *handler) wanted(in *fuse.SetAttrIn, i *ext4fs.Inode) (*ext4fs.SetAttr, error) {
	a := new(ext4fs.SetAttr)
	if err := h.wantedOwner(in, a); err != nil {
		return nil, err
	}
	if in.Valid&fuse.FATTR_MODE != 0 {
		a.Valid |= ext4fs.AttrMode
		a.Mode = uint16(in.Mode) &^ disk.ModeType
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		if in.Size > 1<<63-1 {
			return nil, ext4fs.ErrFileTooBig
		}
		a.Valid |= ext4fs.AttrSize
		a.Size = int64(in.Size)
	}
	switch {
	case in.Valid&fuse.FATTR_ATIME_NOW != 0:
		a.Valid |= ext4fs.AttrAtimeNow
	case in.Valid&fuse.FATTR_ATIME != 0:
		a.Valid |= ext4fs.AttrAtime
		a.Atime = time.Unix(int64(in.Atime), int64(in.Atimensec))
	}
	switch {
	case in.Valid&fuse.FATTR_MTIME_NOW != 0:
		a.Valid |= ext4fs.AttrMtimeNow
	case in.Valid&fuse.FATTR_MTIME != 0:
		a.Valid |= ext4fs.AttrMtime
		a.Mtime = time.Unix(int64(in.Mtime), int64(in.Mtimensec))
	}
	if in.Valid&fuse.FATTR_CTIME != 0 {
		a.Valid |= ext4fs.AttrCtime
		a.Ctime = time.Unix(int64(in.Ctime), int64(in.Ctimensec))
	}
	// A change of owner takes privileges away, also one that leaves both as
	// they are, of which only the change time gets here. So does a request for
	// nothing: the kernel makes it before a write that is to take them away, and
	// learns the new mode from the answer. (Of root it is about capabilities.)
	const noChange = fuse.FATTR_FH | fuse.FATTR_LOCKOWNER
	what := in.Valid &^ noChange
	if what&(fuse.FATTR_UID|fuse.FATTR_GID) != 0 || what == fuse.FATTR_CTIME || what == 0 && callerUID(&in.Caller) != 0 {
		a.KillPriv = !i.IsDir() && what&fuse.FATTR_MODE == 0
	}
	return a, nil
}

// wantedOwner translates owners. Where the mount shows everything as somebody's,
// they stay, and nobody else's it can become.
func (h *handler) wantedOwner(in *fuse.SetAttrIn, a *ext4fs.SetAttr) error {
	if in.Valid&fuse.FATTR_UID != 0 {
		switch {
		case h.o.UID == nil:
			a.Valid |= ext4fs.AttrUID
			a.UID = in.Uid
		case in.Uid != *h.o.UID:
			return syscall.EPERM
		}
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		switch {
		case h.o.GID == nil:
			a.Valid |= ext4fs.AttrGID
			a.GID = in.Gid
		case in.Gid != *h.o.GID:
			return syscall.EPERM
		}
	}
	return nil
}
