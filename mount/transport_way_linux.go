//go:build !386

package mount

import (
	"runtime"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// way carries answers to the kernel.
type way interface {
	// answer sends one whole answer: the header, whose Length is right, and the
	// data behind it. Both are the caller's again when it returns.
	answer(h *fuse.OutHeader, data []byte) error
	// later returns a way for the request at hand that stays good when its reader
	// has gone on to the next one, for one answer from any goroutine.
	later() way
}

// device answers by writing to /dev/fuse.
type device struct {
	fd  int
	iov [2]unix.Iovec
}

func (d *device) later() way { return &device{fd: d.fd} }

func (d *device) answer(h *fuse.OutHeader, data []byte) error {
	trap, at, n := uintptr(unix.SYS_WRITE), unsafe.Pointer(h), uintptr(outHeaderLen+len(data))
	if len(data) > 0 && uintptr(unsafe.Pointer(&data[0])) != uintptr(at)+uintptr(outHeaderLen) {
		d.iov[0].Base = (*byte)(at)
		d.iov[0].SetLen(outHeaderLen)
		d.iov[1].Base = &data[0]
		d.iov[1].SetLen(len(data))
		trap, at, n = unix.SYS_WRITEV, unsafe.Pointer(&d.iov[0]), uintptr(len(d.iov))
	}
	for {
		_, _, errno := unix.Syscall(trap, uintptr(d.fd), uintptr(at), n)
		if errno == unix.EINTR {
			continue
		}
		runtime.KeepAlive(data) // the kernel may have read it behind h
		d.iov[1].Base = nil
		if errno != 0 {
			return errno
		}
		return nil
	}
}
