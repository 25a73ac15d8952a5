//go:build unix

package extract

import (
	"errors"
	"syscall"
)

// isUnsupported reports whether the host's file system has no such thing.
func isUnsupported(err error) bool {
	return errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, errNoSupport)
}

func isInvalid(err error) bool { return errors.Is(err, syscall.EINVAL) }

// cannotLink reports whether a copy will do where a link does not.
func cannotLink(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EXDEV) || isUnsupported(err)
}

// isFull reports whether no other file would fit either.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
