package disk

import "fmt"

// Hash tree index blocks.
//
// The root is logical block 0. It begins with "." (12 bytes) and ".." whose
// record spans the rest of the block, so that a reader that knows nothing of
// trees sees no more:
//
//	24 le32 reserved, 0
//	28 u8   hash version
//	29 u8   length of this info, 8
//	30 u8   levels of nodes below the root
//	31 u8   flags; bit 0: incompatible
//	32 array of entries (at 24 + info length)
//
// A node begins with an unused entry that spans the block; its array is at 8.
// An array entry is {le32 hash, le32 block}. Entry 0 has no hash (it is 0):
// there lie {le16 limit, le16 count}. Only the low 28 bits of block count.
// With metadata_csum {le32 reserved, le32 checksum} follows the array's
// limit. Documentation: kernel, filesystems/ext4/dynamic, "Hash Tree
// Directories".

// Sizes and places in index blocks.
const (
	DXInfoOffset  = 24
	DXInfoSize    = 8
	DXNodeOffset  = 8 // of a node's array
	DXEntrySize   = 8
	DXTailSize    = 8
	DXBlockMask   = 0x0fffffff
	DXMaxLevels   = 2 // nodes below the root, with large_dir; 1 without
	DXFlagUnknown = 1 // an index that must not be used
)

// DXInfo is what a root says of its tree.
type DXInfo struct {
	Reserved   uint32
	Hash       HashVersion // as on disk: never one of the unsigned variants
	InfoLength uint8
	Levels     uint8
	Flags      uint8
}

// DecodeDXInfo reads the info of a root, as it is. The block must have at
// least 32 bytes.
func DecodeDXInfo(block []byte) DXInfo {
	return DXInfo{
		Reserved:   le.Uint32(block[24:]),
		Hash:       HashVersion(block[28]),
		InfoLength: block[29],
		Levels:     block[30],
		Flags:      block[31],
	}
}

// Encode writes the info to a root.
func (i DXInfo) Encode(block []byte) {
	le.PutUint32(block[24:], i.Reserved)
	block[28], block[29], block[30], block[31] = byte(i.Hash), i.InfoLength, i.Levels, i.Flags
}

// DXEntries is the entry array of a root or node, up to its count.
type DXEntries []byte

// Limit is the number of entries that there is room for.
func (e DXEntries) Limit() int { return int(le.Uint16(e)) }

// Count is the number of entries, entry 0 included.
func (e DXEntries) Count() int { return int(le.Uint16(e[2:])) }

// Key is the raw hash field of entry i: the lowest hash of its subtree, with
// bit 0 set when names with this hash began in the subtree before. It is 0 for
// entry 0.
func (e DXEntries) Key(i int) uint32 {
	if i == 0 {
		return 0
	}
	return le.Uint32(e[i*DXEntrySize:])
}

// Block is the logical block of entry i.
func (e DXEntries) Block(i int) LogicalNum {
	return LogicalNum(le.Uint32(e[i*DXEntrySize+4:]) & DXBlockMask)
}

// Search returns the last entry whose key is at most hash.
func (e DXEntries) Search(hash uint32) int {
	lo, hi := 1, len(e)/DXEntrySize // the answer is lo-1
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if le.Uint32(e[m*DXEntrySize:]) > hash {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo - 1
}

// DXLevels is how many levels of nodes there may be below the root.
func (l DirLayout) DXLevels() int {
	if l.LargeDir {
		return DXMaxLevels
	}
	return 1
}

// DXLimit is the room of an index block whose array begins at off.
func (l DirLayout) DXLimit(off int) int {
	n := l.BlockSize - off
	if l.Checksum {
		n -= DXTailSize
	}
	return n / DXEntrySize
}

// IsDXNode reports whether a block of an indexed directory begins like a
// node: one unused record over the whole block. Without checksums an empty
// leaf looks the same, and holds as many names.
func (l DirLayout) IsDXNode(block []byte) bool {
	return len(block) >= DXNodeOffset && le.Uint32(block) == 0 && block[6] == 0 &&
		DirRecLen(le.Uint16(block[4:]), l.BlockSize) == len(block)
}

// DXRoot checks a root and gives its info and array.
func (l DirLayout) DXRoot(block []byte) (DXInfo, DXEntries, *CorruptError) {
	if len(block) != l.BlockSize || len(block) < MinBlockSize {
		return DXInfo{}, nil, dxError("the block has %d bytes", len(block))
	}
	i := DecodeDXInfo(block)
	levels := l.DXLevels()
	switch {
	case l.HashInDirent && i.Hash != HashSipHash, !l.HashInDirent && i.Hash > HashTEA:
		return i, nil, dxError("hash version %d", i.Hash)
	case i.Flags&DXFlagUnknown != 0:
		return i, nil, dxError("flags 0x%02x", i.Flags)
	case int(i.Levels) > levels:
		return i, nil, dxError("%d levels of nodes, at most %d are possible", i.Levels, levels)
	case i.InfoLength < DXInfoSize:
		return i, nil, dxError("info length %d", i.InfoLength)
	}
	e, err := l.dxArray(block, DXInfoOffset+int(i.InfoLength))
	return i, e, err
}

// DXNode checks a node and gives its array.
func (l DirLayout) DXNode(block []byte) (DXEntries, *CorruptError) {
	if len(block) != l.BlockSize || !l.IsDXNode(block) {
		return nil, dxError("a leaf where a node should be")
	}
	return l.dxArray(block, DXNodeOffset)
}

func (l DirLayout) dxArray(block []byte, off int) (DXEntries, *CorruptError) {
	limit, count := int(le.Uint16(block[off:])), int(le.Uint16(block[off+2:]))
	if want := l.DXLimit(off); limit != want {
		return nil, dxError("limit %d, should be %d", limit, want)
	}
	if count == 0 || count > limit {
		return nil, dxError("count %d, limit %d", count, limit)
	}
	return DXEntries(block[off : off+count*DXEntrySize]), nil
}

func dxError(format string, args ...any) *CorruptError {
	return &CorruptError{What: "directory index", Detail: fmt.Sprintf(format, args...)}
}

// dxTail gives the places of the tail, and the end of what is in use of the
// array. ok is false when there is no room for a tail.
func dxTail(block []byte, off int) (tail, used int, ok bool) {
	if off < 0 || len(block)-off < DXEntrySize {
		return 0, 0, false
	}
	limit, count := int(le.Uint16(block[off:])), int(le.Uint16(block[off+2:]))
	tail, used = off+limit*DXEntrySize, off+count*DXEntrySize
	return tail, used, count <= limit && tail <= len(block)-DXTailSize
}

func dxSum(seed uint32, block []byte, tail, used int) uint32 {
	c := Sum(seed, block[:used])
	c = Sum(c, block[tail:tail+4]) // reserved, may be anything
	return SumUint32(c, 0)         // the checksum's own place
}

// VerifyDX compares the checksum of an index block whose array begins at off.
// found is false when the array leaves no room for one.
func VerifyDX(seed uint32, block []byte, off int) (stored, computed uint32, found bool) {
	tail, used, ok := dxTail(block, off)
	if !ok {
		return 0, 0, false
	}
	return le.Uint32(block[tail+4:]), dxSum(seed, block, tail, used), true
}

// SealDX stores the checksum of an index block whose array begins at off; it
// reports whether there is room for one.
func SealDX(seed uint32, block []byte, off int) bool {
	tail, used, ok := dxTail(block, off)
	if ok {
		le.PutUint32(block[tail+4:], dxSum(seed, block, tail, used))
	}
	return ok
}
