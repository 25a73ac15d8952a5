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

// SumUint64 extends an ext4 checksum over the little-endian bytes of v.
func SumUint64(seed uint32, v uint64) uint32 {
	return SumUint32(SumUint32(seed, uint32(v)), uint32(v>>32))
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
