package ext4fs

import (
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/e4kit/e4kit/ext4fs/extent"
)

// File is an open file or directory of the path view. ReadAt, SeekData and
// SeekHole may be used by many goroutines; the rest shares an offset and
// belongs to one.
type File struct {
	inode  *Inode
	name   string
	off    int64
	list   []fs.DirEntry // the rest of the directory, once ReadDir was called
	listed bool
	closed bool
	flag   int  // of OpenFile
	held   bool // Close ends the hold of the inode
}

var (
	_ fs.ReadDirFile = (*File)(nil)
	_ io.ReaderAt    = (*File)(nil)
	_ io.Seeker      = (*File)(nil)
	_ io.WriterTo    = (*File)(nil)
)

func (i *Inode) open(name string) *File { return &File{inode: i, name: name} }

// Inode is the node view of the file.
func (f *File) Inode() *Inode { return f.inode }

// Stat describes the file; Sys of the result is a *Stat.
func (f *File) Stat() (fs.FileInfo, error) {
	if f.closed {
		return nil, f.fail("stat", ErrClosed)
	}
	return &fileInfo{name: path.Base(f.name), stat: f.inode.Stat()}, nil
}

// usable says why op cannot read the file's bytes.
func (f *File) usable(op string) error {
	switch {
	case f.closed:
		return f.fail(op, ErrClosed)
	case op == "read" && f.flag&os.O_WRONLY != 0:
		return f.fail(op, errNotOpenFor)
	case f.inode.IsDir():
		return f.fail(op, ErrIsDir)
	case !f.inode.IsRegular():
		return f.fail(op, ErrNotFile)
	}
	return nil
}

// fail wraps err, but for io.EOF, which callers compare.
func (f *File) fail(op string, err error) error {
	if err == io.EOF {
		return err
	}
	return pathError(op, f.name, err)
}

// Read reads from the file's offset on.
func (f *File) Read(p []byte) (int, error) {
	if err := f.usable("read"); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.inode.ReadAt(p, f.off)
	f.off += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, f.fail("read", err)
}

// ReadAt reads at an offset and leaves the file's own alone.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if err := f.usable("read"); err != nil {
		return 0, err
	}
	n, err := f.inode.ReadAt(p, off)
	return n, f.fail("read", err)
}

// Seek sets the offset. Positions beyond the end are allowed, negative ones
// give ErrInvalid.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	if err := f.usable("seek"); err != nil {
		return 0, err
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		offset += f.inode.Size()
	default:
		return 0, f.fail("seek", ErrInvalid)
	}
	if offset < 0 {
		return 0, f.fail("seek", ErrInvalid)
	}
	f.off = offset
	return offset, nil
}

// SeekData is Inode.SeekData; it does not move the offset.
func (f *File) SeekData(off int64) (int64, error) {
	if err := f.usable("seek"); err != nil {
		return 0, err
	}
	n, err := f.inode.SeekData(off)
	return n, f.fail("seek", err)
}

// SeekHole is Inode.SeekHole; it does not move the offset.
func (f *File) SeekHole(off int64) (int64, error) {
	if err := f.usable("seek"); err != nil {
		return 0, err
	}
	n, err := f.inode.SeekHole(off)
	return n, f.fail("seek", err)
}

// copyChunk is how much WriteTo reads at once.
const copyChunk = 1 << 20

// WriteTo writes the file from its offset to the end to w, holes as zeros.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	if err := f.usable("read"); err != nil {
		return 0, err
	}
	rest := f.inode.Size() - f.off
	if rest <= 0 {
		return 0, nil
	}
	buf := make([]byte, min(copyChunk, rest))
	var done int64
	for {
		n, err := f.inode.ReadAt(buf, f.off)
		if n > 0 {
			m, werr := w.Write(buf[:n])
			f.off += int64(m)
			done += int64(m)
			if werr != nil {
				return done, werr
			}
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, f.fail("read", err)
		}
	}
}

// ReadDir returns the next n entries, sorted by name, or all that are left
// when n is not positive.
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) {
	if f.closed {
		return nil, f.fail("readdir", ErrClosed)
	}
	if !f.listed {
		list, err := f.inode.readDir()
		if err != nil {
			return list, f.fail("readdir", err)
		}
		f.list, f.listed = list, true
	}
	if n <= 0 {
		list := f.list
		f.list = nil
		return list, nil
	}
	if len(f.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.list))
	list := f.list[:n:n]
	f.list = f.list[n:]
	return list, nil
}

// Extents is Inode.Extents of the file.
func (f *File) Extents() func(yield func(extent.Extent, error) bool) { return f.inode.Extents() }

// Close ends the use of the file.
func (f *File) Close() error {
	if f.closed {
		return f.fail("close", ErrClosed)
	}
	f.closed, f.list = true, nil
	return f.fail("close", f.release())
}
