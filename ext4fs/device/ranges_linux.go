package device

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// seekData finds the first data of a file from one offset on and before
// another: from data to before hole, or nothing when these are equal. The
// file's own offset, which nothing here uses, moves.
func seekData(f *os.File, from, end int64) (data, hole int64, err error) {
	err = control(f, "lseek", func(fd int) (err error) {
		data, err = unix.Seek(fd, from, unix.SEEK_DATA)
		if err == nil {
			hole, err = unix.Seek(fd, data, unix.SEEK_HOLE)
		}
		return err
	})
	switch {
	case errors.Is(err, unix.ENXIO):
		return end, end, nil
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ESPIPE):
		return 0, 0, errNoHoles
	case err != nil:
		return 0, 0, err
	case data >= end || hole <= data:
		return end, end, nil
	}
	return data, min(hole, end), nil
}
