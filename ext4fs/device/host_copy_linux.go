package device

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// copyPiece bounds one call, which cannot be interrupted everywhere.
const copyPiece = 64 << 20

// copyFileRange copies as much as the kernel does by itself.
func copyFileRange(to, from *os.File, fromOff, toOff, n int64) (done int64, err error) {
	for done < n && err == nil {
		k := 0
		a, b := fromOff+done, toOff+done
		err = control(from, "copy_file_range", func(src int) error {
			return control(to, "copy_file_range", func(dst int) (err error) {
				k, err = unix.CopyFileRange(src, &a, dst, &b, int(min(n-done, copyPiece)), 0)
				return err
			})
		})
		if k <= 0 {
			break
		}
		done += int64(k)
	}
	for _, cannot := range []error{
		unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM, unix.EBADF, unix.EOVERFLOW, unix.ETXTBSY,
	} {
		if errors.Is(err, cannot) {
			return done, nil
		}
	}
	return done, err
}
