package disk

import "strings"

// Extended attributes lie in two places, in the same form:
//
//	inode   after the extra fields: le32 magic, then entries; value offsets
//	        count from the first entry
//	block   one block of its own: header of 32 bytes, then entries; value
//	        offsets count from the block's start
//
// Entries grow upwards, each padded to 4 bytes, and end with a zero word;
// values grow down from the end of the place, padded likewise. With ea_inode
// a value may be the content of an inode instead.
//
//	block header  0 magic  4 refcount  8 blocks (1)  c hash  10 checksum  14 zero[12]
//	entry         0 name length  1 name index  2 value offset (le16)
//	              4 value inode  8 value size  c hash  10 name (no NUL)
//
// Feature flags: ext_attr, ea_inode, metadata_csum (the block's checksum).
// Kernel documentation: Documentation/filesystems/ext4/attributes.rst.
//
// Not supported: the version 1 blocks (magic EA010000) of kernels before 2.4.
const (
	// XattrMagic starts an attribute block and the attributes in an inode.
	XattrMagic uint32 = 0xea020000
	// XattrHeaderSize is the size of an attribute block's header.
	XattrHeaderSize = 32
	// XattrInodeHeaderSize is the size of the magic in front of the
	// attributes in an inode.
	XattrInodeHeaderSize = 4
	// XattrEntrySize is the size of an entry without its name.
	XattrEntrySize = 16
	// XattrPad is what entries and values are padded to.
	XattrPad = 4
	// XattrMaxRefs is the most inodes that share one attribute block.
	XattrMaxRefs = 1024
	// XattrMaxValue is the largest value the format's readers accept. The
	// system call interface stops at 64 KiB.
	XattrMaxValue = 1 << 24
)

// XattrHeader is a view of an attribute block's first 32 bytes.
type XattrHeader []byte

// Magic is h_magic.
func (h XattrHeader) Magic() uint32 { return le.Uint32(h[0x00:]) }

// Refs is h_refcount: how many inodes use the block.
func (h XattrHeader) Refs() uint32 { return le.Uint32(h[0x04:]) }

// Blocks is h_blocks, always 1.
func (h XattrHeader) Blocks() uint32 { return le.Uint32(h[0x08:]) }

// Hash is h_hash; 0 means that the block is not to be shared.
func (h XattrHeader) Hash() uint32 { return le.Uint32(h[0x0c:]) }

// Checksum is h_checksum; valid with metadata_csum.
func (h XattrHeader) Checksum() uint32 { return le.Uint32(h[0x10:]) }

// Init makes h the header of a new block with one user.
func (h XattrHeader) Init() {
	clear(h[:XattrHeaderSize])
	le.PutUint32(h[0x00:], XattrMagic)
	le.PutUint32(h[0x04:], 1)
	le.PutUint32(h[0x08:], 1)
}

// SetRefs sets h_refcount.
func (h XattrHeader) SetRefs(n uint32) { le.PutUint32(h[0x04:], n) }

// SetHash sets h_hash.
func (h XattrHeader) SetHash(v uint32) { le.PutUint32(h[0x0c:], v) }

// XattrEntry is a view of one entry, from its first byte on. All accessors
// but Name and Size need 16 bytes, those two the whole entry.
type XattrEntry []byte

// NameLen is the length of the name without its prefix; 0 for ACLs.
func (e XattrEntry) NameLen() int { return int(e[0]) }

// Index stands for the name's prefix.
func (e XattrEntry) Index() XattrIndex { return XattrIndex(e[1]) }

// ValueOffset is where the value starts; 0 for an empty value and for one in
// an inode.
func (e XattrEntry) ValueOffset() int { return int(le.Uint16(e[2:])) }

// ValueInode is the inode that holds the value, or 0.
func (e XattrEntry) ValueInode() InodeNum { return InodeNum(le.Uint32(e[4:])) }

// ValueSize is the value's length in bytes.
func (e XattrEntry) ValueSize() uint32 { return le.Uint32(e[8:]) }

// Hash is e_hash; 0 is normal for a value inside the inode.
func (e XattrEntry) Hash() uint32 { return le.Uint32(e[12:]) }

// Name is the name without its prefix, a view.
func (e XattrEntry) Name() []byte { return e[XattrEntrySize : XattrEntrySize+e.NameLen()] }

// Size is the entry's length with its name and padding.
func (e XattrEntry) Size() int { return XattrEntryLen(e.NameLen()) }

// IsEnd reports whether the word at e is the list's terminator. The whole
// word counts: an ACL entry has a name length of 0, too.
func (e XattrEntry) IsEnd() bool { return le.Uint32(e) == 0 }

// XattrEntryLen is the length of an entry whose name, without prefix, has n
// bytes.
func XattrEntryLen(n int) int { return (XattrEntrySize + n + XattrPad - 1) &^ (XattrPad - 1) }

