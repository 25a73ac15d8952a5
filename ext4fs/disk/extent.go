package disk

import "fmt"

// An extent tree maps the blocks of a file. Its root is the 60 bytes of the
// inode's block array; every other node fills one block:
//
//	 0  header     magic f30a, entries, max, depth (le16 each), generation (le32)
//	12  entry 0    12 bytes
//	    ...
//	    entry max-1
//	    tail       le32 checksum at 12+12*max; blocks only, with metadata_csum
//
// Depth 0 holds leaves, every other depth indexes. The two kinds of entry keep
// the halves of a block number in different order:
//
//	leaf   le32 logical, le16 length, le16 physical hi, le32 physical lo
//	index  le32 logical, le32 child lo, le16 child hi, le16 unused
//
// A length above 32768 marks an unwritten extent (allocated, reads as zeros)
// of length-32768 blocks; 32768 itself is a written one. Feature flags:
// extents; metadata_csum adds the tail. Kernel documentation:
// Documentation/filesystems/ext4/ifork.rst, "Extent Tree". Nothing of it is
// left out; eh_generation is kept but has no meaning.
const (
	// ExtentMagic starts every extent node.
	ExtentMagic uint16 = 0xf30a
	// ExtentHeaderSize is the size of a node's header.
	ExtentHeaderSize = 12
	// ExtentEntrySize is the size of a leaf or index entry.
	ExtentEntrySize = 12
	// ExtentTailSize is the size of the checksum after a block's entries.
	ExtentTailSize = 4
	// ExtentRootSize is the size of the root: the inode's block array.
	ExtentRootSize = 60
	// ExtentRootMax is the number of entries that fit into the root.
	ExtentRootMax = (ExtentRootSize - ExtentHeaderSize) / ExtentEntrySize
	// MaxExtentLen is the longest written extent, in blocks.
	MaxExtentLen = 1 << 15
	// MaxUnwrittenLen is the longest unwritten extent, in blocks.
	MaxUnwrittenLen = MaxExtentLen - 1
)

// ExtentNode is a view of one node: the 60 byte root or a whole block.
// Header accessors need 12 bytes; entry accessors need an index below
// Capacity and never read past it when the caller keeps to that.
type ExtentNode []byte

// ExtentLeaf is one run of blocks, decoded.
type ExtentLeaf struct {
	Logical   LogicalNum
	Len       uint32 // blocks; 0 is possible only on a damaged disk
	Unwritten bool
	Physical  BlockNum
}

// ExtentIndex points to a child node whose keys start at Logical.
type ExtentIndex struct {
	Logical LogicalNum
	Child   BlockNum
}

// End is the logical block after the extent; 64 bits, so it cannot wrap.
func (l ExtentLeaf) End() uint64 { return uint64(l.Logical) + uint64(l.Len) }

// Magic is eh_magic.
func (n ExtentNode) Magic() uint16 { return le.Uint16(n[0:]) }

// Entries is the number of entries in use, as stored.
func (n ExtentNode) Entries() int { return int(le.Uint16(n[2:])) }

// Max is the number of entries the node has room for, as stored. The
// checksum's place follows from it.
func (n ExtentNode) Max() int { return int(le.Uint16(n[4:])) }

// Depth is the distance to the leaves; 0 is a leaf.
func (n ExtentNode) Depth() int { return int(le.Uint16(n[6:])) }

// Generation is eh_generation, which nothing uses.
func (n ExtentNode) Generation() uint32 { return le.Uint32(n[8:]) }

// Capacity is the number of entries that fit into the node's bytes, whatever
// the header says.
func (n ExtentNode) Capacity() int { return (len(n) - ExtentHeaderSize) / ExtentEntrySize }

// Key is the logical block of entry i, leaf or index.
func (n ExtentNode) Key(i int) LogicalNum {
	return LogicalNum(le.Uint32(n[ExtentHeaderSize+i*ExtentEntrySize:]))
}

// Leaf decodes entry i of a depth 0 node.
func (n ExtentNode) Leaf(i int) ExtentLeaf {
	e := n[ExtentHeaderSize+i*ExtentEntrySize:][:ExtentEntrySize]
	l := ExtentLeaf{
		Logical:  LogicalNum(le.Uint32(e)),
		Len:      uint32(le.Uint16(e[4:])),
		Physical: BlockNum(le.Uint16(e[6:]))<<32 | BlockNum(le.Uint32(e[8:])),
	}
	if l.Len > MaxExtentLen {
		l.Len -= MaxExtentLen
		l.Unwritten = true
	}
	return l
}

// Index decodes entry i of a node that is not a leaf.
func (n ExtentNode) Index(i int) ExtentIndex {
	e := n[ExtentHeaderSize+i*ExtentEntrySize:][:ExtentEntrySize]
	return ExtentIndex{
		Logical: LogicalNum(le.Uint32(e)),
		Child:   BlockNum(le.Uint16(e[8:]))<<32 | BlockNum(le.Uint32(e[4:])),
	}
}

