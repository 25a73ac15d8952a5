package dir

import (
	"fmt"
	"math"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// seals are the sealers of a directory's blocks, by what the block is. They
// hold the seed.
type seals struct {
	leaf leafSeal
	root rootSeal
	node nodeSeal
}

type (
	leafSeal uint32
	rootSeal uint32
	nodeSeal uint32
)

func (s *leafSeal) Seal(_ disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	disk.SealDirBlock(uint32(*s), data)
}

func (s *rootSeal) Seal(_ disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	disk.SealDX(uint32(*s), data, rootArray(data))
}

func (s *nodeSeal) Seal(_ disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	disk.SealDX(uint32(*s), data, disk.DXNodeOffset)
}

// sealer is the sealer of blocks of that kind; nil without checksums. It is
// made once for all, so that a change need not allocate one.
func (c *Config) sealer(k TreeKind) cache.Sealer {
	if !c.MetadataCsum {
		return nil
	}
	if c.seals == nil || uint32(c.seals.leaf) != c.Seed {
		c.seals = &seals{leafSeal(c.Seed), rootSeal(c.Seed), nodeSeal(c.Seed)}
	}
	switch k {
	case TreeRoot:
		return &c.seals.root
	case TreeNode:
		return &c.seals.node
	}
	return &c.seals.leaf
}

// write gives the bytes of a block to be changed. From now on it is a block of
// that kind.
func (c *Config) write(tx cache.Tx, b *cache.Buffer, k TreeKind) ([]byte, error) {
	w, err := tx.Write(b.Block(), c.sealer(k))
	if err != nil {
		return nil, fmt.Errorf("change block %d of directory %d: %w", b.Block(), c.Inode, err)
	}
	if len(w.Data()) != c.BlockSize {
		return nil, fmt.Errorf("block %d of directory %d: %d bytes instead of %d", b.Block(), c.Inode, len(w.Data()), c.BlockSize)
	}
	// Whoever asks has verified it. Its checksum is computed at the commit:
	// readers trust the tag until then, whether tx had this version in its
	// hands or read the block again.
	w.SetVerified(c.tag(k != TreeLeaf))
	return w.Data(), nil
}

// grow appends a block, to be one of that kind, and gives its bytes: an empty
// leaf, or zeros. All that may fail must be done before, or leave the
// directory as good as this block alone does.
func (c *Config) grow(tx cache.Tx, k TreeKind) (disk.LogicalNum, []byte, error) {
	// An index keeps 28 bits of a block's number, and an inode 32 bits of a
	// directory's size, without large_dir.
	if c.Indexed && c.Blocks > disk.DXBlockMask || !c.LargeDir && (uint64(c.Blocks)+1)*uint64(c.BlockSize) > math.MaxUint32 {
		return 0, nil, ErrNoSpace
	}
	l, bn, err := c.Append(tx)
	if err != nil {
		return 0, nil, fmt.Errorf("append to directory %d: %w", c.Inode, err)
	}
	if l != c.Blocks {
		return 0, nil, &PartialError{fmt.Errorf("directory %d: block %d was appended to %d", c.Inode, l, c.Blocks)}
	}
	b, err := tx.Fresh(bn, c.sealer(k))
	if err == nil && len(b.Data()) != c.BlockSize {
		err = fmt.Errorf("%d bytes instead of %d", len(b.Data()), c.BlockSize)
	}
	if err != nil {
		return 0, nil, &PartialError{fmt.Errorf("block %d of directory %d: %w", l, c.Inode, err)}
	}
	c.Blocks = l + 1
	c.shape++
	b.SetVerified(c.tag(k != TreeLeaf))
	if k == TreeLeaf {
		c.layout().InitLeaf(b.Data())
	}
	return l, b.Data(), nil
}

// fileType is the type byte of an entry.
func (c *Config) fileType(t uint8) uint8 {
	if c.Filetype {
		return t
	}
	return 0
}
