package disk

import "fmt"

// BlockSize is the block size in bytes. Call it only after Validate.
func (s *Superblock) BlockSize() int { return MinBlockSize << s.LogBlockSize }

// ClusterSize is the allocation unit in bytes.
func (s *Superblock) ClusterSize() int64 { return int64(s.BlockSize()) * int64(s.ClusterRatio()) }

// ClusterRatio is the number of blocks in a cluster; 1 without bigalloc.
func (s *Superblock) ClusterRatio() uint32 {
	if !s.Features.ROCompat.Has(ROCompatBigalloc) {
		return 1
	}
	return 1 << (s.LogClusterSize - s.LogBlockSize)
}

// Blocks is the number of blocks of the file system.
func (s *Superblock) Blocks() uint64 {
	if !s.Features.Incompat.Has(Incompat64bit) {
		return uint64(uint32(s.BlocksCount))
	}
	return s.BlocksCount
}

// Free is the free block count of the superblock, with its high half only
// where that has a meaning.
func (s *Superblock) Free() uint64 {
	if !s.Features.Incompat.Has(Incompat64bit) {
		return uint64(uint32(s.FreeBlocks))
	}
	return s.FreeBlocks
}

// Reserved is the reserved block count, with its high half only where that
// has a meaning.
func (s *Superblock) Reserved() uint64 {
	if !s.Features.Incompat.Has(Incompat64bit) {
		return uint64(uint32(s.ReservedBlocks))
	}
	return s.ReservedBlocks
}

// Groups is the number of block groups.
func (s *Superblock) Groups() GroupNum {
	data := s.Blocks() - uint64(s.FirstDataBlock)
	return GroupNum((data + uint64(s.BlocksPerGroup) - 1) / uint64(s.BlocksPerGroup))
}

// InodeSize is the size of an inode record in bytes.
func (s *Superblock) InodeSize() int { return int(s.RawInodeSize) }

// DescSize is the size of a group descriptor in bytes.
func (s *Superblock) DescSize() int {
	if !s.Features.Incompat.Has(Incompat64bit) {
		return 32
	}
	return int(s.RawDescSize)
}

// DescsPerBlock is the number of group descriptors in a block.
func (s *Superblock) DescsPerBlock() uint32 { return uint32(s.BlockSize() / s.DescSize()) }

// DescBlocks is the number of blocks that hold group descriptors.
func (s *Superblock) DescBlocks() uint32 {
	per := s.DescsPerBlock()
	return (uint32(s.Groups()) + per - 1) / per
}

// InodesPerBlock is the number of inode records in a block.
func (s *Superblock) InodesPerBlock() uint32 { return uint32(s.BlockSize() / s.InodeSize()) }

// InodeTableBlocks is the number of blocks of one group's inode table.
func (s *Superblock) InodeTableBlocks() uint32 {
	per := s.InodesPerBlock()
	return (s.InodesPerGroup + per - 1) / per
}

// Inodes is the number of inodes that exist: the lesser of the count and of
// what the groups can hold.
func (s *Superblock) Inodes() InodeNum {
	held := uint64(s.InodesPerGroup) * uint64(s.Groups())
	return InodeNum(min(uint64(s.InodesCount), held))
}

// GroupFirstBlock is the first block of group g.
func (s *Superblock) GroupFirstBlock(g GroupNum) BlockNum {
	return BlockNum(uint64(s.FirstDataBlock) + uint64(g)*uint64(s.BlocksPerGroup))
}

// GroupBlocks is the number of blocks in group g; the last may be short.
func (s *Superblock) GroupBlocks(g GroupNum) uint32 {
	first := uint64(s.GroupFirstBlock(g))
	if first >= s.Blocks() {
		return 0
	}
	return uint32(min(uint64(s.BlocksPerGroup), s.Blocks()-first))
}

// GroupClusters is the number of clusters in group g, a partial last one
// counted.
func (s *Superblock) GroupClusters(g GroupNum) uint32 {
	r := s.ClusterRatio()
	return (s.GroupBlocks(g) + r - 1) / r
}

