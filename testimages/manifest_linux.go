package testimages

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ManifestDir takes the manifest of the tree at dir through system calls. dir
// itself becomes "/". Reading does not change access times where the caller
// may ask for that.
func ManifestDir(dir string) (Manifest, error) {
	return walkTree(dir, manifestLine)
}

// StatDir takes what [ManifestDir] leaves out, in the same form:
//
//	PATH INO NLINK SIZE BLOCKS ATIME MTIME CTIME BTIME FLAGS PROJECT
//
// SIZE, BLOCKS (of 512 bytes) and NLINK are given for directories too. Times
// are as MTIME of a manifest. FLAGS is the word of FS_IOC_GETFLAGS in
// hexadecimal and PROJECT the project id, both '-' where the kernel does not
// tell (anything but files and directories).
func StatDir(dir string) (Manifest, error) {
	return walkTree(dir, statLine)
}

// node is one name met on the walk. Children are reached through the parent's
// descriptor, so depth and path length have no limit.
type node struct {
	seen   map[uint64]string // per inode of several links: what was read of it
	parent int               // descriptor of the folder
	name   string            // in that folder
	path   string            // as in the manifest, not escaped
	st     unix.Statx_t
}

type lineFunc func(n *node) (string, error)

func walkTree(dir string, line lineFunc) (Manifest, error) {
	top, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(top)
	var m Manifest
	if err := walkNode(&node{seen: make(map[uint64]string), parent: top, name: ".", path: "/"}, line, &m); err != nil {
		return nil, err
	}
	m.sort()
	return m, nil
}

func walkNode(n *node, line lineFunc, m *Manifest) error {
	const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(n.parent, n.name, unix.AT_SYMLINK_NOFOLLOW, mask, &n.st); err != nil {
		return &os.PathError{Op: "stat", Path: n.path, Err: err}
	}
	l, err := line(n)
	if err != nil {
		return err
	}
	*m = append(*m, l)
	if n.st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	d, err := n.open(unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return &os.PathError{Op: "readdir", Path: n.path, Err: err}
	}
	prefix := strings.TrimSuffix(n.path, "/") + "/"
	for _, name := range names {
		child := node{seen: n.seen, parent: int(d.Fd()), name: name, path: prefix + name}
		if err := walkNode(&child, line, m); err != nil {
			return err
		}
	}
	return nil
}

// open opens the node itself; errors name its path.
func (n *node) open(flags int) (*os.File, error) {
	fd, err := unix.Openat(n.parent, n.name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: n.path, Err: err}
	}
	return os.NewFile(uintptr(fd), n.path), nil
}

// procPath names the node for calls that take no descriptor of the folder.
func (n *node) procPath() string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", n.parent, n.name)
}

var typeLetters = map[uint16]string{
	unix.S_IFREG: "f", unix.S_IFDIR: "d", unix.S_IFLNK: "l", unix.S_IFCHR: "c",
	unix.S_IFBLK: "b", unix.S_IFIFO: "p", unix.S_IFSOCK: "s",
}

func manifestLine(n *node) (string, error) {
	kind := typeLetters[n.st.Mode&unix.S_IFMT]
	nlink, size := fmt.Sprint(n.st.Nlink), "0"
	var rest string // DATA and XATTRS
	switch kind {
	case "f":
		size = fmt.Sprint(n.st.Size)
		rest = n.once(func() string { return n.content(n.digest) + " " + n.xattrs() })
	case "l":
		size = fmt.Sprint(n.st.Size)
		rest = n.content(n.readlink) + " " + n.xattrs()
	case "d":
		nlink, size = "-", "-"
		rest = "- " + n.xattrs()
	case "c", "b":
		rest = fmt.Sprintf("%d:%d %s", n.st.Rdev_major, n.st.Rdev_minor, n.xattrs())
	default:
		rest = "- " + n.xattrs()
	}
	return fmt.Sprintf("%s %s %04o %d %d %s %s %s %s", escape(n.path), kind, n.st.Mode&0o7777,
		n.st.Uid, n.st.Gid, nlink, size, timeField(n.st.Mtime), rest), nil
}

