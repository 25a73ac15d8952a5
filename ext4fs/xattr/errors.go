package xattr

import (
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of errors of the caller's doing. They match the errno that Linux
// gives.
var (
	// ErrNoSpace: neither the inode nor the block nor a value inode has room.
	ErrNoSpace = disk.NewKind("no room for the attribute", syscall.ENOSPC)
	// ErrNameRange: a name of no bytes or of more than 255.
	ErrNameRange = disk.NewKind("attribute name out of range", syscall.ERANGE)
	// ErrTooBig: a value of more than 64 KiB.
	ErrTooBig = disk.NewKind("attribute value too big", syscall.E2BIG)
	// ErrNamespace: a name space that ext4 has no attributes in.
	ErrNamespace = disk.NewKind("unknown attribute name space", syscall.EOPNOTSUPP)
	// ErrName: a name that is nothing but a prefix, or holds a zero byte.
	ErrName = disk.NewKind("invalid attribute name", fs.ErrInvalid, syscall.EINVAL)
	// ErrExist: the attribute is there and must not be.
	ErrExist = disk.NewKind("attribute exists", fs.ErrExist, syscall.EEXIST)
	// ErrNoAttr: the attribute is not there and must be.
	ErrNoAttr = disk.NewKind("no such attribute", fs.ErrNotExist)
	// ErrACL: entries that make no ACL.
	ErrACL = disk.NewKind("invalid ACL", fs.ErrInvalid, syscall.EINVAL)
	// ErrACLVersion: a value of another form than that of the system calls.
	ErrACLVersion = disk.NewKind("unknown ACL version", syscall.EOPNOTSUPP)
	// ErrNotDir: a default ACL for what is no directory.
	ErrNotDir = disk.NewKind("a default ACL needs a directory", fs.ErrPermission, syscall.EACCES)
	// ErrNotUser: user attributes on what is neither a file nor a directory.
	ErrNotUser = disk.NewKind("user attributes need a file or a directory", fs.ErrPermission, syscall.EPERM)
)
