package disk

import (
	"fmt"
	"iter"
)

// The fast-commit area holds deltas on top of the last full commit of the
// journal. Unlike the rest of the journal it is little-endian. Its blocks are
// streams of records that never cross a block's end:
//
//	le16 tag, le16 length, value
//
//	1 ADD_RANGE  le32 inode, 12-byte leaf of an extent tree
//	2 DEL_RANGE  le32 inode, le32 logical block, le32 length
//	3 CREAT      le32 parent, le32 inode, name
//	4 LINK       the same
//	5 UNLINK     the same
//	6 INODE      le32 inode, raw inode: 128 bytes and its extra fields
//	7 PAD        fills a block
//	8 TAIL       le32 transaction, le32 checksum; fills the block
//	9 HEAD       le32 features, le32 transaction; first in the area only
//
// A TAIL ends each fast commit. Its checksum starts from 0 and runs over all
// records since the previous TAIL, and over the TAIL's own tag, length and
// transaction. Feature: compat fast_commit, and FAST_COMMIT in the journal.

// FCTag is the kind of a fast-commit record.
type FCTag uint16

// Kinds of fast-commit records.
const (
	FCTagAddRange FCTag = 1
	FCTagDelRange FCTag = 2
	FCTagCreat    FCTag = 3
	FCTagLink     FCTag = 4
	FCTagUnlink   FCTag = 5
	FCTagInode    FCTag = 6
	FCTagPad      FCTag = 7
	FCTagTail     FCTag = 8
	FCTagHead     FCTag = 9
)

const (
	// FCRecordHeaderSize is the size of tag and length.
	FCRecordHeaderSize = 4
	// FCKnownFeatures are the features that HEAD may name.
	FCKnownFeatures uint32 = 0
	// fcTailSize is the part of a TAIL's value that means something.
	fcTailSize = 8
	// fcMaxInode is the largest inode of the format.
	fcMaxInode = MaxBlockSize
)

var fcTagNames = [...]string{"", "add_range", "del_range", "creat", "link", "unlink", "inode", "pad", "tail", "head"}

// String names the tag.
func (t FCTag) String() string {
	if int(t) < len(fcTagNames) && t != 0 {
		return fcTagNames[t]
	}
	return fmt.Sprintf("tag %d", uint16(t))
}

// FCRecord is one decoded fast-commit record: a pointer to one of FCAddRange,
// FCDelRange, FCDirent, FCInode, FCPad, FCTail and FCHead.
type FCRecord interface {
	// Tag is the record's kind.
	Tag() FCTag
	// append adds the value to b.
	append(b []byte) []byte
}

type (
	// FCAddRange maps a run of an inode to physical blocks, in place of what
	// was mapped there.
	FCAddRange struct {
		Inode  InodeNum
		Extent ExtentLeaf
	}
	// FCDelRange unmaps a run of an inode.
	FCDelRange struct {
		Inode   InodeNum
		Logical LogicalNum
		Len     uint32
	}
	// FCDirent adds (CREAT, LINK) or removes (UNLINK) a name.
	FCDirent struct {
		Kind   FCTag
		Parent InodeNum
		Inode  InodeNum
		Name   []byte
	}
	// FCInode is the new content of an inode, but for its block map.
	FCInode struct {
		Inode InodeNum
		Raw   []byte // 128 bytes and the extra fields, without xattrs
	}
	// FCPad fills a block.
	FCPad struct {
		Len int // of the value
	}
	// FCTail ends a fast commit.
	FCTail struct {
		Transaction uint32
		Checksum    uint32
		Len         int // of the value: runs to the block's end
	}
	// FCHead opens the area.
	FCHead struct {
		Features    uint32
		Transaction uint32
	}
)

// Tag returns FCTagAddRange.
func (*FCAddRange) Tag() FCTag { return FCTagAddRange }

// Tag returns FCTagDelRange.
func (*FCDelRange) Tag() FCTag { return FCTagDelRange }

// Tag returns Kind.
func (d *FCDirent) Tag() FCTag { return d.Kind }

// Tag returns FCTagInode.
func (*FCInode) Tag() FCTag { return FCTagInode }

// Tag returns FCTagPad.
func (*FCPad) Tag() FCTag { return FCTagPad }

// Tag returns FCTagTail.
func (*FCTail) Tag() FCTag { return FCTagTail }

// Tag returns FCTagHead.
func (*FCHead) Tag() FCTag { return FCTagHead }

// FCRaw is one undecoded record.
type FCRaw struct {
	Tag    FCTag
	Offset int    // of the record in its block
	Bytes  []byte // header and value
}

// Value is the record without its header.
func (r FCRaw) Value() []byte { return r.Bytes[FCRecordHeaderSize:] }

// FCRecords yields the records of one block of the area, not decoded. It ends
// where fewer than four bytes remain: kernels before 6.2 left one byte over.
// A record that passes the block's end is an error and the last.
func FCRecords(block []byte) iter.Seq2[FCRaw, error] {
	return func(yield func(FCRaw, error) bool) {
		for off := 0; len(block)-off >= FCRecordHeaderSize; {
			tag, n := FCTag(le.Uint16(block[off:])), int(le.Uint16(block[off+2:]))
			if n > len(block)-off-FCRecordHeaderSize {
				yield(FCRaw{Tag: tag, Offset: off}, fcCorrupt(off, "%v of %d bytes passes the end of the block", tag, n))
				return
			}
			end := off + FCRecordHeaderSize + n
			if !yield(FCRaw{tag, off, block[off:end:end]}, nil) {
				return
			}
			off = end
		}
	}
}

