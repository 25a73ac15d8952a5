package disk

// The checksum record of a leaf block:
//
//	0 le32 0          inode, so that it reads as unused
//	4 le16 12         rec_len
//	6 u8   0          name_len
//	7 u8   0xDE       file_type
//	8 le32 checksum   over the block up to this record, from the seed of the
//	                  directory's inode

// HasDirTail reports whether a leaf block ends in a checksum record.
func HasDirTail(block []byte) bool {
	if len(block) < DirTailSize {
		return false
	}
	t := block[len(block)-DirTailSize:]
	return le.Uint32(t) == 0 && le.Uint32(t[4:]) == DirTailSize|uint32(FileTypeChecksum)<<24
}

// InitDirTail writes an empty checksum record to the end of a leaf block.
// The entries before it must end there.
func InitDirTail(block []byte) {
	t := block[len(block)-DirTailSize:]
	le.PutUint32(t, 0)
	le.PutUint32(t[4:], DirTailSize|uint32(FileTypeChecksum)<<24)
	le.PutUint32(t[8:], 0)
}

// VerifyDirBlock compares a leaf block's checksum. seed is the InodeSeed of
// the directory. found is false when the block has no checksum record: such a
// directory needs a rebuild.
func VerifyDirBlock(seed uint32, block []byte) (stored, computed uint32, found bool) {
	if !HasDirTail(block) {
		return 0, 0, false
	}
	n := len(block) - DirTailSize
	return le.Uint32(block[n+8:]), Sum(seed, block[:n]), true
}

// SealDirBlock stores the checksum of a leaf block, which must have a
// checksum record; it reports whether it has.
func SealDirBlock(seed uint32, block []byte) bool {
	if !HasDirTail(block) {
		return false
	}
	n := len(block) - DirTailSize
	le.PutUint32(block[n+8:], Sum(seed, block[:n]))
	return true
}
