package ext4fs

import (
	"bytes"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Truncate makes the file size bytes long. What is cut off is freed, also
// blocks beyond the end that were allocated ahead; what is added is a hole.
// Errors are those of WriteAt.
func (i *Inode) Truncate(size int64) error {
	if i.node == nil {
		return ErrReadOnly
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return err
	}
	if i.Flags().Has(disk.FlagAppend) {
		return fmt.Errorf("inode %d is append-only: %w", i.num, ErrNotPermitted)
	}
	return i.truncateLocked(size)
}

// truncateLocked makes the inode size bytes long, whatever it is. At and below
// the size that it has, all blocks beyond that are freed, nodes of the map
// included; where one transaction does not suffice the inode is an orphan
// until the end. Times change only with the size. Called with mu.
func (i *Inode) truncateLocked(size int64) error {
	switch {
	case size < 0:
		return fmt.Errorf("inode %d: size %d: %w", i.num, size, ErrInvalid)
	case i.Flags().Has(disk.FlagInlineData):
		ok, err := i.truncateInline(size)
		if ok || err != nil {
			return err
		}
	case !i.hasBlocks():
		return i.truncateTarget(size)
	}
	if size > i.maxBytes() {
		return fmt.Errorf("inode %d: %d bytes: %w", i.num, size, ErrFileTooBig)
	}
	if size > i.Size() {
		return i.growTo(size)
	}
	i.dropPrealloc()
	return i.shrinkTo(size)
}

// truncateTarget empties what is kept in i_block: a short target. Devices have
// no size.
func (i *Inode) truncateTarget(size int64) error {
	if size != 0 {
		return fmt.Errorf("inode %d: %w", i.num, ErrNotFile)
	}
	if i.Size() == 0 {
		return nil
	}
	return i.change(func(h *txn) error {
		return i.update(h, func(r disk.Inode) {
			r.SetSize(0)
			i.touch(r)
		})
	})
}

// change runs f in a handle that may change the record and what goes with it.
func (i *Inode) change(f func(h *txn) error) (err error) {
	h, err := i.begin(i.fs.baseCredits())
	if err != nil {
		return err
	}
	defer func() { err = i.fs.end(h, err) }()
	return f(h)
}

// growTo sets a larger size.
func (i *Inode) growTo(size int64) (err error) {
	f := i.fs
	m, err := i.mapForChange()
	if err != nil {
		return err
	}
	h, err := f.begin(f.baseCredits() + 1)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	if err := i.allowSize(h, size); err != nil {
		return err
	}
	// What lies between the end and that of its block must not show.
	if err := i.zeroPart(m.in(h, f.baseCredits()), m, i.Size(), size); err != nil {
		return err
	}
	return i.storeMap(h, func(r disk.Inode) {
		r.SetSize(size)
		i.touch(r)
	})
}

// shrinkTo sets a size that is not larger, and frees the blocks beyond it.
func (i *Inode) shrinkTo(size int64) error {
	c := cut{i: i, size: size, from: i.firstBeyond(size), end: uint64(disk.MaxLogical) + 1}
	for !c.done {
		if err := i.fs.context().Err(); err != nil && c.begun {
			return err // it is an orphan: the next open goes on
		}
		if err := i.fs.retry(c.step); err != nil {
			return err
		}
	}
	return nil
}

// firstBeyond is the first block that a file of that size does not need.
func (i *Inode) firstBeyond(size int64) disk.LogicalNum {
	bs := int64(i.fs.BlockSize())
	n := size >> i.fs.blockShift()
	if size&(bs-1) != 0 {
		n++
	}
	return disk.LogicalNum(min(n, int64(disk.MaxLogical)+1))
}

// cut is a truncation under way.
type cut struct {
	i     *Inode
	size  int64
	from  disk.LogicalNum
	end   uint64
	begun bool // the size is set
	added bool // it is an orphan for this
	done  bool
}

// step does as much as one handle allows.
func (c *cut) step() (err error) {
	i, f := c.i, c.i.fs
	m, err := i.mapForChange()
	if err != nil {
		return err
	}
	h, err := i.begin(f.baseCredits() + orphanCredits + 1 + cutCredits(m))
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	before := c.end
	c.end, err = i.removeRuns(m.in(h, f.baseCredits()+orphanCredits+1), m, c.from, c.end)
	if err != nil && (c.end == before || !stops(err)) {
		if c.begun || c.moved(m) {
			err = c.store(h, m, err)
		}
		return err
	}
	c.done = err == nil && c.end == uint64(c.from)
	return c.store(h, m, nil)
}

// store brings the record and the orphans up to date after a step, and returns
// cause.
func (c *cut) store(h *txn, m *blockMap, cause error) error {
	i, f := c.i, c.i.fs
	links := i.record().Links()
	if !c.done && !c.added && links > 0 {
		if err := f.orphanAdd(h, i); err != nil {
			return f.abort(err)
		}
		c.added = true
	}
	changed := c.size != i.Size()
	if changed && i.IsRegular() {
		// Linux writes these zeros before the commit, too.
		if err := i.zeroPart(m.in(h, 0), m, c.size, i.Size()); err != nil && cause == nil {
			cause = err
		}
	}
	if c.done && links > 0 {
		// An earlier try may have left it an orphan, too.
		if err := f.orphanDel(h, i); err != nil {
			return f.abort(err)
		}
	}
	if c.begun && !changed && !c.moved(m) {
		return cause
	}
	err := i.storeMap(h, func(r disk.Inode) {
		if changed {
			r.SetSize(c.size)
			i.touch(r)
		}
	})
	if err != nil {
		return f.abort(err)
	}
	c.begun = true
	return cause
}

func (c *cut) moved(m *blockMap) bool {
	return m.space.taken != 0 || !bytes.Equal(m.Root(), c.i.record().Block())
}
