package ext4fs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// errNotOpenFor: the file was opened for the other direction only.
var errNotOpenFor = disk.NewKind("not open for that", fs.ErrPermission, syscall.EBADF)

// openWith makes a File of an inode that the caller holds; the File's Close
// gives that up. flag is as for os.OpenFile, of which what concerns the name
// and O_TRUNC was seen to.
func (i *Inode) openWith(name string, flag int) (*File, error) {
	f := i.open(name)
	f.flag, f.held = flag, true
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return f, nil
	}
	i.mu.RLock()
	defer i.mu.RUnlock()
	if err := i.changeable(); err != nil {
		return nil, err
	}
	if i.Flags().Has(disk.FlagAppend) && (flag&os.O_APPEND == 0 || flag&os.O_TRUNC != 0) {
		return nil, fmt.Errorf("inode %d is append-only: %w", i.num, ErrNotPermitted)
	}
	return f, nil
}

// writable says why op cannot change the file.
func (f *File) writable(op string) error {
	switch {
	case f.closed:
		return f.fail(op, ErrClosed)
	case f.flag&(os.O_WRONLY|os.O_RDWR) == 0:
		return f.fail(op, errNotOpenFor)
	}
	return nil
}

// wrote ends a write: with O_SYNC what it did becomes durable.
func (f *File) wrote(n int, err error) (int, error) {
	switch {
	case n == 0 || err != nil:
	case f.flag&os.O_SYNC != 0:
		err = f.inode.Fsync(f.inode.fs.opts.Context, false)
	case f.inode.Flags().Has(disk.FlagSync):
		err = f.inode.fsyncUnheld()
	}
	return n, f.fail("write", err)
}

// Write writes at the file's offset, or at the end if it was opened with
// O_APPEND; see Inode.WriteAt for errors.
func (f *File) Write(p []byte) (int, error) {
	if err := f.writable("write"); err != nil {
		return 0, err
	}
	if f.flag&os.O_APPEND != 0 {
		off, n, err := f.inode.Append(p)
		if n > 0 {
			f.off = off + int64(n)
		}
		return f.wrote(n, err)
	}
	n, err := f.inode.WriteAt(p, f.off)
	f.off += int64(n)
	return f.wrote(n, err)
}

// WriteString is Write of a string.
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// WriteAt writes at an offset and leaves the file's own alone. A file opened
// with O_APPEND gives ErrInvalid.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if err := f.writable("write"); err != nil {
		return 0, err
	}
	if f.flag&os.O_APPEND != 0 {
		return 0, f.fail("write", ErrInvalid)
	}
	n, err := f.inode.WriteAt(p, off)
	return f.wrote(n, err)
}

// Truncate sets the size; see Inode.Truncate.
func (f *File) Truncate(size int64) error {
	if err := f.writable("truncate"); err != nil {
		return err
	}
	return f.fail("truncate", f.inode.Truncate(size))
}

// Fallocate is Inode.Fallocate.
func (f *File) Fallocate(mode FallocateMode, off, length int64) error {
	if err := f.writable("fallocate"); err != nil {
		return err
	}
	return f.fail("fallocate", f.inode.Fallocate(mode, off, length))
}

// Sync makes what was written to the file durable, by whomever.
func (f *File) Sync() error {
	if f.closed {
		return f.fail("sync", ErrClosed)
	}
	return f.fail("sync", f.inode.Fsync(f.inode.fs.opts.Context, false))
}

// ReadFrom writes what r has to the file, from its offset on. Where r tells
// how much that is (bytes.Reader, io.LimitedReader, a regular os.File, ...)
// space is found for all of it at once.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if err := f.writable("write"); err != nil {
		return 0, err
	}
	if f.flag&os.O_APPEND != 0 {
		f.off = f.inode.Size()
	}
	n, err := f.inode.WriteFrom(f.inode.fs.opts.Context, r, f.off, lengthOf(r))
	f.off += n
	_, err = f.wrote(int(min(n, 1)), err)
	return n, err
}

// lengthOf is how much r says that it has, -1 if it does not.
func lengthOf(r io.Reader) int64 {
	switch r := r.(type) {
	case *io.LimitedReader:
		if n := lengthOf(r.R); n >= 0 {
			return min(n, r.N)
		}
		return -1 // N is often only a bound
	case interface{ Len() int }:
		return int64(r.Len())
	case *io.SectionReader:
		at, err := r.Seek(0, io.SeekCurrent)
		if err == nil {
			return r.Size() - at
		}
	case *File:
		return max(r.inode.Size()-r.off, 0)
	case *os.File:
		st, err := r.Stat()
		if err != nil || !st.Mode().IsRegular() {
			break
		}
		if at, err := r.Seek(0, io.SeekCurrent); err == nil {
			return max(st.Size()-at, 0)
		}
	}
	return -1
}

// release ends the hold of a File that openWith made.
func (f *File) release() error {
	if !f.held {
		return nil
	}
	f.held = false
	if f.flag&(os.O_WRONLY|os.O_RDWR) != 0 && f.inode.holds.Load() == 1 {
		f.inode.dropPrealloc()
	}
	return f.inode.Release()
}
