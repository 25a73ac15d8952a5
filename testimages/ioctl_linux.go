package testimages

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fsxattr is the argument of FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR.
type fsxattr struct {
	Xflags     uint32
	Extsize    uint32
	Nextents   uint32
	Project    uint32
	Cowextsize uint32
	_          [8]byte
}

const (
	fsIocFsgetxattr = 0x801c581f // _IOR('X', 31, struct fsxattr)
	fsIocFssetxattr = 0x401c5820 // _IOW('X', 32, struct fsxattr)
)

func getFsxattr(f *os.File) (fsxattr, error) {
	var a fsxattr
	return a, ioctl(f, fsIocFsgetxattr, unsafe.Pointer(&a))
}

func setFsxattr(f *os.File, a fsxattr) error {
	return ioctl(f, fsIocFssetxattr, unsafe.Pointer(&a))
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
	if errno != 0 {
		return &os.PathError{Op: "ioctl", Path: f.Name(), Err: errno}
	}
	return nil
}

// orFlags sets bits in the inode flags word of f, as chattr does.
func orFlags(f *os.File, bits uint32) error {
	w, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(w|bits))
}
