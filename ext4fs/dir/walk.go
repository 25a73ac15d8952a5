package dir

import (
	"errors"
	"strconv"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func utoa(l disk.LogicalNum) string { return strconv.FormatUint(uint64(l), 10) }

// walk is a place in a hash tree: the path from the root to a leaf.
type walk struct {
	c     *Config
	info  disk.DXInfo
	depth int // of the path: nodes below the root
	path  [disk.DXMaxLevels + 1]struct {
		block   disk.LogicalNum
		buf     *cache.Buffer
		entries disk.DXEntries
		at      int
	}
	leaves disk.LogicalNum // visited so far
}

// open reads the root.
func (w *walk) open(c *Config) error {
	w.c = c
	b, err := w.index(0)
	if err != nil {
		return err
	}
	if err := c.verifyIndex(b, rootArray(b.Data())); err != nil {
		return err
	}
	info, entries, cerr := c.layout().DXRoot(b.Data())
	if cerr != nil {
		return c.locate(cerr, b)
	}
	w.info = info
	w.depth = int(info.Levels)
	w.path[0].buf, w.path[0].entries = b, entries
	return nil
}

func (w *walk) index(l disk.LogicalNum) (*cache.Buffer, error) {
	b, err := w.c.read(l)
	if err == nil && b == nil {
		err = w.corrupt("block " + utoa(l) + " is a hole")
	}
	return b, err
}

func (w *walk) corrupt(detail string) error {
	return &disk.CorruptError{What: whatIndex, Inode: w.c.Inode, Detail: detail}
}

// seek goes to the first leaf that may hold hash.
func (w *walk) seek(hash uint32) error {
	w.path[0].at = w.path[0].entries.Search(hash)
	for i := 1; i <= w.depth; i++ {
		if err := w.enter(i); err != nil {
			return err
		}
		w.path[i].at = w.path[i].entries.Search(hash)
	}
	return w.visit()
}

// enter reads the node of level i that the level above points to.
func (w *walk) enter(i int) error {
	up := &w.path[i-1]
	l := up.entries.Block(up.at)
	if err := w.checkChild(l, i); err != nil {
		return err
	}
	b, err := w.index(l)
	if err != nil {
		return err
	}
	if err := w.c.verifyIndex(b, disk.DXNodeOffset); err != nil {
		return err
	}
	entries, cerr := w.c.layout().DXNode(b.Data())
	if cerr != nil {
		return w.c.locate(cerr, b)
	}
	w.path[i].block, w.path[i].buf, w.path[i].entries, w.path[i].at = l, b, entries, 0
	return nil
}

// checkChild checks a pointer from level i-1.
func (w *walk) checkChild(l disk.LogicalNum, i int) error {
	if l >= w.c.Blocks {
		return w.corrupt("it points to block " + utoa(l) + " of " + utoa(w.c.Blocks))
	}
	for j := range i {
		if w.path[j].block == l {
			return w.corrupt("block " + utoa(l) + " points to itself")
		}
	}
	return nil
}

// visit counts and checks the leaf that the path leads to.
func (w *walk) visit() error {
	if w.leaves++; w.leaves > w.c.Blocks {
		return w.corrupt("it has more leaves than the directory has blocks")
	}
	return w.checkChild(w.leaf(), w.depth+1)
}

// leaf is the block that the path leads to.
func (w *walk) leaf() disk.LogicalNum {
	p := &w.path[w.depth]
	return p.entries.Block(p.at)
}

// key is the raw key of the leaf: that of the lowest step that is not the
// first of its node.
func (w *walk) key() uint32 {
	for i := w.depth; i >= 0; i-- {
		if p := &w.path[i]; p.at > 0 {
			return p.entries.Key(p.at)
		}
	}
	return 0
}

// nextKey is the raw key of the leaf after this one; ok is false behind the
// last one.
func (w *walk) nextKey() (key uint32, ok bool) {
	for i := w.depth; i >= 0; i-- {
		if p := &w.path[i]; p.at+1 < p.entries.Count() {
			return p.entries.Key(p.at + 1), true
		}
	}
	return 0, false
}

// next goes to the next leaf, which must exist: nextKey tells.
func (w *walk) next() error {
	i := w.depth
	for w.path[i].at+1 >= w.path[i].entries.Count() {
		if i == 0 {
			return w.corrupt("it ends")
		}
		i--
	}
	w.path[i].at++
	for i++; i <= w.depth; i++ {
		if err := w.enter(i); err != nil {
			return err
		}
	}
	return w.visit()
}

// read reads the leaf and checks its checksum. A leaf is never a hole.
func (w *walk) read() (*cache.Buffer, error) {
	b, err := w.index(w.leaf())
	if err != nil {
		return nil, err
	}
	return b, w.c.verifyLeaf(b)
}

// withoutIndex reports whether err is a broken index, and the directory may
// be read without it. With checksums the index was written as it is, and the
// kernel no longer trusts the directory.
func (c *Config) withoutIndex(err error) bool {
	if c.MetadataCsum && c.Verify {
		return false
	}
	var e *disk.CorruptError
	return errors.As(err, &e) && e.What == whatIndex
}
