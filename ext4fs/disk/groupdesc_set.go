package disk

// setHalf stores n in a low and, in the long form, a high half. Without the
// high half the value must fit in 16 bits: the geometry sees to that.
func (g GroupDesc) setHalf(lo, hi int, n uint32) {
	le.PutUint16(g[lo:], uint16(n))
	if len(g) >= 64 {
		le.PutUint16(g[hi:], uint16(n>>16))
	}
}

func (g GroupDesc) setBlock(lo, hi int, bn BlockNum) {
	le.PutUint32(g[lo:], uint32(bn))
	if len(g) >= 64 {
		le.PutUint32(g[hi:], uint32(bn>>32))
	}
}

// SetBlockBitmap stores the block of the block bitmap; the short form keeps 32
// bits of it.
func (g GroupDesc) SetBlockBitmap(bn BlockNum) { g.setBlock(0x00, 0x20, bn) }

// SetInodeBitmap stores the block of the inode bitmap.
func (g GroupDesc) SetInodeBitmap(bn BlockNum) { g.setBlock(0x04, 0x24, bn) }

// SetInodeTable stores the first block of the inode table.
func (g GroupDesc) SetInodeTable(bn BlockNum) { g.setBlock(0x08, 0x28, bn) }

// SetFreeClusters stores the number of free clusters.
func (g GroupDesc) SetFreeClusters(n uint32) { g.setHalf(0x0c, 0x2c, n) }

// SetFreeInodes stores the number of free inodes.
func (g GroupDesc) SetFreeInodes(n uint32) { g.setHalf(0x0e, 0x2e, n) }

// SetUsedDirs stores the number of directories.
func (g GroupDesc) SetUsedDirs(n uint32) { g.setHalf(0x10, 0x30, n) }

// SetFlags stores the Group… bits.
func (g GroupDesc) SetFlags(flags uint16) { le.PutUint16(g[0x12:], flags) }

// SetItableUnused stores the number of never used inodes at the end of the
// table.
func (g GroupDesc) SetItableUnused(n uint32) { g.setHalf(0x1c, 0x32, n) }

// SetBlockBitmapChecksum stores what BitmapSum gives for the block bitmap.
func (g GroupDesc) SetBlockBitmapChecksum(sum uint32) { g.setHalf(0x18, 0x38, sum) }

// SetInodeBitmapChecksum stores what BitmapSum gives for the inode bitmap.
func (g GroupDesc) SetInodeBitmapChecksum(sum uint32) { g.setHalf(0x1a, 0x3a, sum) }

// SealGroupDesc renews the checksum of descriptor g of group n, if the file
// system keeps one. It comes after every other change.
func (s *Superblock) SealGroupDesc(n GroupNum, g GroupDesc) {
	if sum, ok := s.GroupDescSum(n, g); ok {
		le.PutUint16(g[0x1e:], sum)
	}
}
