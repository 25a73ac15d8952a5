package disk

// InitOrphanBlock makes b, one block, a block of the orphan file with all slots
// free. SealOrphanBlock comes after it.
func InitOrphanBlock(b []byte) {
	clear(b)
	le.PutUint32(b[len(b)-8:], OrphanBlockMagic)
}

// SealOrphanBlock computes and stores the checksum of a block of the orphan
// file; seed is that of the orphan inode, block its physical place.
func SealOrphanBlock(seed uint32, block BlockNum, b []byte) {
	_, sum := OrphanBlock(b).Checksum(seed, block)
	le.PutUint32(b[len(b)-4:], sum)
}