// GroupOf is the group of a block.
func (s *Superblock) GroupOf(b BlockNum) GroupNum {
	if uint64(b) < uint64(s.FirstDataBlock) {
		return 0
	}
	return GroupNum((uint64(b) - uint64(s.FirstDataBlock)) / uint64(s.BlocksPerGroup))
}

// InodeGroup is the group of an inode and its index there.
func (s *Superblock) InodeGroup(n InodeNum) (GroupNum, uint32) {
	return GroupNum((uint32(n) - 1) / s.InodesPerGroup), (uint32(n) - 1) % s.InodesPerGroup
}

// HasMetadataCsum reports whether metadata carries CRC-32C checksums.
func (s *Superblock) HasMetadataCsum() bool { return s.Features.ROCompat.Has(ROCompatMetadataCsum) }

// HasGroupCsum reports whether descriptor checksums and UNINIT flags have a
// meaning.
func (s *Superblock) HasGroupCsum() bool {
	return s.Features.ROCompat&(ROCompatMetadataCsum|ROCompatGDTCsum) != 0
}

// Seed is the checksum seed of the file system.
func (s *Superblock) Seed() uint32 {
	if s.Features.Incompat.Has(IncompatCsumSeed) {
		return s.ChecksumSeed
	}
	return Sum(^uint32(0), s.UUID[:])
}

// HasSuper reports whether group g carries a copy of the superblock.
func (s *Superblock) HasSuper(g GroupNum) bool {
	switch {
	case g == 0:
		return true
	case s.Features.Compat.Has(CompatSparseSuper2):
		return g == s.BackupGroups[0] || g == s.BackupGroups[1]
	case !s.Features.ROCompat.Has(ROCompatSparseSuper):
		return true
	}
	return g == 1 || powerOf(g, 3) || powerOf(g, 5) || powerOf(g, 7)
}

func powerOf(g GroupNum, base uint64) bool {
	n := base
	for n < uint64(g) {
		n *= base
	}
	return n == uint64(g)
}

// superBlockOf is where group g's copy of the superblock would lie. With
// bigalloc on 1 KiB blocks, group 0 counts from block 1 although the first
// data block is 0.
func (s *Superblock) superBlockOf(g GroupNum) BlockNum {
	if g == 0 && s.LogBlockSize == 0 {
		return 1
	}
	return s.GroupFirstBlock(g)
}

// usesMetaBG reports whether descriptor block i has the meta_bg layout.
func (s *Superblock) usesMetaBG(i uint32) bool {
	return s.Features.Incompat.Has(IncompatMetaBG) && i >= s.FirstMetaBG
}

// DescBlock is the block of the primary copy of descriptor block i.
func (s *Superblock) DescBlock(i uint32) BlockNum { return s.DescBlockCopy(i, 0) }

// DescBlockCopy is the block of a copy of descriptor block i. In the classic
// layout copy is the group number, which must carry a superblock; with meta_bg
// it is 0, 1 or 2 for the first, second and last group of the meta group.
func (s *Superblock) DescBlockCopy(i uint32, copy GroupNum) BlockNum {
	if !s.usesMetaBG(i) {
		return s.superBlockOf(copy) + 1 + BlockNum(i)
	}
	per := GroupNum(s.DescsPerBlock())
	g := GroupNum(i) * per
	switch copy {
	case 1:
		g++
	case 2:
		g += per - 1
	}
	b := s.superBlockOf(g)
	if s.HasSuper(g) {
		b++
	}
	return b
}

// BaseMeta describes the superblock and descriptor blocks at the head of a
// group: length blocks from first on, in use before anything is allocated.
// Without a superblock and descriptors, length is 0.
func (s *Superblock) BaseMeta(g GroupNum) (first BlockNum, length uint32) {
	first = s.superBlockOf(g)
	if s.HasSuper(g) {
		length = 1
	}
	meta := uint32(g) / s.DescsPerBlock()
	if s.usesMetaBG(meta) {
		in := uint32(g) % s.DescsPerBlock()
		if in <= 1 || in == s.DescsPerBlock()-1 {
			length++
		}
		return first, length
	}
	if length == 1 {
		blocks := s.DescBlocks()
		if s.Features.Incompat.Has(IncompatMetaBG) {
			blocks = min(blocks, s.FirstMetaBG)
		}
		length += blocks + uint32(s.ReservedGDTBlocks)
	}
	return first, length
}

