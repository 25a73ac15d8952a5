package device

import "hash/crc32"

// CRC-32 of what is not at hand: a checksum is moved over n zero bytes by
// multiplying its polynomial with x to the 8n, modulo that of CRC-32. Bits are
// the other way round: bit 31 is x to the 0.

// crcMultiply is a times b.
func crcMultiply(a, b uint32) uint32 {
	p := uint32(0)
	for m := uint32(1) << 31; m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc32.IEEE
		}
	}
	return p
}

// crcShift is x to the 8n.
func crcShift(n int64) uint32 {
	p, square := uint32(1)<<31, uint32(1)<<23 // 1, and x to the 8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			p = crcMultiply(square, p)
		}
		square = crcMultiply(square, square)
	}
	return p
}

// crcJoin is the checksum of two pieces, one after the other, of which the
// second has n bytes.
func crcJoin(first, second uint32, n int64) uint32 {
	return crcMultiply(crcShift(n), first) ^ second
}

// crcZeros is the checksum of n zero bytes.
func crcZeros(n int64) uint32 {
	return ^crcMultiply(crcShift(n), ^uint32(0))
}
