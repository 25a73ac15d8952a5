package device

import (
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Writer is a device that can be changed. WriteAt follows io.WriterAt; a write
// that does not fit is an error and changes nothing beyond the end. What was
// written is seen by every ReadAt that starts afterwards.
//
// It is safe for concurrent use. What lies where two writes overlap that run at
// the same time is either's, byte by byte; so it is with a read during a write.
type Writer interface {
	Device
	io.WriterAt
	// Sync returns when everything written before it is durable. Once it
	// has failed for a host file it fails for ever: the host may have
	// dropped what it could not write, and would call the next try a
	// success.
	Sync() error
}

// Discarder is implemented by devices that can give back the space of a range
// whose content does not matter any more. What it reads as afterwards is
// undefined. Without support in the host it does nothing.
type Discarder interface {
	Discard(off, n int64) error
}

// Zeroer is implemented by devices that can make a range read as zeros without
// being sent them.
type Zeroer interface {
	Zero(off, n int64) error
}

// VectorWriter is implemented by devices that take several buffers for one
// run of bytes at once. Like WriteAt it gives an error when it wrote less than
// all, and does not keep or change bufs.
type VectorWriter interface {
	WriteVAt(bufs [][]byte, off int64) (int, error)
}

// SyncWriter is implemented by devices that make one write durable without
// waiting for others. It is WriteAt, but that p is durable when it returns.
type SyncWriter interface {
	WriteSyncAt(p []byte, off int64) (int, error)
}

// Refresher is implemented by devices that keep a copy of what somebody beyond
// this host may change, on a shared disk: Refresh drops the copy of a range, and
// the next read asks the disk.
type Refresher interface {
	Refresh(off, n int64) error
}

// AsWriter is d as a Writer, and false if d cannot be written to. A plain
// type assertion would take an Image for a Writer that was opened for reading.
func AsWriter(d Device) (Writer, bool) {
	if v, ok := d.(interface{ Writable() bool }); ok && !v.Writable() {
		return nil, false
	}
	w, ok := d.(Writer)
	return w, ok
}

// ErrReadOnly says that the image was not opened for writing. It matches
// syscall.EROFS and fs.ErrPermission.
var ErrReadOnly = disk.NewKind("image is open for reading only", fs.ErrPermission, syscall.EROFS)

// RangeError says that a write, a range to discard or to zero, or a window does
// not lie inside the device. Nothing was changed. It matches fs.ErrInvalid and
// syscall.EINVAL.
type RangeError struct {
	Op           string // "write", "discard", "zero", "refresh", "window"
	Off, N, Size int64  // bytes
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("%s of %d bytes at %d is not inside the device of %d bytes", e.Op, e.N, e.Off, e.Size)
}

// Is reports whether target is fs.ErrInvalid or syscall.EINVAL.
func (e *RangeError) Is(target error) bool {
	return target == fs.ErrInvalid || target == error(syscall.EINVAL)
}

// inside checks that n bytes at off lie in a device of that size.
func inside(op string, off, n, size int64) error {
	if off < 0 || n < 0 || off > size || n > size-off {
		return &RangeError{Op: op, Off: off, N: n, Size: size}
	}
	return nil
}

// total is the number of bytes in bufs.
func total(bufs [][]byte) int64 {
	n := int64(0)
	for _, b := range bufs {
		n += int64(len(b))
	}
	return n
}

const (
	// gatherSize is how much is copied together for a device that takes one
	// buffer at a time.
	gatherSize = 256 << 10
	// gatherMax is the largest buffer worth copying: longer ones make a
	// write of their own.
	gatherMax = 64 << 10
)

var gatherBuffers = sync.Pool{New: func() any {
	b := make([]byte, gatherSize)
	return &b
}}

// WriteV writes all of bufs, one after the other, from off on. It is one call
// of a VectorWriter; for other devices small buffers are copied together first.
// bufs and what it holds are only read. After an error any part may have been
// written.
func WriteV(w Writer, bufs [][]byte, off int64) error {
	_, err := writeV(w, bufs, off)
	return err
}

func writeV(w Writer, bufs [][]byte, off int64) (int, error) {
	v, ok := w.(VectorWriter)
	if !ok {
		if err := inside("write", off, total(bufs), w.Size()); err != nil {
			return 0, err
		}
		return gather(w, bufs, off)
	}
	n, err := v.WriteVAt(bufs, off)
	if err == nil && int64(n) < total(bufs) {
		err = io.ErrShortWrite
	}
	return n, err
}

// gather writes bufs in pieces and returns how much it wrote.
func gather(w io.WriterAt, bufs [][]byte, off int64) (int, error) {
	scratch := gatherBuffers.Get().(*[]byte)
	defer gatherBuffers.Put(scratch)
	buf, held, done := *scratch, 0, 0
	put := func(p []byte) error {
		n, err := w.WriteAt(p, off+int64(done))
		done += n
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	}
	for _, b := range bufs {
		if held > 0 && (held+len(b) > len(buf) || len(b) > gatherMax) {
			if err := put(buf[:held]); err != nil {
				return done, err
			}
			held = 0
		}
		if len(b) > gatherMax {
			if err := put(b); err != nil {
				return done, err
			}
			continue
		}
		held += copy(buf[held:], b)
	}
	if held > 0 {
		if err := put(buf[:held]); err != nil {
			return done, err
		}
	}
	return done, nil
}

// WriteSync writes p at off and makes it durable, alone if w is a SyncWriter,
// else with everything else.
func WriteSync(w Writer, p []byte, off int64) error {
	var n int
	var err error
	sw, alone := w.(SyncWriter)
	if alone {
		n, err = sw.WriteSyncAt(p, off)
	} else {
		n, err = w.WriteAt(p, off)
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err == nil && !alone {
		err = w.Sync()
	}
	return err
}

// Refresh makes the next read of n bytes at off ask the disk, if d keeps a copy
// and can.
func Refresh(d Device, off, n int64) error {
	if r, ok := d.(Refresher); ok {
		return r.Refresh(off, n)
	}
	return nil
}

// Zero makes n bytes at off read as zeros: by the device itself if it is a
// Zeroer, else by writing them.
func Zero(w Writer, off, n int64) error {
	if z, ok := w.(Zeroer); ok {
		return z.Zero(off, n)
	}
	if err := inside("zero", off, n, w.Size()); err != nil {
		return err
	}
	return writeZeros(w, off, n)
}

// Discard gives back the space of n bytes at off if w is a Discarder.
func Discard(w Writer, off, n int64) error {
	if d, ok := w.(Discarder); ok {
		return d.Discard(off, n)
	}
	return nil
}

// zeroRun is what is written as zeros; it is never changed.
var zeroRun [256 << 10]byte

func writeZeros(w io.WriterAt, off, n int64) error {
	for n > 0 {
		k, err := w.WriteAt(zeroRun[:min(n, int64(len(zeroRun)))], off)
		if err != nil {
			return err
		}
		if k <= 0 {
			return io.ErrShortWrite
		}
		off += int64(k)
		n -= int64(k)
	}
	return nil
}
