package device

import (
	"errors"
	"io/fs"
	"os"
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
		return newBlockWriter(m.file, size)
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
