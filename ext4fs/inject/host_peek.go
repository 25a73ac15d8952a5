package inject

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// A regular file in a directory is opened by its name there, described and read
// by its descriptor: there are many of these, and every path that the system has
// to walk counts. What does not go that way goes by its path.

// hostDir is an open directory that readers use.
type hostDir struct {
	f      *os.File
	prefix string // of the paths of what is in it
	users  atomic.Int32
}

// drop ends a use; the last one closes the directory.
func (d *hostDir) drop() {
	if d != nil && d.users.Add(-1) == 0 {
		d.f.Close()
	}
}

// list reads a directory, sorted by name. The directory is nil where its files
// are not to be peeked at.
func (v *hostWalk) list(path string) ([]fs.DirEntry, *hostDir, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	list, err := f.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	if v.o.Follow || !host.CanPeek {
		f.Close()
		return list, nil, err
	}
	d := &hostDir{f: f, prefix: strings.TrimSuffix(filepath.Join(path, "x"), "x")}
	d.users.Store(1)
	return list, d, err
}

// peeked is an entry that the directory calls a regular file.
func (v *hostWalk) peeked(up *item, dir *hostDir, e fs.DirEntry) *item {
	it := &item{up: up, name: e.Name(), path: dir.prefix + e.Name(), mode: disk.ModeRegular}
	dir.users.Add(1)
	it.load = func(it *item, mem *memory) {
		defer dir.drop()
		p, err := host.Peek(dir.f, it.name)
		if err == nil {
			defer p.Close()
			it.err = v.loadPeeked(it, &p, mem)
			return
		}
		// The usual way finds out what is wrong, or reads what it is by now.
		info, err := os.Lstat(it.path)
		if err != nil {
			it.err = bare(err)
			return
		}
		if v.describe(it, info); it.err == nil && info.IsDir() {
			it.err = errReplaced
		}
		it.err = v.load(it, info)
	}
	return it
}

// loadPeeked describes an open file, and reads it if it is small.
func (v *hostWalk) loadPeeked(it *item, p *host.Peeked, mem *memory) (err error) {
	it.mode, it.size = p.Mode, p.Size
	v.fromStat(it, &p.Stat)
	id := host.ID{Dev: p.Dev, Ino: p.Ino}
	if len(v.o.Leave) > 0 && v.leavesID(id) {
		return ErrSelf
	}
	if v.o.wantsXattrs(it.mode) {
		list, err := p.Xattrs(v.o.wantsXattr)
		if err != nil {
			it.warned = append(it.warned, err)
		}
		it.xattrs = ownXattrs(list)
	}
	b := &hostBody{path: it.path, same: func(now fs.FileInfo) bool {
		is, ok := host.IDOf(now)
		return ok && is == id
	}}
	it.body = b
	holes := p.Blocks*512 < p.Size
	if it.size > smallFile || v.o.Sparse == SparseKeep && holes || v.o.Sparse == SparseAlways {
		return nil
	}
	buf := mem.space(int(it.size) + 1)
	n, err := p.Read(buf)
	switch {
	case err != nil:
		return err
	case n == len(buf): // it grows
		it.data, _, err = b.bytes(smallFile)
	default:
		mem.keep(n)
		it.data = buf[:n:n]
	}
	it.size, it.body = int64(len(it.data)), nil
	return err
}
