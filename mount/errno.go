package mount

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
)

// Errnos that package syscall has not got everywhere, as Linux numbers them:
// damage is told as the kernel's driver tells it.
const (
	errnoCorrupt  = syscall.Errno(117) // EUCLEAN
	errnoChecksum = syscall.Errno(74)  // EBADMSG
)

// plainErrnos are the errnos that errors of ext4fs and the rooms below match.
// What is more telling comes first: where the journal was aborted, the cause is
// in the chain as well.
var plainErrnos = []syscall.Errno{
	syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOENT, syscall.EEXIST, syscall.ENOTDIR, syscall.EISDIR,
	syscall.ENOTEMPTY, syscall.ENAMETOOLONG, syscall.EPERM, syscall.EFBIG, syscall.EMLINK, syscall.EBUSY, syscall.EXDEV,
	syscall.EOPNOTSUPP, syscall.ERANGE, syscall.E2BIG, syscall.ENXIO, syscall.ELOOP, syscall.EINVAL, syscall.EBADF,
	syscall.EACCES, syscall.ENOMEM,
}

// errno gives the number that stands for an error on the way to the kernel; 0
// for nil. It is the only place where kinds of errors become numbers.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	// The frequent ones first.
	if err == ext4fs.ErrNotExist {
		return syscall.ENOENT
	}
	if n, ok := err.(syscall.Errno); ok {
		return n // the handler's own
	}
	switch {
	case errors.Is(err, ext4fs.ErrNoAttr):
		return errnoNoAttr
	case errors.Is(err, ext4fs.ErrReadOnly):
		return syscall.EROFS
	case errors.Is(err, ext4fs.ErrNoKey):
		return errnoNoKey
	case errors.Is(err, ext4fs.ErrChecksum):
		return errnoChecksum
	case errors.Is(err, ext4fs.ErrCorrupt):
		return errnoCorrupt
	}
	// Before errno fields of host errors: those are of the image's file.
	var path *fs.PathError
	hostError := errors.As(err, &path)
	for _, n := range plainErrnos {
		if errors.Is(err, n) && !(hostError && hostOnly(n)) {
			return n
		}
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return syscall.EINTR
	case errors.Is(err, errors.ErrUnsupported):
		return syscall.EOPNOTSUPP
	case errors.Is(err, fs.ErrPermission):
		return syscall.EPERM
	case errors.Is(err, fs.ErrInvalid):
		return syscall.EINVAL
	case errors.Is(err, io.ErrUnexpectedEOF):
		return syscall.EIO
	}
	return syscall.EIO
}

// hostOnly are errnos that, when they come from the image's file, are no news
// about the file that is served.
func hostOnly(n syscall.Errno) bool {
	switch n {
	case syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM:
		return false
	}
	return true
}

// isDamage reports whether the error is about the image's content.
func isDamage(err error) bool {
	return errors.Is(err, ext4fs.ErrCorrupt) || errors.Is(err, ext4fs.ErrChecksum)
}
