package xattr

import (
	"io/fs"
	"syscall"
)

// kind is an error that matches an io/fs error and an errno.
type kind struct {
	msg   string
	is    error
	errno syscall.Errno
}

func (k *kind) Error() string { return k.msg }

func (k *kind) Is(target error) bool {
	return k.is != nil && target == k.is || k.errno != 0 && target == error(k.errno)
}

// Kinds of errors of the caller's doing. They match the errno that Linux
// gives.
var (
	// ErrNoSpace: neither the inode nor the block nor a value inode has room.
	ErrNoSpace error = &kind{"no space left for the attribute", nil, syscall.ENOSPC}
	// ErrNameRange: a name of no bytes or of more than 255.
	ErrNameRange error = &kind{"attribute name out of range", nil, syscall.ERANGE}
	// ErrTooBig: a value of more than 64 KiB.
	ErrTooBig error = &kind{"attribute value too big", nil, syscall.E2BIG}
	// ErrNamespace: a name space that ext4 has no attributes in.
	ErrNamespace error = &kind{"unknown attribute name space", nil, syscall.EOPNOTSUPP}
	// ErrName: a name that is nothing but a prefix, or holds a zero byte.
	ErrName error = &kind{"invalid attribute name", fs.ErrInvalid, syscall.EINVAL}
	// ErrExist: the attribute is there and must not be.
	ErrExist error = &kind{"attribute exists", fs.ErrExist, syscall.EEXIST}
	// ErrNoAttr: the attribute is not there and must be.
	ErrNoAttr error = &kind{"no such attribute", fs.ErrNotExist, 0}
	// ErrACL: entries that make no ACL.
	ErrACL error = &kind{"invalid ACL", fs.ErrInvalid, syscall.EINVAL}
	// ErrACLVersion: a value of another form than that of the system calls.
	ErrACLVersion error = &kind{"unknown ACL version", nil, syscall.EOPNOTSUPP}
	// ErrNotDir: a default ACL for what is no directory.
	ErrNotDir error = &kind{"a default ACL needs a directory", fs.ErrPermission, syscall.EACCES}
	// ErrNotUser: user attributes on what is neither a file nor a directory.
	ErrNotUser error = &kind{"user attributes need a file or a directory", fs.ErrPermission, syscall.EPERM}
)
