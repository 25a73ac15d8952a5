package disk

import "math/bits"

// XattrNameHash is the part of an entry's hash that the stored name gives.
// With signed the bytes above 127 count as negative: kernels before 6.2 did
// that where char is signed, and their entries are still valid. New entries
// are hashed unsigned.
func XattrNameHash(name []byte, signed bool) uint32 {
	var h uint32
	for _, c := range name {
		v := uint32(c)
		if signed {
			v = uint32(int32(int8(c)))
		}
		h = bits.RotateLeft32(h, 5) ^ v
	}
	return h
}

// XattrHash is the hash of an entry whose value lies beside it.
func XattrHash(name, value []byte, signed bool) uint32 {
	h := XattrNameHash(name, signed)
	for len(value) >= XattrPad {
		h = bits.RotateLeft32(h, 16) ^ le.Uint32(value)
		value = value[XattrPad:]
	}
	if len(value) > 0 {
		var last [XattrPad]byte
		copy(last[:], value)
		h = bits.RotateLeft32(h, 16) ^ le.Uint32(last[:])
	}
	return h
}

// XattrInodeHash is the hash of an entry whose value is in an inode;
// valueHash is the hash that inode stores.
func XattrInodeHash(name []byte, valueHash uint32, signed bool) uint32 {
	return bits.RotateLeft32(XattrNameHash(name, signed), 16) ^ valueHash
}

// XattrValueHash is the hash that a value's inode stores; seed is the file
// system's.
func XattrValueHash(seed uint32, value []byte) uint32 { return Sum(seed, value) }

// XattrBlockHash folds the hashes of a block's entries, in order, into h_hash.
// One entry without a hash makes the block unshareable, which is 0.
func XattrBlockHash(entries []uint32) uint32 {
	var h uint32
	for _, e := range entries {
		if e == 0 {
			return 0
		}
		h = bits.RotateLeft32(h, 16) ^ e
	}
	return h
}

// VerifyXattrBlock compares an attribute block's checksum with one computed
// over its number and its bytes; seed is the file system's, as the block may
// belong to many inodes. A block too short for its header is not good and
// gives 0 for both sums.
func VerifyXattrBlock(seed uint32, bn BlockNum, block []byte) (stored, computed uint32, ok bool) {
	if len(block) < XattrHeaderSize {
		return 0, 0, false
	}
	stored, computed = XattrHeader(block).Checksum(), sumXattrBlock(seed, bn, block)
	return stored, computed, stored == computed
}

// SealXattrBlock computes and stores the checksum of an attribute block that
// will be written as block bn. It does nothing when the block is too short.
func SealXattrBlock(seed uint32, bn BlockNum, block []byte) {
	if len(block) >= XattrHeaderSize {
		le.PutUint32(block[0x10:], sumXattrBlock(seed, bn, block))
	}
}

func sumXattrBlock(seed uint32, bn BlockNum, block []byte) uint32 {
	h := Sum(SumUint64(seed, uint64(bn)), block[:0x10])
	h = SumUint32(h, 0) // the checksum's own place
	return Sum(h, block[0x14:])
}
