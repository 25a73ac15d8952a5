package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// createUnnamed makes a file without a name, in the folder where it will be called
// path: that is what errors about it tell. errors.ErrUnsupported: the file system
// knows none, or there is no way to name it later.
func createUnnamed(path string) (*os.File, error) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return nil, errors.ErrUnsupported
	}
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o666)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o666)
	}
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), path), nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return nil, errors.ErrUnsupported
	case errors.Is(err, unix.ENOENT):
		// Kernels that know no O_TMPFILE say so too.
		if _, statErr := os.Stat(dir); statErr == nil {
			return nil, errors.ErrUnsupported
		}
	}
	return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
}

// nameUnnamed gives an unnamed file a name that nothing has yet.
func nameUnnamed(f *os.File, path string) error {
	fd := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	if err := unix.Linkat(unix.AT_FDCWD, fd, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return nil
}
