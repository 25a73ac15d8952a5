package disk

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// HashVersion names a directory hash.
type HashVersion uint8

// Hash versions. On disk only 0, 1, 2 and 6 appear; the unsigned variants are
// what 0, 1 and 2 mean when the superblock has the unsigned_directory_hash
// flag.
const (
	HashLegacy          HashVersion = 0
	HashHalfMD4         HashVersion = 1
	HashTEA             HashVersion = 2
	HashLegacyUnsigned  HashVersion = 3
	HashHalfMD4Unsigned HashVersion = 4
	HashTEAUnsigned     HashVersion = 5
	HashSipHash         HashVersion = 6
)

// Unsigned is the variant of v for names whose bytes are taken as unsigned.
func (v HashVersion) Unsigned() HashVersion {
	if v <= HashTEA {
		return v + HashLegacyUnsigned
	}
	return v
}

func (v HashVersion) String() string {
	switch v {
	case HashLegacy:
		return "legacy"
	case HashHalfMD4:
		return "half_md4"
	case HashTEA:
		return "tea"
	case HashLegacyUnsigned:
		return "legacy_unsigned"
	case HashHalfMD4Unsigned:
		return "half_md4_unsigned"
	case HashTEAUnsigned:
		return "tea_unsigned"
	case HashSipHash:
		return "siphash"
	}
	return fmt.Sprintf("hash %d", uint8(v))
}

// hashEOF is the hash that the kernel keeps for the end of a directory. Names
// that have it are counted to the one below.
const hashEOF = 0xfffffffe

// clampHash makes the major hash of what a hash function gives: bit 0 is the
// tree's continuation mark.
func clampHash(h uint32) uint32 {
	h &^= 1
	if h == hashEOF {
		h -= 2
	}
	return h
}

var defaultSeed = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}

// DirHash hashes a name (of a casefolded directory: the folded name). A zero
// seed means the default one. The legacy hash has no minor hash. ok is false
// for a version that is not a function of name and seed alone: SipHash (see
// SipDirHash) and unknown ones.
func DirHash(v HashVersion, seed *[4]uint32, name []byte) (hash, minor uint32, ok bool) {
	if *seed == [4]uint32{} {
		seed = &defaultSeed
	}
	switch v {
	case HashLegacy, HashLegacyUnsigned:
		hash = legacyHash(name, v == HashLegacy)
	case HashHalfMD4, HashHalfMD4Unsigned:
		hash, minor = halfMD4(seed, name, v == HashHalfMD4)
	case HashTEA, HashTEAUnsigned:
		hash, minor = teaHash(seed, name, v == HashTEA)
	default:
		return 0, 0, false
	}
	return clampHash(hash), minor, true
}

func legacyHash(name []byte, signed bool) uint32 {
	h0, h1 := uint32(0x12a3fe2d), uint32(0x37abe8f9)
	for _, c := range name {
		v := uint32(c)
		if signed {
			v = uint32(int32(int8(c)))
		}
		h := h1 + (h0 ^ v*7152373)
		if h&(1<<31) != 0 {
			h -= 0x7fffffff
		}
		h0, h1 = h, h0
	}
	return h0 << 1
}

// packName fills words with the next bytes of a name, big-endian. Words that
// the name does not reach, and the top of one that it reaches in part, are
// made of the length of the rest of the name.
func packName(words []uint32, name []byte, signed bool) {
	pad := uint32(len(name)) | uint32(len(name))<<8
	pad |= pad << 16
	for i := range words {
		if len(name) >= 4 {
			w := binary.BigEndian.Uint32(name)
			if signed && w&0x80808080 != 0 {
				w = 0
				for _, c := range name[:4] {
					w = w<<8 + uint32(int32(int8(c)))
				}
			}
			words[i] = w
			name = name[4:]
			continue
		}
		w := pad
		for _, c := range name {
			v := uint32(c)
			if signed {
				v = uint32(int32(int8(c)))
			}
			w = w<<8 + v
		}
		words[i] = w
		name = nil
	}
}

