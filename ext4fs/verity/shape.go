package verity

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// shape is the form of a hash tree: how many blocks each level has and where
// they lie. Level 0 holds the hashes of the content; the last level is one
// block, whose hash is the root hash. Content of one block or none has no
// levels.
type shape struct {
	size   int64 // of the content
	block  int64 // size of a block
	digest int
	fan    int64   // hashes in a block
	counts []int64 // blocks by level
	starts []int64 // byte offsets by level, from the start of the tree
}

// maxLevels is more than any file needs: 2^63 bytes in blocks of 1 KiB with
// 16 hashes each are 14 levels.
const maxLevels = 16

func newShape(d *disk.VerityDescriptor) (shape, error) {
	s := shape{size: int64(d.DataSize), block: int64(d.BlockSize()), digest: d.Algorithm.DigestSize()}
	if s.digest == 0 || s.size < 0 || s.block < disk.MinBlockSize || s.block > disk.MaxBlockSize || len(d.RootHash) != s.digest {
		return shape{}, corrupt("%v of %d bytes in blocks of %d", d.Algorithm, d.DataSize, s.block)
	}
	s.fan = s.block / int64(s.digest)
	for n := s.blocks(); n > 1; {
		n = (n-1)/s.fan + 1
		s.counts = append(s.counts, n)
	}
	if len(s.counts) > maxLevels {
		return shape{}, corrupt("%d levels", len(s.counts))
	}
	// The root level comes first in the file.
	s.starts = make([]int64, len(s.counts))
	var at int64
	for i := len(s.counts) - 1; i >= 0; i-- {
		s.starts[i] = at
		at += s.counts[i] * s.block
	}
	return s, nil
}

// blocks is the number of content blocks, the last maybe short.
func (s *shape) blocks() int64 {
	if s.size == 0 {
		return 0
	}
	return (s.size-1)/s.block + 1
}

// bytes is the size of the whole tree.
func (s *shape) bytes() int64 {
	var n int64
	for _, c := range s.counts {
		n += c * s.block
	}
	return n
}

// hasher hashes blocks behind a salt. One goroutine uses it at a time.
type hasher struct {
	h    hash.Hash
	salt []byte // padded to the hash's block
}

func newHasher(d *disk.VerityDescriptor) *hasher {
	h := &hasher{h: sha256.New()}
	if d.Algorithm == disk.VeritySHA512 {
		h.h = sha512.New()
	}
	if len(d.Salt) > 0 {
		h.salt = make([]byte, max(d.Algorithm.HashBlock(), len(d.Salt)))
		copy(h.salt, d.Salt)
	}
	return h
}

// sum appends the hash of a block to to.
func (h *hasher) sum(to, block []byte) []byte {
	h.h.Reset()
	h.h.Write(h.salt)
	h.h.Write(block)
	return h.h.Sum(to)
}

// Digest is the file's digest as "fsverity measure" prints it:
// "sha256:0123...". It covers the descriptor without its signature, so two
// files with the same content and parameters have the same.
func Digest(d *disk.VerityDescriptor) string {
	b := d.Hashed()
	if d.Algorithm == disk.VeritySHA512 {
		sum := sha512.Sum512(b)
		return d.Algorithm.String() + ":" + hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256(b)
	return d.Algorithm.String() + ":" + hex.EncodeToString(sum[:])
}
