//go:build !unix

package extract

import "errors"

// isUnsupported reports whether the host's file system has no such thing.
func isUnsupported(err error) bool {
	return errors.Is(err, errNoSupport) || errors.Is(err, errors.ErrUnsupported)
}

func isInvalid(error) bool { return false }

// cannotLink reports whether a copy will do where a link does not.
func cannotLink(error) bool { return true }

// isFull reports whether no other file would fit either.
func isFull(error) bool { return false }
