//go:build !linux

package host

import (
	"errors"
	"os"
)

// CanPeek: Peek does not work here.
const CanPeek = false

// Peeked is an open regular file.
type Peeked struct {
	Stat
	Mode uint16
	Size int64
}

// Peek gives an error that matches errors.ErrUnsupported.
func Peek(*os.File, string) (Peeked, error) { return Peeked{}, errors.ErrUnsupported }

// Close does nothing.
func (*Peeked) Close() {}

// Xattrs gives none.
func (*Peeked) Xattrs(func(name string) bool) ([]Xattr, error) { return nil, nil }

// Read gives errors.ErrUnsupported.
func (*Peeked) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }
