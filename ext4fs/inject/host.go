package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// hostWalk walks a tree of the host.
type hostWalk struct {
	*walker
	chain []fs.FileInfo // directories above, for Follow
}

// host emits a file or tree of the host.
func (w *walker) host(path string, follow bool, to Place) error {
	v := &hostWalk{walker: w}
	stat := os.Lstat
	if follow || w.o.Follow {
		stat = os.Stat
	}
	info, err := stat(path)
	if err != nil {
		return w.emit(&item{place: to, path: path, err: bare(err)})
	}
	it := v.item(path, info)
	it.place = to
	return v.visit(it, info, 0)
}

// bare drops the name from an error, which is told beside it.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (v *hostWalk) visit(it *item, info fs.FileInfo, depth int) error {
	if !info.IsDir() {
		return v.emit(it)
	}
	if depth >= maxDepth {
		it.err = fmt.Errorf("more than %d directories deep", maxDepth)
	}
	if v.o.Follow {
		for _, above := range v.chain {
			if os.SameFile(above, info) {
				it.err = ErrLoop
			}
		}
	}
	enter := it.err == nil // what is emitted is not ours any more
	if err := v.emit(it); err != nil || !enter {
		return err
	}
	v.chain = append(v.chain, info)
	defer func() { v.chain = v.chain[:len(v.chain)-1] }()
	list, dir, listErr := v.list(it.path)
	defer dir.drop()
	for _, e := range list {
		var err error
		if dir != nil && e.Type().IsRegular() {
			err = v.emit(v.peeked(it, dir, e))
		} else {
			err = v.entry(it, e, depth+1)
		}
		if err != nil {
			return err
		}
	}
	if listErr != nil {
		if err := v.emit(&item{up: it, path: it.path, err: bare(listErr)}); err != nil {
			return err
		}
	}
	return v.end(it)
}

func (v *hostWalk) entry(up *item, e fs.DirEntry, depth int) error {
	path := filepath.Join(up.path, e.Name())
	var info fs.FileInfo
	var err error
	if v.o.Follow {
		info, err = os.Stat(path)
	} else {
		info, err = e.Info()
	}
	if err != nil {
		return v.emit(&item{up: up, name: e.Name(), path: path, err: bare(err)})
	}
	it := v.item(path, info)
	it.up, it.name = up, e.Name()
	return v.visit(it, info, depth)
}

// item describes a host file. What takes reading comes later.
func (v *hostWalk) item(path string, info fs.FileInfo) *item {
	it := &item{path: path}
	if v.describe(it, info); it.err == nil {
		it.load = func(it *item, _ *memory) { it.err = v.load(it, info) }
	}
	return it
}

// describe fills in what is known without reading.
func (v *hostWalk) describe(it *item, info fs.FileInfo) {
	it.mode, it.size = disk.ModeFromFileMode(info.Mode()), info.Size()
	it.atime, it.mtime = info.ModTime(), info.ModTime()
	v.system(it, info)
	if info.Mode().IsRegular() && v.leaves(info) {
		it.err = ErrSelf
	}
}

// load reads what is small.
func (v *hostWalk) load(it *item, info fs.FileInfo) (err error) {
	if it.err != nil {
		return it.err
	}
	if v.o.wantsXattrs(it.mode) {
		it.xattrs, err = hostXattrs(it.path, v.o)
		if err != nil {
			it.warned = append(it.warned, err)
		}
	}
	switch it.kind() {
	case disk.ModeSymlink:
		it.target, err = os.Readlink(it.path)
		return bare(err)
	case disk.ModeRegular:
		b := &hostBody{path: it.path, same: func(now fs.FileInfo) bool { return os.SameFile(now, info) }}
		it.body = b
		if it.size <= smallFile && (v.o.Sparse != SparseKeep || !host.MayHaveHoles(info)) && v.o.Sparse != SparseAlways {
			it.data, _, err = b.bytes(smallFile)
			if err != nil {
				return err
			}
			it.size, it.body = int64(len(it.data)), nil
		}
	}
	return nil
}

var errReplaced = errors.New("was replaced while it was copied")

// hostBody is the content of a host file.
type hostBody struct {
	path string
	same func(fs.FileInfo) bool // is it what was seen
}

// open opens the file that was seen.
func (b *hostBody) open() (*os.File, int64, error) {
	f, err := host.Open(b.path)
	if err != nil {
		return nil, 0, bare(err)
	}
	now, err := f.Stat()
	if err == nil && !b.same(now) {
		err = errReplaced
	}
	if err != nil {
		f.Close()
		return nil, 0, bare(err)
	}
	return f, now.Size(), nil
}

func (b *hostBody) writeTo(ctx context.Context, w *writer, to *ext4fs.Inode) error {
	f, size, err := b.open()
	if err != nil {
		return err
	}
	defer f.Close()
	return w.writeSpans(ctx, to, f, size, hostSpans(f, size))
}

func (b *hostBody) bytes(limit int64) ([]byte, bool, error) {
	f, size, err := b.open()
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if size > limit {
		return nil, false, fmt.Errorf("grew to %d bytes while it was copied", size)
	}
	// A byte more tells whether the file grew meanwhile, as in /proc.
	p := make([]byte, size+1)
	n, err := io.ReadFull(f, p)
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return p[:n], true, nil
	case err != nil:
		return nil, false, bare(err)
	}
	rest, err := io.ReadAll(io.LimitReader(f, limit+1))
	p = append(p, rest...)
	if err == nil && int64(len(p)) > limit {
		err = errors.New("grows while it is copied")
	}
	return p, err == nil, bare(err)
}

// hostSpans yields what of a host file is no hole.
func hostSpans(f *os.File, size int64) iter.Seq2[ext4fs.Span, error] {
	return func(yield func(ext4fs.Span, error) bool) {
		for s, err := range host.Spans(f, size) {
			if !yield(ext4fs.Span(s), err) {
				return
			}
		}
	}
}

// hostXattrs reads the attributes that are wanted.
func hostXattrs(path string, o *Options) ([]ext4fs.Xattr, error) {
	list, err := host.Xattrs(path, o.Follow, o.wantsXattr)
	return ownXattrs(list), err
}

// wantsXattr reports whether an attribute is wanted: to be kept, or because it
// changes the mode.
func (o *Options) wantsXattr(name string) bool {
	return isACL(name) && o.ACLs || !isACL(name) && o.Xattrs || name == nameAccess
}

// wantsXattrs reports whether there can be such attributes.
func (o *Options) wantsXattrs(mode uint16) bool {
	return o.Xattrs || o.ACLs || mode&disk.ModeType != disk.ModeSymlink && mode&0o070 != 0
}

func ownXattrs(list []host.Xattr) (own []ext4fs.Xattr) {
	for _, x := range list {
		own = append(own, ext4fs.Xattr(x))
	}
	return own
}

// system fills in what only the system knows of a file.
func (v *hostWalk) system(it *item, info fs.FileInfo) {
	if st, ok := host.StatPath(it.path, info); ok {
		v.fromStat(it, &st)
	}
}

func (v *hostWalk) fromStat(it *item, st *host.Stat) {
	it.uid, it.gid = st.UID, st.GID
	it.major, it.minor = st.Major, st.Minor
	it.atime, it.mtime = st.Atime, st.Mtime
	if v.o.Links && st.Links > 1 && !it.isDir() {
		it.link, it.names = host.ID{Dev: st.Dev, Ino: st.Ino}, int(st.Links)
	}
}
