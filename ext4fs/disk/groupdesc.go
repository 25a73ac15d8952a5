package disk

// Bits of GroupDesc.Flags; they have a meaning only with gdt_csum or
// metadata_csum.
const (
	GroupInodeUninit uint16 = 1 // inode bitmap and table are not initialised
	GroupBlockUninit uint16 = 2 // block bitmap is not initialised
	GroupInodeZeroed uint16 = 4 // inode table is zeroed on disk
)

// GroupDesc is a view of one group descriptor: 32 bytes, or 64 and more with
// the 64bit feature. Upper halves read as zero in the short form.
type GroupDesc []byte

func (g GroupDesc) half(lo, hi int) uint32 {
	n := uint32(le.Uint16(g[lo:]))
	if len(g) >= 64 {
		n |= uint32(le.Uint16(g[hi:])) << 16
	}
	return n
}

func (g GroupDesc) block(lo, hi int) BlockNum {
	n := uint64(le.Uint32(g[lo:]))
	if len(g) >= 64 {
		n |= uint64(le.Uint32(g[hi:])) << 32
	}
	return BlockNum(n)
}

// BlockBitmap is the block of the block bitmap.
func (g GroupDesc) BlockBitmap() BlockNum { return g.block(0x00, 0x20) }

// InodeBitmap is the block of the inode bitmap.
func (g GroupDesc) InodeBitmap() BlockNum { return g.block(0x04, 0x24) }

// InodeTable is the first block of the inode table.
func (g GroupDesc) InodeTable() BlockNum { return g.block(0x08, 0x28) }

// FreeClusters is the number of free clusters.
func (g GroupDesc) FreeClusters() uint32 { return g.half(0x0c, 0x2c) }

// FreeInodes is the number of free inodes.
func (g GroupDesc) FreeInodes() uint32 { return g.half(0x0e, 0x2e) }

// UsedDirs is the number of directories.
func (g GroupDesc) UsedDirs() uint32 { return g.half(0x10, 0x30) }

// Flags are the Group… bits.
func (g GroupDesc) Flags() uint16 { return le.Uint16(g[0x12:]) }

// ItableUnused is the number of never used inodes at the end of the table.
func (g GroupDesc) ItableUnused() uint32 { return g.half(0x1c, 0x32) }

// BlockBitmapChecksum is the stored checksum of the block bitmap: 16 bits in
// the short form, 32 in the long one.
func (g GroupDesc) BlockBitmapChecksum() uint32 { return g.half(0x18, 0x38) }

// InodeBitmapChecksum is the stored checksum of the inode bitmap.
func (g GroupDesc) InodeBitmapChecksum() uint32 { return g.half(0x1a, 0x3a) }

// Checksum is the stored checksum of the descriptor itself.
func (g GroupDesc) Checksum() uint16 { return le.Uint16(g[0x1e:]) }

// BitmapSum is what a bitmap checksum field of this descriptor must hold for
// the bytes b: clusters or inodes per group, divided by 8.
func (g GroupDesc) BitmapSum(seed uint32, b []byte) uint32 {
	sum := Sum(seed, b)
	if len(g) < 64 {
		sum &= 0xffff
	}
	return sum
}

// GroupDescSum computes the checksum of descriptor g by the rule of the file
// system's features. ok is false when there is none.
func (s *Superblock) GroupDescSum(n GroupNum, g GroupDesc) (sum uint16, ok bool) {
	var zero [2]byte
	switch {
	case s.HasMetadataCsum():
		c := SumUint32(s.Seed(), uint32(n))
		c = Sum(c, g[:0x1e])
		c = Sum(c, zero[:])
		return uint16(Sum(c, g[0x20:])), true
	case s.Features.ROCompat.Has(ROCompatGDTCsum):
		var num [4]byte
		le.PutUint32(num[:], uint32(n))
		c := CRC16(0xffff, s.UUID[:])
		c = CRC16(c, num[:])
		c = CRC16(c, g[:0x1e])
		return CRC16(c, g[0x20:]), true
	}
	return 0, false
}
