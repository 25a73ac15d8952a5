//go:build !386

package mount

import (
	"strings"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	capability = "security.capability"
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// servesXattr says why attributes of that name are not served.
func (h *handler) servesXattr(name string) error {
	if name == aclAccess || name == aclDefault {
		if !h.o.ACL.or(true) {
			return ext4fs.ErrNotSupported
		}
		return nil
	}
	space, rest, found := strings.Cut(name, ".")
	switch {
	case !found:
		return ext4fs.ErrNotSupported
	case space == "user" && !h.o.Xattr.or(true):
		return ext4fs.ErrNotSupported
	case space != "user" && space != "trusted" && space != "security":
		return ext4fs.ErrNotSupported
	case rest == "":
		return ext4fs.ErrInvalid
	}
	return nil
}

// GetXAttr answers getxattr(2). An empty dest asks for the size.
func (h *handler) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	n, err := h.known(in.NodeId)
	if err == nil {
		err = h.servesXattr(name)
	}
	if err != nil {
		return 0, h.fail(err)
	}
	value, err := n.ino.Xattr(name)
	if err != nil {
		return 0, h.fail(err)
	}
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// ListXAttr answers listxattr(2).
func (h *handler) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n, err := h.known(in.NodeId)
	if err != nil {
		return 0, h.fail(err)
	}
	list, err := n.ino.Xattrs()
	if err != nil {
		return 0, h.fail(err)
	}
	size, root := 0, callerUID(&in.Caller) == 0
	for _, x := range list {
		if !root && strings.HasPrefix(x.Name, "trusted.") || h.servesXattr(x.Name) != nil {
			continue
		}
		if at := size; at+len(x.Name)+1 <= len(dest) {
			dest[at+copy(dest[at:], x.Name)] = 0
		}
		size += len(x.Name) + 1
	}
	if size > len(dest) {
		return uint32(size), fuse.ERANGE
	}
	return uint32(size), fuse.OK
}

// maxXattrSize is the longest value that the system calls know.
const maxXattrSize = 1 << 16

// SetXAttr answers setxattr(2).
func (h *handler) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	n, err := h.changing(in.NodeId)
	if err == nil {
		err = h.servesXattr(name)
	}
	if err != nil {
		return h.fail(err)
	}
	if len(value) > maxXattrSize {
		return fuse.Status(syscall.E2BIG)
	}
	flags := ext4fs.XattrFlags(in.Flags) & (ext4fs.XattrCreate | ext4fs.XattrReplace)
	if name == aclAccess && in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
		flags |= ext4fs.XattrKillSetgid
	}
	if err := n.ino.SetXattr(name, value, flags); err != nil {
		return h.fail(err)
	}
	if name == capability {
		n.noCaps.Store(false)
	}
	h.modeChanged(in.NodeId, name)
	return h.fail(h.syncFile(n.ino))
}

// modeChanged tells the kernel that a change of an ACL has changed the mode, where
// it takes ACLs for attributes like others.
func (h *handler) modeChanged(id uint64, name string) {
	if name == aclAccess && !h.acls && h.kernel != nil {
		h.kernel.InodeNotify(id, -1, 0)
	}
}

// RemoveXAttr answers removexattr(2).
func (h *handler) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	n, err := h.changing(in.NodeId)
	if err == nil {
		err = h.servesXattr(name)
	}
	if err == nil {
		err = n.ino.RemoveXattr(name)
	}
	if err == nil {
		h.modeChanged(in.NodeId, name)
		err = h.syncFile(n.ino)
	}
	return h.fail(err)
}
