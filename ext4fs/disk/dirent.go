package disk

import "fmt"

// Directory entries, as they lie in a directory block:
//
//	0 le32 inode      0: unused
//	4 le16 rec_len    to the next entry; encoded, see DirRecLen
//	6 u8   name_len
//	7 u8   file_type  with the filetype feature; without it the upper byte of
//	                  a 16-bit name_len, which is always 0: names have at
//	                  most 255 bytes, and the kernel ignores this byte
//	8 ...  name, then padding to a multiple of 4
//	  le32 hash, le32 minor hash: only in directories that are casefolded and
//	       encrypted, and not in "." and ".."
//
// Entries tile the block. With metadata_csum the last 12 bytes of a leaf
// block are an unused entry of type FileTypeChecksum that holds the checksum.
// Documentation: kernel, filesystems/ext4/dynamic, "Directory Entries".

// Sizes of directory records.
const (
	DirentHeaderSize = 8  // inode, rec_len, name_len, file_type
	DirentMinSize    = 12 // the smallest record
	DirentHashSize   = 8  // hash and minor hash behind the name
	DirTailSize      = 12 // the checksum record of a leaf block
)

// File types in directory entries.
const (
	FileTypeUnknown  uint8 = 0
	FileTypeRegular  uint8 = 1
	FileTypeDir      uint8 = 2
	FileTypeChar     uint8 = 3
	FileTypeBlock    uint8 = 4
	FileTypeFIFO     uint8 = 5
	FileTypeSocket   uint8 = 6
	FileTypeSymlink  uint8 = 7
	FileTypeChecksum uint8 = 0xde // only in the checksum record
)

// DirRecLen decodes a record length. Blocks of 64 KiB and more do not fit in
// 16 bits: there 0 and 0xFFFF mean the block size, and the two low bits, free
// because lengths are multiples of 4, are bits 16 and 17.
func DirRecLen(raw uint16, blockSize int) int {
	if blockSize < 65536 {
		return int(raw)
	}
	if raw == 0xffff || raw == 0 {
		return blockSize
	}
	return int(raw&0xfffc) | int(raw&3)<<16
}

// DirRecLenRaw encodes a record length, a multiple of 4 up to blockSize.
func DirRecLenRaw(n, blockSize int) uint16 {
	switch {
	case n < 65536:
		return uint16(n)
	case n == blockSize && blockSize == 65536:
		return 0xffff
	case n == blockSize:
		return 0
	}
	return uint16(n&0xfffc) | uint16(n>>16&3)
}

// DirentSize is the space that an entry with a name of n bytes needs, with
// hash when the directory keeps hashes in its entries.
func DirentSize(n int, hash bool) int {
	s := (DirentHeaderSize + n + 3) &^ 3
	if hash {
		s += DirentHashSize
	}
	return s
}

// Dirent is a view of one directory entry, from its first byte to the end of
// its record. Those that a DirentIter gives are safe to use; others must be
// at least DirentSize of their name long.
type Dirent []byte

// Inode is the inode number; 0 in an unused entry.
func (d Dirent) Inode() InodeNum { return InodeNum(le.Uint32(d)) }

// NameLen is the length of the name.
func (d Dirent) NameLen() int { return int(d[6]) }

// Type is the file type byte. It means something only with the filetype
// feature.
func (d Dirent) Type() uint8 { return d[7] }

// Name is the name, as bytes of the block.
func (d Dirent) Name() []byte {
	n := DirentHeaderSize + int(d[6])
	return d[DirentHeaderSize:n:n]
}

// Hash gives the hash and minor hash behind the name. ok is false when the
// record has no room for them.
func (d Dirent) Hash() (hash, minor uint32, ok bool) {
	at := DirentSize(d.NameLen(), false)
	if len(d) < at+DirentHashSize {
		return 0, 0, false
	}
	return le.Uint32(d[at:]), le.Uint32(d[at+4:]), true
}

// IsDot reports whether name is ".".
func IsDot(name []byte) bool { return len(name) == 1 && name[0] == '.' }

