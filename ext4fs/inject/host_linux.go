package inject

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
)

// hostLink identifies an inode of the host.
type hostLink struct{ dev, ino uint64 }

// system fills in what only the system knows of a file.
func (v *hostWalk) system(it *item, info fs.FileInfo) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	it.uid, it.gid = st.Uid, st.Gid
	it.major, it.minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	it.atime = time.Unix(int64(st.Atim.Sec), int64(st.Atim.Nsec))
	if v.o.Links && st.Nlink > 1 && !info.IsDir() {
		it.link, it.names = hostLink{uint64(st.Dev), st.Ino}, int(st.Nlink)
	}
}

// openHost opens a regular file without waiting for what turned into a fifo.
func openHost(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// mayHaveHoles reports whether a file takes less space than its size.
func mayHaveHoles(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Blocks*512 < st.Size
}

// nextData finds the next span of data from off on.
func nextData(f *os.File, off, size int64) (ext4fs.Span, bool, error) {
	start, err := f.Seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return ext4fs.Span{}, false, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return ext4fs.Span{Off: off, Len: size - off}, true, nil
	case err != nil:
		return ext4fs.Span{}, false, bare(err)
	}
	if start >= size {
		return ext4fs.Span{}, false, nil
	}
	end, err := f.Seek(start, unix.SEEK_HOLE)
	if err != nil {
		return ext4fs.Span{}, false, bare(err)
	}
	return ext4fs.Span{Off: start, Len: min(end, size) - start}, true, nil
}

// hostXattrs reads the attributes that are wanted.
func hostXattrs(path string, o *Options) ([]ext4fs.Xattr, error) {
	list, get := unix.Llistxattr, unix.Lgetxattr
	if o.Follow {
		list, get = unix.Listxattr, unix.Getxattr
	}
	var small [1024]byte
	names, err := growing(small[:], func(b []byte) (int, error) { return list(path, b) })
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil || len(names) == 0:
		return nil, err
	}
	var found []ext4fs.Xattr
	for _, name := range strings.Split(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if isACL(name) && !o.ACLs || !isACL(name) && !o.Xattrs {
			continue
		}
		value, err := growing(make([]byte, 256), func(b []byte) (int, error) { return get(path, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue // it went meanwhile
		}
		if err != nil {
			return found, err
		}
		found = append(found, ext4fs.Xattr{Name: name, Value: value})
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
		if !errors.Is(err, unix.ERANGE) || len(b) >= most {
			return nil, err
		}
		b = make([]byte, 4*len(b))
	}
}