// Validate checks that the geometry is possible, so that the other methods
// cannot divide by zero or overflow. deviceBytes is the size of the device, or
// a negative number when it is not known.
func (s *Superblock) Validate(deviceBytes int64) error {
	bad := func(format string, args ...any) error {
		return &CorruptError{What: "superblock", Detail: fmt.Sprintf(format, args...)}
	}
	if s.LogBlockSize > 6 {
		return bad("block size 1024<<%d", s.LogBlockSize)
	}
	bs := uint64(s.BlockSize())
	if err := s.validateClusters(bs); err != nil {
		return err
	}
	if n := s.RawInodeSize; n < 128 || uint64(n) > bs || n&(n-1) != 0 {
		return bad("inode size %d", n)
	}
	if s.Features.Incompat.Has(Incompat64bit) {
		if n := s.RawDescSize; n < 64 || n > 1024 || n&(n-1) != 0 {
			return bad("group descriptor size %d", n)
		}
	}
	if n := s.InodesPerGroup; n == 0 || uint64(n) > 8*bs {
		return bad("%d inodes per group", n)
	}
	if uint64(s.FirstDataBlock) >= s.Blocks() {
		return bad("first data block %d of %d blocks", s.FirstDataBlock, s.Blocks())
	}
	if want := uint32(0); s.FirstDataBlock != want && (s.LogBlockSize != 0 || s.FirstDataBlock != 1) {
		return bad("first data block %d with %d byte blocks", s.FirstDataBlock, bs)
	}
	if s.Blocks() > 1<<48 {
		return bad("%d blocks", s.Blocks())
	}
	groups := (s.Blocks() - uint64(s.FirstDataBlock) + uint64(s.BlocksPerGroup) - 1) / uint64(s.BlocksPerGroup)
	if groups > 1<<32-1 {
		return bad("%d groups", groups)
	}
	if s.InodesCount == 0 || uint64(s.InodesCount) > groups*uint64(s.InodesPerGroup) {
		return bad("%d inodes in %d groups of %d", s.InodesCount, groups, s.InodesPerGroup)
	}
	if s.Features.Incompat.Has(IncompatMetaBG) && s.FirstMetaBG > s.DescBlocks() {
		return bad("first meta block group %d of %d descriptor blocks", s.FirstMetaBG, s.DescBlocks())
	}
	if deviceBytes >= 0 && s.Blocks() > uint64(deviceBytes)/bs {
		return bad("%d blocks of %d bytes on a device of %d bytes", s.Blocks(), bs, deviceBytes)
	}
	return nil
}

func (s *Superblock) validateClusters(bs uint64) error {
	bad := func(format string, args ...any) error {
		return &CorruptError{What: "superblock", Detail: fmt.Sprintf(format, args...)}
	}
	if s.BlocksPerGroup == 0 {
		return bad("no blocks in a group")
	}
	if !s.Features.ROCompat.Has(ROCompatBigalloc) {
		if uint64(s.BlocksPerGroup) > 8*bs {
			return bad("%d blocks per group", s.BlocksPerGroup)
		}
		return nil
	}
	if s.LogClusterSize < s.LogBlockSize || s.LogClusterSize > 29 {
		return bad("cluster size 1024<<%d with block size 1024<<%d", s.LogClusterSize, s.LogBlockSize)
	}
	if s.ClustersPerGroup == 0 || uint64(s.ClustersPerGroup) > 8*bs ||
		uint64(s.BlocksPerGroup) != uint64(s.ClustersPerGroup)*uint64(s.ClusterRatio()) {
		return bad("%d clusters and %d blocks per group, %d blocks per cluster",
			s.ClustersPerGroup, s.BlocksPerGroup, s.ClusterRatio())
	}
	return nil
}
