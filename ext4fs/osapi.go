package ext4fs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// The calls below are those of package os, with names relative to the root of
// the image: "a/b", "/a/b" and "./a/b" are the same. Symbolic links are followed
// inside the image. Errors are *fs.PathError, or *os.LinkError where there are
// two names.

// DefaultUmask is taken off the permissions of what the calls by name make.
const DefaultUmask = 0o022

// place is a name in a directory, where a path leads.
type place struct {
	dir   *Inode
	name  string
	slash bool // the path ended with a slash: it wants a directory
}

// locate walks along a path but for its last element, which need not exist.
func (f *FS) locate(path string) (place, error) {
	if path == "" {
		return place{}, ErrNotExist
	}
	root, err := f.Root()
	if err != nil {
		return place{}, err
	}
	links := 0
	return f.locateFrom(root, path, &links)
}

// locateFrom is locate for a path that begins at here, unless it begins with a
// slash. links counts the symbolic links passed.
func (f *FS) locateFrom(here *Inode, path string, links *int) (place, error) {
	var err error
	if strings.HasPrefix(path, "/") {
		if here, err = f.Root(); err != nil {
			return place{}, err
		}
	}
	for {
		name, rest := nextElement(path)
		if name == "" {
			return place{here, ".", true}, nil
		}
		if strings.Trim(rest, "/") == "" {
			if !here.IsDir() {
				return place{}, ErrNotDir
			}
			return place{here, name, strings.HasSuffix(path, "/")}, nil
		}
		path = rest
		if name == "." {
			continue
		}
		next, err := here.Child(name)
		if err != nil {
			return place{}, err
		}
		if !next.IsSymlink() {
			here = next
			continue
		}
		target, err := followed(next, links)
		if err != nil {
			return place{}, err
		}
		if strings.HasPrefix(target, "/") {
			if here, err = f.Root(); err != nil {
				return place{}, err
			}
		}
		path = target + "/" + path
	}
}

// followed returns the target of a link on a path and counts it.
func followed(i *Inode, links *int) (string, error) {
	if *links++; *links > maxSymlinks {
		return "", ErrLoop
	}
	target, err := i.Readlink()
	if err == nil && len(target) > maxTarget {
		err = ErrNameLong
	}
	return target, err
}

// inode returns what is at the place; "." is the directory itself.
func (p place) inode() (*Inode, error) {
	if p.name == "." {
		return p.dir, nil
	}
	i, err := p.dir.Child(p.name)
	if err == nil && p.slash && !i.IsDir() && !i.IsSymlink() {
		err = ErrNotDir
	}
	return i, err
}

// at runs op on the place where name leads.
func (f *FS) at(opName, name string, op func(p place) error) error {
	p, err := f.locate(name)
	if err == nil {
		err = op(p)
	}
	return pathError(opName, name, err)
}

// Create creates the named file for reading and writing, mode 0666 less the
// umask, or makes it empty where it exists.
func (f *FS) Create(name string) (*File, error) {
	return f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// OpenFile opens the named file as os.OpenFile does; flag is made of the O_
// constants of package os. With O_SYNC every write is durable when it returns.
// The file lives on after its last name is removed, until it is closed.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	i, err := f.openInode(name, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	file, err := i.openWith(name, flag)
	if err == nil && flag&os.O_TRUNC != 0 && i.IsRegular() && (i.Size() > 0 || i.Sectors() > 0) {
		err = i.Truncate(0)
	}
	if err != nil {
		return nil, pathError("open", name, errors.Join(err, i.Release()))
	}
	return file, nil
}

func writes(flag int) bool { return flag&(os.O_WRONLY|os.O_RDWR) != 0 }

// maxRaces bounds how often an open is tried again because others make and
// remove the name at the same time.
const maxRaces = 100

// openInode finds or makes what OpenFile opens, and holds it.
func (f *FS) openInode(name string, flag int, perm fs.FileMode) (*Inode, error) {
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 || writes(flag) {
		if err := f.mayChange(); err != nil {
			return nil, err
		}
	}
	for range maxRaces {
		i, again, err := f.tryOpen(name, flag, perm)
		if again || err == nil && !i.Acquire() {
			continue
		}
		return i, err
	}
	return nil, ErrBusy
}

