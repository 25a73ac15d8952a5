package device

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

var (
	_ Writer       = (*Image)(nil)
	_ Discarder    = (*Image)(nil)
	_ Zeroer       = (*Image)(nil)
	_ VectorWriter = (*Image)(nil)
	_ SyncWriter   = (*Image)(nil)
	_ Refresher    = (*Image)(nil)
)

// openFile opens the file as the options ask for. A block device is opened so
// that the kernel keeps out mounts, its own included.
func openFile(path string, o *Options) (*os.File, error) {
	if !o.Write {
		return os.Open(path)
	}
	flags := os.O_RDWR
	st, err := os.Stat(path)
	if err == nil && !o.NoLock && st.Mode()&fs.ModeDevice != 0 && st.Mode()&fs.ModeCharDevice == 0 {
		flags |= openExclusive
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil && flags&openExclusive != 0 && errors.Is(err, syscall.EBUSY) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: busyDevice(path)}
	}
	return f, err
}

// busyDevice says who has a block device that could not be opened.
func busyDevice(path string) error {
	busy := &BusyError{Path: path}
	f, err := os.Open(path)
	if err != nil {
		return busy
	}
	defer f.Close()
	busy.Uses = inUse(f, true)
	return busy
}

// openWriter is the rest of open for an image that is to be written to.
func (m *Image) openWriter(size int64, o *Options) error {
	if uses := conflicts(m.InUse()); len(uses) > 0 && !o.NoLock {
		return &BusyError{Path: m.path, Uses: uses}
	}
	var disk Writer
	if m.isDev {
		disk = newBlockWriter(m.file, size)
	} else {
		disk = newHostWriter(m.file, size, 0)
	}
	if !o.NoContainers {
		if c := recognise(disk); c != nil {
			return &UnsupportedError{Format: c.name, Detail: "writing to an image inside this container"}
		}
	}
	if o.WriteBehind && canBehind {
		switch d := disk.(type) {
		case *hostWriter:
			disk = newBehind(d)
		case blockWriter:
			disk = blockBehind{newBehind(d.hostWriter)}
		}
	}
	m.disk = disk
	var err error
	if m.choice, err = choose(disk, o); err != nil {
		return err
	}
	m.writer, err = NewWriterWindow(disk, m.choice.off, m.choice.size)
	m.dev = m.writer
	return err
}

// conflicts are the uses that do not go together with writing. A device that
// is attached for reading keeps nothing of its own; a mount, even a read-only
// one, believes in what it has read.
func conflicts(uses []Use) []Use {
	var bad []Use
	for _, u := range uses {
		if u.Mount != "" || !u.ReadOnly {
			bad = append(bad, u)
		}
	}
	return bad
}

// Writable reports that the image was opened with Options.Write.
func (m *Image) Writable() bool { return m.writer != nil }

// WriteAt writes the file system's bytes. What does not fit is a *RangeError.
func (m *Image) WriteAt(p []byte, off int64) (int, error) {
	if m.writer == nil {
		return 0, m.readOnly("write")
	}
	return m.writer.WriteAt(p, off)
}

// WriteVAt is WriteAt of several buffers: few calls of the system on Linux.
func (m *Image) WriteVAt(bufs [][]byte, off int64) (int, error) {
	if m.writer == nil {
		return 0, m.readOnly("write")
	}
	return writeV(m.writer, bufs, off)
}

// WriteSyncAt is WriteAt that returns when the write is durable.
func (m *Image) WriteSyncAt(p []byte, off int64) (int, error) {
	if m.writer == nil {
		return 0, m.readOnly("write")
	}
	if err := WriteSync(m.writer, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Refresh makes the next read of a range ask the disk, where the host keeps a
// copy and can drop it: on Linux, of images open for writing.
func (m *Image) Refresh(off, n int64) error {
	if m.writer == nil {
		return nil
	}
	return Refresh(m.writer, off, n)
}

// Sync makes everything durable that was written. Once it fails it always
// does.
func (m *Image) Sync() error {
	if m.writer == nil {
		return m.readOnly("sync")
	}
	return m.writer.Sync()
}

// Discard gives the space of a range back to the host, where that is possible:
// holes in files, and what block devices know, on Linux.
func (m *Image) Discard(off, n int64) error {
	if m.writer == nil {
		return m.readOnly("discard")
	}
	return Discard(m.writer, off, n)
}

// Zero makes a range read as zeros: as a hole where the host knows them.
func (m *Image) Zero(off, n int64) error {
	if m.writer == nil {
		return m.readOnly("zero")
	}
	return Zero(m.writer, off, n)
}

func (m *Image) readOnly(op string) error {
	return &fs.PathError{Op: op, Path: m.path, Err: ErrReadOnly}
}