// content returns what read gives, or the mark of its failure.
func (n *node) content(read func() (string, error)) string {
	data, err := read()
	if err != nil {
		return failure(err)
	}
	return data
}

// failure is the DATA field of content that cannot be read.
func failure(err error) string {
	if errors.Is(err, unix.ENOKEY) {
		return "!nokey"
	}
	if e := syscall.Errno(0); errors.As(err, &e) {
		err = e
	}
	return "!" + escape(err.Error())
}

func timeField(t unix.StatxTimestamp) string { return fmt.Sprintf("%d.%09d", t.Sec, t.Nsec) }

// once calls read, or returns what it gave for another name of the same file.
func (n *node) once(read func() string) string {
	if n.st.Nlink < 2 {
		return read()
	}
	s, ok := n.seen[n.st.Ino]
	if !ok {
		s = read()
		n.seen[n.st.Ino] = s
	}
	return s
}

func (n *node) digest() (string, error) {
	f, err := n.open(unix.O_RDONLY | unix.O_NOATIME)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return digestFile(f, int64(n.st.Size))
}

func (n *node) readlink() (string, error) {
	buf := make([]byte, 1<<16)
	k, err := unix.Readlinkat(n.parent, n.name, buf)
	if err != nil {
		return "", err
	}
	return linkField(string(buf[:k])), nil
}

// xattrs returns the XATTRS field.
func (n *node) xattrs() string {
	path := n.procPath()
	var room [512]byte
	list := room[:] // almost always enough
	size, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ERANGE) {
		list = make([]byte, 1<<16) // as long as the kernel lets a list be
		size, err = unix.Llistxattr(path, list)
	}
	if err != nil {
		return "!"
	}
	var attrs []xattr
	for name := range strings.SplitSeq(string(list[:size]), "\x00") {
		if name == "" {
			continue
		}
		v, err := getXattr(path, name)
		if err != nil {
			return "!"
		}
		attrs = append(attrs, xattr{name, v})
	}
	return xattrField(attrs)
}

func getXattr(path, name string) ([]byte, error) {
	size, err := unix.Lgetxattr(path, name, nil)
	if err != nil || size == 0 {
		return nil, err
	}
	v := make([]byte, size)
	size, err = unix.Lgetxattr(path, name, v)
	return v[:max(size, 0)], err
}

func statLine(n *node) (string, error) {
	s := &n.st
	flags := "- -"
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		flags = n.fileFlags()
	case unix.S_IFREG:
		flags = n.once(n.fileFlags)
	}
	return fmt.Sprintf("%s %d %d %d %d %s %s %s %s %s", escape(n.path), s.Ino, s.Nlink, s.Size, s.Blocks,
		timeField(s.Atime), timeField(s.Mtime), timeField(s.Ctime), timeField(s.Btime), flags), nil
}

// fileFlags asks for FLAGS and PROJECT, '-' where that fails: an encrypted
// file without its key cannot be opened.
func (n *node) fileFlags() string {
	f, err := n.open(unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOATIME)
	if err != nil {
		return "- -"
	}
	defer f.Close()
	flags, project := "-", "-"
	if w, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
		flags = fmt.Sprintf("%x", w)
	}
	if attr, err := getFsxattr(f); err == nil {
		project = fmt.Sprint(attr.Project)
	}
	return flags + " " + project
}

// SameManifest fails with the differences unless the tree at dir has the
// manifest want.
func SameManifest(want Manifest, dir string) error {
	got, err := ManifestDir(dir)
	if err != nil {
		return err
	}
	if d := Diff(want, got); d != "" {
		return fmt.Errorf("the tree differs:\n%s", d)
	}
	return nil
}