// tryOpen is openInode without holding. again says that somebody else made the
// name in the meantime.
func (f *FS) tryOpen(name string, flag int, perm fs.FileMode) (i *Inode, again bool, err error) {
	p, err := f.locate(name)
	links := 0
	for err == nil {
		i, err = p.inode()
		switch {
		case err == ErrNotExist && flag&os.O_CREATE != 0:
			if p.slash {
				return nil, false, ErrIsDir
			}
			i, err = p.dir.Create(p.name, &NewNode{Mode: disk.ModeRegular | permBits(perm), Umask: DefaultUmask})
			return i, errors.Is(err, ErrExist) && flag&os.O_EXCL == 0, err
		case err != nil:
			return nil, false, err
		case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
			return nil, false, ErrExist
		case i.IsSymlink():
			var target string
			if target, err = followed(i, &links); err == nil {
				slash := p.slash
				p, err = f.locateFrom(p.dir, target, &links)
				p.slash = p.slash || slash
			}
			continue
		case i.IsDir() && (writes(flag) || flag&(os.O_CREATE|os.O_TRUNC) != 0):
			return nil, false, ErrIsDir
		case p.slash && !i.IsDir():
			return nil, false, ErrNotDir
		}
		return i, false, i.mayOpen(flag)
	}
	return nil, false, err
}

// mayOpen checks the inode's flags.
func (i *Inode) mayOpen(flag int) error {
	switch {
	case writes(flag) && i.IsRegular() && i.Flags()&(disk.FlagImmutable|disk.FlagVerity) != 0,
		i.Flags().Has(disk.FlagAppend) && (writes(flag) && flag&os.O_APPEND == 0 || flag&os.O_TRUNC != 0):
		return fmt.Errorf("inode %d is %s: %w", i.num, i.Flags(), ErrNotPermitted)
	}
	return nil
}

// permBits are the permissions, setuid, setgid and sticky bits of i_mode.
func permBits(perm fs.FileMode) uint16 {
	return disk.ModeFromFileMode(perm) &^ disk.ModeType
}

// WriteFile writes the named file, which it creates with perm less the umask,
// or makes empty first. A new file of up to 1 MiB comes to be whole, in one
// transaction.
func (f *FS) WriteFile(name string, data []byte, perm fs.FileMode) error {
	if done, err := f.newFile(name, data, perm); done {
		return pathError("open", name, err)
	}
	file, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

// newFile is WriteFile for a small file that does not exist; else it has done
// nothing.
func (f *FS) newFile(name string, data []byte, perm fs.FileMode) (done bool, err error) {
	if len(data) == 0 || len(data) > maxWriteAll {
		return false, nil
	}
	p, err := f.locate(name)
	if err != nil || p.slash {
		return false, nil
	}
	if _, err := p.dir.Lookup(p.name); err != ErrNotExist {
		return false, nil
	}
	_, err = p.dir.Create(p.name, &NewNode{Mode: disk.ModeRegular | permBits(perm), Umask: DefaultUmask, Content: data})
	return !errors.Is(err, ErrExist), err
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	return f.at("mkdir", name, func(p place) error {
		_, err := p.dir.Create(p.name, &NewNode{Mode: disk.ModeDir | permBits(perm), Umask: DefaultUmask})
		return err
	})
}

// MkdirAll makes a directory and those above it that are missing. It is
// content with one that is there.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	err := f.mkdirAll(name, perm)
	return pathError("mkdir", name, err)
}

func (f *FS) mkdirAll(name string, perm fs.FileMode) error {
	if name == "" {
		return ErrNotExist
	}
	// Mostly it is all there but a few levels at the end.
	if i, err := f.resolve(name, true); err == nil {
		if !i.IsDir() {
			return ErrNotDir
		}
		return nil
	}
	var missing []string
	for part := strings.TrimRight(name, "/"); part != ""; part = parentPath(part) {
		i, err := f.resolve(part, true)
		switch {
		case err == nil && !i.IsDir():
			return ErrNotDir
		case err != nil && !errors.Is(err, ErrNotExist):
			return err
		}
		if err == nil {
			break
		}
		missing = append(missing, part)
	}
	for _, part := range slices.Backward(missing) {
		if err := f.mkdirOne(part, perm); err != nil {
			return err
		}
	}
	return nil
}

