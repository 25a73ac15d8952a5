package extract

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timespec64 is what utimensat takes on all machines: where words have 32 bits, the
// call of its own that is for years beyond 2038.
type timespec64 struct{ sec, nsec int64 }

// utimens is utimensat(2) with times that keep seconds and nanoseconds apart: ext4
// has years that do not fit 64 bits of nanoseconds. Kernels before 5.1 on machines of
// 32 bits know times until 2038; another is EOVERFLOW there.
func utimens(dir int, name *byte, flags int, atime, mtime time.Time) error {
	ts := [2]timespec64{spec64(atime), spec64(mtime)}
	err := utimensat(sysUtimensat, dir, name, unsafe.Pointer(&ts), flags)
	if sysUtimensat == unix.SYS_UTIMENSAT || !errors.Is(err, unix.ENOSYS) {
		return err
	}
	var short [2]timespec32
	for n, t := range ts {
		if t.sec != int64(int32(t.sec)) {
			return unix.EOVERFLOW
		}
		short[n] = timespec32{int32(t.sec), int32(t.nsec)}
	}
	return utimensat(unix.SYS_UTIMENSAT, dir, name, unsafe.Pointer(&short), flags)
}

type timespec32 struct{ sec, nsec int32 }

func spec64(t time.Time) timespec64 { return timespec64{t.Unix(), int64(t.Nanosecond())} }

func utimensat(call uintptr, dir int, name *byte, times unsafe.Pointer, flags int) error {
	return retry(func() error {
		_, _, errno := unix.Syscall6(call, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(times), uintptr(flags), 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}
