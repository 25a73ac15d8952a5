package device

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Device is a readable run of bytes with a fixed size. ReadAt follows
// io.ReaderAt. It is safe for concurrent use.
type Device interface {
	io.ReaderAt
	// Size is the number of bytes; reading there gives io.EOF.
	Size() int64
}

// HostRanger is implemented by devices whose bytes lie unchanged in a file of
// the host, so that they can be copied inside the kernel.
type HostRanger interface {
	// HostRange maps the n bytes at off to a host file: the first length
	// bytes of them (length <= n) lie at fileOff of f. A nil f says that
	// there is no such mapping at off, and then length is 0. The file stays
	// open as long as the device does; it must only be read, by offset.
	// Where the device is written to, the bytes there change with it: who
	// copies them keeps writers away from that range.
	HostRange(off, n int64) (f *os.File, fileOff, length int64)
}

var errNegativeOffset = errors.New("negative offset")

// NewMemory is a device over b, which it does not copy: the bytes must not
// change while they are read. Reads take no lock.
func NewMemory(b []byte) Device { return memory(b) }

type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	if off >= int64(len(m)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// NewReaderAt is a device over the first size bytes of r. It is as safe for
// concurrent use as r is. If r is a Device of no more than size bytes, r
// itself is returned.
func NewReaderAt(r io.ReaderAt, size int64) Device {
	size = max(size, 0)
	if d, ok := r.(Device); ok && d.Size() <= size {
		return d
	}
	return &window{r: r, size: size}
}

// NewWindow is the part of d that starts at off and has size bytes. It is an
// error if it does not lie inside d. A window over a HostRanger is one.
func NewWindow(d Device, off, size int64) (Device, error) {
	whole := d.Size()
	if off < 0 || size < 0 || off > whole || size > whole-off {
		return nil, fmt.Errorf("window of %d bytes at %d is not inside the device of %d bytes", size, off, whole)
	}
	if off == 0 && size == whole {
		return d, nil
	}
	// A window over a window is one step, not two.
	if w, ok := d.(*window); ok && off <= math.MaxInt64-w.off {
		return &window{r: w.r, off: w.off + off, size: size}, nil
	}
	return &window{r: d, off: off, size: size}, nil
}

// window is size bytes of r from off on.
type window struct {
	r         io.ReaderAt
	off, size int64
}

func (w *window) Size() int64 { return w.size }

func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	if off >= w.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	if rest := w.size - off; int64(len(p)) > rest {
		n, err := w.r.ReadAt(p[:rest], w.off+off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return w.r.ReadAt(p, w.off+off)
}

// HostRange asks the device below.
func (w *window) HostRange(off, n int64) (*os.File, int64, int64) {
	h, ok := w.r.(HostRanger)
	if !ok || off < 0 || n <= 0 || off >= w.size {
		return nil, 0, 0
	}
	return h.HostRange(w.off+off, min(n, w.size-off))
}

// hostFile is the first size bytes of an open file or block device.
type hostFile struct {
	f      *os.File
	size   int64
	direct *directFile // past the page cache; nil: nothing is
}

func (h *hostFile) Size() int64 { return h.size }

// ReadAt ends at size even if the file has grown since.
func (h *hostFile) ReadAt(p []byte, off int64) (int, error) {
	if off > h.size-int64(len(p)) {
		return (&window{r: h.f, size: h.size}).ReadAt(p, off)
	}
	if h.direct == nil {
		return h.f.ReadAt(p, off)
	}
	done := h.direct.readAt(p, off)
	if done == len(p) {
		return done, nil
	}
	n, err := h.f.ReadAt(p[done:], off+int64(done))
	return done + n, err
}

// HostRange says that every byte lies in the file at its own offset.
func (h *hostFile) HostRange(off, n int64) (*os.File, int64, int64) {
	if off < 0 || n <= 0 || off >= h.size {
		return nil, 0, 0
	}
	return h.f, off, min(n, h.size-off)
}
