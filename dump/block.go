package dump

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Block is one block: what it is for, what it looks like, and its bytes.
type Block struct {
	Type   string `json:"type"`
	Block  uint64 `json:"block" text:"Block"`
	Offset int64  `json:"offset" text:"At byte"`
	Group  uint32 `json:"group" text:"Group"`
	// Use is what the geometry says: superblock, group_descriptors,
	// reserved_gdt, block_bitmap, inode_bitmap, inode_table, mmp, journal,
	// boot, free, or allocated, with more words in Detail.
	Use    string `json:"use" text:"Use"`
	Detail string `json:"detail,omitempty" text:"Detail,omitempty"`
	InUse  *bool  `json:"in_use,omitempty" text:"Bitmap says used"`
	// Looks is what the bytes look like: extent_node, xattr_block, dir_block,
	// htree_root, htree_node, journal_block, orphan_block, mmp, superblock,
	// zeros; empty when they look like nothing known.
	Looks string       `json:"looks_like,omitempty" text:"Looks like,omitempty"`
	Owner []BlockOwner `json:"owners,omitempty" text:"Owner,omitempty"`
	// Content is the structure in the block, where it is known.
	Content  Value    `json:"content,omitempty"`
	Data     Bytes    `json:"data"`
	Problems []string `json:"problems,omitempty"`

	of disk.GroupNum // the group whose bitmap or inode table it is part of
}

// BlockOwner is a use of a block by an inode.
type BlockOwner struct {
	Inode   uint32  `json:"inode"`
	As      string  `json:"as"` // data, map or xattr
	Logical *uint32 `json:"logical,omitempty"`
}

// String is the owner in words.
func (o BlockOwner) String() string {
	if o.Logical == nil {
		return fmt.Sprintf("inode %d (%s)", o.Inode, o.As)
	}
	return fmt.Sprintf("inode %d (%s, logical block %d)", o.Inode, o.As, *o.Logical)
}

// RawBlock returns the bytes of block n, with the journal replayed, whatever
// the superblock says of the size of the file system.
func (im *Image) RawBlock(n disk.BlockNum) ([]byte, error) {
	bs := uint64(im.blockSize())
	if uint64(n) >= (uint64(im.dev.Size())+bs-1)/bs {
		return nil, fmt.Errorf("there is no block %d, the image has %d", n, uint64(im.dev.Size())/bs)
	}
	b := make([]byte, bs)
	if err := device.ReadFull(im.dev, b, int64(uint64(n)*bs)); err != nil {
		return nil, fmt.Errorf("read block %d: %w", n, err)
	}
	return b, nil
}

// Block returns block n and what it is.
func (im *Image) Block(n disk.BlockNum) (*Block, error) {
	b, err := im.RawBlock(n)
	if err != nil {
		return nil, err
	}
	v := &Block{Type: "block", Block: uint64(n), Offset: int64(n) * int64(im.blockSize()), Data: b, Use: "unknown"}
	if im.fs == nil {
		v.Problems = append(v.Problems, problem(im.geometry()))
	} else if uint64(n) < im.super.Blocks() {
		im.blockUse(v, n)
	} else {
		v.Use = "outside"
	}
	im.blockLooks(v, b, n)
	return v, nil
}

// blockUse finds out what the geometry says.
func (im *Image) blockUse(v *Block, n disk.BlockNum) {
	s := &im.super
	if n < disk.BlockNum(s.FirstDataBlock) || n == 0 && im.blockSize() == disk.MinBlockSize {
		v.Use = "boot"
		return
	}
	g := s.GroupOf(n)
	v.Group = uint32(g)
	if bm, err := im.fs.BlockBitmap(g); err != nil {
		v.Problems = append(v.Problems, problem(err))
	} else if bit := int((n - s.GroupFirstBlock(g)) / disk.BlockNum(s.ClusterRatio())); bit < bm.Len {
		used := bm.Has(bit)
		v.InUse = &used
		v.Use = map[bool]string{true: "allocated", false: "free"}[used]
	}
	if im.useFixed(v, n, g) {
		return
	}
	if s.Features.Incompat.Has(disk.IncompatMMP) && n == s.MMPBlock {
		v.Use = "mmp"
		return
	}
	im.useJournal(v, n)
}

