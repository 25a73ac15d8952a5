package disk

// OrphanBlockMagic marks the tail of an orphan-file block.
const OrphanBlockMagic uint32 = 0x0b10ca04

// OrphanBlock is a view of one block of the orphan file: slots of inode
// numbers, 0 meaning free, and an 8-byte tail.
type OrphanBlock []byte

// Slots is the number of slots.
func (o OrphanBlock) Slots() int { return (len(o) - 8) / 4 }

// Slot returns the inode number in slot n.
func (o OrphanBlock) Slot(n int) InodeNum { return InodeNum(le.Uint32(o[4*n:])) }

// Magic is the tail's magic.
func (o OrphanBlock) Magic() uint32 { return le.Uint32(o[len(o)-8:]) }

// Checksum returns the stored and the computed checksum; seed is that of the
// orphan inode, block its physical place. The magic is not covered.
func (o OrphanBlock) Checksum(seed uint32, block BlockNum) (stored, computed uint32) {
	return le.Uint32(o[len(o)-4:]), Sum(SumUint64(seed, uint64(block)), o[:len(o)-8])
}
