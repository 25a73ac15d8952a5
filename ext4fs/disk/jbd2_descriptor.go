package disk

import "iter"

// JournalTagFlags are the flags of a descriptor's tag.
type JournalTagFlags uint32

// Flags of a tag.
const (
	// JournalTagEscape: the log copy had its magic cleared.
	JournalTagEscape JournalTagFlags = 1
	// JournalTagSameUUID: no UUID follows the tag.
	JournalTagSameUUID JournalTagFlags = 2
	// JournalTagDeleted is not used by anything.
	JournalTagDeleted JournalTagFlags = 4
	// JournalTagLast ends the descriptor.
	JournalTagLast JournalTagFlags = 8
)

const journalTagUUIDSize = 16

// JournalTag says where one block of the log belongs.
type JournalTag struct {
	Block    BlockNum // home in the file system
	Flags    JournalTagFlags
	Checksum uint32 // as stored: 32 bits with CSUM_V3, else 16
}

// JournalFormat is what the journal's features make of its blocks. Tags start
// at offset 12 of a descriptor, one after the other and not aligned:
//
//	CSUM_V3          be32 block, be32 flags, be32 block hi, be32 checksum       16
//	CSUM_V2, 64BIT   be32 block, be16 checksum, be16 flags, be32 hi, 2 unused   14
//	CSUM_V2          be32 block, be16 checksum, be16 flags, 2 unused            10
//	64BIT            be32 block, be16 0, be16 flags, be32 block hi              12
//	neither          be32 block, be16 0, be16 flags                              8
//
// A tag without SAME_UUID is followed by 16 bytes of UUID, which the kernel
// writes as zeros: the first of each descriptor. The high half of the block
// means something with 64BIT only. Descriptor and revoke blocks end in a be32
// checksum with CSUM_V2 and CSUM_V3.
type JournalFormat struct {
	BlockSize int
	Compat    JournalCompat
	Incompat  JournalIncompat
	Seed      uint32 // of all checksums, from the journal's UUID
}

// HasTails reports whether descriptor, revoke and commit blocks and tags carry
// CRC-32C checksums (CSUM_V2 or CSUM_V3).
func (f JournalFormat) HasTails() bool {
	return f.Incompat&(JournalIncompatCsumV2|JournalIncompatCsumV3) != 0
}

// HasTransactionChecksum reports whether commit blocks carry a CRC-32 of the
// whole transaction (CHECKSUM).
func (f JournalFormat) HasTransactionChecksum() bool { return f.Compat.Has(JournalCompatChecksum) }

// TagSize is the size of a tag without UUID.
func (f JournalFormat) TagSize() int {
	if f.Incompat.Has(JournalIncompatCsumV3) {
		return 16
	}
	n := 8
	if f.Incompat.Has(JournalIncompatCsumV2) {
		n += 2
	}
	if f.Incompat.Has(JournalIncompat64bit) {
		n += 4
	}
	return n
}

// payload is the offset at which descriptor and revoke records must end.
func (f JournalFormat) payload() int {
	if f.HasTails() {
		return f.BlockSize - JournalTailSize
	}
	return f.BlockSize
}

// Tags yields the tags of a descriptor block in order: the i-th belongs to the
// i-th block of the log after it. It ends at LAST_TAG or where the block has
// no room for another.
func (f JournalFormat) Tags(b []byte) iter.Seq[JournalTag] {
	return func(yield func(JournalTag) bool) {
		size, end := f.TagSize(), min(f.payload(), len(b))
		for off := JournalHeaderSize; off+size <= end; off += size {
			t := f.tag(b[off:])
			if !yield(t) || t.Flags&JournalTagLast != 0 {
				return
			}
			if t.Flags&JournalTagSameUUID == 0 {
				off += journalTagUUIDSize
			}
		}
	}
}

// CountTags is the number of tags that Tags yields.
func (f JournalFormat) CountTags(b []byte) uint32 {
	var n uint32
	for range f.Tags(b) {
		n++
	}
	return n
}

