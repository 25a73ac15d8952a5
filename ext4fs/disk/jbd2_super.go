package disk

import "fmt"

// JournalSuperblockSize is the size of the journal superblock, which starts
// its block.
const JournalSuperblockSize = 1024

// JournalMaxUsers is the room for file systems that share one journal.
const JournalMaxUsers = 48

// JournalDefaultFastBlocks is the size of the fast-commit area when the
// superblock does not say.
const JournalDefaultFastBlocks = 256

// JournalChecksumCRC32C is the value of ChecksumType with CSUM_V2 and CSUM_V3.
const JournalChecksumCRC32C = 4

// JournalSuperblock is the decoded journal superblock. The fields after Errno
// exist in version 2 only and are zero when version 1 is decoded. Bytes that
// no field names survive Encode.
type JournalSuperblock struct {
	raw [JournalSuperblockSize]byte

	Type           JournalBlockType // JournalSuperblockV1 or V2
	HeaderSequence uint32           // unused, 0
	BlockSize      uint32
	MaxLen         uint32 // blocks of the journal, fast-commit area included
	First          uint32 // first block of the ring
	Sequence       uint32 // first transaction expected in the log
	Start          uint32 // its block; 0 when the log is empty
	Errno          int32  // negative errno of an abort, or 0

	Compat         JournalCompat
	Incompat       JournalIncompat
	ROCompat       JournalROCompat
	UUID           [16]byte
	NrUsers        uint32
	DynSuper       uint32
	MaxTransaction uint32
	MaxTransData   uint32
	ChecksumType   uint8
	NumFastBlocks  uint32 // 0 stands for JournalDefaultFastBlocks
	Head           uint32 // log head at a clean unmount; only while Start is 0
	Checksum       uint32
	Users          [JournalMaxUsers][16]byte
}

// Decode reads the 1024 bytes of a journal superblock. It fails only on a
// short buffer, a wrong magic and a wrong block type; Validate judges the
// content.
func (s *JournalSuperblock) Decode(b []byte) error {
	bad := func(format string, args ...any) error {
		return &CorruptError{What: "journal superblock", Detail: fmt.Sprintf(format, args...)}
	}
	if len(b) < JournalSuperblockSize {
		return bad("%d bytes, want %d", len(b), JournalSuperblockSize)
	}
	h, ok := DecodeJournalHeader(b)
	if !ok {
		return bad("magic 0x%08x, want 0x%08x", be.Uint32(b), JournalMagic)
	}
	if h.Type != JournalSuperblockV1 && h.Type != JournalSuperblockV2 {
		return bad("block type %d, want 3 or 4", uint32(h.Type))
	}
	*s = JournalSuperblock{Type: h.Type, HeaderSequence: h.Sequence}
	copy(s.raw[:], b)
	s.BlockSize = be.Uint32(b[0x0c:])
	s.MaxLen = be.Uint32(b[0x10:])
	s.First = be.Uint32(b[0x14:])
	s.Sequence = be.Uint32(b[0x18:])
	s.Start = be.Uint32(b[0x1c:])
	s.Errno = int32(be.Uint32(b[0x20:]))
	if s.Type == JournalSuperblockV2 {
		s.decodeV2(b)
	}
	return nil
}

func (s *JournalSuperblock) decodeV2(b []byte) {
	s.Compat = JournalCompat(be.Uint32(b[0x24:]))
	s.Incompat = JournalIncompat(be.Uint32(b[0x28:]))
	s.ROCompat = JournalROCompat(be.Uint32(b[0x2c:]))
	copy(s.UUID[:], b[0x30:])
	s.NrUsers = be.Uint32(b[0x40:])
	s.DynSuper = be.Uint32(b[0x44:])
	s.MaxTransaction = be.Uint32(b[0x48:])
	s.MaxTransData = be.Uint32(b[0x4c:])
	s.ChecksumType = b[0x50]
	s.NumFastBlocks = be.Uint32(b[0x54:])
	s.Head = be.Uint32(b[0x58:])
	s.Checksum = be.Uint32(b[0xfc:])
	for i := range s.Users {
		copy(s.Users[i][:], b[0x100+16*i:])
	}
}

// Encode writes the superblock into b, patching the decoded original: bytes
// that no field names survive. The checksum is written as it is;
// SealJournalSuperblock renews it.
func (s *JournalSuperblock) Encode(b []byte) {
	_ = b[JournalSuperblockSize-1]
	copy(b, s.raw[:])
	JournalHeader{s.Type, s.HeaderSequence}.Encode(b)
	be.PutUint32(b[0x0c:], s.BlockSize)
	be.PutUint32(b[0x10:], s.MaxLen)
	be.PutUint32(b[0x14:], s.First)
	be.PutUint32(b[0x18:], s.Sequence)
	be.PutUint32(b[0x1c:], s.Start)
	be.PutUint32(b[0x20:], uint32(s.Errno))
	if s.Type != JournalSuperblockV2 {
		return
	}
	be.PutUint32(b[0x24:], uint32(s.Compat))
	be.PutUint32(b[0x28:], uint32(s.Incompat))
	be.PutUint32(b[0x2c:], uint32(s.ROCompat))
	copy(b[0x30:], s.UUID[:])
	be.PutUint32(b[0x40:], s.NrUsers)
	be.PutUint32(b[0x44:], s.DynSuper)
	be.PutUint32(b[0x48:], s.MaxTransaction)
	be.PutUint32(b[0x4c:], s.MaxTransData)
	b[0x50] = s.ChecksumType
	be.PutUint32(b[0x54:], s.NumFastBlocks)
	be.PutUint32(b[0x58:], s.Head)
	be.PutUint32(b[0xfc:], s.Checksum)
	for i := range s.Users {
		copy(b[0x100+16*i:], s.Users[i][:])
	}
}