// XattrValueLen is the room that a value of n bytes takes.
func XattrValueLen(n int) int { return (n + XattrPad - 1) &^ (XattrPad - 1) }

// PutXattrEntry encodes an entry and returns its length. The bytes after the
// name up to the padding become zero.
func PutXattrEntry(b []byte, index XattrIndex, name string, valueOffset int, valueInode InodeNum, valueSize, hash uint32) int {
	n := XattrEntryLen(len(name))
	clear(b[:n])
	b[0], b[1] = byte(len(name)), byte(index)
	le.PutUint16(b[2:], uint16(valueOffset))
	le.PutUint32(b[4:], uint32(valueInode))
	le.PutUint32(b[8:], valueSize)
	le.PutUint32(b[12:], hash)
	copy(b[XattrEntrySize:], name)
	return n
}

// XattrIndex stands for the prefix of an attribute's name.
type XattrIndex uint8

// Name indexes.
const (
	XattrUser       XattrIndex = 1
	XattrACLAccess  XattrIndex = 2 // the whole name
	XattrACLDefault XattrIndex = 3 // the whole name
	XattrTrusted    XattrIndex = 4
	XattrLustre     XattrIndex = 5
	XattrSecurity   XattrIndex = 6
	XattrSystem     XattrIndex = 7
	XattrRichACL    XattrIndex = 8 // the whole name
	XattrEncryption XattrIndex = 9
	XattrGNU        XattrIndex = 10
)

const unknownPrefix = "unknown."

var xattrPrefixes = [...]string{
	XattrUser:       "user.",
	XattrACLAccess:  "system.posix_acl_access",
	XattrACLDefault: "system.posix_acl_default",
	XattrTrusted:    "trusted.",
	XattrLustre:     "lustre.",
	XattrSecurity:   "security.",
	XattrSystem:     "system.",
	XattrRichACL:    "system.richacl",
	XattrEncryption: "encryption.",
	XattrGNU:        "gnu.",
}

// Prefix is the part of a full name that i stands for, "unknown.N." with N in
// decimal for an index without a meaning.
func (i XattrIndex) Prefix() string {
	if i.Known() {
		return xattrPrefixes[i]
	}
	return unknownPrefix + itoa(uint8(i)) + "."
}

// Known reports whether i has a meaning.
func (i XattrIndex) Known() bool { return i > 0 && int(i) < len(xattrPrefixes) }

// fits reports whether a stored name goes with i: none where the prefix is the
// whole name, some elsewhere, and none that would make such a whole name.
func (i XattrIndex) fits(stored string) bool {
	switch {
	case !i.Known() || (stored != "") != strings.HasSuffix(xattrPrefixes[i], "."):
		return false
	case i == XattrSystem:
		return stored != "posix_acl_access" && stored != "posix_acl_default" && stored != "richacl"
	}
	return true
}

// XattrName is the full name of an attribute. Where index and stored name do
// not make one it is "unknown.N.name", so that no attribute of an image is
// without a name and no two have the same.
func XattrName(i XattrIndex, stored []byte) string {
	prefix := i.Prefix()
	if !i.fits(string(stored)) {
		prefix = unknownPrefix + itoa(uint8(i)) + "."
	}
	var b strings.Builder
	b.Grow(len(prefix) + len(stored))
	b.WriteString(prefix)
	b.Write(stored)
	return b.String()
}

// SplitXattrName takes a full name apart into index and stored name; it undoes
// XattrName. It reports false for what is no full name.
func SplitXattrName(full string) (i XattrIndex, stored string, ok bool) {
	for i := XattrUser; int(i) < len(xattrPrefixes); i++ {
		if p := xattrPrefixes[i]; strings.HasPrefix(full, p) && i.fits(full[len(p):]) {
			return i, full[len(p):], true
		}
	}
	return splitUnknown(full)
}

func splitUnknown(full string) (XattrIndex, string, bool) {
	rest, ok := strings.CutPrefix(full, unknownPrefix)
	if !ok {
		return 0, "", false
	}
	digits, stored, ok := strings.Cut(rest, ".")
	if !ok || digits == "" || len(digits) > 3 {
		return 0, "", false
	}
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, "", false
		}
		n = n*10 + int(c-'0')
	}
	if n > 255 || digits != itoa(uint8(n)) || XattrIndex(n).fits(stored) {
		return 0, "", false
	}
	return XattrIndex(n), stored, true
}

func itoa(n uint8) string {
	switch {
	case n >= 100:
		return string([]byte{'0' + n/100, '0' + n/10%10, '0' + n%10})
	case n >= 10:
		return string([]byte{'0' + n/10, '0' + n%10})
	}
	return string([]byte{'0' + n})
}
