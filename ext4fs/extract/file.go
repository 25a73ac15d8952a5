package extract

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// errSkip says that an existing file stays.
var errSkip = errors.New("exists")

// place makes one new file in n: what f makes under the name it is given gets
// the entry's name when it is whole. On an error nothing is left.
func (w *worker) place(n *node, name string, f func(name string) error) error {
	if n.fresh {
		err := f(name)
		if errors.Is(err, fs.ErrExist) {
			return ErrTwice
		}
		return err
	}
	switch info, err := n.host.lstat(name); {
	case err == nil && w.o.Existing == Skip:
		return errSkip
	case err == nil && info.isDir:
		return ErrOverwriteDir
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	temp, err := w.temporary(f)
	if err != nil {
		return err
	}
	if w.o.Existing == Skip {
		err = n.host.renameExclusive(temp, name)
		if errors.Is(err, fs.ErrExist) {
			err = errSkip
		}
	} else {
		err = n.host.rename(temp, name)
	}
	// A rename between two names of one file does nothing, and leaves ours.
	if removed := n.host.remove(temp); err == nil && removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = removed
	}
	return err
}

// temporary calls f with a name that is not in use.
func (w *worker) temporary(f func(name string) error) (string, error) {
	for range 100 {
		temp := fmt.Sprintf(".e4kit-%016x", rand.Uint64())
		err := f(temp)
		if !errors.Is(err, fs.ErrExist) {
			return temp, err
		}
	}
	return "", fs.ErrExist
}

// regular copies a regular file, or links to the copy of another of its
// names.
func (w *worker) regular(n *node, e *entry, i *ext4fs.Inode) error {
	links := i.Raw().Links()
	if !w.o.Links || links < 2 {
		return w.finish(n, e, w.copyFile(n, e, i))
	}
	return w.shared(n, e, i, func() error { return w.copyFile(n, e, i) })
}

// shared copies a file of several names with make, or links.
func (w *worker) shared(n *node, e *entry, i *ext4fs.Inode, make func() error) error {
	l, first := w.job.links.meet(e.num, i.Raw().Links())
	if first {
		err := make()
		l.publish(n, e.name, err == nil || errors.As(err, new(*attrError)))
		return w.finish(n, e, err)
	}
	linked := false
	err := w.place(n, e.name, func(name string) (err error) {
		linked, err = w.link(n, name, l)
		if err == nil && !linked {
			err = errNotLinked
		}
		return err
	})
	if errors.Is(err, errNotLinked) {
		err = make()
	}
	return w.finish(n, e, err)
}

var errNotLinked = errors.New("not linked")

// finish counts a file that was copied, perhaps with an attribute missing.
func (w *worker) finish(n *node, e *entry, err error) error {
	switch {
	case errors.Is(err, errSkip):
		return nil
	case err == nil, errors.As(err, new(*attrError)):
		w.job.done(n, e)
	}
	return err
}

// attrError is an attribute that could not be set on a file that was copied.
type attrError struct{ err error }

func (e *attrError) Error() string { return e.err.Error() }
func (e *attrError) Unwrap() error { return e.err }

// copyFile makes a new regular file with content and attributes.
func (w *worker) copyFile(n *node, e *entry, i *ext4fs.Inode) error {
	var attrs error
	x := w.readXattrs(i)
	perm := x.bare
	if x.acl {
		// Until the ACL is there, nobody else gets at the file.
		perm &= 0o700
	}
	err := w.place(n, e.name, func(name string) error {
		f, err := n.host.create(name, perm)
		if err != nil {
			return err
		}
		err = w.content(n, f, i)
		if err == nil {
			attrs = w.attributes(f, i, w.madeFile(n, f, perm), x)
		}
		if closeErr := f.close(); err == nil {
			err = closeErr
		}
		if err != nil {
			n.host.remove(name)
		}
		return err
	})
	if err == nil && attrs != nil {
		return &attrError{attrs}
	}
	return err
}

// madeFile is what the host gave to a new file in n.
func (w *worker) madeFile(n *node, h hostAttrs, perm uint16) made {
	m := made{uid: w.job.host.uid, gid: n.gid, perm: perm &^ w.job.host.umask}
	if n.acl && (w.o.Mode || w.o.ACLs) {
		// An inherited ACL stands in for the umask.
		m.perm = unknownPerm
		if err := h.removeXattr(aclAccess); err != nil && !isNoAttr(err) {
			w.job.warnOnce(n.source(), fmt.Errorf("inherited ACL: %w", err))
		}
	}
	return m
}

// symlink makes a symbolic link. Its target is never looked at.
func (w *worker) symlink(n *node, e *entry, i *ext4fs.Inode) error {
	target, err := i.Readlink()
	if err != nil {
		return err
	}
	return w.make(n, e, i, func(name string, _ uint16) error { return n.host.symlink(target, name) })
}

// special makes a device node, a fifo or a socket.
func (w *worker) special(n *node, e *entry, i *ext4fs.Inode) error {
	raw := i.Raw()
	var major, minor uint32
	kind := raw.Mode() & disk.ModeType
	if kind == disk.ModeChar || kind == disk.ModeBlock {
		if !w.o.Devices {
			return ErrDevice
		}
		major, minor = raw.Device()
	}
	return w.make(n, e, i, func(name string, perm uint16) error {
		return n.host.mknod(name, kind|perm, major, minor)
	})
}

// make makes something without content, and sets its attributes by name.
func (w *worker) make(n *node, e *entry, i *ext4fs.Inode, create func(name string, perm uint16) error) error {
	one := func() error {
		var attrs error
		x := w.readXattrs(i)
		err := w.place(n, e.name, func(name string) error {
			if err := create(name, x.bare); err != nil {
				return err
			}
			h := n.host.named(name)
			m := made{uid: w.job.host.uid, gid: n.gid}
			if !i.IsSymlink() {
				m = w.madeFile(n, h, x.bare)
			}
			attrs = w.attributes(h, i, m, x)
			return nil
		})
		if err == nil && attrs != nil {
			return &attrError{attrs}
		}
		return err
	}
	if w.o.Links && i.Raw().Links() > 1 {
		return w.shared(n, e, i, one)
	}
	return w.finish(n, e, one())
}
