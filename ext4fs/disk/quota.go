package disk

// Quota files hold one record per user, group or project in the form that
// Linux calls vfsv1 (version 1 of the "v2" tree format). All of it is
// little-endian, in blocks of 1024 bytes whatever the block size is.
//
//	block 0     0 magic  4 version (1)  8 block grace  c inode grace
//	            10 flags  14 blocks  18 first free block  1c first block with
//	            free entries
//	block 1     root of the tree
//	tree block  256 numbers of blocks, one for each value of 8 bits of the id,
//	            the highest first; below the fourth level are data blocks
//	data block  0 next and 4 previous block with free entries  8 entries in
//	            use (le16)  10 then 14 entries of 72 bytes
//	entry       0 id  8 inode hard and 10 soft limit  18 inodes  20 space hard
//	            and 28 soft limit, in KiB  30 space, in bytes  38 time when the
//	            space grace ends  40 the same for inodes
//
// A block on the list of free blocks is linked by the first field of a data
// block. An entry of zeros is free; one that would be all zeros, which only
// id 0 can have, has an inode time of 1 instead.
const (
	QuotaBlockSize    = 1024
	QuotaVersion      = 1
	QuotaRootBlock    = 1 // the root of the tree
	QuotaDepth        = 4 // levels of tree blocks
	QuotaRefs         = 256
	QuotaDataHeader   = 16
	QuotaEntrySize    = 72
	QuotaEntries      = (QuotaBlockSize - QuotaDataHeader) / QuotaEntrySize
	QuotaDefaultGrace = 7 * 24 * 3600 // seconds
)

// QuotaKind is whom a quota file is about.
type QuotaKind uint8

// Kinds of quota.
const (
	QuotaUser QuotaKind = iota
	QuotaGroup
	QuotaProject
	QuotaKinds = 3 // how many there are
)

var quotaMagics = [QuotaKinds]uint32{0xd9c01f11, 0xd9c01927, 0xd9c03f14}

// String is "user", "group" or "project".
func (k QuotaKind) String() string {
	switch k {
	case QuotaUser:
		return "user"
	case QuotaGroup:
		return "group"
	}
	return "project"
}

// Magic is the number that a file of this kind starts with.
func (k QuotaKind) Magic() uint32 {
	if k >= QuotaKinds {
		return 0
	}
	return quotaMagics[k]
}

// QuotaInode is the inode of the quota file of this kind, 0 if there is none.
func (s *Superblock) QuotaInode(k QuotaKind) InodeNum {
	if !s.Features.ROCompat.Has(ROCompatQuota) {
		return 0
	}
	switch k {
	case QuotaUser:
		return s.UserQuotaInode
	case QuotaGroup:
		return s.GroupQuotaInode
	case QuotaProject:
		if s.Features.ROCompat.Has(ROCompatProject) {
			return s.ProjectQuotaInode
		}
	}
	return 0
}

// QuotaInfo is a view of block 0 of a quota file.
type QuotaInfo []byte

// QuotaInfoSize is how much of block 0 has a meaning.
const QuotaInfoSize = 32

// Magic says the kind.
func (q QuotaInfo) Magic() uint32 { return le.Uint32(q[0x00:]) }

// Version is QuotaVersion.
func (q QuotaInfo) Version() uint32 { return le.Uint32(q[0x04:]) }

// SpaceGrace is how many seconds the soft limit of space may be passed.
func (q QuotaInfo) SpaceGrace() uint32 { return le.Uint32(q[0x08:]) }

// InodeGrace is how many seconds the soft limit of inodes may be passed.
func (q QuotaInfo) InodeGrace() uint32 { return le.Uint32(q[0x0c:]) }

// Blocks is how many blocks are in use, free ones in between included.
func (q QuotaInfo) Blocks() uint32 { return le.Uint32(q[0x14:]) }

// FreeBlock is the first block of the list of free ones, 0 if there is none.
func (q QuotaInfo) FreeBlock() uint32 { return le.Uint32(q[0x18:]) }

// FreeEntry is the first data block with free entries, 0 if there is none.
func (q QuotaInfo) FreeEntry() uint32 { return le.Uint32(q[0x1c:]) }

// SetGrace writes both grace times, in seconds.
func (q QuotaInfo) SetGrace(space, inodes uint32) {
	le.PutUint32(q[0x08:], space)
	le.PutUint32(q[0x0c:], inodes)
}

