package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// scanSystem is what the system has for reading attributes.
type scanSystem = host.Dirs

// scanBuffer is what a reader of directories uses again.
type scanBuffer struct {
	dirents []byte
	names   []dirent
	target  []byte
}

// dirent is a name as getdents64(2) gives it.
type dirent struct {
	ino  uint64
	name string
}

func hostName(base, path string) string {
	if path == "" {
		return base
	}
	return strings.TrimSuffix(base, "/") + "/" + path
}

// list reads a directory.
func (s *scanner) list(d *scanDir, b *scanBuffer) error {
	fd, err := s.root.Dir(d.path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if d == s.top {
		if err := s.rootAttrs(d, fd, b); err != nil {
			return err
		}
	}
	if err := b.read(fd); err != nil {
		return err
	}
	// In the order of inodes, which is that on the disk of many file systems.
	slices.SortFunc(b.names, func(a, b dirent) int {
		switch {
		case a.ino < b.ino:
			return -1
		case a.ino > b.ino:
			return 1
		}
		return 0
	})
	s.files(d, fd, b)
	return nil
}

// manyNames is from how many names on several goroutines read a directory's
// files, so many at a time.
const manyNames = 1024

// files reads all about the files of a directory.
func (s *scanner) files(d *scanDir, fd int, b *scanBuffer) {
	entries := make([]scanned, len(b.names))
	left := make([]bool, len(b.names))
	var next atomic.Int64
	work := func(target *scanBuffer) {
		for {
			from := int(next.Add(manyNames)) - manyNames
			if from >= len(entries) {
				return
			}
			for i := from; i < min(from+manyNames, len(entries)); i++ {
				entries[i].name = b.names[i].name
				left[i] = !s.file(d, &entries[i], fd, target)
			}
		}
	}
	var more sync.WaitGroup
	for range min(len(entries)/manyNames, runtime.GOMAXPROCS(0)-1) {
		more.Go(func() { work(new(scanBuffer)) })
	}
	work(b)
	more.Wait()
	kept := 0
	for i := range entries {
		if !left[i] {
			if kept != i {
				entries[kept] = entries[i]
			}
			kept++
		}
	}
	clear(entries[kept:])
	d.entries = entries[:kept]
	clear(b.names)
}

// read reads the names of a directory.
func (b *scanBuffer) read(fd int) error {
	if b.dirents == nil {
		b.dirents = make([]byte, 64<<10)
	}
	b.names = b.names[:0]
	for {
		n, err := unix.Getdents(fd, b.dirents)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n <= 0:
			return nil
		}
		for p := b.dirents[:n]; len(p) > 0; {
			// ino 8, offset 8, length 2, type 1, name
			if len(p) < 19 {
				return unix.EIO
			}
			size := int(binary.NativeEndian.Uint16(p[16:]))
			if size < 19 || size > len(p) {
				return unix.EIO
			}
			name, _, _ := strings.Cut(string(p[19:size]), "\x00")
			if name != "." && name != ".." {
				b.names = append(b.names, dirent{binary.NativeEndian.Uint64(p), name})
			}
			p = p[size:]
		}
	}
}

// rootAttrs reads the attributes of the source's root.
func (s *scanner) rootAttrs(d *scanDir, fd int, b *scanBuffer) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	s.dev = uint64(st.Dev)
	e := &scanned{}
	e.stat(&st)
	e.wideTimes(fd, "")
	e.xattrs, e.err = s.xattrs(fd, ".", s.base, e)
	d.attrs = e
	return nil
}

// stat takes over what the system says of a file.
func (e *scanned) stat(st *unix.Stat_t) {
	e.Mode = uint16(st.Mode)
	e.UID, e.GID = st.Uid, st.Gid
	e.Atime = UnixTime(int64(st.Atim.Sec), int64(st.Atim.Nsec))
	e.Mtime = UnixTime(int64(st.Mtim.Sec), int64(st.Mtim.Nsec))
	e.Ctime = UnixTime(int64(st.Ctim.Sec), int64(st.Ctim.Nsec))
	e.id = host.ID{Dev: uint64(st.Dev), Ino: st.Ino}
	e.links = uint64(st.Nlink)
	switch e.Type() {
	case disk.ModeRegular:
		e.Size = st.Size
		e.holes = int64(st.Blocks)*512 < st.Size
	case disk.ModeChar, disk.ModeBlock:
		e.Major, e.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	}
}

// wideTimes reads the times anew where stat does not give all of them; "" is dir
// itself.
func (e *scanned) wideTimes(dir int, name string) {
	if !host.NarrowTimes {
		return
	}
	if t, ok := host.TimesAt(dir, name, false); ok {
		e.Atime, e.Mtime, e.Ctime = TimeOf(t.Atime), TimeOf(t.Mtime), TimeOf(t.Ctime)
	}
}

// file reads all about a file but its content; false if it is left out.
func (s *scanner) file(d *scanDir, e *scanned, fd int, b *scanBuffer) bool {
	var st unix.Stat_t
	err := ignoringIntr(func() error { return unix.Fstatat(fd, e.name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		e.fail(err)
		return true
	}
	e.stat(&st)
	e.wideTimes(fd, e.name)
	if !s.take(d, e) {
		return false
	}
	if e.err != nil {
		return true
	}
	if e.valid() != nil {
		e.err = fmt.Errorf("mode 0%o: %w", e.Mode, ErrType)
		return true
	}
	if e.IsSymlink() {
		if e.target, err = b.readlink(fd, e.name); err != nil {
			e.fail(err)
			return true
		}
	}
	e.xattrs, err = s.xattrs(fd, e.name, s.name(joinPath(d.path, e.name)), e)
	if err != nil {
		e.fail(err)
	}
	return true
}

// fail keeps an error; that a file is gone is none.
func (e *scanned) fail(err error) {
	e.err = err
	if errors.Is(err, unix.ENOENT) {
		e.err = errVanished
		e.warns = append(e.warns, errVanished)
	}
}

func ignoringIntr(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (b *scanBuffer) readlink(fd int, name string) (string, error) {
	if b.target == nil {
		b.target = make([]byte, 4096)
	}
	for {
		n, err := unix.Readlinkat(fd, name, b.target)
		if err == nil && n == len(b.target) && n <= maxText {
			b.target = make([]byte, 2*n)
			continue
		}
		if err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return "", err
		}
		return string(b.target[:n]), nil
	}
}

// xattrs reads the extended attributes of a file in an open directory. Of those
// that are left out it reads the ACL, where that may have set the mode.
func (s *scanner) xattrs(dir int, name, path string, e *scanned) ([]Xattr, error) {
	if s.o.NoXattrs && (e.IsSymlink() || e.Mode&groupBits == 0) {
		return nil, nil
	}
	list, err := s.attrs.Xattrs(dir, name, path, func(n string) bool {
		if s.o.NoXattrs {
			return n == xattrAccess
		}
		ok := wantedXattr(n)
		if !ok {
			e.warns = append(e.warns, fmt.Errorf("%s is not kept: ext4 has no such attributes", n))
		}
		return ok
	})
	if err != nil {
		return nil, fmt.Errorf("extended attributes: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	kept := make([]Xattr, len(list))
	for i, x := range list {
		kept[i] = Xattr(x)
	}
	return kept, nil
}
