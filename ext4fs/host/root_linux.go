package host

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Root is a directory from which others are reached without following a
// symbolic link, whatever becomes of the directories meanwhile.
type Root struct {
	fd   int
	walk atomic.Bool // openat2(2) is not to be had
}

// OpenRoot opens a directory; a symbolic link to one is followed.
func OpenRoot(path string) (*Root, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Root{fd: fd}, nil
}

// Close closes the directory. What was opened through it stays open.
func (r *Root) Close() error { return unix.Close(r.fd) }

// Descriptor is the file descriptor of the directory.
func (r *Root) Descriptor() int { return r.fd }

// Dir opens a directory by its path from the root, "" for the root itself. The
// caller closes the descriptor.
func (r *Root) Dir(path string) (int, error) {
	if path == "" {
		path = "."
	}
	return r.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
}

// maxPath is the longest path that a system call takes.
const maxPath = 4095

func (r *Root) open(path string, flags uint64) (int, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	if len(path) > maxPath || r.walk.Load() {
		return r.openWalking(path, int(flags))
	}
	how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}
	fd, err := retry(func() (int, error) { return unix.Openat2(r.fd, path, &how) })
	switch err {
	case unix.ENOSYS, unix.EPERM, unix.EAGAIN:
		// An old kernel, or a filter that does not know the call.
		fd, walkErr := r.openWalking(path, int(flags))
		if walkErr == nil && err != unix.EAGAIN {
			r.walk.Store(true)
		}
		return fd, walkErr
	}
	return fd, err
}

// openWalking opens one directory after the other.
func (r *Root) openWalking(path string, flags int) (int, error) {
	at, owned := r.fd, false
	for {
		name, rest, more := strings.Cut(path, "/")
		if name == ".." {
			if owned {
				unix.Close(at)
			}
			return -1, unix.EXDEV // as openat2(2) says it
		}
		f := unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		if !more {
			f = flags
		}
		fd, err := retry(func() (int, error) { return unix.Openat(at, name, f, 0) })
		if owned {
			unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, owned, path = fd, true, rest
	}
}

func retry(call func() (int, error)) (int, error) {
	for {
		fd, err := call()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// File opens a regular file by its path from the root for reading its first
// size bytes. What is no regular file is irregular.
func (r *Root) File(path string, size int64, irregular error) (*File, error) {
	fd, err := r.open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = irregular
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &File{fd: fd, size: size, found: st.Size, path: path}, nil
}

// File is a regular file that is open for reading. It must be closed.
type File struct {
	fd    int
	size  int64
	found int64
	path  string
	once  sync.Once
	f     *os.File
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
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrUnexpectedEOF
		}
		done += n
	}
	return done, end
}

// Host gives the file as one of package os, which is closed with this one.
func (f *File) Host() (*os.File, int64, bool) {
	f.once.Do(func() { f.f = os.NewFile(uintptr(f.fd), f.path) })
	return f.f, 0, f.f != nil
}

// Close closes the file.
func (f *File) Close() error {
	f.once.Do(func() {})
	if f.f != nil {
		return bare(f.f.Close())
	}
	return unix.Close(f.fd)
}

// WalkOnly makes the root do without openat2(2), as on old kernels. Tests call
// it.
func (r *Root) WalkOnly() { r.walk.Store(true) }
