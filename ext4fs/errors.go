package ext4fs

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
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

// kind is an error that matches an io/fs error and an errno, so that callers
// need not know this package.
type kind struct {
	msg   string
	is    error
	errno syscall.Errno
}

func (k *kind) Error() string { return k.msg }

func (k *kind) Is(target error) bool {
	return k.is != nil && target == k.is || k.errno != 0 && target == error(k.errno)
}

// Kinds of errors of the caller's doing.
var (
	ErrNotExist     error = &kind{"no such file or directory", fs.ErrNotExist, syscall.ENOENT}
	ErrNotDir       error = &kind{"not a directory", nil, syscall.ENOTDIR}
	ErrIsDir        error = &kind{"is a directory", nil, syscall.EISDIR}
	ErrNotLink      error = &kind{"not a symbolic link", fs.ErrInvalid, syscall.EINVAL}
	ErrNotFile      error = &kind{"not a regular file", fs.ErrInvalid, syscall.EINVAL}
	ErrInvalid      error = &kind{"invalid argument", fs.ErrInvalid, syscall.EINVAL}
	ErrLoop         error = &kind{"too many levels of symbolic links", nil, syscall.ELOOP}
	ErrNameLong     error = &kind{"file name too long", nil, syscall.ENAMETOOLONG}
	ErrNoAttr       error = &kind{"no such attribute", fs.ErrNotExist, syscall.Errno(0)}
	ErrNoKey        error = &kind{"encrypted, and the key is not available", fs.ErrPermission, syscall.Errno(0)}
	ErrNoData       error = &kind{"no data beyond this offset", nil, syscall.ENXIO}
	ErrClosed       error = &kind{"file already closed", fs.ErrClosed, syscall.EBADF}
	ErrExist        error = &kind{"file exists", fs.ErrExist, syscall.EEXIST}
	ErrNotEmpty     error = &kind{"directory not empty", nil, syscall.ENOTEMPTY}
	ErrNoSpace      error = &kind{"no space left in the file system", nil, syscall.ENOSPC}
	ErrQuota        error = &kind{"disk quota exceeded", nil, errQuota}
	ErrFileTooBig   error = &kind{"file too large", nil, syscall.EFBIG}
	ErrLinks        error = &kind{"too many links", nil, syscall.EMLINK}
	ErrNotPermitted error = &kind{"operation not permitted", fs.ErrPermission, syscall.EPERM}
	ErrReadOnly     error = &kind{"read-only file system", fs.ErrPermission, syscall.EROFS}
	ErrBusy         error = &kind{"in use", nil, syscall.EBUSY}
	ErrCrossDevice  error = &kind{"another file system", nil, syscall.EXDEV}
	ErrNotSupported error = &kind{"not supported for this file", errors.ErrUnsupported, syscall.EOPNOTSUPP}
	// ErrNoJournal: the image needs a journal that is not at hand.
	ErrNoJournal error = &kind{"the journal is needed and not at hand", nil, syscall.Errno(0)}
	// ErrNotExt4: there is no ext2, ext3 or ext4 file system.
	ErrNotExt4 error = &kind{"not an ext2, ext3 or ext4 file system", nil, syscall.Errno(0)}
)
