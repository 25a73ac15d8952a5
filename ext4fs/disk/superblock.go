package disk

import (
	"bytes"
	"fmt"
	"time"
)

// Where the primary superblock lies, whatever the block size.
const (
	SuperblockOffset = 1024
	SuperblockSize   = 1024
	// SuperblockMagic is s_magic.
	SuperblockMagic = 0xEF53
)

// Bits of Superblock.State.
const (
	StateValid    uint16 = 0x0001
	StateError    uint16 = 0x0002
	StateOrphan   uint16 = 0x0004
	StateFCReplay uint16 = 0x0020
)

// Bits of Superblock.Flags.
const (
	SuperFlagSignedHash   uint32 = 1
	SuperFlagUnsignedHash uint32 = 2
	SuperFlagTestFS       uint32 = 4
)

// Superblock is the decoded ext4 superblock. Times are unsigned 40-bit
// seconds since 1970. Halves of a number are joined; what is not listed here
// is kept by Encode as it was decoded.
type Superblock struct {
	raw [SuperblockSize]byte

	InodesCount       uint32
	BlocksCount       uint64 // blocks
	ReservedBlocks    uint64 // blocks
	FreeBlocks        uint64 // blocks, also with bigalloc
	FreeInodes        uint32
	FirstDataBlock    uint32
	LogBlockSize      uint32
	LogClusterSize    uint32
	BlocksPerGroup    uint32
	ClustersPerGroup  uint32
	InodesPerGroup    uint32
	MountTime         uint64
	WriteTime         uint64
	MountCount        uint16
	MaxMountCount     int16
	Magic             uint16
	State             uint16
	Errors            uint16
	MinorRev          uint16
	LastCheck         uint64
	CheckInterval     uint32
	CreatorOS         uint32
	RevLevel          uint32
	ReservedUID       uint32
	ReservedGID       uint32
	FirstInode        InodeNum
	RawInodeSize      uint16
	GroupNr           uint16
	Features          Features
	UUID              [16]byte
	VolumeName        [16]byte
	LastMounted       [64]byte
	AlgorithmBitmap   uint32
	PreallocBlocks    uint8
	PreallocDirBlocks uint8
	ReservedGDTBlocks uint16
	JournalUUID       [16]byte
	JournalInode      InodeNum
	JournalDev        uint32
	LastOrphan        InodeNum
	HashSeed          [4]uint32
	DefHashVersion    uint8
	JournalBackupType uint8
	RawDescSize       uint16
	DefaultMountOpts  uint32
	FirstMetaBG       uint32
	MkfsTime          uint64
	JournalBlocks     [17]uint32
	MinExtraIsize     uint16
	WantExtraIsize    uint16
	Flags             uint32
	RAIDStride        uint16
	MMPInterval       uint16
	MMPBlock          BlockNum
	RAIDStripeWidth   uint32
	LogGroupsPerFlex  uint8
	ChecksumType      uint8
	EncryptionLevel   uint8
	KBytesWritten     uint64
	SnapshotInode     uint32
	SnapshotID        uint32
	SnapshotReserved  uint64
	SnapshotList      uint32
	ErrorCount        uint32
	FirstError        ErrorRecord
	LastError         ErrorRecord
	MountOpts         [64]byte
	UserQuotaInode    InodeNum
	GroupQuotaInode   InodeNum
	OverheadClusters  uint32
	BackupGroups      [2]GroupNum
	EncryptAlgos      [4]uint8
	EncryptPWSalt     [16]byte
	LostFoundInode    InodeNum
	ProjectQuotaInode InodeNum
	ChecksumSeed      uint32
	Encoding          uint16
	EncodingFlags     uint16
	OrphanFileInode   InodeNum
	Checksum          uint32
}

// ErrorRecord is what the kernel noted of the first or the last error.
type ErrorRecord struct {
	Time  uint64
	Inode InodeNum
	Block BlockNum
	Func  [32]byte
	Line  uint32
	Code  uint8
}

