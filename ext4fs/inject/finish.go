package inject

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// finish gives a directory that is full what it has of the source.
func (w *writer) finish(it *item) error {
	if it.lost || w.o.DryRun || it.inode == nil || it.inode.Raw().Links() == 0 {
		return nil
	}
	for _, x := range it.xattrs {
		if x.Name != nameDefault && it.fresh || isACL(x.Name) && !w.o.ACLs || !isACL(x.Name) && !w.o.Xattrs ||
			!keepable(x.Name, it.kind()) {
			continue
		}
		if err := it.inode.SetXattr(x.Name, x.Value, 0); err != nil {
			return err
		}
	}
	if !it.fresh && w.o.ACLs {
		if err := w.dropACLs(it); err != nil {
			return err
		}
	}
	return w.setAttrs(it.inode, it, !it.fresh)
}

// dropACLs takes away what ACLs an existing directory has and the source has
// not.
func (w *writer) dropACLs(it *item) error {
	var access, def bool
	for _, x := range it.xattrs {
		access = access || x.Name == nameAccess
		def = def || x.Name == nameDefault
	}
	for _, d := range []struct {
		name string
		keep bool
	}{{nameAccess, access}, {nameDefault, def}} {
		if d.keep {
			continue
		}
		if err := it.inode.RemoveXattr(d.name); err != nil && !errors.Is(err, ext4fs.ErrNoAttr) {
			return err
		}
	}
	return nil
}

// setAttrs sets times, and of what was there before owner and mode too.
func (w *writer) setAttrs(i *ext4fs.Inode, it *item, all bool) error {
	var a ext4fs.SetAttr
	if w.o.Times {
		a.Valid |= ext4fs.AttrAtime | ext4fs.AttrMtime
		a.Atime, a.Mtime = it.atime, it.mtime
	}
	if all {
		n := &ext4fs.NewNode{Mode: w.mode(it), UID: it.uid, GID: it.gid}
		w.override(n)
		if w.o.Owner {
			a.Valid |= ext4fs.AttrUID | ext4fs.AttrGID
			a.UID, a.GID = n.UID, n.GID
		}
		if w.o.Mode && it.kind() != disk.ModeSymlink {
			a.Valid |= ext4fs.AttrMode
			a.Mode = n.Mode
		}
	}
	if a.Valid == 0 {
		return nil
	}
	return i.SetAttr(&a)
}

// setTimes sets the times of a file whose content was written.
func (w *writer) setTimes(i *ext4fs.Inode, it *item) error { return w.setAttrs(i, it, false) }

// correct sets what a directory with a group of its own gave to a new inode
// against the wish of n: group and set-group-id bit.
func (w *writer) correct(i *ext4fs.Inode, n *ext4fs.NewNode) error {
	st := i.Stat()
	var a ext4fs.SetAttr
	if w.o.Owner || w.o.SetOwner != nil && w.o.SetOwner.GID >= 0 {
		if st.GID != n.GID {
			a.Valid |= ext4fs.AttrGID
			a.GID = n.GID
		}
	}
	if (w.o.Mode || w.o.Chmod != nil) && n.Mode&disk.ModeType != disk.ModeSymlink && st.RawMode&disk.ModeSetgid != n.Mode&disk.ModeSetgid {
		a.Valid |= ext4fs.AttrMode
		a.Mode = st.RawMode&^disk.ModeSetgid | n.Mode&disk.ModeSetgid
	}
	if a.Valid == 0 {
		return nil
	}
	return i.SetAttr(&a)
}
