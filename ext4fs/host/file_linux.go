package host

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// StatOf gives what info has of it; ok is false if it has nothing.
func StatOf(info fs.FileInfo) (s Stat, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Stat{}, false
	}
	return Stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Links: uint64(st.Nlink), UID: st.Uid, GID: st.Gid,
		Major: unix.Major(uint64(st.Rdev)), Minor: unix.Minor(uint64(st.Rdev)),
		Atime:  time.Unix(int64(st.Atim.Sec), int64(st.Atim.Nsec)),
		Mtime:  time.Unix(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)),
		Ctime:  time.Unix(int64(st.Ctim.Sec), int64(st.Ctim.Nsec)),
		Blocks: int64(st.Blocks),
	}, true
}

// Open opens a regular file without waiting for what turned into a fifo.
func Open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// NextData finds the next span of data of an open file from off on, up to
// size; ok is false if only a hole follows. It moves the file's offset.
func NextData(f *os.File, off, size int64) (s Span, ok bool, err error) {
	start, err := f.Seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return Span{}, false, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return Span{Off: off, Len: size - off}, true, nil
	case err != nil:
		return Span{}, false, bare(err)
	}
	if start >= size {
		return Span{}, false, nil
	}
	end, err := f.Seek(start, unix.SEEK_HOLE)
	if err != nil {
		return Span{}, false, bare(err)
	}
	return Span{Off: start, Len: min(end, size) - start}, true, nil
}

// Xattrs reads the attributes of a file whose names are wanted, those of the
// target of a symbolic link only if follow is set. On file systems without
// attributes there are none.
func Xattrs(path string, follow bool, wanted func(name string) bool) ([]Xattr, error) {
	list, get := unix.Llistxattr, unix.Lgetxattr
	if follow {
		list, get = unix.Listxattr, unix.Getxattr
	}
	return xattrs(
		func(b []byte) (int, error) { return list(path, b) },
		func(name string, b []byte) (int, error) { return get(path, name, b) },
		wanted)
}

func xattrs(list func(b []byte) (int, error), get func(name string, b []byte) (int, error), wanted func(name string) bool) ([]Xattr, error) {
	var small [1024]byte
	names, err := growing(small[:], list)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil || len(names) == 0:
		return nil, err
	}
	var found []Xattr
	for _, name := range strings.Split(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if !wanted(name) {
			continue
		}
		value, err := growing(make([]byte, 256), func(b []byte) (int, error) { return get(name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue // it went meanwhile
		}
		if err != nil {
			return found, err
		}
		found = append(found, Xattr{Name: name, Value: value})
	}
	return found, nil
}

// growing makes a call with a buffer that is large enough.
func growing(b []byte, call func([]byte) (int, error)) ([]byte, error) {
	const most = 1 << 20
	for {
		n, err := call(b)
		if err == nil {
			return b[:n], nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.ERANGE) || len(b) >= most {
			return nil, err
		}
		b = make([]byte, 4*len(b))
	}
}
