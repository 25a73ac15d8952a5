//go:build !linux

package tree

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// scanSystem is what the system has for reading attributes.
type scanSystem struct{}

// scanBuffer is what a reader of directories uses again.
type scanBuffer struct{}

func hostName(base, path string) string { return filepath.Join(base, filepath.FromSlash(path)) }

// list reads a directory.
func (s *scanner) list(d *scanDir, _ *scanBuffer) error {
	path := filepath.FromSlash(d.path)
	if path == "" {
		path = "."
	}
	f, err := s.root.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if d == s.top {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		e := &scanned{}
		e.info(info)
		s.dev = e.id.Dev
		d.attrs = e
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		e := scanned{name: name}
		if s.file(d, &e) {
			d.entries = append(d.entries, e)
		}
	}
	return nil
}

// info takes over what the system says of a file.
func (e *scanned) info(info fs.FileInfo) {
	e.Mode = disk.ModeFromFileMode(info.Mode())
	e.Mtime = TimeOf(info.ModTime())
	e.Atime, e.Ctime = e.Mtime, e.Mtime
	if e.IsRegular() {
		e.Size = info.Size()
	}
	st, ok := host.StatOf(info)
	if e.unowned = !ok; !ok {
		return
	}
	e.UID, e.GID = st.UID, st.GID
	e.Atime, e.Ctime = TimeOf(st.Atime), TimeOf(st.Ctime)
	e.id, e.links = host.ID{Dev: st.Dev, Ino: st.Ino}, st.Links
	if e.IsDevice() {
		e.Major, e.Minor = st.Major, st.Minor
	}
}

// file reads all about a file but its content; false if it is left out.
func (s *scanner) file(d *scanDir, e *scanned) bool {
	path := filepath.FromSlash(joinPath(d.path, e.name))
	info, err := s.root.Lstat(path)
	if err != nil {
		e.err = bare(err)
		return true
	}
	for _, leave := range s.o.Leave {
		if os.SameFile(info, leave) {
			return false
		}
	}
	e.info(info)
	if !s.take(d, e) {
		return false
	}
	switch {
	case e.err != nil:
	case e.valid() != nil:
		e.err = ErrType
	case e.IsSymlink():
		e.target, err = s.root.Readlink(path)
		e.target = filepath.ToSlash(e.target)
		e.err = bare(err)
	}
	return true
}