// IsDotDot reports whether name is "..".
func IsDotDot(name []byte) bool { return len(name) == 2 && name[0] == '.' && name[1] == '.' }

// DirLayout is what the form of a directory's blocks depends on.
type DirLayout struct {
	BlockSize    int
	Checksum     bool // metadata_csum: leaf blocks end in a checksum record
	HashInDirent bool // casefolded and encrypted: hashes behind the names
	LargeDir     bool // large_dir: hash trees of three levels
}

// Iter starts a walk over the records of one block. A checksum record that
// follows the others is not part of the walk. (It cannot be told before they
// were walked over: a root that was a leaf once may still have its bytes, below
// the ".." that spans the block.)
func (l DirLayout) Iter(block []byte) DirentIter {
	it := DirentIter{block: block, layout: l, tail: len(block)}
	if l.Checksum && HasDirTail(block) {
		it.tail -= DirTailSize
	}
	return it
}

// DirentIter walks over the records of a block, used and unused ones. Each
// record is checked before it is given out: every byte that a Dirent's
// methods touch is inside the block.
//
//	for it := layout.Iter(block); it.Next(); {
//		use(it.Dirent())
//	}
//	if err := it.Err(); err != nil {
type DirentIter struct {
	block  []byte
	layout DirLayout
	off    int // of the current record
	next   int // of the record after it
	tail   int // where the walk may end, other than at the block's end
	err    *CorruptError
}

// Next goes to the next record. It returns false at the end of the block and
// at a record that is impossible: then Err tells.
func (it *DirentIter) Next() bool {
	off, b := it.next, it.block
	if off >= len(b) || off == it.tail || it.err != nil {
		return false
	}
	if len(b)-off < DirentMinSize {
		return it.fail(off, "only %d bytes left in the block", len(b)-off)
	}
	n := DirRecLen(le.Uint16(b[off+4:]), it.layout.BlockSize)
	// The kernel's rules, in one comparison for nearly all records.
	if n < DirentMinSize || n&3 != 0 || n < DirentHeaderSize+int(b[off+6]) || n > len(b)-off ||
		it.layout.HashInDirent || len(b)-off-n < DirentMinSize {
		if !it.check(off, n) {
			return false
		}
	}
	it.off, it.next = off, off+n
	return true
}

// check applies the rules one by one, to say which is broken.
func (it *DirentIter) check(off, n int) bool {
	d := Dirent(it.block[off:])
	left := len(it.block) - off
	hash := it.layout.HashInDirent && !hashless(d)
	switch {
	case n < DirentMinSize:
		return it.fail(off, "record length %d is too small", n)
	case n&3 != 0:
		return it.fail(off, "record length %d is not a multiple of 4", n)
	case n > left:
		return it.fail(off, "record length %d leads past the end of the block", n)
	case n < DirentSize(d.NameLen(), hash):
		return it.fail(off, "record length %d is too small for a name of %d bytes", n, d.NameLen())
	case n != left && left-n < DirentMinSize:
		return it.fail(off, "record length %d leaves %d bytes at the end", n, left-n)
	}
	return true
}

// hashless reports whether a record carries no hash though its directory
// keeps hashes in entries: ".", ".." and the unused ones.
func hashless(d Dirent) bool {
	n := d.NameLen()
	return d.Inode() == 0 || n == 0 || d[8] == '.' && (n == 1 || n == 2 && d[9] == '.')
}

func (it *DirentIter) fail(off int, format string, args ...any) bool {
	it.err = &CorruptError{What: "directory entry", Offset: off, Detail: fmt.Sprintf(format, args...)}
	return false
}

// Dirent is the current record.
func (it *DirentIter) Dirent() Dirent { return Dirent(it.block[it.off:it.next:it.next]) }

// Offset is the current record's place in the block.
func (it *DirentIter) Offset() int { return it.off }

// End is where the current record ends.
func (it *DirentIter) End() int { return it.next }

// Err is the reason why the walk ended early, or nil. The caller may fill in
// Block and Inode.
func (it *DirentIter) Err() *CorruptError { return it.err }
