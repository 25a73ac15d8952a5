package dump

import (
	"bytes"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// blockLooks tells structures by their magic, and takes apart what the block
// is by geometry or by magic.
func (im *Image) blockLooks(v *Block, b []byte, n disk.BlockNum) {
	switch {
	case v.Use == "superblock" || v.Use == "boot" && len(b) >= disk.SuperblockOffset+disk.SuperblockSize:
		im.superIn(v, b, n)
		return
	case v.Use == "group_descriptors":
		v.Content = im.descriptorsIn(v, b)
		return
	case v.Use == "block_bitmap" || v.Use == "inode_bitmap":
		if blocks, inodes, err := im.Bitmaps(v.of); err != nil {
			v.Problems = append(v.Problems, problem(err))
		} else if v.Content = blocks; v.Use == "inode_bitmap" {
			v.Content = inodes
		}
		return
	case v.Use == "inode_table":
		v.Content = im.inodesIn(v, b, n)
		return
	case v.Use == "mmp":
		v.Looks, v.Content = "mmp", im.newMMP(b, n)
		return
	}
	if len(bytes.TrimLeft(b, "\x00")) == 0 {
		v.Looks = "zeros"
		return
	}
	if h, ok := disk.DecodeJournalHeader(b); ok {
		v.Looks = "journal_block"
		v.Content = &JournalBlock{Type: "journal_block", Kind: h.Type.String(), Sequence: h.Sequence}
		return
	}
	if v.Use == "journal" {
		return // a copy of another block; dump journal knows of which
	}
	switch {
	case le.Uint16(b) == disk.ExtentMagic && disk.ExtentNode(b).HeaderProblem(-1) == "":
		node := im.extentNode(b, n)
		node.ownedBy(im, 0, b)
		v.Looks, v.Content = "extent_node", node
	case le.Uint32(b) == disk.XattrMagic && im.fs != nil && uint64(n) < im.super.Blocks():
		v.Looks = "xattr_block"
		if v.Use != "free" {
			v.Content = im.XattrBlock(n)
		}
	case le.Uint32(b) == disk.MMPMagic:
		v.Looks, v.Content = "mmp", im.newMMP(b, n)
	case disk.OrphanBlock(b).Magic() == disk.OrphanBlockMagic:
		v.Looks = "orphan_block"
	case le.Uint16(b[0x38:]) == disk.SuperblockMagic && le.Uint32(b[0x18:]) <= 6:
		v.Looks, v.Content = "superblock", newSuper(b[:disk.SuperblockSize], v.Offset, im.dev.Size())
	default:
		im.dirLooks(v, b)
	}
}

// superIn shows the superblock in a block; the primary one lies at byte 1024
// of its block unless blocks are that small.
func (im *Image) superIn(v *Block, b []byte, n disk.BlockNum) {
	off := 0
	if n == 0 && len(b) > disk.SuperblockOffset {
		off = disk.SuperblockOffset
	}
	if le.Uint16(b[off+0x38:]) != disk.SuperblockMagic {
		return
	}
	v.Looks = "superblock"
	v.Content = newSuper(b[off:off+disk.SuperblockSize], v.Offset+int64(off), im.dev.Size())
}

// dirLooks recognises directory blocks: by their checksum record, or by
// records that tile the block and begin with ".".
func (im *Image) dirLooks(v *Block, b []byte) {
	bs := len(b)
	dots := len(b) >= 24 && disk.DirRecLen(le.Uint16(b[4:]), bs) == 12 && b[6] == 1 && b[8] == '.' &&
		b[18] == 2 && b[20] == '.' && b[21] == '.'
	layout := disk.DirLayout{BlockSize: bs, Checksum: im.csum,
		LargeDir: im.super.Features.Incompat.Has(disk.IncompatLargeDir)}
	switch {
	case dots && disk.DirRecLen(le.Uint16(b[16:]), bs) == bs-12 && b[29] == disk.DXInfoSize:
		v.Looks = "htree_root"
	case layout.IsDXNode(b) && int(le.Uint16(b[disk.DXNodeOffset:])) == layout.DXLimit(disk.DXNodeOffset):
		v.Looks = "htree_node"
		return
	case dots || disk.HasDirTail(b):
		v.Looks = "dir_block"
	default:
		return
	}
	content := &DirBlock{Type: "dir_block", Block: v.Block, Kind: DirLeaf, Entries: []DirEntry{}}
	if v.Looks == "htree_root" {
		content.Kind = DirRoot
	}
	w := dirWalk{im: im, hash: &hasher{}}
	content.records(&w, b, layout, false)
	content.ownedBy(im, 0, b)
	if dots && v.Use != "free" {
		// The directory names itself, but the block may be left over from one
		// that is no more: only a checksum that fits tells.
		guess := *content
		guess.ownedBy(im, disk.InodeNum(le.Uint32(b)), b)
		if guess.Checksum.State == ChecksumGood {
			*content = guess
		}
	}
	if len(content.Problems) > 0 {
		v.Looks = "" // no more than a resemblance
		return
	}
	v.Content = content
}

// ownedBy judges the checksum of a block that belongs to directory n; 0 is not
// known.
func (v *DirBlock) ownedBy(im *Image, n disk.InodeNum, b []byte) {
	i, err := im.inode(n)
	seed := uint32(0)
	if err == nil {
		v.Inode, seed = uint32(n), im.inodeSeed(i)
	}
	stored, computed, found := disk.VerifyDirBlock(seed, b)
	if v.Kind == DirRoot {
		stored, computed, found = disk.VerifyDX(seed, b, disk.DXInfoOffset+int(disk.DecodeDXInfo(b).InfoLength))
	}
	switch {
	case err == nil || !found:
		v.Checksum = tailChecksum(im.csum, stored, computed, found)
	default:
		v.Checksum = unknownChecksum(im.csum, stored)
	}
}

// ownedBy judges the checksum of a node of inode n's extent tree; 0 is not
// known.
func (v *ExtentNode) ownedBy(im *Image, n disk.InodeNum, b []byte) {
	i, err := im.inode(n)
	seed := uint32(0)
	if err == nil {
		seed = im.inodeSeed(i)
	}
	stored, computed, _ := disk.VerifyExtentBlock(seed, b)
	sum := newChecksum(im.csum, stored, computed)
	if err != nil {
		sum = unknownChecksum(im.csum, stored)
	}
	v.Checksum = &sum
}

// JournalBlock is the header of a log block. dump journal shows the rest.
type JournalBlock struct {
	Type     string `json:"type"`
	Kind     string `json:"kind" text:"Journal block"`
	Sequence uint32 `json:"sequence" text:"Transaction"`
}

// WriteText writes the header.
func (v *JournalBlock) WriteText(w io.Writer) error {
	return render(w, func(p *printer) { p.fields(v) })
}

// List is several structures in one block.
type List struct {
	Type  string  `json:"type"`
	Items []Value `json:"items"`
}

// WriteText writes one after the other.
func (v *List) WriteText(w io.Writer) error {
	for _, item := range v.Items {
		if err := item.WriteText(w); err != nil {
			return err
		}
	}
	return nil
}

// descriptorsIn shows the descriptors in a block of them.
func (im *Image) descriptorsIn(v *Block, b []byte) Value {
	s := &im.super
	var group Group
	group.copies(s, disk.GroupNum(v.Group))
	if group.Descriptors == nil {
		return nil
	}
	index := v.Block - group.Descriptors.First
	if s.Features.Incompat.Has(disk.IncompatMetaBG) && v.Group/s.DescsPerBlock() >= s.FirstMetaBG {
		index = uint64(v.Group / s.DescsPerBlock())
	}
	list := &List{Type: "descriptors", Items: []Value{}}
	size := s.DescSize()
	for k := range s.DescsPerBlock() {
		g := index*uint64(s.DescsPerBlock()) + uint64(k)
		if g >= uint64(s.Groups()) {
			break
		}
		d := disk.GroupDesc(b[int(k)*size : int(k+1)*size])
		sum, kept := s.GroupDescSum(disk.GroupNum(g), d)
		list.Items = append(list.Items, &Descriptor{
			Type: "descriptor", Group: uint32(g), BlockBitmap: uint64(d.BlockBitmap()), InodeBitmap: uint64(d.InodeBitmap()),
			InodeTable: uint64(d.InodeTable()), FreeClusters: d.FreeClusters(), FreeInodes: d.FreeInodes(),
			UsedDirs: d.UsedDirs(), ItableUnused: d.ItableUnused(), Flags: newFlags(uint32(d.Flags()), groupFlagNames...),
			Checksum: newChecksum(kept, uint32(d.Checksum()), uint32(sum)),
		})
	}
	return list
}

// Descriptor is one group descriptor of one copy of them.
type Descriptor struct {
	Type         string   `json:"type"`
	Group        uint32   `json:"group"`
	BlockBitmap  uint64   `json:"block_bitmap"`
	InodeBitmap  uint64   `json:"inode_bitmap"`
	InodeTable   uint64   `json:"inode_table"`
	FreeClusters uint32   `json:"free_clusters"`
	FreeInodes   uint32   `json:"free_inodes"`
	UsedDirs     uint32   `json:"used_dirs"`
	ItableUnused uint32   `json:"itable_unused"`
	Flags        Flags    `json:"flags"`
	Checksum     Checksum `json:"checksum"`
}

// WriteText writes the descriptor in one line.
func (v *Descriptor) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "group %d: bitmaps %d %d, inode table %d, free clusters %d, free inodes %d, directories %d, unused %d, flags %s, checksum %s\n",
		v.Group, v.BlockBitmap, v.InodeBitmap, v.InodeTable, v.FreeClusters, v.FreeInodes, v.UsedDirs, v.ItableUnused, v.Flags, v.Checksum)
	return err
}