// useFixed looks for the block in what the descriptors name. With flex_bg a
// group's parts lie anywhere, usually in the first group of a pool.
func (im *Image) useFixed(v *Block, n disk.BlockNum, g disk.GroupNum) bool {
	var group Group
	group.copies(&im.super, g)
	in := func(r *Range) bool { return r != nil && uint64(n) >= r.First && uint64(n) <= r.Last }
	switch {
	case group.Superblock != nil && uint64(n) == *group.Superblock:
		v.Use, v.Detail = "superblock", fmt.Sprintf("copy of group %d", g)
		return true
	case in(group.Descriptors):
		v.Use, v.Detail = "group_descriptors", fmt.Sprintf("copy of group %d, block %d of them", g, uint64(n)-group.Descriptors.First)
		return true
	case in(group.ReservedGDT):
		v.Use, v.Detail = "reserved_gdt", fmt.Sprintf("copy of group %d", g)
		return true
	}
	for owner := range im.super.Groups() {
		d, err := im.fs.Group(owner)
		if err != nil {
			continue
		}
		switch {
		case n == d.BlockBitmap():
			v.Use, v.Detail = "block_bitmap", fmt.Sprintf("of group %d", owner)
		case n == d.InodeBitmap():
			v.Use, v.Detail = "inode_bitmap", fmt.Sprintf("of group %d", owner)
		case n >= d.InodeTable() && n-d.InodeTable() < disk.BlockNum(im.super.InodeTableBlocks()):
			per := uint64(im.super.InodesPerBlock())
			first := uint64(owner)*uint64(im.super.InodesPerGroup) + uint64(n-d.InodeTable())*per + 1
			v.Use, v.Detail = "inode_table", fmt.Sprintf("of group %d, inodes %s", owner, newRange(first, per))
		default:
			continue
		}
		v.of = owner
		return true
	}
	return false
}

func (im *Image) useJournal(v *Block, n disk.BlockNum) {
	ino := im.super.JournalInode
	if ino == 0 || !im.super.Features.Compat.Has(disk.CompatHasJournal) {
		return
	}
	for e, err := range im.Extents(ino, false) {
		if err != nil {
			return
		}
		if n >= e.Physical && n < e.Physical+disk.BlockNum(e.Len) {
			v.Use, v.Detail = "journal", fmt.Sprintf("log block %d", uint64(e.Logical)+uint64(n-e.Physical))
			return
		}
	}
}

// FindOwners fills in which inodes use the block, and with that judges
// checksums that depend on the inode. It reads all inodes.
func (im *Image) FindOwners(ctx context.Context, v *Block) error {
	type found struct{ list []BlockOwner }
	n := disk.BlockNum(v.Block)
	wide := im.super.Features.Incompat.Has(disk.Incompat64bit)
	visit := func(t *found, f *File) {
		if f.Inode == 0 {
			return
		}
		for _, e := range f.Extents {
			if e.Flags&(extent.FlagHole|extent.FlagInline) == 0 && n >= e.Physical && n < e.Physical+disk.BlockNum(e.Len) {
				l := uint32(uint64(e.Logical) + uint64(n-e.Physical))
				t.list = append(t.list, BlockOwner{uint32(f.Inode), "data", &l})
			}
		}
		if f.Raw.FileACL(wide) == n {
			t.list = append(t.list, BlockOwner{uint32(f.Inode), "xattr", nil})
		}
		if !hasMapBlocks(f.Raw) {
			return
		}
		for node, err := range im.Tree(f.Inode) {
			if err != nil {
				return
			}
			if disk.BlockNum(node.Block) == n {
				l := node.Logical
				t.list = append(t.list, BlockOwner{uint32(f.Inode), "map", &l})
			}
		}
	}
	for t, err := range Scan(ctx, im, ScanOptions{}, visit) {
		if err != nil {
			return err
		}
		v.Owner = append(v.Owner, t.list...)
	}
	for _, o := range v.Owner {
		switch c := v.Content.(type) {
		case *DirBlock:
			if o.As == "data" {
				c.ownedBy(im, disk.InodeNum(o.Inode), v.Data)
			}
		case *ExtentNode:
			if o.As == "map" {
				c.ownedBy(im, disk.InodeNum(o.Inode), v.Data)
			}
		case nil:
			if o.As == "map" {
				v.Content = newPointerBlock(v.Data)
			}
		}
	}
	return nil
}

