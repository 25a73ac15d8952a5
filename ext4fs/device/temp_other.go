//go:build !unix && !windows

package device

import (
	"errors"
	"os"
)

// unlinkOpen does nothing: the name goes at close.
func unlinkOpen(*os.File) {}

// closeTemp closes and removes the file.
func closeTemp(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }

// freeSpace is not known here; a full disk fails the write.
func freeSpace(*os.File, string) (int64, bool) { return 0, false }
