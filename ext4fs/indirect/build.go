package indirect

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// builder makes one map. It goes over the runs once, and holds the pointer
// blocks on the way to where it is.
type builder struct {
	changer // to locate blocks
	nodes   []disk.BlockNum
	used    int
	put     func(bn disk.BlockNum, data []byte) error // nil: blocks are only counted
	open    [levels]building
}

// building is a pointer block being filled.
type building struct {
	data  []byte
	block disk.BlockNum
	first uint64 // the first logical block it stands for, 0: none is open
}

// MapBlocks is how many pointer blocks a map of the runs takes. Runs that make
// no map (without blocks, unwritten, not in logical order) are
// extent.ErrInvalid, and what a map cannot hold is extent.ErrTooBig.
func MapBlocks(runs []extent.Extent, blockSize int) (int, error) {
	b, err := newBuilder(extent.Owner{}, blockSize)
	if err == nil {
		err = b.check(runs)
	}
	if err == nil {
		err = b.build(runs)
	}
	return b.used, err
}

// Build makes the map of the runs: root, of 60 bytes, gets the inode's pointers,
// and put each pointer block with the block that it is for; the bytes are its
// until it returns. nodes are these blocks, as many as MapBlocks says, in
// logical order and parents before children; put gets them in another order.
// o.Blocks must be set: what is mapped, or used for pointers, is held against
// it.
//
// Errors are those of MapBlocks, *disk.CorruptError for blocks that the file
// system does not have, and what put returns.
func Build(o extent.Owner, blockSize int, runs []extent.Extent, nodes []disk.BlockNum, root []byte, put func(bn disk.BlockNum, data []byte) error) error {
	n, err := MapBlocks(runs, blockSize)
	if err != nil {
		return fmt.Errorf("%s of inode %d: %w", what, o.Inode, err)
	}
	b, err := newBuilder(o, blockSize)
	if err != nil {
		return err
	}
	if len(root) != rootSize || len(nodes) != n {
		return b.wrap(fmt.Errorf("a root of %d bytes and %d pointer blocks of %d: %w", len(root), len(nodes), n, extent.ErrInvalid))
	}
	if err := b.checkBlocks(runs, nodes); err != nil {
		return err
	}
	b.nodes, b.put = nodes, put
	for level := range min(n, levels) {
		b.open[level].data = make([]byte, blockSize)
	}
	if err := b.build(runs); err != nil {
		return err
	}
	copy(root, b.root[:])
	return nil
}

func newBuilder(o extent.Owner, blockSize int) (*builder, error) {
	b := &builder{}
	b.owner, b.blocks = o, o.Blocks
	if blockSize < disk.MinBlockSize || blockSize > disk.MaxBlockSize || blockSize&(blockSize-1) != 0 {
		return b, fmt.Errorf("blocks of %d bytes: %w", blockSize, extent.ErrInvalid)
	}
	b.shift = uint(bits.TrailingZeros(uint(blockSize / pointerSize)))
	return b, nil
}

// check says what no map can hold.
func (b *builder) check(runs []extent.Extent) error {
	end := uint64(0)
	for i := range runs {
		e := &runs[i]
		switch {
		case e.Len == 0 || e.Flags != 0 || uint64(e.Logical) < end:
			return fmt.Errorf("run %d, %d blocks at logical block %d: %w", i, e.Len, e.Logical, extent.ErrInvalid)
		case e.End() > b.size() || uint64(e.Physical) > math.MaxUint32 || uint64(e.Physical)+uint64(e.Len) > math.MaxUint32+1:
			return fmt.Errorf("run %d, %d blocks at logical block %d and block %d: %w", i, e.Len, e.Logical, e.Physical, extent.ErrTooBig)
		}
		end = e.End()
	}
	return nil
}

// checkBlocks finds blocks that are not in the file system.
func (b *builder) checkBlocks(runs []extent.Extent, nodes []disk.BlockNum) error {
	bad := func(bn disk.BlockNum, n uint32) bool {
		return bn <= b.owner.FirstBlock || uint64(bn) >= b.blocks || uint64(n) > b.blocks-uint64(bn)
	}
	for i := range runs {
		if e := &runs[i]; bad(e.Physical, e.Len) {
			return b.corrupt(0, "blocks %d+%d of %d are to be mapped", e.Physical, e.Len, b.blocks)
		}
	}
	for _, bn := range nodes {
		if bad(bn, 1) {
			return b.corrupt(0, "block %d of %d was given for pointers", bn, b.blocks)
		}
		if bn > math.MaxUint32 {
			return b.wrap(fmt.Errorf("pointer block %d: %w", bn, extent.ErrTooBig))
		}
	}
	return nil
}

func (b *builder) build(runs []extent.Extent) error {
	for i := range runs {
		e := &runs[i]
		for done := uint32(0); done < e.Len; {
			l := uint64(e.Logical) + uint64(done)
			b.locate(l)
			array, err := b.descend(l)
			if err != nil {
				return err
			}
			n := uint32(min(b.reach(), uint64(e.Len-done)))
			if array != nil {
				at := b.way.at(0)
				for k := range n {
					setPointer(array, at+int(k), uint64(e.Physical)+uint64(done+k))
				}
			}
			done += n
		}
	}
	return b.close(levels)
}

// descend makes the located pointer blocks the open ones, and gives the array
// that l has its pointer in; nil when they are only counted.
func (b *builder) descend(l uint64) ([]byte, error) {
	w := &b.way
	region := uint64(direct) // where what hangs below the root's slot begins
	for level := range max(w.levels-1, 0) {
		region += 1 << (b.shift * uint(level+1))
	}
	array := b.root[:]
	for level := w.levels - 1; level >= 0; level-- {
		o := &b.open[level]
		span := b.shift * uint(level+1)
		if first := region + (l-region)>>span<<span; o.first != first {
			if err := b.close(level + 1); err != nil {
				return nil, err
			}
			o.first = first
			b.fresh(o, array, w.at(level+1))
		}
		array = o.data
	}
	if b.put == nil {
		return nil, nil
	}
	return array, nil
}

// fresh takes the next block for pointers, and links it.
func (b *builder) fresh(o *building, parent []byte, at int) {
	b.used++
	if b.put == nil {
		return
	}
	o.block = b.nodes[b.used-1]
	clear(o.data)
	setPointer(parent, at, uint64(o.block))
}

// close gives away the open blocks of the levels below end.
func (b *builder) close(end int) error {
	for level := range end {
		o := &b.open[level]
		if o.first == 0 {
			continue
		}
		o.first = 0
		if b.put == nil {
			continue
		}
		if err := b.put(o.block, o.data); err != nil {
			return fmt.Errorf("pointer block %d of inode %d: %w", o.block, b.owner.Inode, err)
		}
	}
	return nil
}
