package host

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"time"
)

// Span is a part of a file that is not a hole: Off and Len in bytes.
type Span struct {
	Off, Len int64
}

// Xattr is an extended attribute: its full name and its value.
type Xattr struct {
	Name  string
	Value []byte
}

// Stat is what only the system knows of a file.
type Stat struct {
	Dev, Ino            uint64 // both 0 where the system does not tell
	Links               uint64
	UID, GID            uint32
	Major, Minor        uint32 // of a device node
	Atime, Mtime, Ctime time.Time
	Blocks              int64 // of 512 bytes, that the content takes
}

// ID identifies an inode of the host.
type ID struct{ Dev, Ino uint64 }

// IDOf identifies a file; ok is false where the system does not tell.
func IDOf(info fs.FileInfo) (id ID, ok bool) {
	st, ok := StatOf(info)
	return ID{st.Dev, st.Ino}, ok && st.Ino != 0
}

// MayHaveHoles reports whether a file takes less space than its size, as far
// as the system tells.
func MayHaveHoles(info fs.FileInfo) bool {
	st, ok := StatOf(info)
	return ok && st.Blocks*512 < info.Size()
}

// Spans yields what of an open file is no hole, up to size. After an error the
// sequence ends.
func Spans(f *os.File, size int64) iter.Seq2[Span, error] {
	return func(yield func(Span, error) bool) {
		for off := int64(0); off < size; {
			s, ok, err := NextData(f, off, size)
			if err != nil {
				yield(Span{}, err)
				return
			}
			if !ok || !yield(s, nil) {
				return
			}
			off = s.Off + s.Len
		}
	}
}

// bare drops the name from an error: callers tell it.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
