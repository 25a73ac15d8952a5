package host

import (
	"errors"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dirs reads attributes of files in open directories, so that nobody can slip
// in a symbolic link on the way to them. The zero value is ready, and for
// concurrent use.
type Dirs struct {
	// NoListAt does without listxattrat(2), which came with Linux 6.13. Dirs
	// finds out by itself.
	NoListAt atomic.Bool
}

// Xattrs reads the attributes of a file in an open directory whose names are
// wanted; name "." is the directory. Without /proc path is read: what the file
// is called otherwise.
func (d *Dirs) Xattrs(dir int, name, path string, wanted func(name string) bool) ([]Xattr, error) {
	// Through the link in /proc one is in the open directory.
	byProc := func() string { return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name }
	if !d.NoListAt.Load() {
		list, err := xattrs(
			func(b []byte) (int, error) { return listAt(dir, name, b) },
			func(attr string, b []byte) (int, error) {
				n, err := unix.Lgetxattr(byProc(), attr, b)
				if errors.Is(err, unix.ENOENT) {
					n, err = unix.Lgetxattr(path, attr, b)
				}
				return n, err
			},
			wanted)
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			return list, err
		}
		d.NoListAt.Store(true) // or a filter does not know the call
	}
	list, err := Xattrs(byProc(), false, wanted)
	if errors.Is(err, unix.ENOENT) {
		return Xattrs(path, false, wanted)
	}
	return list, err
}

// listAt is listxattrat(2) without following symbolic links.
func listAt(dir int, name string, b []byte) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(p)),
		unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
