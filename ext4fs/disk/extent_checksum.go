package disk

// VerifyExtentBlock compares the checksum in the tail of an extent block with
// one computed over the bytes before it; seed is the owner's InodeSeed. The
// tail's place follows from the stored room; when that leaves no place for it
// the block is not good and both sums are 0. The root in the inode has no
// tail.
func VerifyExtentBlock(seed uint32, block []byte) (stored, computed uint32, ok bool) {
	at, ok := extentTail(block)
	if !ok {
		return 0, 0, false
	}
	stored = le.Uint32(block[at:])
	computed = Sum(seed, block[:at])
	return stored, computed, stored == computed
}

// SealExtentBlock computes and stores the checksum of an extent block. It
// does nothing when the header leaves no place for the tail.
func SealExtentBlock(seed uint32, block []byte) {
	if at, ok := extentTail(block); ok {
		le.PutUint32(block[at:], Sum(seed, block[:at]))
	}
}

// extentTail is the offset of the checksum.
func extentTail(block []byte) (int, bool) {
	if len(block) < ExtentHeaderSize {
		return 0, false
	}
	at := ExtentHeaderSize + ExtentEntrySize*ExtentNode(block).Max()
	return at, at <= len(block)-ExtentTailSize
}