// InodeLine is one inode of a block of an inode table, in short.
type InodeLine struct {
	Type     string   `json:"type"`
	Inode    uint32   `json:"inode"`
	Kind     string   `json:"kind"`
	Mode     uint32   `json:"mode"`
	Links    uint32   `json:"links"`
	Size     uint64   `json:"size"`
	Flags    Flags    `json:"flags"`
	Checksum Checksum `json:"checksum"`
}

// WriteText writes the inode in one line.
func (v *InodeLine) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "inode %d: %s, mode %06o, links %d, size %d, flags %s, checksum %s\n",
		v.Inode, v.Kind, v.Mode, v.Links, v.Size, v.Flags, v.Checksum)
	return err
}

// inodesIn shows the inodes in a block of an inode table that are not all
// zero.
func (im *Image) inodesIn(v *Block, b []byte, n disk.BlockNum) Value {
	s := &im.super
	list := &List{Type: "inodes", Items: []Value{}}
	d, err := im.fs.Group(v.of)
	if err != nil || n < d.InodeTable() {
		return list
	}
	first := uint64(v.of)*uint64(s.InodesPerGroup) + uint64(n-d.InodeTable())*uint64(s.InodesPerBlock()) + 1
	size := s.InodeSize()
	for k := range int(s.InodesPerBlock()) {
		r := disk.Inode(b[k*size : (k+1)*size])
		num := first + uint64(k)
		if r.IsZero() || num > uint64(s.Inodes()) {
			continue
		}
		stored, computed := r.Checksum(im.seed, disk.InodeNum(num))
		list.Items = append(list.Items, &InodeLine{
			Type: "inode", Inode: uint32(num), Kind: modeKind(r.Mode()), Mode: uint32(r.Mode()), Links: uint32(r.Links()),
			Size: uint64(r.SizeLo()) | uint64(r.SizeHi())<<32, Flags: namedFlags(uint32(r.Flags()), r.Flags().Names()),
			Checksum: newChecksum(im.csum, stored, computed),
		})
	}
	return list
}
