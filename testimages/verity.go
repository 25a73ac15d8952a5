package testimages

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"math/bits"
)

// verityParams choose how a file's Merkle tree is built. Zero means SHA-256
// over blocks of 4 KiB without salt.
type verityParams struct {
	blockSize int
	sha512    bool
	salt      []byte
}

// verityStart is where the metadata of a file of that size begins.
func verityStart(size int64) int64 { return (size + 65535) &^ 65535 }

// hash returns the digest of b, zero-padded to the block size, behind the salt
// padded to the hash's own block.
func (p verityParams) hash(b []byte) []byte {
	own := sha256.BlockSize
	if p.sha512 {
		own = sha512.BlockSize
	}
	var in []byte
	if len(p.salt) > 0 {
		in = append(make([]byte, 0, own+p.blockSize), p.salt...)
		in = append(in, make([]byte, own-len(in))...)
	}
	in = append(in, b...)
	in = append(in, make([]byte, p.blockSize-len(b))...)
	if p.sha512 {
		d := sha512.Sum512(in)
		return d[:]
	}
	d := sha256.Sum256(in)
	return d[:]
}

// level returns the hashes of the blocks of b, packed.
func (p verityParams) level(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		n := min(len(b), p.blockSize)
		out = append(out, p.hash(b[:n])...)
		b = b[n:]
	}
	return out
}

// metadata returns what follows the content in the file: the tree, root level
// first, each level in whole blocks; the descriptor at a border of fsBlock; and
// the descriptor's size in the last four bytes of the last block.
func (p verityParams) metadata(content []byte, fsBlock int) []byte {
	if p.blockSize == 0 {
		p.blockSize = 4096
	}
	var tree []byte
	level := p.level(content)
	digest := 32
	if p.sha512 {
		digest = 64
	}
	for len(level) > digest { // more than one hash: a level of the tree
		tree = append(padTo(append([]byte(nil), level...), p.blockSize), tree...)
		level = p.level(level)
	}
	desc := make([]byte, 256)
	desc[0] = 1
	desc[1] = 1
	if p.sha512 {
		desc[1] = 2
	}
	desc[2] = byte(bits.TrailingZeros(uint(p.blockSize)))
	desc[3] = byte(len(p.salt))
	binary.LittleEndian.PutUint64(desc[8:], uint64(len(content)))
	copy(desc[16:80], level)
	copy(desc[80:112], p.salt)
	out := padTo(tree, fsBlock)
	out = padTo(append(append(out, desc...), 0, 0, 0, 0), fsBlock)
	binary.LittleEndian.PutUint32(out[len(out)-4:], uint32(len(desc)))
	return out
}

// padTo appends zeros up to a multiple of n.
func padTo(b []byte, n int) []byte {
	if r := len(b) % n; r != 0 {
		b = append(b, make([]byte, n-r)...)
	}
	return b
}
