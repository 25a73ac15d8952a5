package dir

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Entry is one name in a directory.
type Entry struct {
	Inode disk.InodeNum
	// Type is one of disk.FileTypeRegular and so on; FileTypeUnknown when
	// the file system keeps no types in directories.
	Type uint8
	// Name is the name as it is on disk: of an encrypted directory the
	// ciphertext, see Config.DisplayName. It is part of the cached block and
	// must not be changed; a copy is needed to keep it without the block.
	Name []byte
	// Hash and Minor are set in encrypted directories, where they are part
	// of the no-key name: those in the entry when the directory is also
	// casefolded, else those of the ciphertext, or 0 when the kernel would
	// not compute them.
	Hash, Minor uint32
	// Block and Offset tell where the entry is. In an inline directory Block
	// is 0, and Offset is where the entry would be after "." and ".." in a
	// block; that of "." and ".." too.
	Block  disk.LogicalNum
	Offset int
	// Cookie is set by From: where to go on behind this entry.
	Cookie uint64
}

// Config describes one directory and how to read it.
type Config struct {
	Inode     disk.InodeNum
	Seed      uint32 // disk.InodeSeed of the directory
	BlockSize int
	// Blocks is the directory's size. The caller makes sure that it is not
	// above the number of blocks in the file system.
	Blocks disk.LogicalNum

	Indexed   bool // the inode's INDEX flag, and the dir_index feature
	Casefold  bool // the inode's CASEFOLD flag, and the feature
	Encrypted bool // the inode's ENCRYPT flag, and the feature

	DirIndex     bool // feature dir_index: one block is also read in hash order
	MetadataCsum bool // feature metadata_csum
	Filetype     bool // feature filetype
	LargeDir     bool // feature large_dir

	HashSeed    [4]uint32        // s_hash_seed
	HashVersion disk.HashVersion // s_def_hash_version, for directories without index
	SignedHash  bool             // the signed_directory_hash flag
	Strict      bool             // s_encoding_flags bit 0
	NoFallback  bool             // s_encoding_flags bit 1: no linear search after a hashed one

	// Verify says whether checksums are checked. Without it a broken index is
	// not an error either.
	Verify bool
	// MaxInode is the highest inode number, to check entries; 0 is no check.
	MaxInode disk.InodeNum

	// Read gives a block, nil for a hole.
	Read func(l disk.LogicalNum) (*cache.Buffer, error)
	// Prefetch, when not nil, is told which blocks are read next.
	Prefetch func(l disk.LogicalNum, n int)

	// InlineBlock is the i_block area of an inline directory; nil for others.
	// Then BlockSize, Blocks, Indexed, Read and Prefetch do not count.
	InlineBlock []byte
	// InlineValue is the value of its system.data attribute, which may be
	// empty.
	InlineValue []byte

	// What follows is for changes; see Insert.

	// StaleIndex is the inode's INDEX flag without the dir_index feature: a
	// change that makes the index untrue drops the flag.
	StaleIndex bool
	// Append allocates and maps the block behind the last one and makes the
	// directory longer; its content does not count. When it fails it has
	// changed nothing.
	Append func(tx cache.Tx) (disk.LogicalNum, disk.BlockNum, error)
	// SetIndexed sets or clears the inode's INDEX flag.
	SetIndexed func(tx cache.Tx, on bool) error
	// SetInline stores the content of an inline directory; it must copy what
	// it keeps. The value may be longer or shorter than before, up to
	// MaxInlineValue, and empty. After LeaveInline in the same transaction it
	// makes the directory inline again. When it fails it has changed nothing.
	SetInline func(tx cache.Tx, block, value []byte) error
	// LeaveInline makes the inode that of a directory of no blocks and size
	// 0, before the first Append. When it fails it has changed nothing.
	LeaveInline func(tx cache.Tx) error
	// MaxInlineValue is how long the inode lets the system.data value become,
	// in bytes, what it has now included.
	MaxInlineValue int

	placed bool // all names are where their hash belongs
	// shape changes when entries move: places in blocks are others then.
	shape uint32
	seals *seals
	work  *work
}

func (c *Config) layout() disk.DirLayout {
	return disk.DirLayout{
		BlockSize:    c.BlockSize,
		Checksum:     c.MetadataCsum,
		HashInDirent: c.Casefold && c.Encrypted,
		LargeDir:     c.LargeDir,
	}
}

