package device

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// overlayState is what the file is in the middle of.
type overlayState uint32

const (
	overlayOpen       overlayState = iota // in use, or left by a crash
	overlayClean                          // closed in good order
	overlayCommitting                     // the base is being changed
	overlayCommitted                      // the base has all of it
)

const (
	overlayMagic    = "e4kitovl"
	overlayVersion  = 1
	overlaySuperOff = 128 // in the header page
)

// overlayHeader is frame 0 of an overlay file.
type overlayHeader struct {
	state overlayState
	size  int64 // of the base, bytes
	// offset is where the base starts in its disk image.
	offset int64
	// modified is the time of the last change of the base's file, in
	// nanoseconds since 1970; 0 if it has none.
	modified int64
	// sum is that of all sequence numbers of the index, when it is clean.
	sum uint64
	// super is the base's superblock, all zeros if there is no room for one.
	super [superSize]byte
}

func (h *overlayHeader) encode() []byte {
	b := make([]byte, overlayPage)
	copy(b[16:], overlayMagic)
	le.PutUint32(b[24:], overlayVersion)
	le.PutUint32(b[28:], overlayChunk)
	le.PutUint32(b[32:], uint32(h.state))
	le.PutUint64(b[40:], uint64(h.size))
	le.PutUint64(b[48:], uint64(h.offset))
	le.PutUint64(b[56:], uint64(h.modified))
	le.PutUint64(b[64:], h.sum)
	copy(b[overlaySuperOff:], h.super[:])
	return b
}

// decode reads a page whose checksum is right.
func (h *overlayHeader) decode(b []byte) error {
	if string(b[16:24]) != overlayMagic {
		return &FormatError{Format: overlayFormat, Detail: "this is no overlay file"}
	}
	if v := le.Uint32(b[24:]); v != overlayVersion {
		return &UnsupportedError{Format: overlayFormat, Detail: fmt.Sprintf("version %d", v)}
	}
	if n := le.Uint32(b[28:]); n != overlayChunk {
		return &UnsupportedError{Format: overlayFormat, Detail: fmt.Sprintf("a chunk size of %d bytes", n)}
	}
	h.state = overlayState(le.Uint32(b[32:]))
	h.size, h.offset, h.modified = int64(le.Uint64(b[40:])), int64(le.Uint64(b[48:])), int64(le.Uint64(b[56:]))
	h.sum = le.Uint64(b[64:])
	copy(h.super[:], b[overlaySuperOff:])
	switch {
	case h.state > overlayCommitted:
		return &FormatError{Format: overlayFormat, Detail: fmt.Sprintf("state %d", h.state)}
	case h.size < 0 || h.size > maxOverlay || h.offset < 0:
		return &FormatError{Format: overlayFormat, Detail: fmt.Sprintf("a base of %d bytes at %d", h.size, h.offset)}
	}
	return nil
}

// maxOverlay bounds the base: 1 EiB, the most that ext4 has.
const maxOverlay = 1 << 60

// overlayPages is how many pages the index of that many bytes has.
func overlayPages(size int64) int64 {
	const span = overlayBits * overlayChunk
	return (size + span - 1) / span
}

// overlayData is where the data starts.
func overlayData(size int64) int64 {
	n := (overlayPages(size) + 1) * 2 * overlayPage
	return (n + overlayAlign - 1) / overlayAlign * overlayAlign
}

// ErrWrongBase says that an overlay file was made above another image, or that
// the image was changed since.
var ErrWrongBase = errors.New("overlay does not belong to this image")

// OverlayBaseError tells what is different. It matches ErrWrongBase.
type OverlayBaseError struct {
	Path   string // of the overlay
	Detail string
}

func (e *OverlayBaseError) Error() string {
	return fmt.Sprintf("overlay %s does not belong to this image: %s", e.Path, e.Detail)
}

// Is reports whether target is ErrWrongBase.
func (e *OverlayBaseError) Is(target error) bool { return target == ErrWrongBase }

// ErrOverlayCommit says that an overlay cannot be used because its changes were
// being written to the image, or are there.
var ErrOverlayCommit = errors.New("overlay is committed, or being committed")

// OverlayCommitError says which of both. It matches ErrOverlayCommit.
type OverlayCommitError struct {
	Path     string
	Complete bool
}

func (e *OverlayCommitError) Error() string {
	if e.Complete {
		return fmt.Sprintf("overlay %s: all of it is in its image already", e.Path)
	}
	return fmt.Sprintf("overlay %s: writing it to its image was interrupted, and has to be completed first", e.Path)
}

// Is reports whether target is ErrOverlayCommit.
func (e *OverlayCommitError) Is(target error) bool { return target == ErrOverlayCommit }

