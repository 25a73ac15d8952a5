package tree

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// FS is the source FromFS.
func FS(fsys fs.FS) Source {
	return func(ctx context.Context, t *Tree, at ID, o *Options) error {
		return FromFS(ctx, t, at, fsys, o)
	}
}

// FromFS adds what is in a file system to a directory of the tree: an
// embed.FS, a zip archive. Symbolic links need its ReadLink (fs.ReadLinkFS);
// owners are root's unless FileInfo.Sys tells others; files without a time
// have Options.Time. The file system must stay as it is until the tree is
// closed. Errors are *fs.PathError.
func FromFS(ctx context.Context, t *Tree, at ID, fsys fs.FS, o *Options) error {
	l, err := newLayer(t, at, o)
	if err != nil {
		return err
	}
	s := &fsSource{fsys: fsys, paths: paths{t: t}}
	w := &fsWalk{layer: l, ctx: ctx, fsys: fsys, s: s, source: t.addSource(s), links: make(map[host.ID]ID)}
	info, err := fs.Stat(fsys, ".")
	if err != nil {
		return err
	}
	f, err := w.found(".", info)
	if err != nil {
		return err
	}
	if err := w.root(f); err != nil {
		return err
	}
	if err := w.dir(".", at, s.paths.root(), l.filter.root(), 0); err != nil {
		return err
	}
	return l.finish()
}

// fsWalk walks a file system.
type fsWalk struct {
	*layer
	ctx    context.Context
	fsys   fs.FS
	s      *fsSource
	source uint32
	links  map[host.ID]ID
}

func (w *fsWalk) dir(path string, id ID, number uint32, up choice, depth int) error {
	if depth > maxDepth {
		return pathError("read", path, errDeep)
	}
	list, err := fs.ReadDir(w.fsys, path)
	if err != nil {
		return pathError("read", path, bare(err))
	}
	for _, e := range list {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		name := joinPath(strings.TrimPrefix(path, "."), e.Name())
		c := w.filter.choose(name, e.IsDir(), up)
		if c == chooseOut {
			continue
		}
		if err := w.entry(e, name, id, number, c, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *fsWalk) entry(e fs.DirEntry, path string, dir ID, number uint32, c choice, depth int) error {
	info, err := e.Info()
	if err != nil {
		return pathError("read", path, bare(err))
	}
	for _, leave := range w.o.Leave {
		if os.SameFile(info, leave) {
			return nil
		}
	}
	f, err := w.found(path, info)
	if err != nil {
		return err
	}
	f.tentative = c == chooseMaybe
	st, known := host.StatOf(info)
	several := known && st.Links > 1 && !f.IsDir()
	key := host.ID{Dev: st.Dev, Ino: st.Ino}
	if several {
		if to, ok := w.links[key]; ok && w.t.Node(to).Links > 0 {
			return w.link(dir, e.Name(), to)
		}
	}
	id, err := w.put(dir, e.Name(), f)
	if err != nil {
		return err
	}
	if several {
		w.links[key] = id
	}
	switch {
	case f.IsRegular():
		w.t.setContent(id, w.source, w.s.paths.ref(number, dir, e.Name()), false)
	case f.IsDir():
		return w.dir(path, id, w.s.paths.dir(number, dir, e.Name()), c, depth+1)
	}
	return nil
}

// found describes a file.
func (w *fsWalk) found(path string, info fs.FileInfo) (*found, error) {
	f := &found{Node: w.o.made(disk.ModeFromFileMode(info.Mode()))}
	if err := f.valid(); err != nil {
		return nil, pathError("read", path, err)
	}
	if t := info.ModTime(); !t.IsZero() {
		f.Mtime = TimeOf(t)
		f.Atime, f.Ctime = f.Mtime, f.Mtime
	}
	st, ok := host.StatOf(info)
	f.unowned = !ok
	if ok {
		f.UID, f.GID = st.UID, st.GID
		f.Atime, f.Ctime = TimeOf(st.Atime), TimeOf(st.Ctime)
		if f.IsDevice() {
			f.Major, f.Minor = st.Major, st.Minor
		}
	}
	if f.IsRegular() {
		f.Size = info.Size()
	}
	if f.IsSymlink() {
		target, err := fs.ReadLink(w.fsys, path)
		if err != nil {
			return nil, pathError("read", path, bare(err))
		}
		f.target = target
	}
	return f, nil
}

// fsSource is a file system as a source of content.
type fsSource struct {
	fsys  fs.FS
	paths paths
}

func (s *fsSource) spans(uint64, *Node) ([]Span, error) { return nil, nil }

func (s *fsSource) open(ref uint64, n *Node) (File, error) {
	path := s.paths.path(ref)
	f, info, err := s.file(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, ErrChanged
	}
	if r, ok := f.(io.ReaderAt); ok {
		return &fsFile{sectionFile{r, n.Size}, f}, nil
	}
	r := &streamAt{s: s, path: path, f: f}
	return &fsFile{sectionFile{r, n.Size}, r}, nil
}

func (s *fsSource) file(path string) (fs.File, fs.FileInfo, error) {
	f, err := s.fsys.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// fsFile is an open file of a file system.
type fsFile struct {
	sectionFile
	c io.Closer
}

// Close closes the file.
func (f *fsFile) Close() error { return f.c.Close() }

// streamAt reads a file that only goes forward, such as a compressed member of
// an archive: a read before the place where it is begins anew.
type streamAt struct {
	s    *fsSource
	path string

	mu sync.Mutex // guards what follows
	f  fs.File
	at int64
}

func (r *streamAt) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f == nil {
		return 0, fs.ErrClosed
	}
	if off < r.at {
		f, _, err := r.s.file(r.path)
		if err != nil {
			return 0, err
		}
		if err := r.f.Close(); err != nil {
			f.Close()
			return 0, err
		}
		r.f, r.at = f, 0
	}
	if n, err := io.CopyN(io.Discard, r.f, off-r.at); err != nil {
		r.at += n
		return 0, fmt.Errorf("skip to %d: %w", off, err)
	}
	r.at = off
	n, err := io.ReadFull(r.f, p)
	r.at += int64(n)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

func (r *streamAt) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f == nil {
		return fs.ErrClosed
	}
	err := r.f.Close()
	r.f = nil
	return err
}
