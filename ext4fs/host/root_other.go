//go:build !linux

package host

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Root is a directory from which others are reached. No symbolic link leads
// out of it.
type Root struct {
	*os.Root
}

// OpenRoot opens a directory; a symbolic link to one is followed.
func OpenRoot(path string) (*Root, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Root{r}, nil
}

// File opens a regular file by its path from the root for reading its first
// size bytes. What is no regular file is irregular.
func (r *Root) File(path string, size int64, irregular error) (*File, error) {
	path = filepath.FromSlash(path)
	// Opening a fifo would wait for its writer.
	seen, err := r.Lstat(path)
	if err != nil {
		return nil, bare(err)
	}
	if !seen.Mode().IsRegular() {
		return nil, irregular
	}
	f, err := r.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(seen, now) {
		err = irregular
	}
	if err != nil {
		f.Close()
		return nil, bare(err)
	}
	return &File{f: f, size: size, found: now.Size()}, nil
}

// File is a regular file that is open for reading. It must be closed.
type File struct {
	f           *os.File
	size, found int64
}

// Found is the size in bytes that the file had when it was opened.
func (f *File) Found() int64 { return f.found }

// ReadAt reads what was promised when the file was opened: if the file is
// shorter by now, that is io.ErrUnexpectedEOF.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	if off >= f.size {
		return 0, io.EOF
	}
	end := error(nil)
	if int64(len(p)) > f.size-off {
		p, end = p[:f.size-off], io.EOF
	}
	n, err := f.f.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, end
	case err == io.EOF:
		return n, io.ErrUnexpectedEOF
	}
	return n, bare(err)
}

// Host gives the file as one of package os, which is closed with this one.
func (f *File) Host() (*os.File, int64, bool) { return f.f, 0, true }

// Close closes the file.
func (f *File) Close() error { return bare(f.f.Close()) }
