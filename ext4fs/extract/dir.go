package extract

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// subdirectory makes or opens the directory e in up and lists it.
func (w *worker) subdirectory(up *node, e *entry) {
	n, err := w.openSub(up, e)
	if err != nil {
		w.job.failEntry(up, e, err)
		return
	}
	w.job.done(up, e)
	w.list(n)
	w.release(n)
}

// openSub returns the open node with one task pending: its listing.
func (w *worker) openSub(up *node, e *entry) (*node, error) {
	if err := checkName(e.name); err != nil {
		return nil, err
	}
	inode := e.inode
	if inode == nil {
		var err error
		if inode, err = w.job.fs.Inode(e.num); err != nil {
			return nil, err
		}
	}
	if !inode.IsDir() {
		return nil, &disk.CorruptError{What: "directory entry", Inode: e.num, Detail: "it says directory, and its inode does not"}
	}
	if err := w.mayEnter(up, inode); err != nil {
		return nil, err
	}
	n := &node{up: up, name: e.name, inode: inode, path: e.label, depth: up.depth + 1, gid: w.job.host.gid}
	n.pending.Store(1)
	return n, w.makeDir(n, inode)
}

// mayEnter refuses directories that would never end: only a damaged image, or
// Follow, leads into one twice.
func (w *worker) mayEnter(up *node, inode *ext4fs.Inode) error {
	if up.depth >= maxDepth {
		return &disk.CorruptError{What: "directory tree", Inode: inode.Number(), Detail: fmt.Sprintf("more than %d directories deep", maxDepth)}
	}
	if w.o.Follow {
		for at := up; at != nil; at = at.up {
			if at.inode != nil && at.inode.Number() == inode.Number() {
				return ErrLoop
			}
		}
		return nil
	}
	if !w.job.links.enter(inode.Number()) {
		return &disk.CorruptError{What: "directory tree", Inode: inode.Number(), Detail: "the directory has a second name"}
	}
	return nil
}

// makeDir makes the directory on the host, or takes one that is there.
func (w *worker) makeDir(n *node, inode *ext4fs.Inode) error {
	up := n.up
	perm := w.bareMode(inode) | 0o700
	err := up.host.mkdir(n.name, perm)
	switch {
	case err == nil:
		n.fresh = true
	case !errors.Is(err, fs.ErrExist):
		return err
	case up.fresh:
		return ErrTwice
	}
	if n.host, err = up.host.openDir(n.name); err != nil {
		if !n.fresh {
			if info, lerr := up.host.lstat(n.name); lerr == nil && !info.isDir {
				return ErrOverwriteFile
			}
		}
		return err
	}
	if !n.fresh {
		return w.adopt(n)
	}
	n.made = made{uid: w.job.host.uid, gid: up.gid, perm: perm &^ w.job.host.umask}
	if up.setgid {
		n.gid, n.setgid = up.gid, true
		n.made.perm |= 0o2000
	}
	if up.acl {
		return w.dropInherited(n)
	}
	return nil
}

// adopt learns what an existing directory is like.
func (w *worker) adopt(n *node) error {
	info, err := n.host.info()
	if err != nil {
		n.host.close()
		return err
	}
	n.made, n.acl = made{uid: info.uid, gid: info.gid, perm: info.mode}, info.defaultACL
	if info.mode&0o2000 != 0 {
		n.gid, n.setgid = info.gid, true
	}
	return nil
}

// dropInherited takes away the ACLs that a new directory had from the one
// above, where the image's permissions are to stand as they are.
func (w *worker) dropInherited(n *node) error {
	if !w.o.Mode && !w.o.ACLs {
		n.acl = true
		return nil
	}
	n.made.perm = unknownPerm
	for _, name := range []string{aclDefault, aclAccess} {
		if err := n.host.removeXattr(name); err != nil && !isNoAttr(err) {
			n.host.close()
			return err
		}
	}
	return nil
}

// finishDir sets a directory's attributes, when all its entries are made.
func (w *worker) finishDir(n *node) error {
	if n.base && n.inode == nil {
		return nil
	}
	if n.base {
		info, err := n.host.info()
		if err != nil {
			return err
		}
		n.made = made{uid: info.uid, gid: info.gid, perm: info.mode}
	}
	x := w.readXattrs(n.inode)
	if !w.o.Mode && n.fresh {
		// Permissions to enter were added to fill it.
		want := x.bare&^w.job.host.umask | n.made.perm&0o2000
		if want != n.made.perm && n.made.perm != unknownPerm {
			if err := n.host.chmod(want); err != nil {
				return err
			}
		}
	}
	return w.attributes(n.host, n.inode, n.made, x)
}