func (f JournalFormat) tag(b []byte) JournalTag {
	t := JournalTag{Block: BlockNum(be.Uint32(b))}
	if f.Incompat.Has(JournalIncompatCsumV3) {
		t.Flags, t.Checksum = JournalTagFlags(be.Uint32(b[4:])), be.Uint32(b[12:])
	} else {
		t.Checksum, t.Flags = uint32(be.Uint16(b[4:])), JournalTagFlags(be.Uint16(b[6:]))
	}
	if f.Incompat.Has(JournalIncompat64bit) {
		t.Block |= BlockNum(be.Uint32(b[8:])) << 32
	}
	return t
}

func (f JournalFormat) putTag(b []byte, t JournalTag) {
	clear(b[:f.TagSize()])
	be.PutUint32(b, uint32(t.Block))
	if f.Incompat.Has(JournalIncompatCsumV3) {
		be.PutUint32(b[4:], uint32(t.Flags))
		be.PutUint32(b[12:], t.Checksum)
	} else {
		be.PutUint16(b[4:], uint16(t.Checksum))
		be.PutUint16(b[6:], uint16(t.Flags))
	}
	if f.Incompat.Has(JournalIncompat64bit) {
		be.PutUint32(b[8:], uint32(t.Block>>32))
	}
}

// MaxTags is the number of tags that EncodeDescriptor puts into one block: as
// the kernel, it stops when less than a tag, a UUID and the tail remain.
func (f JournalFormat) MaxTags() int {
	reserve := journalTagUUIDSize + f.BlockSize - f.payload()
	room := f.BlockSize - JournalHeaderSize - journalTagUUIDSize
	return (room - reserve) / f.TagSize()
}

// EncodeDescriptor fills b, a whole block, with a descriptor of transaction
// sequence: of as many of tags as fit, which it counts. Of their flags only
// ESCAPE is taken. The tail is sealed.
func (f JournalFormat) EncodeDescriptor(b []byte, sequence uint32, tags []JournalTag) int {
	b = b[:f.BlockSize]
	clear(b)
	JournalHeader{JournalDescriptor, sequence}.Encode(b)
	tags = tags[:min(len(tags), f.MaxTags())]
	off := JournalHeaderSize
	for i, t := range tags {
		t.Flags &= JournalTagEscape
		if i > 0 {
			t.Flags |= JournalTagSameUUID
		}
		if i == len(tags)-1 {
			t.Flags |= JournalTagLast
		}
		f.putTag(b[off:], t)
		off += f.TagSize()
		if i == 0 {
			off += journalTagUUIDSize
		}
	}
	f.SealTail(b)
	return len(tags)
}

// TagChecksum is the checksum that a tag of transaction sequence must have for
// a log copy, which is taken as it lies in the log. It is 0 without CSUM_V2
// and CSUM_V3.
func (f JournalFormat) TagChecksum(sequence uint32, copied []byte) uint32 {
	if !f.HasTails() {
		return 0
	}
	var seq [4]byte
	be.PutUint32(seq[:], sequence)
	sum := Sum(Sum(f.Seed, seq[:]), copied)
	if f.Incompat.Has(JournalIncompatCsumV3) {
		return sum
	}
	return sum & 0xffff
}

// VerifyTail returns the stored and the right checksum of a descriptor or
// revoke block; both are 0 when the format has none.
func (f JournalFormat) VerifyTail(b []byte) (stored, computed uint32) {
	if !f.HasTails() {
		return 0, 0
	}
	end := f.BlockSize - JournalTailSize
	return be.Uint32(b[end:]), Sum(Sum(f.Seed, b[:end]), []byte{0, 0, 0, 0})
}

// SealTail writes the right checksum into a descriptor or revoke block, if the
// format has one.
func (f JournalFormat) SealTail(b []byte) {
	if f.HasTails() {
		_, computed := f.VerifyTail(b)
		be.PutUint32(b[f.BlockSize-JournalTailSize:], computed)
	}
}
