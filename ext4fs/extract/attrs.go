package extract

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// made is what the host gave to a new file, so that no call is spent on what
// is right already.
type made struct {
	uid, gid uint32
	perm     uint16 // unknownPerm: has to be set
}

const unknownPerm = 0xffff

// attributes gives a file what the options keep. The order matters: a change
// of owner takes setuid and capabilities away, an ACL changes permissions, and
// everything changes times.
func (w *worker) attributes(h hostAttrs, i *ext4fs.Inode, m made, x xattrs) error {
	raw := i.Raw()
	mode := raw.Mode() & 0o7777
	var all error
	if w.o.Owner && (raw.UID() != m.uid || raw.GID() != m.gid) {
		own, err := w.chown(h, raw.UID(), raw.GID())
		if err != nil {
			all = errors.Join(all, fmt.Errorf("owner: %w", err))
		}
		if !own {
			mode &^= 0o6000
		}
	}
	acl, err := w.setXattrs(h, i, x.list)
	if !acl {
		mode &= x.bare | 0o7000
	}
	all = errors.Join(all, x.err, err)
	if w.o.Mode && !i.IsSymlink() && mode != m.perm {
		if err := h.chmod(mode); err != nil {
			all = errors.Join(all, fmt.Errorf("permissions: %w", err))
		}
	}
	if w.o.Times {
		if err := h.setTimes(raw.Atime(), raw.Mtime()); err != nil {
			all = errors.Join(all, fmt.Errorf("times: %w", err))
		}
	}
	return all
}

// chown reports whether the file has the owner now. Who may not give files
// away tries the group at least, as cp does.
func (w *worker) chown(h hostAttrs, uid, gid uint32) (own bool, err error) {
	err = h.chown(uid, gid)
	switch {
	case err == nil:
		return true, nil
	case w.job.host.uid != 0 && (errors.Is(err, fs.ErrPermission) || isInvalid(err)), errors.Is(err, errNoSupport):
		// The group may be one of the caller's; if not, that is no error.
		groupErr := h.chown(^uint32(0), gid)
		return groupErr == nil && uid == w.job.host.uid, nil
	}
	return false, err
}

// xattrs are the extended attributes of an inode that are to be kept.
type xattrs struct {
	list []ext4fs.Xattr
	acl  bool   // an access ACL is among them
	bare uint16 // the permissions that the copy has without it
	err  error  // some could not be read
}

func (w *worker) readXattrs(i *ext4fs.Inode) (x xattrs) {
	x.bare = w.bareMode(i)
	if !w.o.Xattrs && !w.o.ACLs {
		return x
	}
	var all []ext4fs.Xattr
	all, x.err = i.Xattrs()
	for _, a := range all {
		isACL := a.Name == aclAccess || a.Name == aclDefault
		if isACL && w.o.ACLs || !isACL && w.o.Xattrs {
			x.list = append(x.list, a)
		}
		x.acl = x.acl || a.Name == aclAccess && w.o.ACLs
	}
	return x
}

// bareMode are the permissions that a copy has without an access ACL.
func (w *worker) bareMode(i *ext4fs.Inode) uint16 {
	mode, err := i.ModeWithoutACL()
	if err != nil && !w.o.Xattrs && !w.o.ACLs { // else it is an error of the copy
		w.job.warnOnce(fmt.Sprintf("<%d>", i.Number()), fmt.Errorf("permissions of the group: %w", err))
	}
	return mode & 0o777
}

// setXattrs reports whether there is an access ACL now.
func (w *worker) setXattrs(h hostAttrs, i *ext4fs.Inode, list []ext4fs.Xattr) (acl bool, all error) {
	for _, a := range list {
		err := h.setXattr(a.Name, a.Value)
		acl = acl || err == nil && a.Name == aclAccess
		if err != nil {
			all = errors.Join(all, w.lostXattr(i, a.Name, err))
		}
	}
	return acl, all
}

// lostXattr decides whether an attribute that could not be set is an error.
func (w *worker) lostXattr(i *ext4fs.Inode, name string, err error) error {
	err = fmt.Errorf("%s: %w", name, err)
	switch {
	case w.o.StrictXattrs:
		return err
	case isUnsupported(err):
		w.job.warnOnce(fmt.Sprintf("<%d>", i.Number()), fmt.Errorf("extended attributes get lost: %w", err))
		return nil
	case w.job.host.uid != 0 && errors.Is(err, fs.ErrPermission) && !strings.HasPrefix(name, "user."):
		return nil
	}
	return err
}