// PointerBlock is a block of pointers of a file without extents.
type PointerBlock struct {
	Type     string   `json:"type"`
	Pointers []uint32 `json:"pointers"`
}

func newPointerBlock(b []byte) *PointerBlock {
	v := &PointerBlock{Type: "pointers", Pointers: make([]uint32, len(b)/4)}
	for i := range v.Pointers {
		v.Pointers[i] = le.Uint32(b[4*i:])
	}
	return v
}

// WriteText writes the pointers that are not 0, runs of them together.
func (v *PointerBlock) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		for i := 0; i < len(v.Pointers); {
			n := 1
			for i+n < len(v.Pointers) && v.Pointers[i] != 0 && v.Pointers[i+n] == v.Pointers[i]+uint32(n) {
				n++
			}
			if v.Pointers[i] != 0 {
				p.linef("%s: %s", newRange(uint64(i), uint64(n)), newRange(uint64(v.Pointers[i]), uint64(n)))
			}
			i += n
		}
	})
}

// hasMapBlocks reports whether an inode's map may have blocks of its own.
func hasMapBlocks(raw disk.Inode) bool {
	kind := raw.Mode() & disk.ModeType
	if raw.Flags().Has(disk.FlagInlineData) || kind != disk.ModeRegular && kind != disk.ModeDir && kind != disk.ModeSymlink {
		return false
	}
	if raw.Flags().Has(disk.FlagExtents) {
		return disk.ExtentNode(raw.Block()).Depth() > 0
	}
	return !bytes.Equal(raw.Block()[48:], make([]byte, 12))
}

// WriteText writes what the block is, its content and its bytes.
func (v *Block) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.fields(v)
		if v.Content != nil {
			p.linef("Content:")
			var b bytes.Buffer
			if err := v.Content.WriteText(&b); err == nil {
				for line := range bytes.Lines(b.Bytes()) {
					p.b = append(p.b, "  "...)
					p.b = append(p.b, line...)
				}
			}
		}
		p.problems(v.Problems)
		p.hexDump(v.Data)
	})
}

// hexDump prints bytes sixteen a line; lines like the one before are one "*".
func (p *printer) hexDump(b []byte) {
	const width = 16
	skipping := false
	for off := 0; off < len(b); off += width {
		row := b[off:min(off+width, len(b))]
		if off > 0 && off+width < len(b) && bytes.Equal(row, b[off-width:off]) {
			if !skipping {
				p.linef("*")
			}
			skipping = true
			continue
		}
		skipping = false
		p.b = fmt.Appendf(p.b, "%04x ", off)
		for i := range width {
			if i%8 == 0 {
				p.b = append(p.b, ' ')
			}
			if i < len(row) {
				p.b = fmt.Appendf(p.b, "%02x ", row[i])
			} else {
				p.b = append(p.b, "   "...)
			}
		}
		p.b = append(p.b, " |"...)
		for _, c := range row {
			if c < 0x20 || c >= 0x7f {
				c = '.'
			}
			p.b = append(p.b, c)
		}
		p.b = append(p.b, "|\n"...)
	}
}
