package dump

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Group is one block group: its descriptor and where its parts lie. The counts
// and ranges of the bitmaps are there only where they were asked for.
type Group struct {
	Type   string `json:"type"`
	Group  uint32 `json:"group"`
	Blocks Range  `json:"blocks" text:"Blocks"`
	Inodes Range  `json:"inodes" text:"Inodes"`

	Flags    Flags    `json:"flags" text:"Flags"`
	Checksum Checksum `json:"checksum" text:"Descriptor checksum"`

	DescBlock   uint64  `json:"descriptor_block" text:"Descriptor in block"`
	DescOffset  int     `json:"descriptor_offset" text:"Descriptor at byte"`
	Superblock  *uint64 `json:"superblock,omitempty" text:"Superblock"`
	Descriptors *Range  `json:"descriptors,omitempty" text:"Group descriptors"`
	ReservedGDT *Range  `json:"reserved_gdt,omitempty" text:"Reserved GDT blocks"`

	BlockBitmap         uint64   `json:"block_bitmap" text:"Block bitmap"`
	BlockBitmapChecksum Checksum `json:"block_bitmap_checksum" text:"Block bitmap checksum"`
	InodeBitmap         uint64   `json:"inode_bitmap" text:"Inode bitmap"`
	InodeBitmapChecksum Checksum `json:"inode_bitmap_checksum" text:"Inode bitmap checksum"`
	InodeTable          Range    `json:"inode_table" text:"Inode table"`

	FreeClusters uint32 `json:"free_clusters" text:"Free clusters"`
	FreeInodes   uint32 `json:"free_inodes" text:"Free inodes"`
	UsedDirs     uint32 `json:"used_dirs" text:"Directories"`
	ItableUnused uint32 `json:"itable_unused" text:"Unused inodes"`

	Bitmaps  *GroupBitmaps `json:"bitmaps,omitempty"`
	Problems []string      `json:"problems,omitempty"`
}

// GroupBitmaps is what the bitmaps of a group say.
type GroupBitmaps struct {
	FreeClusters    uint64  `json:"free_clusters" text:"Free clusters in bitmap"`
	FreeInodes      uint64  `json:"free_inodes" text:"Free inodes in bitmap"`
	FreeBlockRanges []Range `json:"free_block_ranges" text:"Free blocks"`
	FreeInodeRanges []Range `json:"free_inode_ranges" text:"Free inode numbers"`
}

var groupFlagNames = []string{"inode_uninit", "block_uninit", "inode_zeroed"}

// Group returns group g with its bitmaps.
func (im *Image) Group(g disk.GroupNum) (*Group, error) {
	if err := im.geometry(); err != nil {
		return nil, err
	}
	if g >= im.super.Groups() {
		return nil, im.noGroup(g)
	}
	return im.group(g, true), nil
}

// noGroup says that there is no group of that number.
func (im *Image) noGroup(g disk.GroupNum) error {
	return fmt.Errorf("there is no group %d, the last one is %d", g, im.super.Groups()-1)
}

