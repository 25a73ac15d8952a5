package device

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// TempFile is a temporary file that is written in pieces, with holes between
// them. It has no name, so that nothing is left behind however the process
// ends, or loses it at Close where the system wants one. One goroutine may
// write, any number may read.
type TempFile struct {
	f       *os.File
	what    string
	dir     string
	stored  int64
	checked int64
}

// CreateTemp makes a temporary file in dir, or where the system has them if
// that is "". what names the content in errors.
func CreateTemp(dir, what string) (*TempFile, error) {
	f, err := os.CreateTemp(dir, "e4kit-image-*")
	if err != nil {
		return nil, fmt.Errorf("temporary file for %s: %w", what, err)
	}
	if dir == "" {
		dir = os.TempDir()
	}
	unlinkOpen(f)
	return &TempFile{f: f, what: what, dir: dir, checked: -freeCheck}, nil
}

// WriteAt writes p. More than the disk has room for with FreeSpace left is a
// *TooLargeError.
func (t *TempFile) WriteAt(p []byte, off int64) (int, error) {
	t.stored += int64(len(p))
	if t.stored-t.checked >= freeCheck {
		t.checked = t.stored
		if free, ok := freeSpace(t.f, t.dir); ok && free < FreeSpace {
			return 0, &TooLargeError{Format: t.what, Stored: t.stored, Dir: t.dir}
		}
	}
	n, err := t.f.WriteAt(p, off)
	if errors.Is(err, syscall.ENOSPC) {
		err = &TooLargeError{Format: t.what, Stored: t.stored, Dir: t.dir}
	}
	return n, err
}

// ReadAt reads what was written.
func (t *TempFile) ReadAt(p []byte, off int64) (int, error) { return t.f.ReadAt(p, off) }

// Truncate sets the length; what was not written reads as zeros.
func (t *TempFile) Truncate(size int64) error { return t.f.Truncate(size) }

// Stored is how many bytes were written.
func (t *TempFile) Stored() int64 { return t.stored }

// File is the file itself, to read from.
func (t *TempFile) File() *os.File { return t.f }

// Close removes the file.
func (t *TempFile) Close() error { return closeTemp(t.f) }
