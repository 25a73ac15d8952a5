package disk

import (
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// File types in the upper four bits of i_mode.
const (
	ModeFIFO    uint16 = 0x1000
	ModeChar    uint16 = 0x2000
	ModeDir     uint16 = 0x4000
	ModeBlock   uint16 = 0x6000
	ModeRegular uint16 = 0x8000
	ModeSymlink uint16 = 0xa000
	ModeSocket  uint16 = 0xc000
	ModeType    uint16 = 0xf000

	ModeSetuid uint16 = 0x0800
	ModeSetgid uint16 = 0x0400
	ModeSticky uint16 = 0x0200
	ModePerm   uint16 = 0x01ff
)

// InodeFlags is i_flags.
type InodeFlags uint32

// Inode flags.
const (
	FlagSecureRM    InodeFlags = 0x00000001
	FlagUnRM        InodeFlags = 0x00000002
	FlagCompr       InodeFlags = 0x00000004
	FlagSync        InodeFlags = 0x00000008
	FlagImmutable   InodeFlags = 0x00000010
	FlagAppend      InodeFlags = 0x00000020
	FlagNoDump      InodeFlags = 0x00000040
	FlagNoAtime     InodeFlags = 0x00000080
	FlagDirty       InodeFlags = 0x00000100
	FlagComprBlk    InodeFlags = 0x00000200
	FlagNoCompr     InodeFlags = 0x00000400
	FlagEncrypt     InodeFlags = 0x00000800
	FlagIndex       InodeFlags = 0x00001000
	FlagIMagic      InodeFlags = 0x00002000
	FlagJournalData InodeFlags = 0x00004000
	FlagNoTail      InodeFlags = 0x00008000
	FlagDirSync     InodeFlags = 0x00010000
	FlagTopDir      InodeFlags = 0x00020000
	FlagHugeFile    InodeFlags = 0x00040000
	FlagExtents     InodeFlags = 0x00080000
	FlagVerity      InodeFlags = 0x00100000
	FlagEAInode     InodeFlags = 0x00200000
	FlagEOFBlocks   InodeFlags = 0x00400000
	FlagNoCOW       InodeFlags = 0x00800000
	FlagSnapFile    InodeFlags = 0x01000000
	FlagDAX         InodeFlags = 0x02000000
	FlagSnapDeleted InodeFlags = 0x04000000
	FlagSnapShrunk  InodeFlags = 0x08000000
	FlagInlineData  InodeFlags = 0x10000000
	FlagProjInherit InodeFlags = 0x20000000
	FlagCasefold    InodeFlags = 0x40000000
	FlagReserved    InodeFlags = 0x80000000
)

var inodeFlagNames = [32]string{
	"secrm", "unrm", "compr", "sync", "immutable", "append", "nodump", "noatime",
	"dirty", "comprblk", "nocompr", "encrypt", "index", "imagic", "journal_data", "notail",
	"dirsync", "topdir", "huge_file", "extents", "verity", "ea_inode", "eofblocks", "nocow",
	"snapfile", "dax", "snapfile_deleted", "snapfile_shrunk", "inline_data", "projinherit", "casefold", "reserved",
}

// Has reports whether all of bits are set.
func (f InodeFlags) Has(bits InodeFlags) bool { return f&bits == bits }

// Names lists the set flags from the lowest bit up.
func (f InodeFlags) Names() []string {
	var list []string
	for n, name := range inodeFlagNames {
		if f&(1<<n) != 0 {
			list = append(list, name)
		}
	}
	return list
}

// String joins Names with commas; no flags give "-".
func (f InodeFlags) String() string {
	if f == 0 {
		return "-"
	}
	return strings.Join(f.Names(), ",")
}

// Sizes inside an inode record.
const (
	InodeBaseSize = 128
	// InodeBlockSize is the length of i_block.
	InodeBlockSize = 60
)

// Inode is a view of one inode record of s_inode_size bytes, at least 128.
type Inode []byte

// Mode is i_mode.
func (i Inode) Mode() uint16 { return le.Uint16(i[0x00:]) }

// UID is the owner.
func (i Inode) UID() uint32 { return uint32(le.Uint16(i[0x02:])) | uint32(le.Uint16(i[0x78:]))<<16 }

// GID is the group.
func (i Inode) GID() uint32 { return uint32(le.Uint16(i[0x18:])) | uint32(le.Uint16(i[0x7a:]))<<16 }

// SizeLo is the low half of i_size.
func (i Inode) SizeLo() uint32 { return le.Uint32(i[0x04:]) }

// SizeHi is the high half of i_size. It holds a size only for regular files,
// and for directories with large_dir.
func (i Inode) SizeHi() uint32 { return le.Uint32(i[0x6c:]) }

// DeletionTime is i_dtime, which is the next inode of the orphan list while
// an inode is on it.
func (i Inode) DeletionTime() uint32 { return le.Uint32(i[0x14:]) }

// Links is i_links_count; 1 on a directory means that there are too many to
// count.
func (i Inode) Links() uint16 { return le.Uint16(i[0x1a:]) }

// SetLinks writes i_links_count.
func (i Inode) SetLinks(n uint16) { le.PutUint16(i[0x1a:], n) }

// BlocksLo is the low half of i_blocks.
func (i Inode) BlocksLo() uint32 { return le.Uint32(i[0x1c:]) }

// BlocksHi is the high half of i_blocks, valid with huge_file.
func (i Inode) BlocksHi() uint16 { return le.Uint16(i[0x74:]) }

// SetBlocks writes both halves of i_blocks.
func (i Inode) SetBlocks(n uint64) {
	le.PutUint32(i[0x1c:], uint32(n))
	le.PutUint16(i[0x74:], uint16(n>>32))
}

// Flags is i_flags.
func (i Inode) Flags() InodeFlags { return InodeFlags(le.Uint32(i[0x20:])) }

// VersionLo is the low half of the change counter.
func (i Inode) VersionLo() uint32 { return le.Uint32(i[0x24:]) }

// Block is i_block: 60 bytes of block map, extent root, symlink target, device
// number or inline data.
func (i Inode) Block() []byte { return i[0x28 : 0x28+InodeBlockSize : 0x28+InodeBlockSize] }

// Generation is i_generation.
func (i Inode) Generation() uint32 { return le.Uint32(i[0x64:]) }

// FileACL is the extended attribute block; the high half counts only with the
// 64bit feature, which the caller says.
func (i Inode) FileACL(wide bool) BlockNum {
	n := uint64(le.Uint32(i[0x68:]))
	if wide {
		n |= uint64(le.Uint16(i[0x76:])) << 32
	}
	return BlockNum(n)
}

// Faddr is i_faddr, obsolete.
func (i Inode) Faddr() uint32 { return le.Uint32(i[0x70:]) }

// ExtraSize is i_extra_isize, cut to what the record can hold and to a
// multiple of 4.
func (i Inode) ExtraSize() int {
	if len(i) <= InodeBaseSize {
		return 0
	}
	n := int(le.Uint16(i[0x80:]))
	return min(n, len(i)-InodeBaseSize) &^ 3
}

// RawExtraSize is i_extra_isize as stored.
func (i Inode) RawExtraSize() uint16 {
	if len(i) <= InodeBaseSize {
		return 0
	}
	return le.Uint16(i[0x80:])
}

// has reports whether the extra field that ends at end exists.
func (i Inode) has(end int) bool { return end <= InodeBaseSize+i.ExtraSize() }

func (i Inode) extra(off int) (uint32, bool) {
	if !i.has(off + 4) {
		return 0, false
	}
	return le.Uint32(i[off:]), true
}

// inodeTime joins 32-bit seconds with the extra field: nanoseconds in the
// upper 30 bits, two epoch bits below.
func inodeTime(seconds, extra uint32) time.Time {
	sec := int64(int32(seconds)) + int64(extra&3)<<32
	return time.Unix(sec, int64(extra>>2)).UTC()
}

// Atime is the time of last access.
func (i Inode) Atime() time.Time {
	x, _ := i.extra(0x8c)
	return inodeTime(le.Uint32(i[0x08:]), x)
}

// Ctime is the time of last inode change.
func (i Inode) Ctime() time.Time {
	x, _ := i.extra(0x84)
	return inodeTime(le.Uint32(i[0x0c:]), x)
}

// Mtime is the time of last content change.
func (i Inode) Mtime() time.Time {
	x, _ := i.extra(0x88)
	return inodeTime(le.Uint32(i[0x10:]), x)
}

// Crtime is the time of birth; ok is false where the inode has none.
func (i Inode) Crtime() (t time.Time, ok bool) {
	sec, ok := i.extra(0x90)
	if !ok {
		return time.Time{}, false
	}
	x, _ := i.extra(0x94)
	return inodeTime(sec, x), true
}

// RawTimes returns the low words of atime, ctime and mtime as they are
// stored: value hash and reference count in an EA inode.
func (i Inode) RawTimes() (atime, ctime, mtime uint32) {
	return le.Uint32(i[0x08:]), le.Uint32(i[0x0c:]), le.Uint32(i[0x10:])
}

// Version is the change counter.
func (i Inode) Version() uint64 {
	hi, _ := i.extra(0x98)
	return uint64(hi)<<32 | uint64(i.VersionLo())
}

// Project is the project id; ok is false where the inode has no field for it.
func (i Inode) Project() (id uint32, ok bool) { return i.extra(0x9c) }

// Device decodes a device node's number in either encoding.
func (i Inode) Device() (major, minor uint32) {
	b := i.Block()
	if old := le.Uint32(b); old != 0 {
		return old >> 8 & 0xff, old & 0xff
	}
	dev := le.Uint32(b[4:])
	return dev >> 8 & 0xfff, dev&0xff | dev>>12&0xfff00
}

// IsZero reports whether the whole record is zero: an inode never used.
func (i Inode) IsZero() bool {
	for _, c := range i {
		if c != 0 {
			return false
		}
	}
	return true
}

// hasChecksumHi reports whether i_checksum_hi exists.
func (i Inode) hasChecksumHi() bool { return i.has(0x84) }

// Checksum returns the stored and the computed checksum of the record for the
// file system seed. Where the high half does not exist both are 16 bits.
func (i Inode) Checksum(fsSeed uint32, n InodeNum) (stored, computed uint32) {
	c := InodeSeed(fsSeed, n, i.Generation())
	c = Sum(c, i[:0x7c])
	c = sumZeros2(c)
	c = Sum(c, i[0x7e:InodeBaseSize])
	stored = uint32(le.Uint16(i[0x7c:]))
	if len(i) <= InodeBaseSize {
		return stored, c & 0xffff
	}
	if !i.hasChecksumHi() {
		return stored, Sum(c, i[0x80:]) & 0xffff
	}
	c = sumZeros2(Sum(c, i[0x80:0x82]))
	c = Sum(c, i[0x84:])
	return stored | uint32(le.Uint16(i[0x82:]))<<16, c
}

// FileMode converts i_mode to the io/fs form. A mode with no known type gives
// fs.ModeIrregular.
func FileMode(mode uint16) fs.FileMode {
	m := fs.FileMode(mode & ModePerm)
	switch mode & ModeType {
	case ModeRegular:
	case ModeDir:
		m |= fs.ModeDir
	case ModeSymlink:
		m |= fs.ModeSymlink
	case ModeChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case ModeBlock:
		m |= fs.ModeDevice
	case ModeFIFO:
		m |= fs.ModeNamedPipe
	case ModeSocket:
		m |= fs.ModeSocket
	default:
		m |= fs.ModeIrregular
	}
	if mode&ModeSetuid != 0 {
		m |= fs.ModeSetuid
	}
	if mode&ModeSetgid != 0 {
		m |= fs.ModeSetgid
	}
	if mode&ModeSticky != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// EntryType is the directory entry type of a mode.
func EntryType(mode uint16) uint8 {
	switch mode & ModeType {
	case ModeRegular:
		return FileTypeRegular
	case ModeDir:
		return FileTypeDir
	case ModeChar:
		return FileTypeChar
	case ModeBlock:
		return FileTypeBlock
	case ModeFIFO:
		return FileTypeFIFO
	case ModeSocket:
		return FileTypeSocket
	case ModeSymlink:
		return FileTypeSymlink
	}
	return FileTypeUnknown
}

// fileTypeMask is the part of an entry type that has a meaning.
const fileTypeMask = 7

// EntryFileMode is the type part of the io/fs mode for a directory entry type.
func EntryFileMode(t uint8) fs.FileMode {
	switch t & fileTypeMask {
	case FileTypeRegular:
		return 0
	case FileTypeDir:
		return fs.ModeDir
	case FileTypeChar:
		return fs.ModeDevice | fs.ModeCharDevice
	case FileTypeBlock:
		return fs.ModeDevice
	case FileTypeFIFO:
		return fs.ModeNamedPipe
	case FileTypeSocket:
		return fs.ModeSocket
	case FileTypeSymlink:
		return fs.ModeSymlink
	}
	return fs.ModeIrregular
}

// UUIDString formats a UUID in the usual 8-4-4-4-12 form.
func UUIDString(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
