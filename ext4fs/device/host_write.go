package device

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
)

// hostWriter is the first size bytes of a file that is open for writing, or a
// block device where those take bytes at any place.
type hostWriter struct {
	hostFile
	sector int    // bytes, of a block device; 0 for a file
	claim  *claim // of a block device
	// broken is the first error of Sync.
	broken atomic.Pointer[error]
	// noPunch and noZero: the host's file system refused it once.
	noPunch, noZero atomic.Bool
}

var (
	_ Writer       = (*hostWriter)(nil)
	_ Discarder    = (*hostWriter)(nil)
	_ Zeroer       = (*hostWriter)(nil)
	_ VectorWriter = (*hostWriter)(nil)
	_ SyncWriter   = (*hostWriter)(nil)
	_ Refresher    = (*hostWriter)(nil)
)

// newHostWriter is a file, with the sector size 0, or a block device.
func newHostWriter(f *os.File, size int64, sector int) *hostWriter {
	return &hostWriter{hostFile: hostFile{f: f, size: size}, sector: sector}
}

// WriteAt never makes the file longer.
func (h *hostWriter) WriteAt(p []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(p)), h.size); err != nil {
		return 0, err
	}
	if !h.direct.writes() {
		return h.f.WriteAt(p, off)
	}
	done, err := h.direct.writeAt(p, off)
	if err != nil || done == len(p) {
		return done, err
	}
	n, err := h.f.WriteAt(p[done:], off+int64(done))
	return done + n, err
}

// WriteVAt writes several buffers in as few calls of the system as it allows.
func (h *hostWriter) WriteVAt(bufs [][]byte, off int64) (int, error) {
	if err := inside("write", off, total(bufs), h.size); err != nil {
		return 0, err
	}
	if !h.direct.writes() {
		return writeVector(h.f, bufs, off)
	}
	done := 0
	for _, b := range bufs {
		n, err := h.WriteAt(b, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Sync makes the content and the places of the content durable.
func (h *hostWriter) Sync() error {
	if err := h.broken.Load(); err != nil {
		return *err
	}
	return h.durable(syncFile(h.f))
}

// durable notes a failure to make something durable. A file that has become
// shorter meanwhile has lost something.
func (h *hostWriter) durable(err error) error {
	if err == nil {
		err = h.complete()
	}
	if err != nil {
		h.broken.CompareAndSwap(nil, &err)
	}
	return err
}

// complete fails if somebody has cut the file off under us.
func (h *hostWriter) complete() error {
	if h.sector > 0 {
		return nil
	}
	st, err := h.f.Stat()
	if err == nil && st.Size() < h.size {
		err = &fs.PathError{Op: "sync", Path: h.f.Name(), Err: fmt.Errorf("has become shorter, %d bytes of %d: %w", st.Size(), h.size, io.ErrUnexpectedEOF)}
	}
	return err
}

// WriteSyncAt makes this one write durable.
func (h *hostWriter) WriteSyncAt(p []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(p)), h.size); err != nil {
		return 0, err
	}
	if err := h.broken.Load(); err != nil {
		return 0, *err
	}
	n, err := h.writeDurable(p, off)
	return n, h.durable(err)
}

// Refresh lets the host forget what it has read.
func (h *hostWriter) Refresh(off, n int64) error {
	if err := inside("refresh", off, n, h.size); err != nil {
		return err
	}
	return refreshFile(h.f, off, n)
}

// Discard gives space back to the host.
func (h *hostWriter) Discard(off, n int64) error {
	if err := inside("discard", off, n, h.size); err != nil {
		return err
	}
	off, n = h.whole(off, n)
	if n == 0 {
		return nil
	}
	return h.discard(off, n)
}

// Zero makes a hole if the host knows holes; else it writes zeros.
func (h *hostWriter) Zero(off, n int64) error {
	if err := inside("zero", off, n, h.size); err != nil {
		return err
	}
	at, k := h.whole(off, n)
	if k == 0 {
		return writeZeros(h, off, n)
	}
	if err := writeZeros(h, off, at-off); err != nil {
		return err
	}
	done, err := h.zeroRange(at, k)
	if err == nil && !done {
		err = writeZeros(h, at, k)
	}
	if err != nil {
		return err
	}
	return writeZeros(h, at+k, off+n-at-k)
}

// whole is the part of a range that has whole sectors of a block device.
func (h *hostWriter) whole(off, n int64) (int64, int64) {
	s := int64(h.sector)
	if s <= 1 {
		return off, n
	}
	from := (off + s - 1) / s * s
	to := (off + n) / s * s
	return from, max(to-from, 0)
}

// blockWriter is a hostWriter that tells its sector size to those who look for
// partitions.
type blockWriter struct{ *hostWriter }

func (b blockWriter) sectorSize() int { return b.sector }