func fcCorrupt(off int, format string, args ...any) error {
	return &CorruptError{What: "fast-commit record", Offset: off, Detail: fmt.Sprintf(format, args...)}
}

// Decode gives the record its type. Names and inodes refer to r.Bytes. An
// unknown tag, a length that does not fit the tag, and an empty or impossible
// name are errors.
func (r FCRaw) Decode() (FCRecord, error) {
	v := r.Value()
	short := func(want int) error {
		return fcCorrupt(r.Offset, "%v of %d bytes, want %d", r.Tag, len(v), want)
	}
	switch r.Tag {
	case FCTagAddRange:
		if len(v) != 4+ExtentEntrySize {
			return nil, short(4 + ExtentEntrySize)
		}
		return &FCAddRange{InodeNum(le.Uint32(v)), decodeFCExtent(v[4:])}, nil
	case FCTagDelRange:
		if len(v) != 12 {
			return nil, short(12)
		}
		return &FCDelRange{InodeNum(le.Uint32(v)), LogicalNum(le.Uint32(v[4:])), le.Uint32(v[8:])}, nil
	case FCTagCreat, FCTagLink, FCTagUnlink:
		return r.decodeDirent()
	case FCTagInode:
		if len(v) < 4+InodeBaseSize || len(v) > 4+fcMaxInode {
			return nil, short(4 + InodeBaseSize)
		}
		return &FCInode{InodeNum(le.Uint32(v)), v[4:]}, nil
	case FCTagPad:
		return &FCPad{len(v)}, nil
	case FCTagTail:
		if len(v) < fcTailSize {
			return nil, short(fcTailSize)
		}
		return &FCTail{le.Uint32(v), le.Uint32(v[4:]), len(v)}, nil
	case FCTagHead:
		if len(v) != 8 {
			return nil, short(8)
		}
		return &FCHead{le.Uint32(v), le.Uint32(v[4:])}, nil
	}
	return nil, fcCorrupt(r.Offset, "unknown %v", r.Tag)
}

func (r FCRaw) decodeDirent() (FCRecord, error) {
	v := r.Value()
	if len(v) <= 8 || len(v) > 8+MaxNameLen {
		return nil, fcCorrupt(r.Offset, "%v of %d bytes, want 9 to %d", r.Tag, len(v), 8+MaxNameLen)
	}
	name := v[8:]
	for _, c := range name {
		if c == 0 || c == '/' {
			return nil, fcCorrupt(r.Offset, "%v of the impossible name %q", r.Tag, name)
		}
	}
	return &FCDirent{r.Tag, InodeNum(le.Uint32(v)), InodeNum(le.Uint32(v[4:])), name}, nil
}

// decodeFCExtent reads the leaf of an ADD_RANGE, which has no node around it.
func decodeFCExtent(b []byte) ExtentLeaf {
	var node [ExtentHeaderSize + ExtentEntrySize]byte
	copy(node[ExtentHeaderSize:], b)
	return ExtentNode(node[:]).Leaf(0)
}

// FCSum extends the checksum of a fast commit over a record before its TAIL.
// It starts from 0.
func FCSum(sum uint32, r FCRaw) uint32 { return Sum(sum, r.Bytes) }

// FCTailSum completes the checksum with the TAIL itself, up to its stored
// checksum. The record must have decoded.
func FCTailSum(sum uint32, r FCRaw) uint32 { return Sum(sum, r.Bytes[:FCRecordHeaderSize+4]) }

// AppendFC appends a record to b, as the area holds it. The caller keeps the
// records within their block and seals the TAIL with SealFCTail.
func AppendFC(b []byte, r FCRecord) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = r.append(b)
	le.PutUint16(b[at:], uint16(r.Tag()))
	le.PutUint16(b[at+2:], uint16(len(b)-at-FCRecordHeaderSize))
	return b
}

// SealFCTail writes the checksum of a TAIL, whose record is tail and whose
// fast commit's other records have the checksum sum.
func SealFCTail(tail []byte, sum uint32) {
	le.PutUint32(tail[FCRecordHeaderSize+4:], FCTailSum(sum, FCRaw{Tag: FCTagTail, Bytes: tail}))
}

func (a *FCAddRange) append(b []byte) []byte {
	n := a.Extent.Len
	if a.Extent.Unwritten {
		n += MaxExtentLen
	}
	b = le.AppendUint32(b, uint32(a.Inode))
	b = le.AppendUint32(b, uint32(a.Extent.Logical))
	b = le.AppendUint16(b, uint16(n))
	b = le.AppendUint16(b, uint16(a.Extent.Physical>>32))
	return le.AppendUint32(b, uint32(a.Extent.Physical))
}

func (d *FCDelRange) append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(d.Inode))
	b = le.AppendUint32(b, uint32(d.Logical))
	return le.AppendUint32(b, d.Len)
}

func (d *FCDirent) append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(d.Parent))
	b = le.AppendUint32(b, uint32(d.Inode))
	return append(b, d.Name...)
}

func (i *FCInode) append(b []byte) []byte {
	return append(le.AppendUint32(b, uint32(i.Inode)), i.Raw...)
}

func (p *FCPad) append(b []byte) []byte { return append(b, make([]byte, p.Len)...) }

func (t *FCTail) append(b []byte) []byte {
	b = le.AppendUint32(b, t.Transaction)
	b = le.AppendUint32(b, t.Checksum)
	return append(b, make([]byte, max(0, t.Len-fcTailSize))...)
}

func (h *FCHead) append(b []byte) []byte {
	return le.AppendUint32(le.AppendUint32(b, h.Features), h.Transaction)
}
