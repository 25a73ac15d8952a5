//go:build !linux

package extract

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// openHost opens a directory that the caller named; links in path are
// followed.
func openHost(path string) (hostDir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &rootDir{root: root, base: root, path: "."}, nil
}

// rootDir is one directory as an os.Root of its own, so that no name can lead
// out of it. Errors are stripped of the names that os adds.
type rootDir struct {
	root *os.Root
	base *os.Root // of the caller's directory, for links between directories
	path string   // below base
}

func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}

func (d *rootDir) chown(uid, gid uint32) error { return d.named(".").chown(uid, gid) }
func (d *rootDir) chmod(mode uint16) error     { return d.named(".").chmod(mode) }
func (d *rootDir) setTimes(atime, mtime time.Time) error {
	return d.named(".").setTimes(atime, mtime)
}
func (d *rootDir) setXattr(string, []byte) error { return errNoSupport }
func (d *rootDir) removeXattr(string) error      { return errNoSupport }

func (d *rootDir) info() (hostInfo, error) {
	st, err := d.root.Stat(".")
	if err != nil {
		return hostInfo{}, bare(err)
	}
	return newHostInfo(st), nil
}

func newHostInfo(st fs.FileInfo) hostInfo {
	// Owners are not known here, so every wish for one is a call.
	return hostInfo{isDir: st.IsDir(), mode: uint16(st.Mode().Perm()), uid: ^uint32(0), gid: ^uint32(0)}
}

func (d *rootDir) lstat(name string) (hostInfo, error) {
	st, err := d.root.Lstat(name)
	if err != nil {
		return hostInfo{}, bare(err)
	}
	return newHostInfo(st), nil
}

func (d *rootDir) mkdir(name string, perm uint16) error {
	return bare(d.root.Mkdir(name, fs.FileMode(perm)))
}

func (d *rootDir) openDir(name string) (hostDir, error) {
	// OpenRoot follows a link to another name in the same directory.
	st, err := d.root.Lstat(name)
	if err != nil {
		return nil, bare(err)
	}
	if !st.IsDir() {
		return nil, ErrOverwriteFile
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, bare(err)
	}
	return &rootDir{root: root, base: d.base, path: filepath.Join(d.path, name)}, nil
}

func (d *rootDir) openBelow(names []string) (hostDir, error) { return openEach(d, names) }

func (d *rootDir) create(name string, perm uint16) (hostFile, error) {
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(perm))
	if err != nil {
		return nil, bare(err)
	}
	return &rootFile{File: f, rootName: rootName{d.root, name}}, nil
}

func (d *rootDir) symlink(target, name string) error { return bare(d.root.Symlink(target, name)) }

func (d *rootDir) link(from hostDir, old, name string) error {
	f, ok := from.(*rootDir)
	if !ok || f.base != d.base {
		return errNoSupport
	}
	return bare(d.base.Link(filepath.Join(f.path, old), filepath.Join(d.path, name)))
}

func (d *rootDir) mknod(string, uint16, uint32, uint32) error { return errNoSupport }

func (d *rootDir) rename(old, name string) error { return bare(d.root.Rename(old, name)) }

func (d *rootDir) renameExclusive(old, name string) error {
	if _, err := d.root.Lstat(name); err == nil {
		return fs.ErrExist
	}
	return bare(d.root.Rename(old, name))
}

func (d *rootDir) remove(name string) error    { return bare(d.root.Remove(name)) }
func (d *rootDir) close() error                { return d.root.Close() }
func (d *rootDir) named(name string) hostAttrs { return &rootName{d.root, name} }

// rootName sets attributes of a name.
type rootName struct {
	root *os.Root
	name string
}

func (n *rootName) chown(uid, gid uint32) error {
	return bare(n.root.Lchown(n.name, int(uid), int(gid)))
}

func (n *rootName) chmod(mode uint16) error {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint16]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return bare(n.root.Chmod(n.name, m))
}

// setTimes leaves symbolic links alone: Chtimes would follow them.
func (n *rootName) setTimes(atime, mtime time.Time) error {
	if st, err := n.root.Lstat(n.name); err != nil || st.Mode()&fs.ModeSymlink != 0 {
		return bare(err)
	}
	return bare(n.root.Chtimes(n.name, atime, mtime))
}

func (n *rootName) setXattr(string, []byte) error { return errNoSupport }
func (n *rootName) removeXattr(string) error      { return errNoSupport }

// rootFile is a file being written. Times and permissions are set by name
// after the last write.
type rootFile struct {
	*os.File
	rootName
}

func (f *rootFile) chown(uid, gid uint32) error                            { return f.rootName.chown(uid, gid) }
func (f *rootFile) chmod(mode uint16) error                                { return f.rootName.chmod(mode) }
func (f *rootFile) setTimes(atime, mtime time.Time) error                  { return f.rootName.setTimes(atime, mtime) }
func (f *rootFile) truncate(size int64) error                              { return bare(f.File.Truncate(size)) }
func (f *rootFile) close() error                                           { return bare(f.File.Close()) }
func (f *rootFile) cloneRange(*os.File, int64, int64, int64) (int64, bool) { return 0, false }

// currentUmask is what most systems have; permissions are set by chmod where
// it matters.
func currentUmask() uint16 {
	if filepath.Separator == '\\' {
		return 0
	}
	return 0o777
}