// Search returns the last of the first count entries whose key is at most l,
// or -1 when l lies before all of them. The entries must be in order.
func (n ExtentNode) Search(count int, l LogicalNum) int {
	lo, hi := 0, count
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if n.Key(mid) <= l {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// Init makes n an empty node of the given depth with all the room its bytes
// give, and clears the rest.
func (n ExtentNode) Init(depth int) {
	clear(n)
	le.PutUint16(n[0:], ExtentMagic)
	le.PutUint16(n[4:], uint16(n.Capacity()))
	le.PutUint16(n[6:], uint16(depth))
}

// SetEntries sets the number of entries in use.
func (n ExtentNode) SetEntries(count int) { le.PutUint16(n[2:], uint16(count)) }

// SetMax sets the number of entries the node has room for.
func (n ExtentNode) SetMax(count int) { le.PutUint16(n[4:], uint16(count)) }

// SetDepth sets the node's depth.
func (n ExtentNode) SetDepth(depth int) { le.PutUint16(n[6:], uint16(depth)) }

// SetGeneration sets eh_generation.
func (n ExtentNode) SetGeneration(g uint32) { le.PutUint32(n[8:], g) }

// SetKey changes the logical block of entry i, leaf or index, and nothing
// else.
func (n ExtentNode) SetKey(i int, l LogicalNum) {
	le.PutUint32(n[ExtentHeaderSize+i*ExtentEntrySize:], uint32(l))
}

// PutLeaf encodes l as entry i. The length must be within MaxExtentLen or
// MaxUnwrittenLen and the block below 2^48; only the low bits are kept.
func (n ExtentNode) PutLeaf(i int, l ExtentLeaf) {
	e := n[ExtentHeaderSize+i*ExtentEntrySize:][:ExtentEntrySize]
	length := uint16(l.Len)
	if l.Unwritten {
		length += MaxExtentLen
	}
	le.PutUint32(e, uint32(l.Logical))
	le.PutUint16(e[4:], length)
	le.PutUint16(e[6:], uint16(l.Physical>>32))
	le.PutUint32(e[8:], uint32(l.Physical))
}

// PutIndex encodes x as entry i. The unused half word keeps its bytes.
func (n ExtentNode) PutIndex(i int, x ExtentIndex) {
	e := n[ExtentHeaderSize+i*ExtentEntrySize:][:ExtentEntrySize]
	le.PutUint32(e, uint32(x.Logical))
	le.PutUint32(e[4:], uint32(x.Child))
	le.PutUint16(e[8:], uint16(x.Child>>32))
}

// HeaderProblem says what is impossible about the header, or "" when entry
// accessors may be used up to Entries. A depth of -1 stands for any that the
// format allows. It does not allocate when the header is good.
func (n ExtentNode) HeaderProblem(depth int) string {
	if len(n) < ExtentHeaderSize+ExtentEntrySize {
		return fmt.Sprintf("node of %d bytes", len(n))
	}
	entries, limit, d := n.Entries(), n.Max(), n.Depth()
	switch {
	case n.Magic() != ExtentMagic:
		return fmt.Sprintf("magic 0x%04x is not 0x%04x", n.Magic(), ExtentMagic)
	case depth >= 0 && d != depth:
		return fmt.Sprintf("depth %d where %d is due", d, depth)
	case d > MaxExtentDepth:
		return fmt.Sprintf("depth %d is above %d", d, MaxExtentDepth)
	case limit == 0 || limit > n.Capacity():
		return fmt.Sprintf("room for %d entries where %d fit", limit, n.Capacity())
	case entries > limit:
		return fmt.Sprintf("%d entries with room for %d", entries, limit)
	case entries == 0 && d > 0:
		return fmt.Sprintf("no entries at depth %d", d)
	}
	return ""
}

// EntriesProblem says what is impossible about the entries of a node whose
// header is good, or "": keys not ascending, an extent of no blocks, extents
// that overlap or run past the last block a file can have, blocks outside
// (first, blocks). The superblock's own block first and all before it belong
// to no file. It does not allocate when all is well.
func (n ExtentNode) EntriesProblem(first, blocks BlockNum) string {
	count := n.Entries()
	if n.Depth() > 0 {
		for i := range count {
			x := n.Index(i)
			if x.Child <= first || x.Child >= blocks {
				return fmt.Sprintf("index %d points to block %d of %d", i, x.Child, blocks)
			}
			if i > 0 && x.Logical <= n.Key(i-1) {
				return fmt.Sprintf("index %d has key %d after %d", i, x.Logical, n.Key(i-1))
			}
		}
		return ""
	}
	var end uint64
	for i := range count {
		l := n.Leaf(i)
		switch {
		case l.Len == 0:
			return fmt.Sprintf("extent %d at logical block %d has no blocks", i, l.Logical)
		case uint64(l.Logical) < end:
			return fmt.Sprintf("extent %d starts at logical block %d before the end of its neighbour, %d", i, l.Logical, end)
		case l.End() > uint64(MaxLogical)+1:
			return fmt.Sprintf("extent %d of %d blocks at logical block %d ends past the last possible block", i, l.Len, l.Logical)
		case l.Physical <= first || l.Physical >= blocks || BlockNum(l.Len) > blocks-l.Physical:
			return fmt.Sprintf("extent %d maps blocks %d+%d of %d", i, l.Physical, l.Len, blocks)
		}
		end = l.End()
	}
	return ""
}
