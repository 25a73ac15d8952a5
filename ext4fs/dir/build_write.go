package dir

import (
	"encoding/binary"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Self is the directory that a plan is carried out for.
type Self struct {
	Inode  disk.InodeNum
	Parent disk.InodeNum // its own number in the root directory
	// Seed is disk.InodeSeed of the directory; it counts with metadata_csum.
	Seed uint32
}

// Child is what a name stands for. Type is one of disk.FileTypeRegular and so
// on; it is dropped without the filetype feature.
type Child struct {
	Name  string
	Inode disk.InodeNum
	Type  uint8
}

// Put makes the directory's blocks from block from on in dst, as many as dst
// is long, with their checksums. What dst held before does not count. child
// gives what was planned as name i. Blocks may be made in any order, and at the
// same time.
//
// Names other than planned, impossible inodes and types, and a dst that is not
// of whole blocks of the directory are ErrInvalid.
func (p *Plan) Put(dst []byte, from disk.LogicalNum, self Self, child func(i int) Child) error {
	size := p.layout.BlockSize
	if len(dst)%size != 0 || uint64(from)+uint64(len(dst)/size) > uint64(p.total) {
		return fmt.Errorf("%d bytes from block %d of %d of directory %d: %w", len(dst), from, p.total, self.Inode, ErrInvalid)
	}
	if self.Inode == 0 || self.Parent == 0 {
		return fmt.Errorf("directory %d in directory %d: %w", self.Inode, self.Parent, ErrInvalid)
	}
	clear(dst)
	for ; len(dst) > 0; from, dst = from+1, dst[size:] {
		if err := p.block(dst[:size:size], from, self, child); err != nil {
			return fmt.Errorf("block %d of directory %d: %w", from, self.Inode, err)
		}
	}
	return nil
}

// block makes one block of zeros that block.
func (p *Plan) block(b []byte, l disk.LogicalNum, self Self, child func(i int) Child) error {
	if !p.indexed {
		return p.leaf(b, int(l), self, child)
	}
	if l == 0 {
		p.root(b, self)
		return nil
	}
	at := int(l) - 1
	for i, level := range p.levels {
		if at < len(level) {
			p.node(b, i, at, self)
			return nil
		}
		at -= len(level)
	}
	return p.leaf(b, at, self, child)
}

// leaf makes leaf number k, which is empty behind the last that has names.
func (p *Plan) leaf(b []byte, k int, self Self, child func(i int) Child) error {
	end := p.layout.LeafEnd()
	off, last := 0, -1
	if k == 0 && !p.indexed {
		p.layout.InitDots(b, self.Inode, self.Parent, p.fileType(disk.FileTypeDir), 2*disk.DirentMinSize)
		off, last = 2*disk.DirentMinSize, disk.DirentMinSize
	}
	first, behind := p.n, p.n
	if k < len(p.leaves) {
		first = int(p.leaves[k].first)
	}
	if k+1 < len(p.leaves) {
		behind = int(p.leaves[k+1].first)
	}
	var name [disk.MaxNameLen]byte
	for ; first < behind; first++ {
		c := child(p.placed(first))
		if err := c.check(); err != nil {
			return err
		}
		need := disk.DirentSize(len(c.Name), false)
		if need > end-off {
			return fmt.Errorf("name %q is longer than the planned one: %w", c.Name, ErrInvalid)
		}
		n := copy(name[:], c.Name)
		p.layout.PutDirent(b, off, need, c.Inode, p.fileType(c.Type), name[:n])
		last = off
		off += need
	}
	if last < 0 {
		last = 0
	}
	p.layout.SetRecLen(b, last, end-last)
	if p.layout.Checksum {
		disk.InitDirTail(b)
		disk.SealDirBlock(self.Seed, b)
	}
	return nil
}

// placed is the name at place k in the order of the blocks.
func (p *Plan) placed(k int) int {
	switch {
	case p.indexed:
		return p.At(k)
	case p.place != nil:
		return int(p.place[k])
	}
	return k
}

func (p *Plan) fileType(t uint8) uint8 {
	if p.filetype {
		return t
	}
	return 0
}

// root makes the root of the tree.
func (p *Plan) root(b []byte, self Self) {
	const off = disk.DXInfoOffset + disk.DXInfoSize
	p.layout.InitDXRoot(b, self.Inode, self.Parent, p.fileType(disk.FileTypeDir), p.hash, 1)
	disk.DXInfo{Hash: p.hash, InfoLength: disk.DXInfoSize, Levels: uint8(len(p.levels))}.Encode(b)
	n := len(p.leaves)
	if len(p.levels) > 0 {
		n = len(p.levels[0])
	}
	p.array(b, off, 0, 0, n)
	p.sealDX(b, off, self)
}

// node makes a node of a level.
func (p *Plan) node(b []byte, level, at int, self Self) {
	nodes := p.levels[level]
	first, behind := int(nodes[at].first), len(p.leaves)
	if level+1 < len(p.levels) {
		behind = len(p.levels[level+1])
	}
	if at+1 < len(nodes) {
		behind = int(nodes[at+1].first)
	}
	var one [disk.DXEntrySize]byte
	p.layout.InitDXNode(b, disk.DXEntries(one[:]), 1)
	p.array(b, disk.DXNodeOffset, level+1, first, behind-first)
	p.sealDX(b, disk.DXNodeOffset, self)
}

// array points an index array with room for one entry to n children of a level,
// where that of the leaves comes last. Entry 0 has no key.
func (p *Plan) array(b []byte, off, level, first, n int) {
	base := 1 // the block of the level's first
	for _, above := range p.levels[:level] {
		base += len(above)
	}
	disk.SetDXBlock(b, off, 0, disk.LogicalNum(base+first))
	for i := 1; i < n; i++ {
		key := uint32(0)
		if level < len(p.levels) {
			key = p.levels[level][first+i].key
		} else {
			key = p.leaves[first+i].key
		}
		disk.InsertDX(b, off, i-1, key, disk.LogicalNum(base+first+i))
	}
}

func (p *Plan) sealDX(b []byte, off int, self Self) {
	if p.layout.Checksum {
		disk.SealDX(self.Seed, b, off)
	}
}

// InlineSize tells how long the system.data value of an inline directory of
// these names would be, in bytes, and whether the inode, which has room for so
// many bytes of it, holds them at all.
func InlineSize(n int, name func(i int) string, room int) (value int, ok bool) {
	head := inlineSize - inlineHead
	for i := range n {
		need := disk.DirentSize(len(name(i)), false)
		if need <= head {
			head -= need
		} else if value += need; value > room {
			return 0, false
		}
	}
	return value, true
}

// PutInline makes the directory an inline one instead: its i_block area, and the
// value of system.data, which has the length that InlineSize told and must be
// there even when that is 0. The directory's size is 60 bytes and the value. In
// file systems with dir_index Linux lists such directories in the order of At.
// Errors are ErrInvalid, and ErrNoSpace when the names do not fit into so many
// bytes of value.
func (p *Plan) PutInline(self Self, child func(i int) Child, room int) (block [inlineSize]byte, value []byte, err error) {
	size, ok := InlineSize(p.n, func(i int) string { return child(i).Name }, room)
	if !ok {
		return block, nil, fmt.Errorf("inline directory %d: %w", self.Inode, ErrNoSpace)
	}
	if self.Parent == 0 {
		return block, nil, fmt.Errorf("directory %d in directory %d: %w", self.Inode, self.Parent, ErrInvalid)
	}
	binary.LittleEndian.PutUint32(block[:], uint32(self.Parent))
	head := inlinePacker{part: block[inlineHead:]}
	tail := inlinePacker{part: make([]byte, size)}
	for i := range p.n {
		c := child(i)
		if err := c.check(); err != nil {
			return block, nil, fmt.Errorf("inline directory %d: %w", self.Inode, err)
		}
		c.Type = p.fileType(c.Type)
		if !head.add(c) && !tail.add(c) {
			return block, nil, fmt.Errorf("inline directory %d: other names than before: %w", self.Inode, ErrInvalid)
		}
	}
	head.end()
	tail.end()
	return block, tail.part, nil
}

// check says what no entry can have.
func (c *Child) check() error {
	if len(c.Name) == 0 || len(c.Name) > disk.MaxNameLen || c.Inode == 0 || c.Type > disk.FileTypeSymlink {
		return fmt.Errorf("name %q of inode %d and type %d: %w", c.Name, c.Inode, c.Type, ErrInvalid)
	}
	return nil
}

// inlinePacker fills one part of an inline directory.
type inlinePacker struct {
	part      []byte
	off, last int
}

func (k *inlinePacker) layout() disk.DirLayout { return disk.DirLayout{BlockSize: len(k.part)} }

func (k *inlinePacker) add(c Child) bool {
	need := disk.DirentSize(len(c.Name), false)
	if need > len(k.part)-k.off {
		return false
	}
	k.layout().PutDirent(k.part, k.off, need, c.Inode, c.Type, []byte(c.Name))
	k.last = k.off
	k.off += need
	return true
}

// end lets the last record reach to the end of the part.
func (k *inlinePacker) end() {
	if len(k.part) > 0 {
		k.layout().SetRecLen(k.part, k.last, len(k.part)-k.last)
	}
}