// parentPath cuts the last element off a path that does not end with a slash.
func parentPath(path string) string {
	return strings.TrimRight(path[:strings.LastIndexByte(path, '/')+1], "/")
}

// mkdirOne is Mkdir, content with a directory that is there.
func (f *FS) mkdirOne(name string, perm fs.FileMode) error {
	p, err := f.locate(name)
	if err != nil {
		return err
	}
	_, err = p.dir.Create(p.name, &NewNode{Mode: disk.ModeDir | permBits(perm), Umask: DefaultUmask})
	if errors.Is(err, ErrExist) {
		// Somebody was faster, or it is a link that leads nowhere.
		if i, rerr := f.resolve(name, true); rerr == nil && i.IsDir() {
			return nil
		}
	}
	return err
}

// Symlink makes newname a symbolic link to oldname, which is not looked at.
func (f *FS) Symlink(oldname, newname string) error {
	p, err := f.locate(newname)
	if err == nil && p.slash && !isDotName(p.name) {
		err = ErrNotExist
	}
	if err == nil {
		_, err = p.dir.Create(p.name, &NewNode{Mode: disk.ModeSymlink | disk.ModePerm, Target: oldname})
	}
	return linkError("symlink", oldname, newname, err)
}

// Mknod makes a device, a fifo, a socket or an empty file, as the type in mode
// says. The numbers count for devices.
func (f *FS) Mknod(name string, mode fs.FileMode, major, minor uint32) error {
	return f.at("mknod", name, func(p place) error {
		if mode.IsDir() || mode&fs.ModeSymlink != 0 {
			return ErrInvalid
		}
		if p.slash && !isDotName(p.name) {
			return ErrNotExist
		}
		_, err := p.dir.Create(p.name, &NewNode{
			Mode: disk.ModeFromFileMode(mode), Umask: DefaultUmask, Major: major, Minor: minor,
		})
		return err
	})
}

// Link makes newname another name of oldname, which may be a symbolic link
// itself.
func (f *FS) Link(oldname, newname string) error {
	err := f.link(oldname, newname)
	return linkError("link", oldname, newname, err)
}

func (f *FS) link(oldname, newname string) error {
	target, err := f.resolve(oldname, false)
	if err != nil {
		return err
	}
	p, err := f.locate(newname)
	if err != nil {
		return err
	}
	if p.slash && !isDotName(p.name) {
		return ErrNotExist
	}
	return p.dir.Link(p.name, target)
}

// Rename is rename(2): newpath is replaced if it exists.
func (f *FS) Rename(oldpath, newpath string) error {
	err := f.renameFlags(oldpath, newpath, 0)
	return linkError("rename", oldpath, newpath, err)
}

// RenameWith is Rename with flags.
func (f *FS) RenameWith(oldpath, newpath string, flags RenameFlags) error {
	err := f.renameFlags(oldpath, newpath, flags)
	return linkError("rename", oldpath, newpath, err)
}

func (f *FS) renameFlags(oldpath, newpath string, flags RenameFlags) error {
	from, err := f.locate(oldpath)
	if err != nil {
		return err
	}
	to, err := f.locate(newpath)
	if err != nil {
		return err
	}
	if from.slash || to.slash {
		// Either slash says that what is renamed is a directory.
		if i, err := from.inode(); err == nil && !i.IsDir() {
			return ErrNotDir
		}
	}
	return from.dir.Rename(from.name, to.dir, to.name, flags)
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	return f.at("remove", name, func(p place) error {
		if isDotName(p.name) {
			return p.dir.removeDot(p.name)
		}
		i, err := p.dir.Child(p.name)
		switch {
		case err != nil:
			return err
		case i.IsDir():
			return p.dir.Rmdir(p.name)
		case p.slash:
			return ErrNotDir
		}
		return p.dir.Unlink(p.name)
	})
}

// removeDot is why "." and ".." cannot be removed.
func (d *Inode) removeDot(name string) error {
	if d.num == disk.RootInode && name == "." {
		return ErrBusy
	}
	return d.Rmdir(name)
}

func linkError(op, oldname, newname string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: oldname, New: newname, Err: err}
}
