package ext4fs

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// maxSymlinks is how many symbolic links one path may pass, as in Linux.
	maxSymlinks = 40
	// maxTarget is the longest symbolic link that is followed, as in Linux.
	maxTarget = 4096
)

// Lookup returns the inode at path and follows symbolic links, which stay
// inside the image: an absolute target begins at its root. Leading, trailing
// and doubled slashes do not matter. Errors are bare kinds; the methods of
// io/fs wrap them in *fs.PathError.
func (f *FS) Lookup(path string) (*Inode, error) { return f.resolve(path, true) }

// LookupNoFollow is Lookup, but a symbolic link as the last element is
// returned itself.
func (f *FS) LookupNoFollow(path string) (*Inode, error) { return f.resolve(path, false) }

// Root returns the root directory.
func (f *FS) Root() (*Inode, error) { return f.Inode(disk.RootInode) }

func (f *FS) resolve(path string, follow bool) (*Inode, error) {
	here, err := f.Root()
	if err != nil {
		return nil, err
	}
	// A trailing slash asks for a directory, and so follows a link.
	wantDir := strings.HasSuffix(path, "/")
	rest := path
	for links := 0; ; {
		var name string
		name, rest = nextElement(rest)
		if name == "" {
			break
		}
		if name == "." {
			if !here.IsDir() {
				return nil, ErrNotDir
			}
			continue
		}
		child, err := here.Child(name)
		if err != nil {
			return nil, err
		}
		last := strings.Trim(rest, "/") == ""
		if !child.IsSymlink() || last && !follow && !wantDir {
			here = child
			continue
		}
		if links++; links > maxSymlinks {
			return nil, ErrLoop
		}
		target, err := child.Readlink()
		if err != nil {
			return nil, err
		}
		if target == "" || len(target) > maxTarget {
			return nil, fmt.Errorf("target of %d bytes in inode %d: %w", len(target), child.num, ErrNotExist)
		}
		if strings.HasPrefix(target, "/") {
			if here, err = f.Root(); err != nil {
				return nil, err
			}
		}
		rest = target + "/" + rest
	}
	if wantDir && !here.IsDir() {
		return nil, ErrNotDir
	}
	return here, nil
}

// nextElement splits the first element off a path; it is empty at the end.
func nextElement(path string) (name, rest string) {
	path = strings.TrimLeft(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return path, ""
}

// Lookup returns the inode number that name has in the directory. It gives
// ErrNotDir where the inode is no directory and ErrNotExist where there is no
// such name. "." and ".." are names like others, but root's ".." is root.
func (i *Inode) Lookup(name string) (disk.InodeNum, error) {
	i.lockRead()
	defer i.unlockRead()
	return i.lookup(name)
}

// Child returns the inode that name has in the directory; see Lookup. In a file
// system open for writing it is the one that had the name at some moment of the
// call, which a number alone cannot tell.
func (i *Inode) Child(name string) (*Inode, error) {
	i.lockRead()
	defer i.unlockRead()
	n, err := i.lookup(name)
	switch {
	case err != nil:
		return nil, err
	case n == i.num:
		return i, nil
	}
	return i.fs.Inode(n)
}

// lookup is Lookup for who holds the lock.
func (i *Inode) lookup(name string) (disk.InodeNum, error) {
	if !i.IsDir() {
		return 0, ErrNotDir
	}
	if len(name) > disk.MaxNameLen && !i.Flags().Has(disk.FlagEncrypt) {
		return 0, ErrNameLong
	}
	if name == "." || name == ".." && i.num == disk.RootInode {
		return i.num, nil
	}
	e, err := i.lookupEntry(name)
	if err != nil {
		return 0, err
	}
	if e.Inode == 0 || e.Inode > i.fs.inodes {
		return 0, &CorruptError{What: "directory entry", Inode: i.num,
			Detail: fmt.Sprintf("%q is inode %d of %d", name, e.Inode, i.fs.inodes)}
	}
	return e.Inode, nil
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