// Groups yields all groups; with bitmaps, what those say too. The only errors
// are that there is no geometry and that ctx ended.
func (im *Image) Groups(ctx context.Context, bitmaps bool) iter.Seq2[*Group, error] {
	return func(yield func(*Group, error) bool) {
		if err := im.geometry(); err != nil {
			yield(nil, err)
			return
		}
		work := func(g disk.GroupNum) *Group { return im.group(g, bitmaps) }
		for v, err := range inOrder(ctx, im.super.Groups(), flexTask, work) {
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func (im *Image) group(g disk.GroupNum, bitmaps bool) *Group {
	s := &im.super
	first := uint64(s.GroupFirstBlock(g))
	v := &Group{
		Type: "group", Group: uint32(g),
		Blocks: newRange(first, uint64(s.GroupBlocks(g))),
		Inodes: newRange(uint64(g)*uint64(s.InodesPerGroup)+1, uint64(s.InodesPerGroup)),
	}
	v.copies(s, g)
	per := s.DescsPerBlock()
	v.DescBlock = uint64(im.descBlock(uint32(g) / per))
	v.DescOffset = int(uint32(g)%per) * s.DescSize()
	desc, err := im.fs.Group(g)
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
		return v
	}
	v.descriptor(im, g, desc)
	if bitmaps {
		v.readBitmaps(im, g, desc)
	}
	return v
}

// descBlock is where descriptor block i is read.
func (im *Image) descBlock(i uint32) disk.BlockNum {
	s := &im.super
	if im.copyOf != 0 && (!s.Features.Incompat.Has(disk.IncompatMetaBG) || i < s.FirstMetaBG) {
		return s.DescBlockCopy(i, im.copyOf)
	}
	return s.DescBlock(i)
}

// copies says which copies of superblock and descriptors the group carries.
func (v *Group) copies(s *disk.Superblock, g disk.GroupNum) {
	base, n := s.BaseMeta(g)
	at, left := uint64(base), uint64(n)
	if left == 0 {
		return
	}
	if s.HasSuper(g) {
		super := at
		v.Superblock = &super
		at, left = at+1, left-1
	}
	reserved := uint64(0)
	if s.HasSuper(g) && (!s.Features.Incompat.Has(disk.IncompatMetaBG) || uint32(g)/s.DescsPerBlock() < s.FirstMetaBG) {
		reserved = min(uint64(s.ReservedGDTBlocks), left)
	}
	if left > reserved {
		r := newRange(at, left-reserved)
		v.Descriptors = &r
	}
	if reserved > 0 {
		r := newRange(at+left-reserved, reserved)
		v.ReservedGDT = &r
	}
}

func (v *Group) descriptor(im *Image, g disk.GroupNum, d disk.GroupDesc) {
	s := &im.super
	v.BlockBitmap, v.InodeBitmap = uint64(d.BlockBitmap()), uint64(d.InodeBitmap())
	v.InodeTable = newRange(uint64(d.InodeTable()), uint64(s.InodeTableBlocks()))
	v.FreeClusters, v.FreeInodes = d.FreeClusters(), d.FreeInodes()
	v.UsedDirs, v.ItableUnused = d.UsedDirs(), d.ItableUnused()
	v.Flags = newFlags(uint32(d.Flags()), groupFlagNames...)
	sum, kept := s.GroupDescSum(g, d)
	v.Checksum = newChecksum(kept, uint32(d.Checksum()), uint32(sum))
	v.BlockBitmapChecksum = Checksum{State: ChecksumNone}
	v.InodeBitmapChecksum = Checksum{State: ChecksumNone}
	for _, part := range []struct {
		what  string
		block uint64
		n     uint64
	}{
		{"block bitmap", v.BlockBitmap, 1}, {"inode bitmap", v.InodeBitmap, 1},
		{"inode table", v.InodeTable.First, uint64(s.InodeTableBlocks())},
	} {
		if part.block <= uint64(s.FirstDataBlock) || part.block >= s.Blocks() || part.n > s.Blocks()-part.block {
			v.Problems = append(v.Problems, fmt.Sprintf("%s in block %d, the file system has %d", part.what, part.block, s.Blocks()))
		}
	}
	if !im.csum {
		return
	}
	// The blocks of bitmaps that are not initialised hold anything.
	if d.Flags()&disk.GroupBlockUninit == 0 {
		v.BlockBitmapChecksum = v.bitmapSum(im, d, v.BlockBitmap, s.ClustersPerGroup/8, d.BlockBitmapChecksum())
	}
	if d.Flags()&disk.GroupInodeUninit == 0 {
		v.InodeBitmapChecksum = v.bitmapSum(im, d, v.InodeBitmap, s.InodesPerGroup/8, d.InodeBitmapChecksum())
	}
}

func (v *Group) bitmapSum(im *Image, d disk.GroupDesc, block uint64, covered, stored uint32) Checksum {
	b, err := im.block(disk.BlockNum(block))
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
		return missingChecksum()
	}
	return newChecksum(true, stored, d.BitmapSum(im.seed, b[:min(int(covered), len(b))]))
}

func (v *Group) readBitmaps(im *Image, g disk.GroupNum, d disk.GroupDesc) {
	s := &im.super
	b := &GroupBitmaps{FreeBlockRanges: []Range{}, FreeInodeRanges: []Range{}}
	v.Bitmaps = b
	ratio := uint64(s.ClusterRatio())
	if bm, err := im.fs.BlockBitmap(g); err != nil {
		v.Problems = append(v.Problems, problem(err))
	} else {
		clearRuns(bm.Bits, bm.Len, func(at, n int) {
			b.FreeClusters += uint64(n)
			start := v.Blocks.First + uint64(at)*ratio
			last := min(start+uint64(n)*ratio-1, v.Blocks.Last)
			b.FreeBlockRanges = append(b.FreeBlockRanges, Range{start, last})
		})
		v.compare(im, "clusters", uint64(v.FreeClusters), b.FreeClusters)
	}
	if im.inodesUninit(d) {
		b.FreeInodes = uint64(s.InodesPerGroup)
		b.FreeInodeRanges = append(b.FreeInodeRanges, v.Inodes)
		v.compare(im, "inodes", uint64(v.FreeInodes), b.FreeInodes)
		return
	}
	if bm, err := im.fs.InodeBitmap(g); err != nil {
		v.Problems = append(v.Problems, problem(err))
	} else {
		clearRuns(bm.Bits, bm.Len, func(at, n int) {
			b.FreeInodes += uint64(n)
			b.FreeInodeRanges = append(b.FreeInodeRanges, newRange(v.Inodes.First+uint64(at), uint64(n)))
		})
		v.compare(im, "inodes", uint64(v.FreeInodes), b.FreeInodes)
	}
}

// inodesUninit reports whether no inode of a group is in use and its bitmap
// and table hold nothing: of most groups of a large image.
func (im *Image) inodesUninit(d disk.GroupDesc) bool {
	return im.super.HasGroupCsum() && d.Flags()&disk.GroupInodeUninit != 0 && !im.hasFastCommits() && !im.stale
}

// compare judges a count. Fast commits change the bitmaps in memory but not the
// descriptors, and copies of descriptors are old.
func (v *Group) compare(im *Image, what string, descriptor, bitmap uint64) {
	if descriptor != bitmap && !im.hasFastCommits() && !im.stale {
		v.Problems = append(v.Problems, fmt.Sprintf("%d free %s in the descriptor, %d in the bitmap", descriptor, what, bitmap))
	}
}

// WriteText writes the group in lines.
func (v *Group) WriteText(w io.Writer) error {
	return render(w, func(p *printer) { v.print(p) })
}

func (v *Group) print(p *printer) {
	p.linef("Group %d", v.Group)
	p.block(func() {
		p.fields(v)
		p.fields(v.Bitmaps)
		p.problems(v.Problems)
	})
}

// GroupHeading is the heading of the lines that Group.AppendRow makes.
const GroupHeading = " group  first block   blocks  free clusters  free inodes   dirs  unused  " +
	"block bitmap  inode bitmap   inode table  checksum  flags\n"

// AppendRow appends the group as one line of a table.
func (v *Group) AppendRow(b []byte) []byte {
	b = appendRight(b, uint64(v.Group), 6)
	b = appendRight(b, v.Blocks.First, 13)
	b = appendRight(b, v.Blocks.Last-v.Blocks.First+1, 9)
	b = appendRight(b, uint64(v.FreeClusters), 15)
	b = appendRight(b, uint64(v.FreeInodes), 13)
	b = appendRight(b, uint64(v.UsedDirs), 7)
	b = appendRight(b, uint64(v.ItableUnused), 8)
	b = appendRight(b, v.BlockBitmap, 14)
	b = appendRight(b, v.InodeBitmap, 14)
	b = appendRight(b, v.InodeTable.First, 14)
	state := v.sumState()
	for range 10 - len(state) {
		b = append(b, ' ')
	}
	b = append(b, state...)
	b = append(b, ' ', ' ')
	sep := ""
	for _, f := range v.Flags.Names {
		b = append(b, sep...)
		b = append(b, f...)
		sep = ","
	}
	if v.Superblock != nil {
		b = append(b, sep...)
		b = append(b, "super"...)
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	b = append(b, '\n')
	for _, s := range v.Problems {
		b = append(b, "        ! "...)
		b = append(b, escape(s)...)
		b = append(b, '\n')
	}
	return b
}

// sumState is the worst of the group's checksums, in one word.
func (v *Group) sumState() string {
	state := v.Checksum.State
	for _, c := range []Checksum{v.BlockBitmapChecksum, v.InodeBitmapChecksum} {
		if c.State == ChecksumBad {
			return "BAD"
		}
	}
	switch state {
	case ChecksumBad:
		return "BAD"
	case "":
		return ChecksumNone
	}
	return state
}

func appendRight(b []byte, n uint64, width int) []byte {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], n, 10)
	for range width - len(d) {
		b = append(b, ' ')
	}
	return append(b, d...)
}
