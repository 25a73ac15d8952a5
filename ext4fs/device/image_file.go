package device

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
)

// FromFile makes an Image, a Writer, of a file that is open for reading and
// writing: all of it, whatever it holds, and without a lock. It is for files
// that are being made and that nobody else knows: in what order things get to
// the disk does not matter then, and Sync does nothing. Who makes the file known
// syncs f before. Close closes f.
func FromFile(f *os.File) (*Image, error) {
	m := &Image{path: f.Name(), file: f, unknown: true}
	size, err := m.measure()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.Name(), Err: err}
	}
	m.whole(m.fileWriter(size))
	return m, nil
}

// fileWriter is the file as a Writer of that size.
func (m *Image) fileWriter(size int64) Writer {
	switch h := newHostWriter(m.file, size, 0); {
	case m.isDev:
		return newBlockWriter(m.file, &m.claim, size)
	case m.unknown && m.early:
		e := &early{unsynced: unsynced{h}}
		e.fresh.Store(earlyBytes - earlyStart)
		return e
	case m.unknown:
		return unsynced{h}
	default:
		return h
	}
}

// unsynced is a file that nobody looks at yet.
type unsynced struct{ *hostWriter }

// Sync does nothing.
func (unsynced) Sync() error { return nil }

// WriteEarly has the host begin with bringing to the disk what is written from
// now on, every few megabytes, so that who syncs a file of FromFile in the end
// waits for less. Without it, all of that is left to the host, which is right
// for files that are read again and removed. To other images it does nothing.
func (m *Image) WriteEarly() {
	if m.unknown && !m.isDev && !m.early {
		m.early = true
		m.whole(m.fileWriter(m.writer.Size()))
	}
}

// The host is told to begin after every earlyBytes, but not before earlyStart:
// so little is on the disk as soon if the host gets it all at once.
const (
	earlyBytes = 4 << 20
	earlyStart = 32 << 20
)

// early is an unsynced file that will be synced.
type early struct {
	unsynced
	fresh atomic.Int64 // bytes that the host was not told to begin with
}

var (
	_ Writer       = (*early)(nil)
	_ Discarder    = (*early)(nil)
	_ Zeroer       = (*early)(nil)
	_ VectorWriter = (*early)(nil)
	_ HostCopier   = (*early)(nil)
)

func (e *early) wrote(n int64) {
	if n <= 0 || e.fresh.Add(n) < earlyBytes {
		return
	}
	if e.fresh.Swap(0) >= earlyBytes {
		startWriting(e.f, 0, 0) // to the end
	}
}

// WriteAt writes and counts.
func (e *early) WriteAt(p []byte, off int64) (int, error) {
	n, err := e.unsynced.WriteAt(p, off)
	e.wrote(int64(n))
	return n, err
}

// WriteVAt writes and counts.
func (e *early) WriteVAt(bufs [][]byte, off int64) (int, error) {
	n, err := e.unsynced.WriteVAt(bufs, off)
	e.wrote(int64(n))
	return n, err
}

// CopyHostAt copies and counts.
func (e *early) CopyHostAt(f *os.File, from, off, n int64) (int64, error) {
	n, err := e.unsynced.CopyHostAt(f, from, off, n)
	e.wrote(n)
	return n, err
}

// Truncate makes an image file, opened for writing as a whole, longer or
// shorter. Nobody may use the image meanwhile, nor what came of it before (Disk,
// windows) afterwards. A block device cannot change: errors.ErrUnsupported.
func (m *Image) Truncate(size int64) error {
	switch {
	case m.writer == nil:
		return m.readOnly("truncate")
	case m.isDev || m.choice.off != 0 || m.choice.part != nil:
		return &fs.PathError{Op: "truncate", Path: m.path, Err: errors.ErrUnsupported}
	}
	if err := m.file.Truncate(size); err != nil {
		return err
	}
	m.whole(m.fileWriter(size))
	return nil
}

// whole makes the image all of a disk.
func (m *Image) whole(disk Writer) {
	m.disk, m.dev, m.writer, m.choice = disk, disk, disk, choice{size: disk.Size()}
}
