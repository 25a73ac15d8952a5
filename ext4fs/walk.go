package ext4fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxWalkDepth bounds how deep Walk goes: far beyond what a path can name, and
// small enough that a hostile tree cannot exhaust memory.
const maxWalkDepth = 8192

// WalkEntry is one name that Walk visits.
type WalkEntry struct {
	Name  string     // the starting path for the start
	Up    *WalkEntry // the directory it is in; nil for the start
	Depth int        // 0 for the start
	Inode *Inode
	Err   error // why Inode is nil, or why the directory's listing ended early
}

// Path is the starting path as it was given with all names down to the entry,
// joined by slashes.
func (e *WalkEntry) Path() string {
	if e.Up == nil {
		return e.Name
	}
	names := make([]string, e.Depth+1)
	for at := e; at != nil; at = at.Up {
		names[at.Depth] = at.Name
	}
	if start := names[0]; start == "" || start[len(start)-1] == '/' {
		return start + strings.Join(names[1:], "/")
	}
	return strings.Join(names, "/")
}

// Walk visits dir, whose path is given, and everything below it, parents
// before children, in the order that the directories keep. visit may return
// fs.SkipDir to leave a directory out, fs.SkipAll to end the walk, or an error
// that ends it. A name whose inode cannot be read is visited with Err set and
// a nil Inode; a directory that cannot be listed to its end is visited once
// more with Err set. A directory that was visited already, which only a damaged
// image has, comes with a *CorruptError and is not entered.
func (f *FS) Walk(ctx context.Context, start *Inode, path string, visit func(*WalkEntry) error) error {
	w := walker{fs: f, ctx: ctx, visit: visit, seen: map[disk.InodeNum]bool{}}
	err := w.enter(&WalkEntry{Name: path, Inode: start})
	for err == nil && len(w.stack) > 0 {
		err = w.step()
	}
	for _, l := range w.stack {
		l.stop()
	}
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// walker holds a walk's open directories.
type walker struct {
	fs    *FS
	ctx   context.Context
	visit func(*WalkEntry) error
	seen  map[disk.InodeNum]bool // directories
	stack []walkLevel
}

// walkLevel is one open directory.
type walkLevel struct {
	at   *WalkEntry
	next func() (DirEntry, error, bool)
	stop func()
}

// enter visits an entry and, when it is a directory, opens it.
func (w *walker) enter(e *WalkEntry) error {
	isDir := e.Inode != nil && e.Inode.IsDir()
	if isDir && w.seen[e.Inode.num] {
		e.Err = &CorruptError{What: "directory tree", Inode: e.Inode.num,
			Detail: fmt.Sprintf("the directory has a second name, %q", e.Name)}
		isDir = false
	}
	if isDir && e.Depth >= maxWalkDepth {
		e.Err = &CorruptError{What: "directory tree", Inode: e.Inode.num,
			Detail: fmt.Sprintf("more than %d directories deep", maxWalkDepth)}
		isDir = false
	}
	err := w.visit(e)
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	if err != nil || !isDir {
		return err
	}
	w.seen[e.Inode.num] = true
	next, stop := iter.Pull2(e.Inode.Entries())
	w.stack = append(w.stack, walkLevel{e, next, stop})
	return nil
}

// step takes one entry off the innermost directory.
func (w *walker) step() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	top := &w.stack[len(w.stack)-1]
	e, err, ok := top.next()
	if !ok {
		top.stop()
		w.stack = w.stack[:len(w.stack)-1]
		return nil
	}
	if err != nil {
		again := *top.at
		again.Err = err
		if err := w.visit(&again); err != nil && !errors.Is(err, fs.SkipDir) {
			return err
		}
		return nil
	}
	if IsDots(e) {
		return nil
	}
	child := &WalkEntry{Name: string(e.Name), Up: top.at, Depth: top.at.Depth + 1}
	child.Inode, child.Err = w.fs.Inode(e.Inode)
	return w.enter(child)
}

// Inodes yields every inode in use, in the order of the inode tables, which
// is the fastest way to see them all. In use are those that their group's
// bitmap says so and that have links; special inodes without links are left
// out. A group or an inode that cannot be read yields its error and the
// sequence goes on.
func (f *FS) Inodes() iter.Seq2[*Inode, error] {
	return func(yield func(*Inode, error) bool) {
		// A hostile superblock can have more groups than inodes that fit a number.
		end := (uint64(f.inodes) + uint64(f.super.InodesPerGroup) - 1) / uint64(f.super.InodesPerGroup)
		for g := uint64(0); g < end; g++ {
			if !f.groupInodes(disk.GroupNum(g), yield) {
				return
			}
		}
	}
}

func (f *FS) groupInodes(g disk.GroupNum, yield func(*Inode, error) bool) bool {
	bm, err := f.InodeBitmap(g)
	if err != nil {
		return yield(nil, err)
	}
	first := disk.InodeNum(uint32(g)*f.super.InodesPerGroup) + 1
	for n := 0; n < bm.Len && uint64(first)+uint64(n) <= uint64(f.inodes); n++ {
		if n&7 == 0 && bm.Bits[n>>3] == 0 {
			n += 7
			continue
		}
		if !bm.Has(n) {
			continue
		}
		i, err := f.Inode(first + disk.InodeNum(n))
		if err == nil && i.record().Links() == 0 {
			continue
		}
		if !yield(i, err) {
			return false
		}
	}
	return true
}
