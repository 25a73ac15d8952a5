package extent

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Pieces is how many entries of a tree the runs take: long ones take several.
// Runs that make no map (without blocks, not in logical order, with a flag
// other than FlagUnwritten) are ErrInvalid, and those that no map can hold
// ErrTooBig. Neighbours are not joined.
func Pieces(runs []Extent) (int, error) {
	n, end := uint64(0), uint64(0)
	for i := range runs {
		e := &runs[i]
		switch {
		case e.Len == 0 || e.Flags&^FlagUnwritten != 0 || uint64(e.Logical) < end:
			return 0, fmt.Errorf("run %d, %d blocks at logical block %d: %w", i, e.Len, e.Logical, ErrInvalid)
		case e.End() > logicalEnd || e.Physical >= maxPhysical || e.Physical+disk.BlockNum(e.Len) > maxPhysical:
			return 0, fmt.Errorf("run %d, %d blocks at logical block %d and block %d: %w", i, e.Len, e.Logical, e.Physical, ErrTooBig)
		}
		end = e.End()
		most := uint64(pieceLen(e))
		n += (uint64(e.Len) + most - 1) / most
	}
	return int(n), nil
}

// pieceLen is the longest that one entry can be of what the run is.
func pieceLen(e *Extent) uint32 {
	if e.Flags&FlagUnwritten != 0 {
		return disk.MaxUnwrittenLen
	}
	return disk.MaxExtentLen
}

// shape is how many nodes a tree has at each depth; 0 is that of the leaves.
type shape struct {
	depth  int // of the root
	room   int // entries of a node
	counts [disk.MaxExtentDepth]int
}

func newShape(pieces, blockSize int) (s shape, err error) {
	if blockSize < disk.MinBlockSize || blockSize > disk.MaxBlockSize {
		return s, fmt.Errorf("blocks of %d bytes: %w", blockSize, ErrInvalid)
	}
	s.room = (blockSize - disk.ExtentHeaderSize) / disk.ExtentEntrySize
	for n := pieces; n > disk.ExtentRootMax; s.depth++ {
		if s.depth == disk.MaxExtentDepth {
			return s, fmt.Errorf("%d extents: %w", pieces, ErrTooBig)
		}
		n = (n + s.room - 1) / s.room
		s.counts[s.depth] = n
	}
	return s, nil
}

func (s *shape) nodes() (n int) {
	for _, c := range s.counts {
		n += c
	}
	return n
}

// TreeBlocks is how many blocks, besides the root in the inode, a tree of so
// many entries takes when all its nodes are full. ErrTooBig is for more than
// any tree holds.
func TreeBlocks(pieces, blockSize int) (int, error) {
	s, err := newShape(pieces, blockSize)
	if err != nil {
		return 0, err
	}
	return s.nodes(), nil
}

// Build makes the tree that maps the runs: root, of 60 bytes, gets the inode's
// part, and put each of the other nodes, sealed if o says that there are
// checksums, with the block that it is for; the bytes are its until it returns.
// nodes are these blocks, as many as TreeBlocks says of Pieces: the upper
// levels of the tree come first, and put gets them in this order. o.Blocks must
// be set: what is mapped, or used for the tree, is held against it.
//
// Errors are those of Pieces, *disk.CorruptError for blocks that the file
// system does not have, and what put returns.
func Build(o Owner, blockSize int, runs []Extent, nodes []disk.BlockNum, root []byte, put func(bn disk.BlockNum, node []byte) error) error {
	n, err := Pieces(runs)
	if err != nil {
		return buildError(o, err)
	}
	s, err := newShape(n, blockSize)
	if err != nil {
		return buildError(o, err)
	}
	if len(root) != disk.ExtentRootSize || len(nodes) != s.nodes() {
		return buildError(o, fmt.Errorf("a root of %d bytes and %d nodes of %d: %w", len(root), len(nodes), s.nodes(), ErrInvalid))
	}
	if err := checkBlocks(o, runs, nodes); err != nil {
		return err
	}
	b := builder{o: o, shape: s, runs: runs, nodes: nodes, put: put}
	return b.build(n, blockSize, root)
}

func buildError(o Owner, err error) error {
	return fmt.Errorf("%s of inode %d: %w", whatTree, o.Inode, err)
}

