package host

import (
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// CanPeek: Peek works here.
const CanPeek = true

// Peeked is an open regular file, for a short time: it costs a few calls less
// than an os.File.
type Peeked struct {
	Stat
	Mode uint16 // st_mode
	Size int64

	fd int
}

// Peek opens the regular file name of an open directory. What is no regular
// file, or not one any more, is an error, as is a symbolic link.
func Peek(dir *os.File, name string) (Peeked, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := retry(func() (int, error) { return unix.Openat(int(dir.Fd()), name, flags, 0) })
	runtime.KeepAlive(dir)
	if err != nil {
		return Peeked{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return Peeked{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return Peeked{}, errIrregular
	}
	p := Peeked{
		Stat: Stat{
			Dev: uint64(st.Dev), Ino: st.Ino, Links: uint64(st.Nlink), UID: st.Uid, GID: st.Gid,
			Atime:  time.Unix(int64(st.Atim.Sec), int64(st.Atim.Nsec)),
			Mtime:  time.Unix(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)),
			Ctime:  time.Unix(int64(st.Ctim.Sec), int64(st.Ctim.Nsec)),
			Blocks: int64(st.Blocks),
		},
		Mode: uint16(st.Mode), Size: st.Size, fd: fd,
	}
	if NarrowTimes {
		p.widen(fd, "", false)
	}
	return p, nil
}

var errIrregular = errors.New("is not a regular file")

// Close ends the use of the file.
func (p *Peeked) Close() { unix.Close(p.fd) }

// Xattrs reads the attributes whose names are wanted.
func (p *Peeked) Xattrs(wanted func(name string) bool) ([]Xattr, error) {
	return xattrs(
		func(b []byte) (int, error) { return unix.Flistxattr(p.fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(p.fd, name, b) },
		wanted)
}

// Read fills b from the file's offset on, less where the file ends. A file of
// known size is best read with a byte more, which tells whether it has grown;
// where just the size comes back, no other call asks for the end.
func (p *Peeked) Read(b []byte) (n int, err error) {
	for n < len(b) {
		k, err := retry(func() (int, error) { return unix.Read(p.fd, b[n:]) })
		if err != nil {
			return n, err
		}
		n += k
		if k == 0 || int64(n) == p.Size {
			break
		}
	}
	return n, nil
}
