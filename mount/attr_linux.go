//go:build !386

package mount

import (
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// forever is how long the kernel may keep what it was told: nobody else changes
// the image. (Seconds; it counts in jiffies of a signed long.)
const forever = 1 << 28

// attr describes the inode. It allocates nothing.
func (h *handler) attr(n *node, a *fuse.Attr) {
	i := n.ino
	r := i.Raw()
	a.Ino = uint64(i.Number())
	a.Size = uint64(h.size(i))
	a.Blocks = sectors(i)
	at := h.atimeOf(n, r)
	mt, ct := r.Mtime(), r.Ctime()
	a.Atime, a.Atimensec = uint64(at.Unix()), uint32(at.Nanosecond())
	a.Mtime, a.Mtimensec = uint64(mt.Unix()), uint32(mt.Nanosecond())
	a.Ctime, a.Ctimensec = uint64(ct.Unix()), uint32(ct.Nanosecond())
	a.Mode = uint32(r.Mode())
	a.Nlink = uint32(r.Links())
	a.Uid, a.Gid = h.shownOwner(r)
	a.Rdev = rdev(r)
	a.Blksize = uint32(h.fsys.BlockSize())
	a.Flags = 0
}

// size is st_size: of an encrypted link, that of the form that is shown.
func (h *handler) size(i *ext4fs.Inode) int64 {
	if i.IsSymlink() && i.Flags().Has(disk.FlagEncrypt) {
		return i.Stat().Size
	}
	return i.Size()
}

// sectors is st_blocks: inline files have some, as in Linux.
func sectors(i *ext4fs.Inode) uint64 {
	n := i.Sectors()
	if i.IsRegular() && i.Flags().Has(disk.FlagInlineData) {
		n += uint64(i.Size()+511) / 512
	}
	return n
}

// shownOwner is who the inode seems to belong to.
func (h *handler) shownOwner(r disk.Inode) (uid, gid uint32) {
	uid, gid = r.UID(), r.GID()
	if h.o.UID != nil {
		uid = *h.o.UID
	}
	if h.o.GID != nil {
		gid = *h.o.GID
	}
	return uid, gid
}

// newOwner is who something belongs to that the caller makes.
func (h *handler) newOwner(c *fuse.Caller) (uid, gid uint32) {
	uid, gid = c.Uid, c.Gid
	if h.o.UID != nil {
		uid = *h.o.UID
	}
	if h.o.GID != nil {
		gid = *h.o.GID
	}
	return uid, gid
}

// rdev is a device number as the protocol has it; 0 for what is no device.
func rdev(r disk.Inode) uint32 {
	switch r.Mode() & disk.ModeType {
	case disk.ModeChar, disk.ModeBlock:
		major, minor := r.Device()
		return minor&0xff | major<<8 | minor&^0xff<<12
	}
	return 0
}

// splitRdev is the other way.
func splitRdev(dev uint32) (major, minor uint32) {
	return dev >> 8 & 0xfff, dev&0xff | dev>>12&0xfff00
}

// fillAttr answers with attributes.
func (h *handler) fillAttr(n *node, out *fuse.AttrOut) {
	out.AttrValid, out.AttrValidNsec = n.attrValid(), 0
	h.attr(n, &out.Attr)
}

// enter tells the kernel of an inode that has a name in dir, which counts as a
// lookup.
func (h *handler) enter(dir *ext4fs.Inode, i *ext4fs.Inode, out *fuse.EntryOut) error {
	return h.introduce(dir, i, false, out)
}

// introduce is enter, also for an inode that was made without a name.
func (h *handler) introduce(dir *ext4fs.Inode, i *ext4fs.Inode, fresh bool, out *fuse.EntryOut) error {
	n, err := h.nodes.add(i, fresh)
	if err != nil {
		return err
	}
	if fresh {
		n.unnamed.Store(true)
	}
	out.NodeId = nodeID(i.Number())
	out.Generation = uint64(i.Raw().Generation())
	if !folds(dir) {
		out.EntryValid = forever
	}
	out.AttrValid = n.attrValid()
	h.attr(n, &out.Attr)
	return nil
}

// folds reports whether names of the directory are the same in several
// spellings. The kernel must ask for them each time: it does not know which of
// them go together.
func folds(dir *ext4fs.Inode) bool { return dir != nil && dir.Flags().Has(disk.FlagCasefold) }

// statxTime gives a time its form in statx.
func statxTime(t time.Time, out *fuse.SxTime) {
	out.Sec, out.Nsec = uint64(t.Unix()), uint32(t.Nanosecond())
}

// statxFlags pairs the flags of inodes with the attributes that statx knows.
var statxFlags = [...]struct {
	flag disk.InodeFlags
	attr uint64
}{
	{disk.FlagCompr, unix.STATX_ATTR_COMPRESSED},
	{disk.FlagImmutable, unix.STATX_ATTR_IMMUTABLE},
	{disk.FlagAppend, unix.STATX_ATTR_APPEND},
	{disk.FlagNoDump, unix.STATX_ATTR_NODUMP},
	{disk.FlagEncrypt, unix.STATX_ATTR_ENCRYPTED},
	{disk.FlagVerity, unix.STATX_ATTR_VERITY},
}

// Statx answers what Getattr cannot: the time of birth, and attributes.
func (h *handler) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	n, err := h.node(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	var a fuse.Attr
	h.attr(n, &a)
	out.AttrValid, out.AttrValidNsec = n.attrValid(), 0
	r := n.ino.Raw()
	s := &out.Statx
	s.Mask = unix.STATX_BASIC_STATS
	s.Blksize, s.Nlink, s.Uid, s.Gid, s.Mode = a.Blksize, a.Nlink, a.Uid, a.Gid, uint16(a.Mode)
	s.Ino, s.Size, s.Blocks = a.Ino, a.Size, a.Blocks
	s.Atime.Sec, s.Atime.Nsec = a.Atime, a.Atimensec
	s.Mtime.Sec, s.Mtime.Nsec = a.Mtime, a.Mtimensec
	s.Ctime.Sec, s.Ctime.Nsec = a.Ctime, a.Ctimensec
	if t, ok := r.Crtime(); ok {
		statxTime(t, &s.Btime)
		s.Mask |= unix.STATX_BTIME
	}
	s.RdevMajor, s.RdevMinor = splitRdev(a.Rdev)
	flags := r.Flags()
	for _, f := range statxFlags {
		s.AttributesMask |= f.attr
		if flags.Has(f.flag) {
			s.Attributes |= f.attr
		}
	}
	return fuse.OK
}
