package inject

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxDepth bounds how deep walks go.
const maxDepth = 4096

// imageWalk walks a tree of a file system.
type imageWalk struct {
	*walker
	fs    *ext4fs.FS
	label string // before paths
	seen  map[disk.InodeNum]bool
	chain []disk.InodeNum // directories above, for Follow
}

// imageLink identifies an inode of a file system.
type imageLink struct {
	fs  *ext4fs.FS
	num disk.InodeNum
}

// image emits a file or tree of a file system.
func (w *walker) image(src *ext4fs.Inode, label, path string, to Place) error {
	v := &imageWalk{walker: w, fs: src.FS(), label: label, seen: make(map[disk.InodeNum]bool)}
	it := v.item(src, label+path)
	it.place = to
	if src.IsDir() && src.FS() == w.fs {
		inside, err := below(to.Dir, src)
		if err == nil && inside && !(to.Name == "" && to.Dir.Number() == src.Number()) {
			err = ErrIntoItself
		} else if err == nil && inside {
			err = ErrSame
		}
		if err != nil {
			it.err = err
			return w.emit(it)
		}
	}
	return v.visit(it, src, 0)
}

func (v *imageWalk) visit(it *item, src *ext4fs.Inode, depth int) error {
	if !src.IsDir() {
		return v.emit(it)
	}
	if it.err = v.mayEnter(src, depth); it.err != nil {
		return v.emit(it)
	}
	if err := v.emit(it); err != nil {
		return err
	}
	v.chain = append(v.chain, src.Number())
	defer func() { v.chain = v.chain[:len(v.chain)-1] }()
	names, listErr := listImage(src)
	for _, e := range names {
		if err := v.entry(it, e, depth+1); err != nil {
			return err
		}
	}
	if listErr != nil {
		if err := v.emit(&item{up: it, path: it.path, err: listErr}); err != nil {
			return err
		}
	}
	return v.end(it)
}

// mayEnter refuses what would never end: only a damaged image, or Follow,
// leads into a directory twice.
func (v *imageWalk) mayEnter(src *ext4fs.Inode, depth int) error {
	switch {
	case depth >= maxDepth:
		return &disk.CorruptError{What: "directory tree", Inode: src.Number(), Detail: fmt.Sprintf("more than %d directories deep", maxDepth)}
	case v.o.Follow && slices.Contains(v.chain, src.Number()):
		return ErrLoop
	case !v.o.Follow && v.seen[src.Number()]:
		return &disk.CorruptError{What: "directory tree", Inode: src.Number(), Detail: "the directory has a second name"}
	}
	v.seen[src.Number()] = true
	return nil
}

type imageEntry struct {
	name string
	num  disk.InodeNum
}

// listImage reads a directory, sorted by name. With an error it gives what
// could be read.
func listImage(dir *ext4fs.Inode) (list []imageEntry, bad error) {
	for e, err := range dir.Entries() {
		if err != nil {
			if bad == nil {
				bad = err
			}
			continue
		}
		if !ext4fs.IsDots(e) {
			list = append(list, imageEntry{string(e.Name), e.Inode})
		}
	}
	slices.SortFunc(list, func(a, b imageEntry) int { return strings.Compare(a.name, b.name) })
	return list, bad
}

func (v *imageWalk) entry(up *item, e imageEntry, depth int) error {
	path := joinPath(up.path, e.name)
	src, err := v.fs.Inode(e.num)
	if err == nil && v.o.Follow && src.IsSymlink() {
		src, err = v.fs.Lookup(strings.TrimPrefix(path, v.label))
	}
	if err != nil {
		return v.emit(&item{up: up, name: e.name, path: path, err: err})
	}
	it := v.item(src, path)
	it.up, it.name = up, e.name
	return v.visit(it, src, depth)
}

// item describes an inode. What takes reading comes later.
func (v *imageWalk) item(src *ext4fs.Inode, path string) *item {
	st := src.Stat()
	it := &item{
		path: path, mode: st.RawMode, uid: st.UID, gid: st.GID, major: st.Major, minor: st.Minor,
		atime: st.Atime, mtime: st.Mtime, size: st.Size,
	}
	if src.FS() == v.walker.fs {
		it.same = src
	}
	if v.o.Links && st.Links > 1 && !src.IsDir() {
		it.link, it.names = imageLink{src.FS(), src.Number()}, int(st.Links)
	}
	it.load = func(it *item, _ *memory) { it.err = v.load(it, src) }
	return it
}

// load reads what is small.
func (v *imageWalk) load(it *item, src *ext4fs.Inode) (err error) {
	if it.err != nil {
		return it.err
	}
	if v.o.wantsXattrs(it.mode) {
		if it.xattrs, err = src.Xattrs(); err != nil {
			it.warned = append(it.warned, err)
		}
	}
	switch {
	case src.IsSymlink():
		it.target, err = src.Readlink()
	case src.IsRegular():
		b := &imageBody{src}
		it.body = b
		if it.size == 0 {
			it.body = nil
		} else if it.size <= smallFile && v.o.Sparse == SparseKeep {
			data, ok, err := b.bytes(smallFile)
			if err != nil {
				return err
			}
			if ok {
				it.data, it.body = data, nil
			}
		}
	}
	return err
}

// imageBody is the content of an inode.
type imageBody struct{ src *ext4fs.Inode }

func (b *imageBody) writeTo(ctx context.Context, w *writer, to *ext4fs.Inode) error {
	return w.writeSpans(ctx, to, b.src, b.src.Size(), b.src.Data())
}

// bytes reads a file without holes.
func (b *imageBody) bytes(limit int64) ([]byte, bool, error) {
	size := b.src.Size()
	if size > limit {
		return nil, false, nil
	}
	end := int64(0)
	for s, err := range b.src.Data() {
		if err != nil {
			return nil, false, err
		}
		if s.Off != end {
			return nil, false, nil
		}
		end = s.Off + s.Len
	}
	if end < size {
		return nil, false, nil
	}
	p := make([]byte, size)
	n, err := b.src.ReadAt(p, 0)
	if n == len(p) {
		return p, true, nil
	}
	if err == nil || err == io.EOF {
		err = shortError(int64(n))
	}
	return nil, false, err
}
