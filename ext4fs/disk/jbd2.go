package disk

import "encoding/binary"

// The jbd2 journal is a ring of file system blocks with a superblock in front.
// All integers in it are big-endian, but for the fast-commit area (see
// fastcommit.go):
//
//	log block 0       journal superblock (block 1 or 2 of an external device)
//	first .. last-1   the ring: transactions, oldest at s_start
//	last .. maxlen-1  fast-commit area, with FAST_COMMIT only
//
// A transaction is any mix of revoke blocks and of descriptor blocks, each
// descriptor followed by the blocks that it describes, and one commit block.
// All of them carry the transaction's number. Every block that is not file
// system data starts with the same 12 bytes:
//
//	0  be32 magic c03b3998
//	4  be32 block type
//	8  be32 sequence: the transaction's number, modulo 2^32
//
// The journal's own feature bits choose the form of the tags (64BIT, CSUM_V2,
// CSUM_V3), the tail checksum and the commit checksum; see JournalFormat.
// Kernel documentation: Documentation/filesystems/ext4/journal.rst.

// be is for the records of jbd2 and for nothing else.
var be = binary.BigEndian

const (
	// JournalMagic starts every block of the log that is not file system data.
	JournalMagic uint32 = 0xc03b3998
	// JournalHeaderSize is the size of the header that all records share.
	JournalHeaderSize = 12
	// JournalTailSize is the size of the checksum that ends descriptor and
	// revoke blocks with CSUM_V2 and CSUM_V3.
	JournalTailSize = 4
	// JournalMinBlocks is the shortest ring that the kernel accepts.
	JournalMinBlocks = 1024
)

// JournalBlockType says what a block of the log holds.
type JournalBlockType uint32

// Types of log blocks.
const (
	JournalDescriptor   JournalBlockType = 1
	JournalCommit       JournalBlockType = 2
	JournalSuperblockV1 JournalBlockType = 3
	JournalSuperblockV2 JournalBlockType = 4
	JournalRevoke       JournalBlockType = 5
)

// String names the type.
func (t JournalBlockType) String() string {
	switch t {
	case JournalDescriptor:
		return "descriptor"
	case JournalCommit:
		return "commit"
	case JournalSuperblockV1:
		return "superblock v1"
	case JournalSuperblockV2:
		return "superblock v2"
	case JournalRevoke:
		return "revoke"
	}
	return "unknown"
}

// JournalHeader is the head of a log block.
type JournalHeader struct {
	Type     JournalBlockType
	Sequence uint32
}

// DecodeJournalHeader reads a header; ok is false when b does not start with
// the magic, so it is file system data or was never written.
func DecodeJournalHeader(b []byte) (h JournalHeader, ok bool) {
	if len(b) < JournalHeaderSize || be.Uint32(b) != JournalMagic {
		return JournalHeader{}, false
	}
	return JournalHeader{JournalBlockType(be.Uint32(b[4:])), be.Uint32(b[8:])}, true
}

// Encode writes the header into the first 12 bytes of b.
func (h JournalHeader) Encode(b []byte) {
	be.PutUint32(b, JournalMagic)
	be.PutUint32(b[4:], uint32(h.Type))
	be.PutUint32(b[8:], h.Sequence)
}

// SequenceBefore reports whether transaction a is older than b: numbers are
// compared by their signed difference, since they wrap at 2^32.
func SequenceBefore(a, b uint32) bool { return int32(a-b) < 0 }

// NeedsEscape reports whether a block of file system data starts like a log
// block, so that its copy in the log must be escaped.
func NeedsEscape(b []byte) bool { return len(b) >= 4 && be.Uint32(b) == JournalMagic }

// Escape clears the magic from a log copy of file system data. The copy's
// checksum is taken after this.
func Escape(b []byte) { clear(b[:4]) }

// Unescape restores what Escape cleared.
func Unescape(b []byte) { be.PutUint32(b, JournalMagic) }
