package device

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
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

// openFile opens the file as the options ask for. A block device is claimed as
// well.
func openFile(path string, o *Options) (f, claim *os.File, err error) {
	if !o.Write {
		f, err = os.Open(path)
		return f, nil, err
	}
	st, err := os.Stat(path)
	if err == nil && !o.NoLock && st.Mode()&fs.ModeDevice != 0 && st.Mode()&fs.ModeCharDevice == 0 && openExclusive != 0 {
		if claim, err = claimDevice(path); err != nil {
			return nil, nil, err
		}
	}
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil && claim != nil {
		claim.Close()
	}
	return f, claim, err
}

// A claim keeps a block device for us; nil without. What the device alone can do
// (discard, zero) goes by it: Linux refuses that to others while one is there.
type claim struct{ atomic.Pointer[os.File] }

// claimDevice opens a block device so that the kernel keeps out mounts, its own
// included, as long as it is open.
func claimDevice(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|openExclusive, 0)
	if errors.Is(err, syscall.EBUSY) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: busyDevice(path)}
	}
	return f, err
}

// Claimed reports that the image is a block device which the kernel lets nobody
// mount until Close.
func (m *Image) Claimed() bool { return m.claim.Load() != nil }

// Yield lets others mount a block device that is claimed; the lock stays. It is
// for who is about to mount it himself.
func (m *Image) Yield() error {
	if f := m.claim.Swap(nil); f != nil {
		return f.Close()
	}
	return nil
}

// Reclaim undoes Yield. A *BusyError says that somebody else was faster.
func (m *Image) Reclaim() error {
	if m.claim.Load() != nil {
		return nil
	}
	f, err := claimDevice(m.path)
	if err == nil {
		m.claim.Store(f)
	}
	return err
}

// heldBy says that a process has a file, if one is known.
func heldBy(f *os.File, pid int) *BusyError {
	return &BusyError{Path: f.Name(), Holder: processName(pid), PID: pid}
}

// busyDevice says who has a block device that could not be opened.
func busyDevice(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &BusyError{Path: path}
	}
	defer f.Close()
	if uses := inUse(f, true); len(uses) > 0 {
		return &BusyError{Path: path, Uses: uses}
	}
	return heldBy(f, flockHolder(f))
}

// openWriter is the rest of open for an image that is to be written to.
func (m *Image) openWriter(size int64, o *Options) error {
	if uses := conflicts(m.InUse()); len(uses) > 0 && !o.NoLock {
		return &BusyError{Path: m.path, Uses: uses}
	}
	if m.isDev && readOnlyDevice(m.file) {
		return &fs.PathError{Op: "open", Path: m.path, Err: syscall.EROFS} // open(2) lets it pass
	}
	var disk Writer
	if m.isDev {
		disk = newBlockWriter(m.file, &m.claim, size)
	} else {
		disk = newHostWriter(m.file, size, 0)
	}
	m.goDirect(disk, o)
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
