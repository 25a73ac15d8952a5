package disk

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum extends an ext4 checksum over b, starting from seed. It is CRC-32C
// without the complement before and after that the standard library does.
func Sum(seed uint32, b []byte) uint32 { return ^crc32.Update(^seed, castagnoli, b) }

// SumUint32 extends an ext4 checksum over the little-endian bytes of v. It
// goes byte by byte: a slice for the library's Sum would escape to the heap.
func SumUint32(seed, v uint32) uint32 {
	for range 4 {
		seed = castagnoli[byte(seed)^byte(v)] ^ seed>>8
		v >>= 8
	}
	return seed
}

// sumZeros2 is SumUint32 for two bytes of zeros.
func sumZeros2(seed uint32) uint32 {
	seed = castagnoli[byte(seed)] ^ seed>>8
	return castagnoli[byte(seed)] ^ seed>>8
}

// SumUint64 extends an ext4 checksum over the little-endian bytes of v.
func SumUint64(seed uint32, v uint64) uint32 {
	return SumUint32(SumUint32(seed, uint32(v)), uint32(v>>32))
}

// unsum is the seed with which Sum over b gives sum.
func unsum(sum uint32, b []byte) uint32 {
	for i := len(b) - 1; i >= 0; i-- {
		n := castagnoliTop[sum>>24]
		sum = (sum^castagnoli[n])<<8 | uint32(n^b[i])
	}
	return sum
}

// castagnoliTop tells which entry of the table has that highest byte: each has
// another.
var castagnoliTop = func() (t [256]byte) {
	for i, v := range castagnoli {
		t[v>>24] = byte(i)
	}
	return t
}()

// setSum sets the four bytes of b at off to what makes Sum(seed, b) equal to
// sum.
func setSum(seed uint32, b []byte, off int, sum uint32) {
	var zeros [4]byte
	before, after := Sum(seed, b[:off]), unsum(sum, b[off+4:])
	le.PutUint32(b[off:], before^unsum(after, zeros[:]))
}

// InodeSeed is the seed of every checksum that belongs to an inode: its own,
// and those of its extent, directory and orphan-file blocks.
func InodeSeed(fsSeed uint32, ino InodeNum, generation uint32) uint32 {
	return SumUint32(SumUint32(fsSeed, uint32(ino)), generation)
}

// CRC16 extends a CRC-16/ARC over b, starting from seed: the checksum of
// group descriptors with gdt_csum and without metadata_csum.
func CRC16(seed uint16, b []byte) uint16 {
	for _, c := range b {
		seed = seed>>8 ^ crc16Table[byte(seed)^c]
	}
	return seed
}

var crc16Table = func() (t [256]uint16) {
	for i := range t {
		v := uint16(i)
		for range 8 {
			if v&1 != 0 {
				v = v>>1 ^ 0xa001
			} else {
				v >>= 1
			}
		}
		t[i] = v
	}
	return t
}()

// CRC32BE extends the most-significant-bit-first CRC-32 (polynomial
// 04C11DB7, no complement) over b: the transaction checksum of jbd2's
// CHECKSUM feature.
func CRC32BE(seed uint32, b []byte) uint32 {
	for _, c := range b {
		seed = seed<<8 ^ crc32beTable[byte(seed>>24)^c]
	}
	return seed
}

var crc32beTable = func() (t [256]uint32) {
	for i := range t {
		v := uint32(i) << 24
		for range 8 {
			if v&(1<<31) != 0 {
				v = v<<1 ^ 0x04c11db7
			} else {
				v <<= 1
			}
		}
		t[i] = v
	}
	return t
}()
