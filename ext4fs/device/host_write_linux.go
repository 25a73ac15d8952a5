package device

import (
	"errors"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openExclusive makes the kernel refuse to open a block device that it has
// mounted itself or that somebody else opened so, and to mount it while it is
// open.
const openExclusive = unix.O_EXCL

// vectorMax is how many buffers one call takes, IOV_MAX.
const vectorMax = 1024

// control calls f with the descriptor, which stays open meanwhile. The error of
// f names the file; f is called again if it was interrupted.
func control(file *os.File, op string, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = f(int(fd)); failed != unix.EINTR {
				break
			}
		}
	})
	if err != nil {
		failed = os.ErrClosed // the one reason there is
	}
	if failed != nil {
		return &os.PathError{Op: op, Path: file.Name(), Err: failed}
	}
	return nil
}

func syncFile(f *os.File) error { return control(f, "fdatasync", unix.Fdatasync) }

// writeVector writes with pwritev, which may take less than it is given: the
// rest of a buffer goes out by itself then.
func writeVector(f *os.File, bufs [][]byte, off int64) (int, error) {
	done := 0
	for i := 0; i < len(bufs); {
		if len(bufs[i]) == 0 {
			i++
			continue
		}
		n := 0
		err := control(f, "pwritev", func(fd int) (err error) {
			n, err = unix.Pwritev(fd, bufs[i:min(i+vectorMax, len(bufs))], off+int64(done))
			return err
		})
		if err != nil {
			return done, err
		}
		if n <= 0 {
			return done, &os.PathError{Op: "pwritev", Path: f.Name(), Err: io.ErrShortWrite}
		}
		done += n
		for i < len(bufs) && n >= len(bufs[i]) {
			n -= len(bufs[i])
			i++
		}
		if n > 0 {
			k, err := f.WriteAt(bufs[i][n:], off+int64(done))
			done += k
			if err != nil {
				return done, err
			}
			i++
		}
	}
	return done, nil
}

// writeDurable asks the kernel to write through. Where it cannot, everything is
// flushed.
func (h *hostWriter) writeDurable(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n := 0
		err := control(h.f, "pwritev2", func(fd int) (err error) {
			n, err = unix.Pwritev2(fd, [][]byte{p[done:]}, off+int64(done), unix.RWF_DSYNC)
			return err
		})
		switch {
		case unsupported(err):
			if n, err := h.f.WriteAt(p, off); err != nil {
				return n, err
			}
			return len(p), syncFile(h.f)
		case err != nil:
			return done, err
		case n <= 0:
			return done, &os.PathError{Op: "pwritev2", Path: h.f.Name(), Err: io.ErrShortWrite}
		}
		done += n
	}
	return done, nil
}

// refreshFile drops clean pages, whole ones, from the page cache. Pages that
// this host changed stay: nobody knows better.
func refreshFile(f *os.File, off, n int64) error {
	page := int64(os.Getpagesize())
	from := off / page * page
	to := (off + n + page - 1) / page * page
	return control(f, "fadvise", func(fd int) error {
		return unix.Fadvise(fd, from, to-from, unix.FADV_DONTNEED)
	})
}

// unsupported is what the kernel says where a file system or a device has no
// such operation.
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENODEV)
}

// discard punches a hole into a file, or tells a device. Devices refuse what
// they cannot do in several ways, and it is only a hint.
func (h *hostWriter) discard(off, n int64) error {
	if h.noPunch.Load() {
		return nil
	}
	var err error
	if h.sector > 0 {
		err = control(h.owner(), "discard", func(fd int) error {
			arg := [2]uint64{uint64(off), uint64(n)}
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&arg)))
			if errno != 0 {
				return errno
			}
			return nil
		})
	} else {
		err = h.fallocate("discard", unix.FALLOC_FL_PUNCH_HOLE, off, n)
	}
	if unsupported(err) || h.sector > 0 && errors.Is(err, unix.EINVAL) {
		h.noPunch.Store(true)
		return nil
	}
	return err
}

// zeroRange zeroes without sending zeros; false if the host cannot. A hole
// comes first, so that a sparse image stays one.
func (h *hostWriter) zeroRange(off, n int64) (bool, error) {
	if h.noZero.Load() {
		return false, nil
	}
	err := h.fallocate("zero", unix.FALLOC_FL_PUNCH_HOLE, off, n)
	if unsupported(err) {
		err = h.fallocate("zero", unix.FALLOC_FL_ZERO_RANGE, off, n)
	}
	if unsupported(err) {
		h.noZero.Store(true)
		return false, nil
	}
	if h.sector > 0 && errors.Is(err, unix.EBUSY) {
		return false, nil // the kernel keeps it, see Yield
	}
	return err == nil, err
}

// owner is the file by which the device's own operations go.
func (h *hostWriter) owner() *os.File {
	if h.claim != nil {
		if f := h.claim.Load(); f != nil {
			return f
		}
	}
	return h.f
}

func (h *hostWriter) fallocate(op string, mode uint32, off, n int64) error {
	return control(h.owner(), op, func(fd int) error {
		return unix.Fallocate(fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// readOnlyDevice reports whether a block device is write-protected.
func readOnlyDevice(f *os.File) bool {
	ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	return err == nil && ro != 0
}

// newBlockWriter is a block device: through the page cache it takes bytes at
// any place.
func newBlockWriter(f *os.File, c *claim, size int64) Writer {
	sector, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil || sector <= 0 {
		sector = 512
	}
	h := newHostWriter(f, size, sector)
	h.claim = c
	return blockWriter{h}
}