// FastBlocks is the size of the fast-commit area in blocks, counting the block
// before its first one, which neither area uses. It is 0 without FAST_COMMIT
// and when the ring would become shorter than the kernel accepts: then the
// area is not used.
func (s *JournalSuperblock) FastBlocks() uint32 {
	if !s.Incompat.Has(JournalIncompatFastCommit) {
		return 0
	}
	n := s.NumFastBlocks
	if n == 0 {
		n = JournalDefaultFastBlocks
	}
	if n > s.MaxLen || s.MaxLen-n < JournalMinBlocks {
		return 0
	}
	return n
}

// Last is the block after the ring's last one: there the log continues at
// First. The kernel's rule, also with a fast-commit area; e2fsprogs 1.47
// wraps at MaxLen and so loses transactions of a log that wrapped.
func (s *JournalSuperblock) Last() uint32 { return s.MaxLen - s.FastBlocks() }

// Validate judges the superblock of a journal whose file or device has
// blocks blocks of blockSize bytes. Unknown features give a *FeatureError,
// everything else a *CorruptError. A ring shorter than the kernel's minimum of
// 1024 blocks passes: it can be read, though no kernel would.
func (s *JournalSuperblock) Validate(blockSize int, blocks uint32) error {
	bad := func(format string, args ...any) error {
		return &CorruptError{What: "journal superblock", Detail: fmt.Sprintf(format, args...)}
	}
	if s.BlockSize != uint32(blockSize) {
		return bad("block size %d, the file system's is %d", s.BlockSize, blockSize)
	}
	if unknown := s.Incompat &^ JournalIncompatKnown; unknown != 0 {
		return &FeatureError{Set: "journal incompat", Names: unknown.Names()}
	}
	if unknown := s.ROCompat &^ JournalROCompatKnown; unknown != 0 {
		return &FeatureError{Set: "journal ro_compat", Names: unknown.Names()}
	}
	v2, v3 := s.Incompat.Has(JournalIncompatCsumV2), s.Incompat.Has(JournalIncompatCsumV3)
	v1 := s.Compat.Has(JournalCompatChecksum)
	if v1 && (v2 || v3) || v2 && v3 {
		return bad("more than one kind of checksum: compat 0x%x, incompat 0x%x", uint32(s.Compat), uint32(s.Incompat))
	}
	if (v2 || v3) && s.ChecksumType != JournalChecksumCRC32C {
		return bad("checksum type %d, want %d", s.ChecksumType, JournalChecksumCRC32C)
	}
	if s.MaxLen > blocks {
		return bad("%d blocks long, only %d exist", s.MaxLen, blocks)
	}
	if s.First == 0 || s.First >= s.Last() {
		return bad("ring starts at %d and ends at %d", s.First, s.Last())
	}
	if s.Start != 0 && (s.Start < s.First || s.Start >= s.Last()) {
		return bad("log starts at %d, the ring is %d to %d", s.Start, s.First, s.Last()-1)
	}
	return nil
}

// Format is how the blocks of this journal are laid out and checked.
func (s *JournalSuperblock) Format() JournalFormat {
	return JournalFormat{
		BlockSize: int(s.BlockSize),
		Compat:    s.Compat,
		Incompat:  s.Incompat,
		Seed:      Sum(^uint32(0), s.UUID[:]),
	}
}

// HasChecksum reports whether the superblock itself carries a checksum.
func (s *JournalSuperblock) HasChecksum() bool {
	return s.Incompat&(JournalIncompatCsumV2|JournalIncompatCsumV3) != 0
}

// VerifyJournalSuperblock returns the stored and the right checksum of the
// 1024 bytes in b. It means something only if HasChecksum.
func VerifyJournalSuperblock(b []byte) (stored, computed uint32) {
	c := Sum(^uint32(0), b[:0xfc])
	c = Sum(c, []byte{0, 0, 0, 0})
	return be.Uint32(b[0xfc:]), Sum(c, b[0x100:JournalSuperblockSize])
}

// SealJournalSuperblock writes the right checksum into the 1024 bytes in b.
func SealJournalSuperblock(b []byte) {
	_, computed := VerifyJournalSuperblock(b)
	be.PutUint32(b[0xfc:], computed)
}
