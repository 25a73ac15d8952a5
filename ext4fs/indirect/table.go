package indirect

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

const (
	what        = "block map"
	rootSize    = 60 // the inode's block array: 15 pointers
	direct      = 12 // of them point to data, the others to pointer blocks
	levels      = 3
	pointerSize = 4
	logicalEnd  = uint64(disk.MaxLogical) + 1
)

// table is a block map to be read. It does not change, so it needs no lock;
// what changes it is a changer, whose caller locks.
type table struct {
	cache  *cache.Cache
	owner  extent.Owner
	blocks uint64
	shift  uint // log2 of the pointers in a block
	root   [rootSize]byte
}

// New is the map of an inode without the extents flag. root is the inode's
// block array, 60 bytes, which is copied; another length is a
// *disk.CorruptError. Pointers are checked when they are used.
func New(c *cache.Cache, o extent.Owner, root []byte) (extent.Map, error) {
	t := &table{}
	if err := t.init(c, o, root); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *table) init(c *cache.Cache, o extent.Owner, root []byte) error {
	*t = table{cache: c, owner: o, blocks: o.Blocks}
	if t.blocks == 0 {
		t.blocks = c.Blocks()
	}
	if len(root) != rootSize {
		return t.corrupt(0, "root of %d bytes", len(root))
	}
	size := c.BlockSize()
	if size < disk.MinBlockSize || size > disk.MaxBlockSize || size&(size-1) != 0 {
		return t.corrupt(0, "blocks of %d bytes", size)
	}
	t.shift = uint(bits.TrailingZeros(uint(size / pointerSize)))
	copy(t.root[:], root)
	return nil
}

// Find walks down to l. It does not allocate unless it fails.
func (t *table) Find(l disk.LogicalNum) (extent.Extent, error) {
	c := cursor{t: t}
	p, err := c.next(uint64(l))
	switch {
	case err != nil:
		return extent.Extent{}, err
	case p.data == nil:
		return hole(l, logicalEnd), nil
	case p.at > uint64(l):
		return hole(l, p.at), nil
	}
	return c.run(p, true)
}

// From streams the runs; see extent.Map.
func (t *table) From(l disk.LogicalNum) iter.Seq2[extent.Extent, error] {
	return func(yield func(extent.Extent, error) bool) {
		c := cursor{t: t}
		var run extent.Extent // what is not yielded yet: it may go on
		back := true          // the first run from its start on
		for pos := uint64(l); ; back = false {
			p, err := c.next(pos)
			var e extent.Extent
			if err == nil && p.data != nil {
				e, err = c.run(p, back)
			}
			if err == nil && e.Len != 0 && follows(run, e) {
				run.Len += e.Len
				pos = e.End()
				continue
			}
			if run.Len != 0 && !yield(run, nil) {
				return
			}
			if err != nil {
				yield(extent.Extent{}, err)
				return
			}
			if e.Len == 0 {
				return
			}
			run, pos = e, e.End()
		}
	}
}

// follows reports whether b goes on where a ends. The logical bound keeps the
// sum of lengths in range.
func follows(a, b extent.Extent) bool {
	return a.Len != 0 && a.End() == uint64(b.Logical) && a.Physical+disk.BlockNum(a.Len) == b.Physical
}

func hole(l disk.LogicalNum, next uint64) extent.Extent {
	e := extent.Extent{Logical: l, Len: 1, Flags: extent.FlagHole}
	if next > uint64(l) {
		e.Len = uint32(next - uint64(l))
	}
	return e
}

func pointer(data []byte, i int) uint64 {
	return uint64(binary.LittleEndian.Uint32(data[i*pointerSize:]))
}

func (t *table) corrupt(bn uint64, format string, args ...any) error {
	return &disk.CorruptError{
		What: what, Block: disk.BlockNum(bn), Inode: t.owner.Inode, Detail: fmt.Sprintf(format, args...),
	}
}