// Decode reads the 1024 bytes of a superblock. It fails only on a short
// buffer or a wrong magic; Validate judges the content.
func (s *Superblock) Decode(b []byte) error {
	if len(b) < SuperblockSize {
		return &CorruptError{What: "superblock", Detail: fmt.Sprintf("%d bytes, want %d", len(b), SuperblockSize)}
	}
	if m := le.Uint16(b[0x38:]); m != SuperblockMagic {
		return &CorruptError{What: "superblock", Detail: fmt.Sprintf("magic 0x%04x, want 0xef53", m)}
	}
	copy(s.raw[:], b)
	s.fields(&superReader{b: s.raw[:]})
	if s.RevLevel == 0 {
		// These two fields do not exist in revision 0; feature words should
		// not be set there, but Linux honours them.
		s.FirstInode, s.RawInodeSize = FirstInodeRev0, 128
	}
	return nil
}

// Encode writes the superblock into b, patching the decoded original: bytes
// that no field names survive. The checksum is written as it is; SealSuperblock
// renews it.
func (s *Superblock) Encode(b []byte) {
	out := s.raw
	c := *s
	c.fields(&superWriter{b: out[:]})
	if s.RevLevel == 0 {
		copy(out[0x54:0x5a], s.raw[0x54:0x5a])
	}
	copy(b[:SuperblockSize], out[:])
}

// EncodeOrphan is Encode where nothing has changed since the last one but
// LastOrphan and WriteTime.
func (s *Superblock) EncodeOrphan(b []byte) {
	le.PutUint32(b[0xe8:], uint32(s.LastOrphan))
	le.PutUint32(b[0x30:], uint32(s.WriteTime))
	b[0x274] = byte(s.WriteTime >> 32)
}

// superCodec reads or writes one field at an offset. One list of fields serves
// both directions, so that they cannot disagree.
type superCodec interface {
	u8(off int, v *uint8)
	u16(off int, v *uint16)
	u32(off int, v *uint32)
	u64(off int, v *uint64)
	bytes(off int, v []byte)
	// split32 joins a low and a high 32-bit half.
	split32(lo, hi int, v *uint64)
	// split8 joins low 32 and high 8 bits.
	split8(lo, hi int, v *uint64)
	// split16 joins low 16 and high 16 bits.
	split16(lo, hi int, v *uint32)
}

