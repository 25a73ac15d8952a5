package ext4fs

import (
	"io/fs"
	"time"
)

// change runs op on the inode that name leads to, at the end of symbolic links
// if follow is set.
func (f *FS) change(opName, name string, follow bool, op func(i *Inode) error) error {
	err := f.mayChange()
	if err == nil {
		err = f.changeInode(name, follow, op)
	}
	return pathError(opName, name, err)
}

func (f *FS) changeInode(name string, follow bool, op func(i *Inode) error) error {
	if name == "" {
		return ErrNotExist
	}
	i, err := f.resolve(name, follow)
	if err != nil {
		return err
	}
	return op(i)
}

// Chmod sets the permissions and the setuid, setgid and sticky bits.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	return f.change("chmod", name, true, func(i *Inode) error {
		return i.SetAttr(&SetAttr{Valid: AttrMode, Mode: permBits(mode)})
	})
}

// Chown sets owner and group; -1 leaves one as it is. It takes away what gives
// privileges to who runs a file, as Linux does.
func (f *FS) Chown(name string, uid, gid int) error {
	return f.change("chown", name, true, func(i *Inode) error { return i.chown(uid, gid) })
}

// Lchown is Chown, but for a symbolic link itself.
func (f *FS) Lchown(name string, uid, gid int) error {
	return f.change("lchown", name, false, func(i *Inode) error { return i.chown(uid, gid) })
}

func (i *Inode) chown(uid, gid int) error {
	a := &SetAttr{KillPriv: true}
	for _, id := range []struct {
		n    int
		to   *uint32
		mask AttrMask
	}{{uid, &a.UID, AttrUID}, {gid, &a.GID, AttrGID}} {
		switch {
		case id.n == -1:
		case id.n < 0 || int64(id.n) >= 1<<32-1:
			return ErrInvalid
		default:
			*id.to = uint32(id.n)
			a.Valid |= id.mask
		}
	}
	return i.SetAttr(a)
}

// Chtimes sets the times of access and of the last change of the content. A
// zero time leaves one as it is.
func (f *FS) Chtimes(name string, atime, mtime time.Time) error {
	return f.change("chtimes", name, true, func(i *Inode) error { return i.chtimes(atime, mtime) })
}

// Lchtimes is Chtimes, but for a symbolic link itself.
func (f *FS) Lchtimes(name string, atime, mtime time.Time) error {
	return f.change("lchtimes", name, false, func(i *Inode) error { return i.chtimes(atime, mtime) })
}

func (i *Inode) chtimes(atime, mtime time.Time) error {
	a := &SetAttr{Atime: atime, Mtime: mtime}
	if !atime.IsZero() {
		a.Valid |= AttrAtime
	}
	if !mtime.IsZero() {
		a.Valid |= AttrMtime
	}
	if a.Valid == 0 {
		return nil
	}
	return i.SetAttr(a)
}

// Truncate sets the size of a file; see Inode.Truncate.
func (f *FS) Truncate(name string, size int64) error {
	return f.change("truncate", name, true, func(i *Inode) error { return i.Truncate(size) })
}

// SetXattr gives a file an extended attribute; see Inode.SetXattr.
func (f *FS) SetXattr(name, attr string, value []byte, flags XattrFlags) error {
	return f.change("setxattr", name, true, func(i *Inode) error { return i.SetXattr(attr, value, flags) })
}

// LSetXattr is SetXattr, but for a symbolic link itself.
func (f *FS) LSetXattr(name, attr string, value []byte, flags XattrFlags) error {
	return f.change("lsetxattr", name, false, func(i *Inode) error { return i.SetXattr(attr, value, flags) })
}

// RemoveXattr takes an extended attribute away; see Inode.RemoveXattr.
func (f *FS) RemoveXattr(name, attr string) error {
	return f.change("removexattr", name, true, func(i *Inode) error { return i.RemoveXattr(attr) })
}

// LRemoveXattr is RemoveXattr, but for a symbolic link itself.
func (f *FS) LRemoveXattr(name, attr string) error {
	return f.change("lremovexattr", name, false, func(i *Inode) error { return i.RemoveXattr(attr) })
}
