package ext4fs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

var (
	_ fs.FS         = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
	_ fs.SubFS      = (*FS)(nil)
)

// find is resolve for the names of io/fs.
func (f *FS) find(op, name string, follow bool) (*Inode, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	i, err := f.resolve(name, follow)
	return i, pathError(op, name, err)
}

// Open opens the named file or directory. The result is a *File.
func (f *FS) Open(name string) (fs.File, error) {
	i, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	return i.open(name), nil
}

// Stat describes the named file, at the end of symbolic links.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat describes the named file; a symbolic link is not followed.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	i, err := f.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	return &fileInfo{name: path.Base(name), stat: i.Stat()}, nil
}

// ReadLink returns the target of the named symbolic link.
func (f *FS) ReadLink(name string) (string, error) {
	i, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	target, err := i.Readlink()
	return target, pathError("readlink", name, err)
}

// ReadFile returns the content of the named file.
func (f *FS) ReadFile(name string) ([]byte, error) {
	i, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	data, err := i.readAll()
	return data, pathError("read", name, err)
}

func (i *Inode) readAll() ([]byte, error) {
	switch {
	case i.IsDir():
		return nil, ErrIsDir
	case !i.IsRegular():
		return nil, ErrNotFile
	case i.Size() > maxWhole:
		return nil, fmt.Errorf("%d bytes are too many to read at once: %w", i.Size(), ErrInvalid)
	}
	data := make([]byte, i.Size())
	n, err := i.ReadAt(data, 0)
	if err == io.EOF {
		err = nil
	}
	return data[:n], err
}

// ReadDir lists the named directory, sorted by name. On an error it returns
// what could be read before it.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	i, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	list, err := i.readDir()
	return list, pathError("readdir", name, err)
}

func (i *Inode) readDir() ([]fs.DirEntry, error) {
	if !i.IsDir() {
		return nil, ErrNotDir
	}
	var list []fs.DirEntry
	var bad error
	for e, err := range i.Entries() {
		if err != nil {
			bad = err
			break
		}
		if IsDots(e) {
			continue
		}
		list = append(list, &dirEntry{fs: i.fs, name: string(e.Name), num: e.Inode, kind: e.Type})
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, bad
}

// Sub returns the tree below dir. Symbolic links may still lead anywhere in
// the image.
func (f *FS) Sub(dir string) (fs.FS, error) {
	i, err := f.find("sub", dir, true)
	if err != nil {
		return nil, err
	}
	if !i.IsDir() {
		return nil, &fs.PathError{Op: "sub", Path: dir, Err: ErrNotDir}
	}
	if dir == "." {
		return f, nil
	}
	return &subFS{f, dir}, nil
}

// subFS is the tree below dir.
type subFS struct {
	fs  *FS
	dir string
}

// under runs op on the full name and gives errors the name that was asked for.
func under[T any](s *subFS, opName, name string, op func(string) (T, error)) (T, error) {
	if !fs.ValidPath(name) {
		var zero T
		return zero, &fs.PathError{Op: opName, Path: name, Err: fs.ErrInvalid}
	}
	v, err := op(path.Join(s.dir, name))
	if e, ok := err.(*fs.PathError); ok {
		err = &fs.PathError{Op: e.Op, Path: name, Err: e.Err}
	}
	return v, err
}

func (s *subFS) Open(name string) (fs.File, error) {
	f, err := under(s, "open", name, s.fs.Open)
	if file, ok := f.(*File); ok {
		file.name = name
	}
	return f, err
}

func (s *subFS) Stat(name string) (fs.FileInfo, error) {
	info, err := under(s, "stat", name, s.fs.Stat)
	return rename(info, name), err
}

func (s *subFS) Lstat(name string) (fs.FileInfo, error) {
	info, err := under(s, "lstat", name, s.fs.Lstat)
	return rename(info, name), err
}

func rename(info fs.FileInfo, name string) fs.FileInfo {
	if i, ok := info.(*fileInfo); ok {
		i.name = path.Base(name)
	}
	return info
}

func (s *subFS) ReadLink(name string) (string, error) {
	return under(s, "readlink", name, s.fs.ReadLink)
}
func (s *subFS) ReadFile(name string) ([]byte, error) { return under(s, "open", name, s.fs.ReadFile) }
func (s *subFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return under(s, "open", name, s.fs.ReadDir)
}
func (s *subFS) Sub(dir string) (fs.FS, error) { return under(s, "sub", dir, s.fs.Sub) }

// fileInfo describes a file; Sys gives its *Stat.
type fileInfo struct {
	name string
	stat *Stat
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) Size() int64        { return i.stat.Size }
func (i *fileInfo) Mode() fs.FileMode  { return i.stat.Mode }
func (i *fileInfo) ModTime() time.Time { return i.stat.Mtime }
func (i *fileInfo) IsDir() bool        { return i.stat.Mode.IsDir() }
func (i *fileInfo) Sys() any           { return i.stat }
func (i *fileInfo) String() string     { return fs.FormatFileInfo(i) }

// dirEntry is one name of a directory. Where the directory does not keep file
// types, the inode tells.
type dirEntry struct {
	fs   *FS
	name string
	num  disk.InodeNum
	kind uint8
}

func (e *dirEntry) Name() string   { return e.name }
func (e *dirEntry) IsDir() bool    { return e.Type().IsDir() }
func (e *dirEntry) String() string { return fs.FormatDirEntry(e) }

func (e *dirEntry) Type() fs.FileMode {
	if e.kind != disk.FileTypeUnknown {
		return disk.EntryFileMode(e.kind)
	}
	i, err := e.fs.Inode(e.num)
	if err != nil {
		return fs.ModeIrregular
	}
	return i.Mode().Type()
}

func (e *dirEntry) Info() (fs.FileInfo, error) {
	i, err := e.fs.Inode(e.num)
	if err != nil {
		return nil, pathError("lstat", e.name, err)
	}
	return &fileInfo{name: e.name, stat: i.Stat()}, nil
}

// DirEntry is one name of a directory, as the node view gives it.
type DirEntry = dir.Entry