// checkBlocks finds blocks that are not in the file system.
func checkBlocks(o Owner, runs []Extent, nodes []disk.BlockNum) error {
	bad := func(bn disk.BlockNum, n uint32) bool {
		return bn <= o.FirstBlock || uint64(bn) >= o.Blocks || uint64(n) > o.Blocks-uint64(bn)
	}
	for i := range runs {
		if e := &runs[i]; bad(e.Physical, e.Len) {
			return &disk.CorruptError{What: whatTree, Inode: o.Inode,
				Detail: fmt.Sprintf("blocks %d+%d of %d are to be mapped", e.Physical, e.Len, o.Blocks)}
		}
	}
	for _, bn := range nodes {
		if bad(bn, 1) {
			return &disk.CorruptError{What: whatTree, Inode: o.Inode,
				Detail: fmt.Sprintf("block %d of %d was given for a node", bn, o.Blocks)}
		}
	}
	return nil
}

// builder makes one tree.
type builder struct {
	o     Owner
	shape shape
	runs  []Extent
	nodes []disk.BlockNum
	put   func(bn disk.BlockNum, node []byte) error
	run   int    // the next entry is of this run
	done  uint32 // behind so many of its blocks
}

// next is the next entry.
func (b *builder) next() disk.ExtentLeaf {
	e := &b.runs[b.run]
	l := disk.ExtentLeaf{
		Logical: e.Logical + disk.LogicalNum(b.done), Len: min(e.Len-b.done, pieceLen(e)),
		Physical: e.Physical + disk.BlockNum(b.done), Unwritten: e.Flags&FlagUnwritten != 0,
	}
	if b.done += l.Len; b.done == e.Len {
		b.run, b.done = b.run+1, 0
	}
	return l
}

// fill makes node a leaf of the next n entries.
func (b *builder) fill(node disk.ExtentNode, n int) {
	node.Init(0)
	for i := range n {
		node.PutLeaf(i, b.next())
	}
	node.SetEntries(n)
}

func (b *builder) build(pieces, blockSize int, root disk.ExtentNode) error {
	if b.shape.depth == 0 {
		b.fill(root, pieces)
		return nil
	}
	keys := b.keys()
	step := 1 // how many leaves the children of a node stand for
	for range b.shape.depth - 1 {
		step *= b.shape.room
	}
	below := 0 // where in nodes these children begin
	b.index(root, b.shape.depth, keys, step, 0, b.shape.counts[b.shape.depth-1], below)
	node := disk.ExtentNode(make([]byte, blockSize))
	for depth := b.shape.depth - 1; depth > 0; depth-- {
		at, left := below, b.shape.counts[depth-1]
		below += b.shape.counts[depth]
		step /= b.shape.room
		for i := range b.shape.counts[depth] {
			n := min(left, b.shape.room)
			left -= n
			b.index(node, depth, keys, step, i*b.shape.room, n, below)
			if err := b.emit(b.nodes[at+i], node); err != nil {
				return err
			}
		}
	}
	for _, bn := range b.nodes[below:] {
		n := min(pieces, b.shape.room)
		pieces -= n
		b.fill(node, n)
		if err := b.emit(bn, node); err != nil {
			return err
		}
	}
	return nil
}

// keys are the first logical blocks of the leaves.
func (b *builder) keys() []disk.LogicalNum {
	keys := make([]disk.LogicalNum, 0, b.shape.counts[0])
	for i := 0; b.run < len(b.runs); i++ {
		if l := b.next(); i%b.shape.room == 0 {
			keys = append(keys, l.Logical)
		}
	}
	b.run, b.done = 0, 0
	return keys
}

// index makes an index node of n children: those from first on of a level whose
// blocks begin at nodes[at], and of which each begins step leaves behind the
// other.
func (b *builder) index(node disk.ExtentNode, depth int, keys []disk.LogicalNum, step, first, n, at int) {
	node.Init(depth)
	for i := range n {
		node.PutIndex(i, disk.ExtentIndex{Logical: keys[(first+i)*step], Child: b.nodes[at+first+i]})
	}
	node.SetEntries(n)
}

func (b *builder) emit(bn disk.BlockNum, node disk.ExtentNode) error {
	if b.o.HasChecksum || b.o.Verify {
		disk.SealExtentBlock(b.o.Seed, node)
	}
	if err := b.put(bn, node); err != nil {
		return fmt.Errorf("node %d of inode %d: %w", bn, b.o.Inode, err)
	}
	return nil
}