// halfMD4 is MD4 cut down to three rounds of eight steps, over the name in
// pieces of 32 bytes.
func halfMD4(seed *[4]uint32, name []byte, signed bool) (hash, minor uint32) {
	const k2, k3 = 0x5a827999, 0x6ed9eba1
	s := *seed
	var x [8]uint32
	for len(name) > 0 {
		packName(x[:], name, signed)
		a, b, c, d := s[0], s[1], s[2], s[3]

		a = bits.RotateLeft32(a+(d^b&(c^d))+x[0], 3)
		d = bits.RotateLeft32(d+(c^a&(b^c))+x[1], 7)
		c = bits.RotateLeft32(c+(b^d&(a^b))+x[2], 11)
		b = bits.RotateLeft32(b+(a^c&(d^a))+x[3], 19)
		a = bits.RotateLeft32(a+(d^b&(c^d))+x[4], 3)
		d = bits.RotateLeft32(d+(c^a&(b^c))+x[5], 7)
		c = bits.RotateLeft32(c+(b^d&(a^b))+x[6], 11)
		b = bits.RotateLeft32(b+(a^c&(d^a))+x[7], 19)

		a = bits.RotateLeft32(a+(b&c+(b^c)&d)+x[1]+k2, 3)
		d = bits.RotateLeft32(d+(a&b+(a^b)&c)+x[3]+k2, 5)
		c = bits.RotateLeft32(c+(d&a+(d^a)&b)+x[5]+k2, 9)
		b = bits.RotateLeft32(b+(c&d+(c^d)&a)+x[7]+k2, 13)
		a = bits.RotateLeft32(a+(b&c+(b^c)&d)+x[0]+k2, 3)
		d = bits.RotateLeft32(d+(a&b+(a^b)&c)+x[2]+k2, 5)
		c = bits.RotateLeft32(c+(d&a+(d^a)&b)+x[4]+k2, 9)
		b = bits.RotateLeft32(b+(c&d+(c^d)&a)+x[6]+k2, 13)

		a = bits.RotateLeft32(a+(b^c^d)+x[3]+k3, 3)
		d = bits.RotateLeft32(d+(a^b^c)+x[7]+k3, 9)
		c = bits.RotateLeft32(c+(d^a^b)+x[2]+k3, 11)
		b = bits.RotateLeft32(b+(c^d^a)+x[6]+k3, 15)
		a = bits.RotateLeft32(a+(b^c^d)+x[1]+k3, 3)
		d = bits.RotateLeft32(d+(a^b^c)+x[5]+k3, 9)
		c = bits.RotateLeft32(c+(d^a^b)+x[0]+k3, 11)
		b = bits.RotateLeft32(b+(c^d^a)+x[4]+k3, 15)

		s[0] += a
		s[1] += b
		s[2] += c
		s[3] += d
		name = name[min(32, len(name)):]
	}
	return s[1], s[2]
}

// teaHash chains the Tiny Encryption Algorithm over the name in pieces of 16
// bytes, each of which is the key.
func teaHash(seed *[4]uint32, name []byte, signed bool) (hash, minor uint32) {
	const delta = 0x9e3779b9
	s0, s1 := seed[0], seed[1]
	var k [4]uint32
	for len(name) > 0 {
		packName(k[:], name, signed)
		a, b, sum := s0, s1, uint32(0)
		for range 16 {
			sum += delta
			a += (b<<4 + k[0]) ^ (b + sum) ^ (b>>5 + k[1])
			b += (a<<4 + k[2]) ^ (a + sum) ^ (a>>5 + k[3])
		}
		s0 += a
		s1 += b
		name = name[min(16, len(name)):]
	}
	return s0, s1
}

// SipDirHash is the hash of casefolded and encrypted directories: SipHash-2-4
// of the folded plain name, keyed from the directory's encryption key.
func SipDirHash(k0, k1 uint64, name []byte) (hash, minor uint32) {
	d := SipHash24(k0, k1, name)
	return clampHash(uint32(d >> 32)), uint32(d)
}

// SipHash24 is SipHash with two and four rounds (Aumasson and Bernstein).
func SipHash24(k0, k1 uint64, b []byte) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0 += v1
		v2 += v3
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v1
		v0 += v3
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		m := le.Uint64(b)
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}
