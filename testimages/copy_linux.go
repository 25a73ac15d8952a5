package testimages

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nextData returns the offset of the first data of f at or after off, and
// false if only a hole follows. Where the file system cannot tell, off itself
// counts as data.
func nextData(f *os.File, off int64) (int64, bool) {
	at, err := f.Seek(off, unix.SEEK_DATA)
	switch {
	case err == nil && at >= off:
		return at, true
	case errors.Is(err, unix.ENXIO):
		return 0, false
	}
	return off, true
}