func (s *Superblock) fields(c superCodec) {
	c.u32(0x00, &s.InodesCount)
	c.split32(0x04, 0x150, &s.BlocksCount)
	c.split32(0x08, 0x154, &s.ReservedBlocks)
	c.split32(0x0c, 0x158, &s.FreeBlocks)
	c.u32(0x10, &s.FreeInodes)
	c.u32(0x14, &s.FirstDataBlock)
	c.u32(0x18, &s.LogBlockSize)
	c.u32(0x1c, &s.LogClusterSize)
	c.u32(0x20, &s.BlocksPerGroup)
	c.u32(0x24, &s.ClustersPerGroup)
	c.u32(0x28, &s.InodesPerGroup)
	c.split8(0x2c, 0x275, &s.MountTime)
	c.split8(0x30, 0x274, &s.WriteTime)
	c.u16(0x34, &s.MountCount)
	i16(c, 0x36, &s.MaxMountCount)
	c.u16(0x38, &s.Magic)
	c.u16(0x3a, &s.State)
	c.u16(0x3c, &s.Errors)
	c.u16(0x3e, &s.MinorRev)
	c.split8(0x40, 0x277, &s.LastCheck)
	c.u32(0x44, &s.CheckInterval)
	c.u32(0x48, &s.CreatorOS)
	c.u32(0x4c, &s.RevLevel)
	c.split16(0x50, 0x284, &s.ReservedUID)
	c.split16(0x52, 0x286, &s.ReservedGID)
	word(c, 0x54, &s.FirstInode)
	c.u16(0x58, &s.RawInodeSize)
	c.u16(0x5a, &s.GroupNr)
	word(c, 0x5c, &s.Features.Compat)
	word(c, 0x60, &s.Features.Incompat)
	word(c, 0x64, &s.Features.ROCompat)
	c.bytes(0x68, s.UUID[:])
	c.bytes(0x78, s.VolumeName[:])
	c.bytes(0x88, s.LastMounted[:])
	c.u32(0xc8, &s.AlgorithmBitmap)
	c.u8(0xcc, &s.PreallocBlocks)
	c.u8(0xcd, &s.PreallocDirBlocks)
	c.u16(0xce, &s.ReservedGDTBlocks)
	c.bytes(0xd0, s.JournalUUID[:])
	word(c, 0xe0, &s.JournalInode)
	c.u32(0xe4, &s.JournalDev)
	word(c, 0xe8, &s.LastOrphan)
	for i := range s.HashSeed {
		c.u32(0xec+4*i, &s.HashSeed[i])
	}
	c.u8(0xfc, &s.DefHashVersion)
	c.u8(0xfd, &s.JournalBackupType)
	c.u16(0xfe, &s.RawDescSize)
	c.u32(0x100, &s.DefaultMountOpts)
	c.u32(0x104, &s.FirstMetaBG)
	c.split8(0x108, 0x276, &s.MkfsTime)
	for i := range s.JournalBlocks {
		c.u32(0x10c+4*i, &s.JournalBlocks[i])
	}
	c.u16(0x15c, &s.MinExtraIsize)
	c.u16(0x15e, &s.WantExtraIsize)
	c.u32(0x160, &s.Flags)
	c.u16(0x164, &s.RAIDStride)
	c.u16(0x166, &s.MMPInterval)
	word64(c, 0x168, &s.MMPBlock)
	c.u32(0x170, &s.RAIDStripeWidth)
	c.u8(0x174, &s.LogGroupsPerFlex)
	c.u8(0x175, &s.ChecksumType)
	c.u8(0x176, &s.EncryptionLevel)
	c.u64(0x178, &s.KBytesWritten)
	c.u32(0x180, &s.SnapshotInode)
	c.u32(0x184, &s.SnapshotID)
	c.u64(0x188, &s.SnapshotReserved)
	c.u32(0x190, &s.SnapshotList)
	s.laterFields(c)
}

// laterFields goes on where the error records begin.
func (s *Superblock) laterFields(c superCodec) {
	c.u32(0x194, &s.ErrorCount)
	f, l := &s.FirstError, &s.LastError
	c.split8(0x198, 0x278, &f.Time)
	word(c, 0x19c, &f.Inode)
	word64(c, 0x1a0, &f.Block)
	c.bytes(0x1a8, f.Func[:])
	c.u32(0x1c8, &f.Line)
	c.u8(0x27a, &f.Code)
	c.split8(0x1cc, 0x279, &l.Time)
	word(c, 0x1d0, &l.Inode)
	c.u32(0x1d4, &l.Line) // line before block here, unlike the first record
	word64(c, 0x1d8, &l.Block)
	c.bytes(0x1e0, l.Func[:])
	c.u8(0x27b, &l.Code)
	c.bytes(0x200, s.MountOpts[:])
	word(c, 0x240, &s.UserQuotaInode)
	word(c, 0x244, &s.GroupQuotaInode)
	c.u32(0x248, &s.OverheadClusters)
	word(c, 0x24c, &s.BackupGroups[0])
	word(c, 0x250, &s.BackupGroups[1])
	c.bytes(0x254, s.EncryptAlgos[:])
	c.bytes(0x258, s.EncryptPWSalt[:])
	word(c, 0x268, &s.LostFoundInode)
	word(c, 0x26c, &s.ProjectQuotaInode)
	c.u32(0x270, &s.ChecksumSeed)
	c.u16(0x27c, &s.Encoding)
	c.u16(0x27e, &s.EncodingFlags)
	word(c, 0x280, &s.OrphanFileInode)
	c.u32(0x3fc, &s.Checksum)
}

func word[T ~uint32](c superCodec, off int, v *T) {
	u := uint32(*v)
	c.u32(off, &u)
	*v = T(u)
}

func word64[T ~uint64](c superCodec, off int, v *T) {
	u := uint64(*v)
	c.u64(off, &u)
	*v = T(u)
}