// OpenOverlay opens the overlay file at path above base, and makes it if there
// is none or it is empty. The file is locked against others. The base must be
// the one for which it was made, unchanged: of the same size, with the same
// superblock, and, if it is an Image that is a file, of the same time of change;
// else the error is an *OverlayBaseError. A damaged file is a *FormatError, one
// whose Commit was begun an *OverlayCommitError.
func OpenOverlay(path string, base Device) (*OverlayFile, error) {
	f, made, err := overlayOpenFile(path, true)
	if err != nil {
		return nil, err
	}
	o, err := openOverlayFile(f, base)
	if err != nil {
		f.Close()
		if made {
			os.Remove(path)
		}
		return nil, overlayPathError(path, err)
	}
	return o, nil
}

// overlayPathError says which file an error is about, where it does not.
func overlayPathError(path string, err error) error {
	var pe *fs.PathError
	var base *OverlayBaseError
	var commit *OverlayCommitError
	if errors.As(err, &pe) && pe.Path == path || errors.As(err, &base) || errors.As(err, &commit) {
		return err
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// overlayOpenFile opens and locks the file, and tells whether it made it.
func overlayOpenFile(path string, create bool) (*os.File, bool, error) {
	made := false
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if create && errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		made = err == nil
	}
	if err != nil {
		return nil, false, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("is not a file, as an overlay has to be")
	}
	if err == nil {
		_, err = lockImage(f, true)
	}
	if err != nil {
		f.Close()
		return nil, false, overlayPathError(path, err)
	}
	if made {
		syncDir(filepath.Dir(path))
	}
	return f, made, nil
}

// syncDir makes a new name durable, where the system can.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}

// openOverlayFile makes a new file ready, and opens it above base.
func openOverlayFile(f *os.File, base Device) (*OverlayFile, error) {
	size := base.Size()
	if size > maxOverlay {
		return nil, &UnsupportedError{Format: overlayFormat, Detail: fmt.Sprintf("a base of %d bytes", size)}
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	whole := overlayData(size) + (size+overlayChunk-1)/overlayChunk*overlayChunk
	fresh, err := overlayBlank(f, st.Size())
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := f.Truncate(whole); err != nil {
			return nil, err
		}
	} else if st.Size() < whole {
		// The size of the base is wrong, or the file is cut off: the
		// header knows. Nothing is written until it was compared.
		size, err := overlayCut(f, st.Size())
		if err != nil {
			return nil, err
		}
		if size != base.Size() {
			return nil, &OverlayBaseError{f.Name(), fmt.Sprintf("it was made for %d bytes, and the image has %d", size, base.Size())}
		}
		return nil, &FormatError{Format: overlayFormat, Offset: st.Size(), Detail: fmt.Sprintf("the file is cut off: it should have %d bytes", whole)}
	}
	o, err := newOverlayFile(newHostWriter(f, whole, 0), f.Name(), base)
	if err != nil {
		return nil, err
	}
	o.file = f
	return o, nil
}

// overlayBlank reports whether a file is new: empty, or with nothing but the
// zeros that a crash while it was made has left.
func overlayBlank(f *os.File, size int64) (bool, error) {
	if size == 0 {
		return true, nil
	}
	head := make([]byte, min(size, 2*overlayPage))
	if n, err := f.ReadAt(head, 0); n < len(head) {
		return false, unexpected(err)
	}
	if !allZero(head) {
		return false, nil
	}
	r, err := NextData(&hostFile{f: f, size: size}, int64(len(head)))
	if err != nil {
		return false, err
	}
	// What has content behind a header of zeros is something else.
	return r.N == 0, nil
}

// overlayCut is the size of the base in the header of a file that is too short.
func overlayCut(f *os.File, size int64) (int64, error) {
	if size < 2*overlayPage {
		return 0, &FormatError{Format: overlayFormat, Detail: "this is no overlay file"}
	}
	var h overlayHeader
	if _, err := h.read(&hostFile{f: f, size: size}); err != nil {
		return 0, err
	}
	return h.size, nil
}

// read reads the header, and returns its frame.
func (h *overlayHeader) read(d Device) (overlayFrame, error) {
	var f overlayFrame
	page, _, err := f.read(d)
	if err != nil {
		// Nothing says that it was an overlay.
		return f, &FormatError{Format: overlayFormat, Detail: "this is no overlay file, or its header is damaged"}
	}
	if page == nil {
		return f, &FormatError{Format: overlayFormat, Detail: "this is no overlay file"}
	}
	return f, h.decode(page)
}

// newOverlayFile opens what lies in store above base. A store of zeros is new.
func newOverlayFile(store Writer, path string, base Device) (*OverlayFile, error) {
	o, err := loadOverlay(store, path, base)
	if err != nil {
		return nil, err
	}
	switch o.head.state {
	case overlayCommitting, overlayCommitted:
		return nil, &OverlayCommitError{path, o.head.state == overlayCommitted}
	}
	want, err := identify(base)
	if err != nil {
		return nil, err
	}
	if o.frame.sequence == 0 {
		o.head = want
	} else if err := o.head.compare(path, &want); err != nil {
		return nil, err
	}
	// From now on it is in use: what a crash leaves is no damage.
	return o, o.setState(overlayOpen)
}

// loadOverlay reads header and index.
func loadOverlay(store Writer, path string, base Device) (*OverlayFile, error) {
	size := base.Size()
	o := &OverlayFile{
		base: base, store: store, path: path, size: size, data: overlayData(size),
		pages: make([]atomic.Pointer[overlayIndex], overlayPages(size)),
	}
	page, _, err := o.frame.read(store)
	if err != nil {
		return nil, err
	}
	if page == nil {
		return o, nil
	}
	if err := o.head.decode(page); err != nil {
		return nil, err
	}
	if o.head.size != size {
		return nil, &OverlayBaseError{path, fmt.Sprintf("it was made for %d bytes, and the image has %d", o.head.size, size)}
	}
	return o, o.loadIndex()
}

// setState writes the header. Everything before is durable.
func (o *OverlayFile) setState(s overlayState) error {
	o.head.state, o.head.sum = s, o.sequences()
	err := o.frame.write(o.store, o.head.encode())
	if err == nil {
		err = o.store.Sync()
	}
	if err != nil && o.broken == nil {
		o.broken = err
	}
	return err
}

// identify tells what a base is.
func identify(base Device) (overlayHeader, error) {
	h := overlayHeader{size: base.Size()}
	if h.size >= superOffset+superSize {
		if n, err := base.ReadAt(h.super[:], superOffset); n < superSize {
			return h, unexpected(err)
		}
	}
	m, ok := base.(*Image)
	if !ok {
		return h, nil
	}
	h.offset = m.Offset()
	st, err := m.file.Stat()
	if err == nil && st.Mode().IsRegular() {
		h.modified = st.ModTime().UnixNano()
	}
	return h, err
}

// compare says how the base is not the one of the header.
func (h *overlayHeader) compare(path string, base *overlayHeader) error {
	switch {
	case h.size != base.size:
		return &OverlayBaseError{path, fmt.Sprintf("it was made for %d bytes, and the image has %d", h.size, base.size)}
	case !bytes.Equal(h.super[:], base.super[:]):
		return &OverlayBaseError{path, "the superblock is another one" + superNames(h.super[:], base.super[:])}
	case h.modified != 0 && base.modified != 0 && h.modified != base.modified:
		return &OverlayBaseError{path, fmt.Sprintf("the image was changed at %s, and was of %s when the overlay was made",
			overlayTime(base.modified), overlayTime(h.modified))}
	}
	return nil
}

func overlayTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// superNames tells the UUIDs of two superblocks apart.
func superNames(old, now []byte) string {
	a, b := old[0x68:0x78], now[0x68:0x78]
	if bytes.Equal(a, b) {
		return ", of the same file system at another time"
	}
	return fmt.Sprintf(": UUID %x, and it was made for %x", b, a)
}

// OverlayInfo is what an overlay file says of itself.
type OverlayInfo struct {
	Size      int64     // of the base, bytes
	Offset    int64     // where the base starts in the disk image
	Modified  time.Time // of the base's file; zero if unknown
	Clean     bool      // closed in good order
	Committed bool      // all of it is in the base
	Begun     bool      // the commit was begun, and has to be completed
}

// ReadOverlayInfo reads the header of the overlay file at path, without a lock.
func ReadOverlayInfo(path string) (OverlayInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return OverlayInfo{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return OverlayInfo{}, err
	}
	var h overlayHeader
	if !st.Mode().IsRegular() || st.Size() < 2*overlayPage {
		err = &FormatError{Format: overlayFormat, Detail: "this is no overlay file"}
	} else {
		_, err = h.read(&hostFile{f: f, size: st.Size()})
	}
	if err != nil {
		return OverlayInfo{}, overlayPathError(path, err)
	}
	info := OverlayInfo{
		Size: h.size, Offset: h.offset, Clean: h.state == overlayClean,
		Committed: h.state == overlayCommitted, Begun: h.state == overlayCommitting,
	}
	if h.modified != 0 {
		info.Modified = time.Unix(0, h.modified)
	}
	return info, nil
}
