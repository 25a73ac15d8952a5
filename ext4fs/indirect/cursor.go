package indirect

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// cursor walks a map and remembers the pointer block of each level that it
// was in last.
type cursor struct {
	t      *table
	last   [levels]visited // by depth; 0 points to data
	visits uint64
}

type visited struct {
	data  []byte
	block uint64
	base  uint64 // the logical block that its first pointer stands for
}

// place is a data pointer that is not zero.
type place struct {
	at    uint64 // its logical block
	data  []byte // the array it stands in; nil: there is no such pointer
	count int    // pointers in the array that mean data
	index int
	block uint64 // where the array is from; 0 is the inode
}

// next returns the first data pointer at or after logical block pos.
func (c *cursor) next(pos uint64) (place, error) {
	t := c.t
	if pos < direct {
		if p := scan(t.root[:], direct, int(pos)); p < direct {
			return place{at: uint64(p), data: t.root[:], count: direct, index: p}, nil
		}
		pos = direct
	}
	// Mostly the block of pointers that was last used goes on.
	apb := 1 << t.shift
	if v := &c.last[0]; v.data != nil && pos >= v.base && pos < v.base+uint64(apb) {
		i := scan(v.data, apb, int(pos-v.base))
		pos = v.base + uint64(i)
		if i < apb && pos < logicalEnd {
			return place{at: pos, data: v.data, count: apb, index: i, block: v.block}, nil
		}
	}
	start := uint64(direct)
	for depth := range levels {
		size := uint64(1) << (t.shift * uint(depth+1))
		if pos >= logicalEnd {
			break
		}
		if pos < start+size {
			if bn := pointer(t.root[:], direct+depth); bn != 0 {
				p, err := c.descend(depth, bn, start, pos)
				if err != nil || p.data != nil {
					return p, err
				}
			}
			pos = start + size
		}
		start += size
	}
	return place{}, nil
}

// descend is next for what hangs below the pointer block bn: its pointers have
// the given depth, the first stands for logical block base.
func (c *cursor) descend(depth int, bn, base, pos uint64) (place, error) {
	data, err := c.enter(depth, bn, base)
	if err != nil {
		return place{}, err
	}
	apb := 1 << c.t.shift
	shift := c.t.shift * uint(depth)
	for i := int((max(pos, base) - base) >> shift); ; i++ {
		i = scan(data, apb, i)
		at := base + uint64(i)<<shift
		if i >= apb || at >= logicalEnd {
			return place{}, nil
		}
		if depth == 0 {
			return place{at: at, data: data, count: apb, index: i, block: bn}, nil
		}
		p, err := c.descend(depth-1, pointer(data, i), at, pos)
		if err != nil || p.data != nil {
			return p, err
		}
	}
}

// scan returns the first index from i on whose pointer is not zero, or count.
func scan(data []byte, count, i int) int {
	for i < count && pointer(data, i) == 0 {
		i++
	}
	return i
}

// enter returns the pointers of block bn. Entering the block that was the last
// of its depth is free; all others are counted, since the number of blocks of
// a sane map is bounded and that of a looping one is not.
func (c *cursor) enter(depth int, bn, base uint64) ([]byte, error) {
	v := &c.last[depth]
	if v.data != nil && v.block == bn && v.base == base {
		return v.data, nil
	}
	t := c.t
	if bn <= uint64(t.owner.FirstBlock) || bn >= t.blocks {
		return nil, t.corrupt(0, "pointer block for logical block %d is block %d of %d", base, bn, t.blocks)
	}
	if c.visits++; c.visits > t.blocks {
		return nil, t.corrupt(bn, "more pointer blocks than the file system has blocks, %d", t.blocks)
	}
	buf, err := t.cache.Get(disk.BlockNum(bn))
	if err != nil {
		return nil, fmt.Errorf("%s of inode %d: %w", what, t.owner.Inode, err)
	}
	*v = visited{data: buf.Data(), block: bn, base: base}
	return v.data, nil
}

// run joins the pointers around p that go on by one; with back also those in
// front of it.
func (c *cursor) run(p place, back bool) (extent.Extent, error) {
	first := p.index
	bn := pointer(p.data, first)
	if back {
		for first > 0 && bn > 1 && pointer(p.data, first-1) == bn-1 {
			first--
			bn--
		}
	}
	end := p.index + 1
	limit := min(p.count, p.index+int(min(logicalEnd-p.at, uint64(p.count))))
	for end < limit && pointer(p.data, end) == bn+uint64(end-first) {
		end++
	}
	length := uint64(end - first)
	logical := p.at - uint64(p.index-first)
	t := c.t
	if bn <= uint64(t.owner.FirstBlock) || bn >= t.blocks || length > t.blocks-bn {
		return extent.Extent{}, t.corrupt(p.block, "logical blocks %d+%d are blocks %d+%d of %d",
			logical, length, bn, length, t.blocks)
	}
	return extent.Extent{
		Logical: disk.LogicalNum(logical), Physical: disk.BlockNum(bn), Len: uint32(length),
	}, nil
}