// SetBlocks writes how many blocks are in use.
func (q QuotaInfo) SetBlocks(n uint32) { le.PutUint32(q[0x14:], n) }

// SetFreeBlock writes the head of the list of free blocks.
func (q QuotaInfo) SetFreeBlock(n uint32) { le.PutUint32(q[0x18:], n) }

// SetFreeEntry writes the head of the list of blocks with free entries.
func (q QuotaInfo) SetFreeEntry(n uint32) { le.PutUint32(q[0x1c:], n) }

// Init makes q block 0 of a file whose only other block is the tree's root.
func (q QuotaInfo) Init(k QuotaKind) {
	clear(q)
	le.PutUint32(q[0x00:], k.Magic())
	le.PutUint32(q[0x04:], QuotaVersion)
	q.SetGrace(QuotaDefaultGrace, QuotaDefaultGrace)
	q.SetBlocks(QuotaRootBlock + 1)
}

// QuotaTree is a view of a tree block.
type QuotaTree []byte

// Ref is the n-th number, 0 if there is nothing below.
func (q QuotaTree) Ref(n int) uint32 { return le.Uint32(q[4*n:]) }

// SetRef writes the n-th number.
func (q QuotaTree) SetRef(n int, block uint32) { le.PutUint32(q[4*n:], block) }

// QuotaIndex is the place of an id in a tree block at this depth; the root's
// is 0.
func QuotaIndex(id uint32, depth int) int { return int(id >> (8 * (QuotaDepth - 1 - depth)) & 0xff) }

// QuotaData is a view of a data block.
type QuotaData []byte

// Next is the next block of the list that the block is on.
func (q QuotaData) Next() uint32 { return le.Uint32(q[0x00:]) }

// Prev is the block before it in the list of those with free entries.
func (q QuotaData) Prev() uint32 { return le.Uint32(q[0x04:]) }

// Used is how many entries are in use.
func (q QuotaData) Used() int { return int(le.Uint16(q[0x08:])) }

// SetNext writes the next block of the list.
func (q QuotaData) SetNext(n uint32) { le.PutUint32(q[0x00:], n) }

// SetPrev writes the block before in the list.
func (q QuotaData) SetPrev(n uint32) { le.PutUint32(q[0x04:], n) }

// SetUsed writes how many entries are in use.
func (q QuotaData) SetUsed(n int) { le.PutUint16(q[0x08:], uint16(n)) }

// Entry is the bytes of the n-th entry.
func (q QuotaData) Entry(n int) []byte {
	at := QuotaDataHeader + n*QuotaEntrySize
	return q[at : at+QuotaEntrySize : at+QuotaEntrySize]
}

// QuotaEntry is one record of a quota file. A limit of 0 is none.
type QuotaEntry struct {
	ID        uint32
	InodeHard uint64
	InodeSoft uint64
	Inodes    uint64
	SpaceHard uint64 // KiB
	SpaceSoft uint64 // KiB
	Space     uint64 // bytes
	SpaceTime uint64 // seconds since 1970 when the grace ends; 0 below the limit
	InodeTime uint64
}

// QuotaEntryFree reports whether an entry's bytes are all zero.
func QuotaEntryFree(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (e *QuotaEntry) fields() [8]*uint64 {
	return [8]*uint64{
		&e.InodeHard, &e.InodeSoft, &e.Inodes, &e.SpaceHard, &e.SpaceSoft, &e.Space, &e.SpaceTime, &e.InodeTime,
	}
}

// DecodeQuotaEntry reads the 72 bytes of an entry.
func DecodeQuotaEntry(b []byte) QuotaEntry {
	e := QuotaEntry{ID: le.Uint32(b)}
	for n, v := range e.fields() {
		*v = le.Uint64(b[8+8*n:])
	}
	if e == (QuotaEntry{InodeTime: 1}) {
		e.InodeTime = 0
	}
	return e
}

// Encode writes the 72 bytes of an entry, leaving the pad as it is.
func (e QuotaEntry) Encode(b []byte) {
	if e == (QuotaEntry{}) {
		e.InodeTime = 1
	}
	le.PutUint32(b, e.ID)
	for n, v := range e.fields() {
		le.PutUint64(b[8+8*n:], *v)
	}
}
