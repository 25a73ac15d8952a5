package extent

import (
	"iter"
	"sort"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Flags say what an Extent is, besides a run of written blocks.
type Flags uint8

const (
	// FlagUnwritten marks blocks that are allocated and read as zeros.
	FlagUnwritten Flags = 1 << iota
	// FlagHole marks logical blocks without a physical one.
	FlagHole
	// FlagInline marks data inside the inode: there is no physical block.
	FlagInline
)

// Extent is a run of a file's blocks that lie together.
type Extent struct {
	Logical  disk.LogicalNum
	Physical disk.BlockNum // 0 for holes and inline data
	Len      uint32        // blocks, at least 1
	Flags    Flags
}

// End is the logical block after the run; 64 bits, so it cannot wrap.
func (e Extent) End() uint64 { return uint64(e.Logical) + uint64(e.Len) }

// Map is the block map of one file. It is safe for concurrent use. Errors are
// *disk.CorruptError, *disk.ChecksumError or what reading a block gives.
type Map interface {
	// Find returns the run that holds logical block l, from its start on. For
	// a block that is not mapped this is a hole from l on, which ends at the
	// next mapped block, after disk.MaxLogical, or earlier.
	Find(l disk.LogicalNum) (Extent, error)
	// From yields the mapped runs in logical order, beginning with the one
	// that holds l or else the next one. After an error the sequence ends.
	From(l disk.LogicalNum) iter.Seq2[Extent, error]
	// Nodes yields the blocks that the map itself takes, parents before
	// children, in logical order. The root in the inode is not one of them.
	// A wrong checksum is told in the Node and is no error; a block that a
	// running transaction has changed counts as good. After an error the
	// sequence ends.
	Nodes() iter.Seq2[Node, error]
}

// Node is a block of a map: an index or a leaf of an extent tree, or a block
// of pointers.
type Node struct {
	Block   disk.BlockNum
	Parent  disk.BlockNum   // 0: the root in the inode
	Depth   int             // 0: its entries are runs or data blocks
	Logical disk.LogicalNum // the first logical block it stands for
	Entries int             // in use
	Max     int             // room

	HasChecksum      bool // the three below mean something
	ChecksumOK       bool
	Stored, Computed uint32
}

// Owner says whose map it is and what it must keep to.
type Owner struct {
	Inode disk.InodeNum
	// Seed is disk.InodeSeed of the inode.
	Seed uint32
	// HasChecksum: the file system has metadata_csum. Only Nodes looks at it.
	HasChecksum bool
	// Verify: Find and From fail at a node with a wrong checksum. It implies
	// HasChecksum.
	Verify bool
	// FirstBlock is s_first_data_block, the place of the superblock: neither
	// it nor a block before it belongs to a file.
	FirstBlock disk.BlockNum
	// Blocks is the number of blocks of the file system; 0 is the cache's.
	Blocks uint64
}

// Neighbour is implemented by maps that know what lies before a hole.
type Neighbour interface {
	// Before returns the last run that begins before l; ok is false without
	// one. In a tree that is not in order it may miss it.
	Before(l disk.LogicalNum) (e Extent, ok bool, err error)
}

// List is a map in memory: runs in logical order that do not overlap.
type List []Extent

// Find returns the run that holds l, or the hole from l on.
func (m List) Find(l disk.LogicalNum) (Extent, error) {
	i := m.search(l)
	if i == len(m) {
		return hole(l, uint64(disk.MaxLogical)+1), nil
	}
	if m[i].Logical <= l {
		return m[i], nil
	}
	return hole(l, uint64(m[i].Logical)), nil
}

// From yields the runs that end after l.
func (m List) From(l disk.LogicalNum) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for _, e := range m[m.search(l):] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Nodes yields nothing: the map takes no blocks.
func (m List) Nodes() iter.Seq2[Node, error] { return func(func(Node, error) bool) {} }

// search returns the index of the first run that ends after l.
func (m List) search(l disk.LogicalNum) int {
	return sort.Search(len(m), func(i int) bool { return m[i].End() > uint64(l) })
}

// hole is the run of unmapped blocks from l up to next. It has at least one
// block, so that a caller who steps by Len gets ahead.
func hole(l disk.LogicalNum, next uint64) Extent {
	e := Extent{Logical: l, Len: 1, Flags: FlagHole}
	if next > uint64(l) {
		e.Len = uint32(next - uint64(l))
	}
	return e
}
