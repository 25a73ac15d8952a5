package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Image is an opened image: the Device that holds the file system, found
// inside the file. It implements HostRanger; ranges exist for plain files, for
// raw chunks of Android sparse images and for decompressed images that went to
// a temporary file. Opened with Options.Write it is a Writer, Discarder, Zeroer
// and VectorWriter, whose methods give ErrReadOnly otherwise (see AsWriter).
// All methods but Close are safe for concurrent use.
type Image struct {
	dev    Device // the file system
	writer Writer // the same, if it is open for writing; else nil
	disk   Device // without containers, with the partition table
	path   string
	file   *os.File
	direct *directFile // the same, past the page cache; may be nil
	claim  claim
	isDev  bool
	// unknown: nobody else can come by the file yet.
	unknown bool
	early   bool // see WriteEarly
	locked  bool
	store   io.Closer // of a decompressed image; may be nil
	names   []string
	choice  choice
}

var (
	_ Device     = (*Image)(nil)
	_ HostRanger = (*Image)(nil)
)

var errKindOfFile = errors.New("is neither a file nor a block device")

// Open is OpenContext without a way to cancel.
func Open(path string, o Options) (*Image, error) {
	return OpenContext(context.Background(), path, o)
}

// OpenContext opens the image file or block device at path, for reading or with
// Options.Write for both, locks it, undoes the containers it is in and finds
// the partition. Only the
// decompression of a container takes long: cancelling ctx ends it.
//
// Errors are *fs.PathError for what the system says, *BusyError,
// *FormatError, *UnsupportedError, *TooLargeError and *PartitionError, the
// last five inside a *fs.PathError with the operation "open".
func OpenContext(ctx context.Context, path string, o Options) (*Image, error) {
	// Opening a pipe would wait for its other end.
	if st, err := os.Stat(path); err == nil && st.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errKindOfFile}
	}
	f, claim, err := openFile(path, &o)
	if err != nil {
		return nil, err
	}
	m := &Image{path: path, file: f}
	m.claim.Store(claim)
	if err := m.open(ctx, &o); err != nil {
		m.Close()
		var pe *fs.PathError
		if errors.As(err, &pe) && pe.Path == path {
			return nil, err
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return m, nil
}

func (m *Image) open(ctx context.Context, o *Options) error {
	size, err := m.measure()
	if err != nil {
		return err
	}
	if !o.NoLock {
		if m.locked, err = lockImage(m.file, o.Exclusive || o.Write); err != nil {
			return err
		}
	}
	if o.Write {
		return m.openWriter(size, o)
	}
	var raw Device = &hostFile{f: m.file, size: size}
	if m.isDev {
		raw = newBlockDevice(m.file, size)
	}
	m.goDirect(raw, o)
	m.disk, m.names, m.store, err = undo(ctx, raw, o)
	if err != nil {
		return err
	}
	m.choice, err = choose(m.disk, o)
	if err != nil {
		return err
	}
	m.dev, err = NewWindow(m.disk, m.choice.off, m.choice.size)
	return err
}

// measure finds out what kind of file it is and how large.
func (m *Image) measure() (int64, error) {
	st, err := m.file.Stat()
	if err != nil {
		return 0, err
	}
	switch mode := st.Mode(); {
	case mode.IsRegular():
		return st.Size(), nil
	case mode.IsDir():
		return 0, errors.New("is a directory")
	case mode&fs.ModeDevice != 0:
		m.isDev = true
		size, err := deviceSize(m.file)
		if err != nil {
			return 0, fmt.Errorf("size of the device: %w", err)
		}
		return size, nil
	}
	return 0, errKindOfFile
}

// ReadAt reads the file system's bytes.
func (m *Image) ReadAt(p []byte, off int64) (int, error) { return m.dev.ReadAt(p, off) }

// Size is the size of the partition, or of the image if that is one file
// system. For a partition that is cut off it is what there is.
func (m *Image) Size() int64 { return m.dev.Size() }

// HostRange maps bytes of the file system to a file, as HostRanger says. The
// content of an image that is written to may change at any time.
func (m *Image) HostRange(off, n int64) (*os.File, int64, int64) {
	if h, ok := m.dev.(HostRanger); ok {
		return h.HostRange(off, n)
	}
	return nil, 0, 0
}

// Path is the path as it was given to Open.
func (m *Image) Path() string { return m.path }

// Containers names the containers that were undone, the outermost first:
// "gzip", "zstd", "xz", "Android sparse". It is empty for a plain image.
func (m *Image) Containers() []string { return m.names }

// BlockDevice reports that the image is a device of the host, not a file.
func (m *Image) BlockDevice() bool { return m.isDev }

// Locked reports that Open got its lock: it does not with Options.NoLock, nor
// where the file's file system has no locks.
func (m *Image) Locked() bool { return m.locked }

// Disk is what lies around the file system: all of the image, without its
// containers. Partitions reads its table. It is a Writer if the image is one.
func (m *Image) Disk() Device { return m.disk }

// Offset is where in Disk the file system starts.
func (m *Image) Offset() int64 { return m.choice.off }

// Partition is the partition that was chosen; false if it is the whole image,
// or an offset at which none starts.
func (m *Image) Partition() (Partition, bool) {
	if m.choice.part == nil {
		return Partition{}, false
	}
	return *m.choice.part, true
}

// InUse says who on this host has the image open in a way that no lock tells:
// the kernel, which mounted it or attached it to a loop device. It is a
// snapshot, for a warning: the content may change while it is read if a use is
// not read-only. Empty where the system does not tell (it does on Linux, for
// what this process's mount namespace shows).
func (m *Image) InUse() []Use { return inUse(m.file, m.isDev) }

// Use is one way in which the kernel has an image open.
type Use struct {
	Device   string // "/dev/loop0", "/dev/sda1", "dm-0"
	Mount    string // where that is mounted, or "" if it is only attached
	Type     string // of the mounted file system
	ReadOnly bool
}

// String is the use in one line for people.
func (u Use) String() string {
	mode := "read-write"
	if u.ReadOnly {
		mode = "read-only"
	}
	if u.Mount == "" {
		return fmt.Sprintf("attached as %s, %s", u.Device, mode)
	}
	return fmt.Sprintf("%s is mounted on %s as %s, %s", u.Device, u.Mount, u.Type, mode)
}

// Close closes the file, drops the lock and removes temporary files. Reads
// and writes fail from then on. It does not Sync.
func (m *Image) Close() error {
	var err error
	if d, ok := m.disk.(interface{ drain() error }); ok {
		err = d.drain()
	}
	if m.store != nil {
		err = errors.Join(err, m.store.Close())
	}
	if m.locked {
		unlockImage(m.file)
	}
	if m.direct != nil {
		err = errors.Join(err, m.direct.close())
	}
	return errors.Join(err, m.file.Close(), m.Yield())
}
