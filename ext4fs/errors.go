package ext4fs

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// Errors about the image, from the rooms below.
type (
	// CorruptError is an impossible record; it matches ErrCorrupt.
	CorruptError = disk.CorruptError
	// ChecksumError is a record that fails its checksum; it matches ErrChecksum.
	ChecksumError = disk.ChecksumError
	// FeatureError names features not understood; it matches ErrUnsupported.
	FeatureError = disk.FeatureError
)

// Kinds of image errors.
var (
	ErrCorrupt     = disk.ErrCorrupt
	ErrChecksum    = disk.ErrChecksum
	ErrUnsupported = disk.ErrUnsupported
	// ErrWrongJournal: the external journal belongs to another file system.
	ErrWrongJournal = journal.ErrWrongJournal
)

// errAttrExists is ErrExist of an attribute.
var errAttrExists = disk.NewKind("attribute exists", ErrExist, fs.ErrExist, syscall.EEXIST, xattr.ErrExist)

// Kinds of errors of the caller's doing.
var (
	ErrNotExist     = disk.NewKind("no such file or directory", fs.ErrNotExist, syscall.ENOENT)
	ErrNotDir       = disk.NewKind("not a directory", syscall.ENOTDIR)
	ErrIsDir        = disk.NewKind("is a directory", syscall.EISDIR)
	ErrNotLink      = disk.NewKind("not a symbolic link", fs.ErrInvalid, syscall.EINVAL)
	ErrNotFile      = disk.NewKind("not a regular file", fs.ErrInvalid, syscall.EINVAL)
	ErrInvalid      = disk.NewKind("invalid argument", fs.ErrInvalid, syscall.EINVAL)
	ErrLoop         = disk.NewKind("too many levels of symbolic links", syscall.ELOOP)
	ErrNameLong     = disk.NewKind("file name too long", syscall.ENAMETOOLONG)
	ErrNoAttr       = xattr.ErrNoAttr
	ErrNoKey        = disk.NewKind("encrypted, and the key is not available", fs.ErrPermission)
	ErrNoData       = disk.NewKind("no data beyond this offset", syscall.ENXIO)
	ErrClosed       = disk.NewKind("file already closed", fs.ErrClosed, syscall.EBADF)
	ErrExist        = disk.NewKind("file exists", fs.ErrExist, syscall.EEXIST)
	ErrNotEmpty     = disk.NewKind("directory not empty", syscall.ENOTEMPTY)
	ErrNoSpace      = disk.NewKind("no space left in the file system", syscall.ENOSPC)
	ErrQuota        = quota.ErrQuota
	ErrFileTooBig   = disk.NewKind("file too large", syscall.EFBIG)
	ErrLinks        = disk.NewKind("too many links", syscall.EMLINK)
	ErrNotPermitted = disk.NewKind("operation not permitted", fs.ErrPermission, syscall.EPERM)
	ErrReadOnly     = disk.NewKind("read-only file system", fs.ErrPermission, syscall.EROFS)
	ErrBusy         = disk.NewKind("in use", syscall.EBUSY)
	ErrCrossDevice  = disk.NewKind("another file system", syscall.EXDEV)
	ErrNotSupported = disk.NewKind("not supported for this file", errors.ErrUnsupported, syscall.EOPNOTSUPP)
	// ErrNoJournal: the image needs a journal that is not at hand.
	ErrNoJournal = disk.NewKind("the journal is needed and not at hand")
	// ErrNotExt4: there is no ext2, ext3 or ext4 file system.
	ErrNotExt4 = disk.NewKind("not an ext2, ext3 or ext4 file system")
)