func (c *Config) inline() bool { return c.InlineBlock != nil }

// hashOrder reports whether the kernel lists the directory in hash order.
func (c *Config) hashOrder() bool {
	return c.Indexed || c.DirIndex && (c.inline() || c.Blocks == 1)
}

// hashVersion is the hash of names: of the index if it has one, which is
// given, else the default.
func (c *Config) hashVersion(index disk.HashVersion) disk.HashVersion {
	if c.SignedHash {
		return index
	}
	return index.Unsigned()
}

// hashName hashes a name as the directory does. It must not be asked for
// directories that keep the hash in the entry.
func (c *Config) hashName(v disk.HashVersion, name []byte) (hash, minor uint32) {
	v = c.hashVersion(v)
	if c.Casefold && !c.Encrypted && len(name) > 0 {
		var buf [512]byte
		// The kernel folds into a page at most; what is longer is opaque.
		if f, ok := casefold.Append(buf[:0], name); ok && len(f) < maxFolded {
			hash, minor, _ = disk.DirHash(v, &c.HashSeed, f)
			return hash, minor
		}
	}
	hash, minor, _ = disk.DirHash(v, &c.HashSeed, name)
	return hash, minor
}

const maxFolded = 4096

// read gives a block as it is; nil for a hole.
func (c *Config) read(l disk.LogicalNum) (*cache.Buffer, error) {
	b, err := c.Read(l)
	if err != nil {
		return nil, fmt.Errorf("block %d of directory %d: %w", l, c.Inode, err)
	}
	if b != nil && (len(b.Data()) != c.BlockSize || c.BlockSize < disk.MinBlockSize) {
		return nil, fmt.Errorf("block %d of directory %d: %d bytes instead of %d", l, c.Inode, len(b.Data()), c.BlockSize)
	}
	return b, nil
}

// The memo of a checksum found good counts for this directory only, and
// differs for leaf and index blocks.
func (c *Config) tag(index bool) uint64 {
	t := uint64(c.Inode)<<32 | uint64(c.Seed)
	if index {
		t = ^t
	}
	return t
}

// verifyLeaf checks the checksum of a leaf block.
func (c *Config) verifyLeaf(b *cache.Buffer) error {
	if !c.MetadataCsum || !c.Verify || b.Verified(c.tag(false)) {
		return nil
	}
	stored, computed, found := disk.VerifyDirBlock(c.Seed, b.Data())
	if !found {
		return &disk.CorruptError{What: "directory block", Block: b.Block(), Inode: c.Inode,
			Detail: "there is no checksum; the directory needs a rebuild (e2fsck -D)"}
	}
	if stored != computed {
		return &disk.ChecksumError{What: "directory block", Block: b.Block(), Inode: c.Inode, Stored: stored, Computed: computed}
	}
	b.SetVerified(c.tag(false))
	return nil
}

// verifyIndex checks the checksum of a root or node, whose array begins at
// off.
func (c *Config) verifyIndex(b *cache.Buffer, off int) error {
	if !c.MetadataCsum || !c.Verify || b.Verified(c.tag(true)) {
		return nil
	}
	stored, computed, found := disk.VerifyDX(c.Seed, b.Data(), off)
	if !found {
		return &disk.CorruptError{What: whatIndex, Block: b.Block(), Inode: c.Inode, Detail: "there is no room for its checksum"}
	}
	if stored != computed {
		return &disk.ChecksumError{What: whatIndex, Block: b.Block(), Inode: c.Inode, Stored: stored, Computed: computed}
	}
	b.SetVerified(c.tag(true))
	return nil
}

// whatIndex is what index blocks are called in errors. A CorruptError of this
// name is a reason to do without the index.
const whatIndex = "directory index"

// rootArray is where the array of a root begins.
func rootArray(block []byte) int {
	return disk.DXInfoOffset + int(disk.DecodeDXInfo(block).InfoLength)
}

// locate completes an error of package disk, which knows no places.
func (c *Config) locate(e *disk.CorruptError, b *cache.Buffer) error {
	e.Inode = c.Inode
	if b != nil {
		e.Block = b.Block()
	}
	return e
}
