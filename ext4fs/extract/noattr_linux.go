package extract

import (
	"errors"

	"golang.org/x/sys/unix"
)

// isNoAttr reports whether an attribute is not there, or cannot be.
func isNoAttr(err error) bool { return errors.Is(err, unix.ENODATA) || isUnsupported(err) }
