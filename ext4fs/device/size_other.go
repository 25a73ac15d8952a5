//go:build !linux && !windows

package device

import (
	"io"
	"os"
)

// deviceSize is the size of a disk. Seeking tells it on some systems; where it
// says 0 the last readable sector is searched for.
func deviceSize(f *os.File) (int64, error) {
	if n, err := f.Seek(0, io.SeekEnd); err == nil && n > 0 {
		return n, nil
	}
	return searchSize(f)
}

// newBlockDevice reads a disk in whole sectors, as raw devices demand.
func newBlockDevice(f *os.File, size int64) Device { return newAligned(f, size) }