func i16(c superCodec, off int, v *int16) {
	u := uint16(*v)
	c.u16(off, &u)
	*v = int16(u)
}

type superReader struct{ b []byte }

func (r *superReader) u8(off int, v *uint8)    { *v = r.b[off] }
func (r *superReader) u16(off int, v *uint16)  { *v = le.Uint16(r.b[off:]) }
func (r *superReader) u32(off int, v *uint32)  { *v = le.Uint32(r.b[off:]) }
func (r *superReader) u64(off int, v *uint64)  { *v = le.Uint64(r.b[off:]) }
func (r *superReader) bytes(off int, v []byte) { copy(v, r.b[off:]) }
func (r *superReader) split32(lo, hi int, v *uint64) {
	*v = uint64(le.Uint32(r.b[lo:])) | uint64(le.Uint32(r.b[hi:]))<<32
}
func (r *superReader) split8(lo, hi int, v *uint64) {
	*v = uint64(le.Uint32(r.b[lo:])) | uint64(r.b[hi])<<32
}
func (r *superReader) split16(lo, hi int, v *uint32) {
	*v = uint32(le.Uint16(r.b[lo:])) | uint32(le.Uint16(r.b[hi:]))<<16
}

type superWriter struct{ b []byte }

func (w *superWriter) u8(off int, v *uint8)    { w.b[off] = *v }
func (w *superWriter) u16(off int, v *uint16)  { le.PutUint16(w.b[off:], *v) }
func (w *superWriter) u32(off int, v *uint32)  { le.PutUint32(w.b[off:], *v) }
func (w *superWriter) u64(off int, v *uint64)  { le.PutUint64(w.b[off:], *v) }
func (w *superWriter) bytes(off int, v []byte) { copy(w.b[off:], v) }
func (w *superWriter) split32(lo, hi int, v *uint64) {
	le.PutUint32(w.b[lo:], uint32(*v))
	le.PutUint32(w.b[hi:], uint32(*v>>32))
}
func (w *superWriter) split8(lo, hi int, v *uint64) {
	le.PutUint32(w.b[lo:], uint32(*v))
	w.b[hi] = byte(*v >> 32)
}
func (w *superWriter) split16(lo, hi int, v *uint32) {
	le.PutUint16(w.b[lo:], uint16(*v))
	le.PutUint16(w.b[hi:], uint16(*v>>16))
}

// VerifySuperblock compares the checksum of the 1024 superblock bytes. It says
// nothing of whether metadata_csum is on.
func VerifySuperblock(b []byte) (stored, computed uint32) {
	return le.Uint32(b[0x3fc:]), Sum(^uint32(0), b[:0x3fc])
}

// SealSuperblock renews the checksum of the 1024 superblock bytes.
func SealSuperblock(b []byte) { le.PutUint32(b[0x3fc:], Sum(^uint32(0), b[:0x3fc])) }

// superSpare is where s_last_mounted, a string of at most 64 bytes with a NUL
// behind it, has four bytes that nobody reads unless the string is long.
const (
	superLastMounted = 0x88
	superSpare       = 0xc4
)

// SealSuperblockStill makes the checksum of the 1024 superblock bytes right
// without changing it, by the padding behind the string s_last_mounted; where
// that is too long it does as SealSuperblock.
//
// The checksum lies in the second sector, and nearly all that ever changes in
// the first. No disk writes both at once for certain, and half a superblock is
// what the kernel refuses to mount, even where the journal holds the whole one.
// With the checksum as it was the second sector does not change, so that the
// superblock changes as a whole or not at all.
func SealSuperblockStill(b []byte) {
	if bytes.IndexByte(b[superLastMounted:superSpare], 0) < 0 {
		SealSuperblock(b)
		return
	}
	setSum(^uint32(0), b[:0x3fc], superSpare, le.Uint32(b[0x3fc:]))
}

// CString returns the bytes before the first NUL.
func CString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// SuperTime converts a superblock time; zero gives the zero Time.
func SuperTime(seconds uint64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
