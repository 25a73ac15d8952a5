package device

import (
	"io"
	"sync"
)

// readerWriterAt is a raw device.
type readerWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// alignedWriter writes a raw device in whole units of sectors: a unit of which
// only a part changes is read first.
type alignedWriter struct {
	aligned
	w    readerWriterAt
	sync func() error

	// mu is held while a part of a unit changes: two writes to different
	// parts of it must not undo each other.
	mu     sync.Mutex
	broken error // the first error of Sync; guarded by mu
}

var _ Writer = (*alignedWriter)(nil)

// syncer is what os.File has.
type syncer interface{ Sync() error }

func newAlignedWriter(w readerWriterAt, size int64) *alignedWriter {
	a := &alignedWriter{aligned: aligned{r: w, size: size}, w: w}
	if s, ok := w.(syncer); ok {
		a.sync = s.Sync
	}
	return a
}

// WriteAt passes whole units on.
func (a *alignedWriter) WriteAt(p []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(p)), a.size); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		rest := p[done:]
		var n int
		var err error
		if whole := len(rest) &^ (alignment - 1); at%alignment == 0 && whole > 0 {
			n, err = a.w.WriteAt(rest[:whole], at)
		} else {
			n, err = a.part(rest[:min(len(rest), alignment-int(at%alignment))], at)
		}
		done += n
		if err != nil {
			return done, err
		}
		if n == 0 {
			return done, io.ErrShortWrite
		}
	}
	return done, nil
}

// part changes bytes of one unit. The last one of a disk may be shorter.
func (a *alignedWriter) part(p []byte, off int64) (int, error) {
	buf := alignedScratch.Get().(*[]byte)
	defer alignedScratch.Put(buf)
	start := off &^ (alignment - 1)
	unit := (*buf)[:min(alignment, a.size-start)]
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, err := a.w.ReadAt(unit, start); n < len(unit) {
		return 0, unexpected(err)
	}
	copy(unit[off-start:], p)
	if n, err := a.w.WriteAt(unit, start); n < len(unit) {
		if err == nil {
			err = io.ErrShortWrite
		}
		return 0, err
	}
	return len(p), nil
}

// Sync flushes the device.
func (a *alignedWriter) Sync() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken == nil && a.sync != nil {
		a.broken = a.sync()
	}
	return a.broken
}
