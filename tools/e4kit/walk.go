package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxDepth bounds how deep the walks here go: a path of one-letter names that
// deep is twice as long as Linux allows.
const maxDepth = 4096

// walked is one file that a walk visits.
type walked struct {
	path  string
	name  string
	depth int
	inode *ext4fs.Inode // nil where it could not be read
	num   disk.InodeNum
	kind  uint8 // type in the directory entry
	last  bool  // the last of its directory
	up    *walked
	data  any // for the visitor
}

// walk visits start and all below it: pre before and post after what a
// directory holds, names in byte order. Either may be nil. pre may return
// fs.SkipDir to leave out what a directory holds, or fs.SkipAll to end.
// Damage is reported through bad, and the walk goes on.
type walk struct {
	ctx  context.Context
	fs   *ext4fs.FS
	pre  func(*walked) error
	post func(*walked) error
	bad  func(path string, err error)
	// keep, if set, says which entries count at all.
	keep func(listed) bool
	// unread leaves inodes nil that nobody but the visitor needs: all but
	// directories, where the directory entries tell the types.
	unread bool
	// unsorted keeps the directories' own order.
	unsorted bool

	seen map[disk.InodeNum]bool
}

func (w *walk) run(start *walked) error {
	w.seen = make(map[disk.InodeNum]bool)
	err := w.visit(start)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

func (w *walk) visit(at *walked) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.pre != nil {
		if err := w.pre(at); err != nil {
			if errors.Is(err, fs.SkipDir) {
				return nil
			}
			return err
		}
	}
	if at.inode != nil && at.inode.IsDir() && w.mayEnter(at) {
		if err := w.children(at); err != nil {
			return err
		}
	}
	if w.post != nil {
		return w.post(at)
	}
	return nil
}

// mayEnter refuses a second visit: only a damaged image has two names for one
// directory.
func (w *walk) mayEnter(at *walked) bool {
	if at.depth >= maxDepth {
		w.bad(at.path, fmt.Errorf("%w: more than %d directories deep", disk.ErrCorrupt, maxDepth))
		return false
	}
	n := at.inode.Number()
	if w.seen[n] {
		w.bad(at.path, &disk.CorruptError{What: "directory tree", Inode: n, Detail: "the directory has a second name"})
		return false
	}
	w.seen[n] = true
	return true
}

func (w *walk) children(at *walked) error {
	list, err := listDir(at.inode, !w.unsorted)
	if err != nil {
		w.bad(at.path, err)
	}
	if w.keep != nil {
		list = slices.DeleteFunc(list, func(entry listed) bool { return !w.keep(entry) })
	}
	for i, entry := range list {
		child := &walked{
			path: joinPath(at.path, entry.name), name: entry.name, depth: at.depth + 1,
			num: entry.inode, kind: entry.kind, last: i+1 == len(list), up: at,
		}
		if !w.unread || entry.kind == disk.FileTypeDir || entry.kind == disk.FileTypeUnknown {
			if child.inode, err = w.fs.Inode(entry.inode); err != nil {
				w.bad(child.path, err)
			}
		}
		if err := w.visit(child); err != nil {
			return err
		}
	}
	return nil
}

// listed is a directory entry that outlives the block it was in.
type listed struct {
	name  string
	inode disk.InodeNum
	kind  uint8
}

// listDir reads a directory, without "." and "..". After damage it goes on
// with what can still be read, and returns the first error as well.
func listDir(dir *ext4fs.Inode, sorted bool) ([]listed, error) {
	var list []listed
	var bad error
	for entry, err := range dir.Entries() {
		if err != nil {
			if bad == nil {
				bad = err
			}
			continue
		}
		if !ext4fs.IsDots(entry) {
			list = append(list, listed{string(entry.Name), entry.Inode, entry.Type})
		}
	}
	if sorted {
		slices.SortFunc(list, func(a, b listed) int { return cmp.Compare(a.name, b.name) })
	}
	return list, bad
}

// startOf makes the start of a walk of a resolved argument.
func startOf(n *node) *walked {
	return &walked{path: n.path, name: n.path, inode: n.inode, num: n.inode.Number(), last: true}
}

// isDir reports whether an entry is a directory; where the file system keeps
// no types in its directories, the inode tells.
func (w *walk) isDir(entry listed) bool {
	if entry.kind != disk.FileTypeUnknown {
		return entry.kind == disk.FileTypeDir
	}
	inode, err := w.fs.Inode(entry.inode)
	return err == nil && inode.IsDir()
}
