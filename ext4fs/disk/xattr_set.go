package disk

// SetValueOffset writes where the value starts; 0 for an empty value and for
// one in an inode.
func (e XattrEntry) SetValueOffset(n int) { le.PutUint16(e[2:], uint16(n)) }

// SetValueInode writes the inode that holds the value, 0 for none.
func (e XattrEntry) SetValueInode(n InodeNum) { le.PutUint32(e[4:], uint32(n)) }

// SetValueSize writes the value's length in bytes.
func (e XattrEntry) SetValueSize(n uint32) { le.PutUint32(e[8:], n) }

// SetHash writes e_hash.
func (e XattrEntry) SetHash(v uint32) { le.PutUint32(e[12:], v) }

// XattrValueInodeLimit is the largest padded value, in bytes, that is tried in
// an attribute block: with ea_inode what is larger goes to an inode at once.
// It leaves room for the header, the terminator and an entry whose name has
// three bytes.
func XattrValueInodeLimit(blockSize int) int {
	return blockSize - XattrEntryLen(3) - XattrHeaderSize - XattrPad
}

// XattrBlockReserve is how many bytes at the start of an attribute block
// values keep out of when there are value inodes to go to, so that entries
// find room.
func XattrBlockReserve(blockSize int) int { return min(blockSize/8, 1024) }
