package disk

import (
	"fmt"
	"iter"
	"time"
)

// Sizes of the heads of commit and revoke blocks.
const (
	// JournalCommitSize is the part of a commit block that means something.
	JournalCommitSize = 60
	// JournalRevokeHeaderSize is the header of a revoke block with its count.
	JournalRevokeHeaderSize = 16
)

// Checksum type and size in commit blocks with CHECKSUM.
const (
	JournalChecksumCRC32     = 1
	JournalChecksumCRC32Size = 4
)

// JournalCommitBlock is the decoded commit block: the end of a transaction.
type JournalCommitBlock struct {
	Sequence     uint32
	ChecksumType uint8     // with CHECKSUM only
	ChecksumSize uint8     // with CHECKSUM only
	Checksum     [8]uint32 // only the first is used
	Seconds      uint64    // of the commit, since 1970
	Nanoseconds  uint32
}

// Time is the time of the commit.
func (c *JournalCommitBlock) Time() time.Time {
	return time.Unix(int64(c.Seconds), int64(c.Nanoseconds)).UTC()
}

// DecodeJournalCommit reads a commit block; b holds at least its first 60
// bytes.
func DecodeJournalCommit(b []byte) JournalCommitBlock {
	c := JournalCommitBlock{
		Sequence:     be.Uint32(b[8:]),
		ChecksumType: b[0x0c],
		ChecksumSize: b[0x0d],
		Seconds:      be.Uint64(b[0x30:]),
		Nanoseconds:  be.Uint32(b[0x38:]),
	}
	for i := range c.Checksum {
		c.Checksum[i] = be.Uint32(b[0x10+4*i:])
	}
	return c
}

// EncodeCommit fills b, a whole block, with a commit block. With CSUM_V2 and
// CSUM_V3 its checksum is computed; with CHECKSUM the caller gives it.
func (f JournalFormat) EncodeCommit(b []byte, c JournalCommitBlock) {
	b = b[:f.BlockSize]
	clear(b)
	JournalHeader{JournalCommit, c.Sequence}.Encode(b)
	b[0x0c], b[0x0d] = c.ChecksumType, c.ChecksumSize
	for i, v := range c.Checksum {
		be.PutUint32(b[0x10+4*i:], v)
	}
	be.PutUint64(b[0x30:], c.Seconds)
	be.PutUint32(b[0x38:], c.Nanoseconds)
	f.SealCommit(b)
}

// VerifyCommit returns the stored and the right checksum of a commit block
// with CSUM_V2 or CSUM_V3; both are 0 without. As the kernel, it also accepts
// a block whose first 60 bytes fit the checksum with zeros after them: a disk
// may have written only the first sector of it.
func (f JournalFormat) VerifyCommit(b []byte) (stored, computed uint32) {
	if !f.HasTails() {
		return 0, 0
	}
	stored = be.Uint32(b[0x10:])
	head := Sum(f.Seed, b[:0x10])
	head = Sum(head, []byte{0, 0, 0, 0})
	head = Sum(head, b[0x14:JournalCommitSize])
	computed = Sum(head, b[JournalCommitSize:f.BlockSize])
	if stored == computed {
		return stored, computed
	}
	if torn := sumZeros(head, f.BlockSize-JournalCommitSize); stored == torn {
		return stored, stored
	}
	return stored, computed
}

func sumZeros(seed uint32, n int) uint32 {
	var zero [256]byte
	for n > 0 {
		k := min(n, len(zero))
		seed = Sum(seed, zero[:k])
		n -= k
	}
	return seed
}

// SealCommit writes the right checksum into a commit block with CSUM_V2 or
// CSUM_V3, and does nothing without.
func (f JournalFormat) SealCommit(b []byte) {
	if !f.HasTails() {
		return
	}
	clear(b[0x10:0x14])
	be.PutUint32(b[0x10:], Sum(f.Seed, b[:f.BlockSize]))
}

// TransactionChecksumOK judges a commit block by the CRC-32 of its
// transaction (CHECKSUM): sum covers descriptor and data blocks in log order,
// see JournalTransactionSum. A commit block without checksum is good.
func (c *JournalCommitBlock) TransactionChecksumOK(sum uint32) bool {
	if c.ChecksumType == 0 && c.ChecksumSize == 0 && c.Checksum[0] == 0 {
		return true
	}
	return c.ChecksumType == JournalChecksumCRC32 && c.ChecksumSize == JournalChecksumCRC32Size && c.Checksum[0] == sum
}

// JournalTransactionSeed starts the CRC-32 of a transaction (CHECKSUM), which
// CRC32BE extends over its descriptor and data blocks, not its revoke blocks.
const JournalTransactionSeed = ^uint32(0)

func (f JournalFormat) revokeSize() int {
	if f.Incompat.Has(JournalIncompat64bit) {
		return 8
	}
	return 4
}

// Revokes returns the blocks that a revoke block names. It fails when the
// block's count passes its end.
func (f JournalFormat) Revokes(b []byte) (iter.Seq[BlockNum], error) {
	used := be.Uint32(b[JournalHeaderSize:])
	if used > uint32(f.payload()) {
		return nil, &CorruptError{What: "journal revoke block", Offset: JournalHeaderSize,
			Detail: fmt.Sprintf("%d bytes used of %d", used, f.payload())}
	}
	size := f.revokeSize()
	return func(yield func(BlockNum) bool) {
		for off := JournalRevokeHeaderSize; off+size <= int(used); off += size {
			n := BlockNum(be.Uint32(b[off:]))
			if size == 8 {
				n = BlockNum(be.Uint64(b[off:]))
			}
			if !yield(n) {
				return
			}
		}
	}, nil
}

// MaxRevokes is the number of blocks that one revoke block can name.
func (f JournalFormat) MaxRevokes() int {
	return (f.payload() - JournalRevokeHeaderSize) / f.revokeSize()
}

// EncodeRevoke fills b, a whole block, with a revoke block of transaction
// sequence that names as many of blocks as fit, which it counts. The tail is
// sealed.
func (f JournalFormat) EncodeRevoke(b []byte, sequence uint32, blocks []BlockNum) int {
	b = b[:f.BlockSize]
	clear(b)
	JournalHeader{JournalRevoke, sequence}.Encode(b)
	blocks = blocks[:min(len(blocks), f.MaxRevokes())]
	off := JournalRevokeHeaderSize
	for _, n := range blocks {
		if f.revokeSize() == 8 {
			be.PutUint64(b[off:], uint64(n))
		} else {
			be.PutUint32(b[off:], uint32(n))
		}
		off += f.revokeSize()
	}
	be.PutUint32(b[JournalHeaderSize:], uint32(off))
	f.SealTail(b)
	return len(blocks)
}
