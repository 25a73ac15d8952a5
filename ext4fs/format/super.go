package format

import (
	"fmt"
	"math"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// SmallError says that nothing fits into a file system of this size. It matches
// ErrOption.
type SmallError struct {
	Blocks uint64 // of the file system
	What   string // what does not fit
}

func (e *SmallError) Error() string {
	return fmt.Sprintf("%d blocks are too few for %s", e.Blocks, e.What)
}

// Is reports whether target is ErrOption or what that matches.
func (e *SmallError) Is(target error) bool { return target == ErrOption || is(ErrOption, target) }

// maxGroupClusters is the most clusters in a group: free ones are counted in 16
// bits.
const maxGroupClusters = 1<<16 - 8

// tailRoom is how many blocks the last group must have besides its tables to be
// worth having.
const tailRoom = 50

// geometry finds the sizes of groups and tables. It begins anew with fewer
// blocks in a group when a group would have more inodes than a bitmap has bits,
// and without the last group when that is too small for its tables.
func (b *builder) geometry() error {
	sb := &b.sb
	bs := uint32(sb.BlockSize())
	ratio := sb.ClusterRatio()
	if sb.LogClusterSize == 0 {
		sb.FirstDataBlock = 1
	}
	sb.BlocksCount = b.asked &^ uint64(ratio-1)
	if sb.BlocksCount <= uint64(sb.FirstDataBlock) {
		return &SmallError{sb.BlocksCount, "a file system"}
	}
	if err := b.groupSize(bs, ratio); err != nil {
		return err
	}
	sb.ReservedBlocks = uint64(b.reserve * float64(b.asked) / 100)
	b.setBackups(0)
	given := sb.ReservedGDTBlocks
	for {
		again, err := b.tryGeometry(given)
		if err != nil {
			return err
		}
		if !again {
			break
		}
	}
	if uint64(sb.InodesCount) < b.need.inodes {
		return bad("inodes", sb.InodesCount, "the content needs %d", b.need.inodes)
	}
	b.setBackups(sb.Groups())
	// Half of what is left after rounding, or checkers refuse the superblock;
	// mke2fs 1.47.0 does not see to that.
	sb.ReservedBlocks = min(sb.ReservedBlocks, sb.BlocksCount/2)
	return nil
}

// groupSize sets the blocks and clusters of a group.
func (b *builder) groupSize(bs, ratio uint32) error {
	sb := &b.sb
	n := b.o.BlocksPerGroup
	switch {
	case n != 0:
	case ratio > 1 && sb.LogClusterSize+15 >= 32:
		n = (bs - 1) * 8
	default:
		n = 8 * bs
	}
	sb.ClustersPerGroup = min(n, maxGroupClusters)
	per := uint64(sb.ClustersPerGroup) * uint64(ratio)
	if per > math.MaxUint32 {
		return bad("cluster size", sb.ClusterSize(), "%d blocks in a group are too many", per)
	}
	sb.BlocksPerGroup = uint32(per)
	return nil
}

// tryGeometry makes one attempt. given is the number of reserved descriptor
// blocks that Resize asked for.
func (b *builder) tryGeometry(given uint16) (again bool, err error) {
	sb := &b.sb
	if shrunk, err := b.inodesPerGroup(); shrunk || err != nil {
		return shrunk, err
	}
	b.reserveDescs(given)
	descs, table := sb.DescBlocks(), sb.InodeTableBlocks()
	overhead := 3 + uint64(table) + uint64(sb.ReservedGDTBlocks)
	if sb.Features.Incompat.Has(disk.IncompatMetaBG) {
		overhead++
	} else {
		overhead += uint64(descs)
	}
	if overhead > uint64(sb.BlocksPerGroup) {
		return false, bad("inodes", b.askedInodes, "the inode table of a group needs %d blocks of %d", overhead, sb.BlocksPerGroup)
	}
	overhead = 2 + uint64(table)
	last := sb.Groups() - 1
	if b.hasBackup(last) {
		overhead += 1 + uint64(descs) + uint64(sb.ReservedGDTBlocks)
	}
	rest := (sb.BlocksCount - uint64(sb.FirstDataBlock)) % uint64(sb.BlocksPerGroup)
	if last == 0 && rest != 0 && rest < overhead {
		return false, &SmallError{sb.BlocksCount, fmt.Sprintf("tables of %d blocks", overhead)}
	}
	if rest == 0 || rest >= overhead+tailRoom {
		return false, nil
	}
	if rest >= sb.BlocksCount-uint64(sb.FirstDataBlock) {
		return false, &SmallError{sb.BlocksCount, fmt.Sprintf("tables of %d blocks and content", overhead)}
	}
	sb.BlocksCount -= rest
	percent := 100 * float64(uint64(b.reserve*float64(b.asked)/100)) / float64(b.asked)
	sb.ReservedBlocks = uint64(percent * float64(sb.BlocksCount) / 100)
	return true, nil
}

// hasBackup reports whether the last group has a superblock copy. That of
// sparse_super2 is not set yet.
func (b *builder) hasBackup(last disk.GroupNum) bool {
	if !b.sb.Features.Compat.Has(disk.CompatSparseSuper2) {
		return b.sb.HasSuper(last)
	}
	n := b.backups()
	if last == 1 {
		return n >= 1
	}
	return n >= 2
}

// backups is how many copies sparse_super2 makes.
func (b *builder) backups() int {
	if n := b.o.BackupSupers; n != nil {
		return *n
	}
	return 2
}

// setBackups sets the groups with superblock copies of sparse_super2: 1 and
// the last one. groups is 0 when their number is not known.
func (b *builder) setBackups(groups disk.GroupNum) {
	sb := &b.sb
	if !sb.Features.Compat.Has(disk.CompatSparseSuper2) {
		return
	}
	sb.BackupGroups = [2]disk.GroupNum{}
	n := b.backups()
	if n >= 1 {
		sb.BackupGroups[0] = 1
	}
	if n >= 2 {
		sb.BackupGroups[1] = math.MaxUint32
	}
	if groups == 0 {
		return
	}
	g := &sb.BackupGroups
	g[0], g[1] = min(g[0], groups-1), min(g[1], groups-1)
	if g[0] == g[1] {
		g[1] = 0
	}
	if g[0] > g[1] {
		g[0], g[1] = g[1], g[0]
	}
}

// inodesPerGroup finds the number of inodes in a group: so many that they fill
// the blocks of the table, a multiple of 8 for the bitmap. shrunk says that
// there are fewer blocks in a group now.
func (b *builder) inodesPerGroup() (shrunk bool, err error) {
	sb := &b.sb
	bs, groups := uint64(sb.BlockSize()), uint64(sb.Groups())
	want := max(b.askedInodes, uint64(sb.FirstInode)+1)
	if b.askedInodes == 0 {
		// The ratio gives less than one: mke2fs falls back to 4 KiB for each.
		want = max(sb.BlocksCount/max(1, 4096/bs), uint64(sb.FirstInode)+1, b.need.inodes)
	}
	per := divUp(want, groups)
	if per > 8*bs {
		if sb.ClusterRatio() > 1 || sb.Features.ROCompat.Has(disk.ROCompatBigalloc) || sb.BlocksPerGroup < 256 {
			return false, bad("inodes", want, "%d in each of %d groups are too many", per, groups)
		}
		sb.BlocksPerGroup -= 8
		sb.ClustersPerGroup = sb.BlocksPerGroup
		sb.BlocksCount = b.asked
		return true, nil
	}
	per = min(per, 1<<16-uint64(sb.InodesPerBlock()))
	size := uint64(sb.InodeSize())
	for {
		full := max(divUp(per*size, bs)*bs/size, 8) &^ 7
		if full*groups > math.MaxUint32 {
			per--
			continue
		}
		sb.InodesPerGroup = uint32(full)
		sb.InodesCount = uint32(full * groups)
		// Rounding down must not lose what the content needs.
		lost := b.o.Inodes == 0 && uint64(sb.InodesCount) < b.need.inodes && full+8 <= min(8*bs, 1<<16-uint64(sb.InodesPerBlock())) && (full+8)*groups <= math.MaxUint32
		if sb.InodesCount < uint32(sb.FirstInode)+1 || lost {
			per += 8
			continue
		}
		return false, nil
	}
}

// reserveDescs reserves blocks for descriptors of groups that the file system
// may grow by, and gives up the classic layout where descriptors would fill
// most of a group.
func (b *builder) reserveDescs(given uint16) {
	sb := &b.sb
	sb.ReservedGDTBlocks = 0
	f := &sb.Features
	descs := uint64(sb.DescBlocks())
	if f.Compat.Has(disk.CompatResizeInode) {
		sb.ReservedGDTBlocks = given
		if given == 0 {
			sb.ReservedGDTBlocks = b.defaultReserve(descs)
		}
	}
	if uint64(sb.ReservedGDTBlocks)+descs > uint64(sb.BlocksPerGroup)*3/4 {
		f.Incompat |= disk.IncompatMetaBG
		f.Compat &^= disk.CompatResizeInode
		sb.ReservedGDTBlocks = 0
	}
}

// defaultReserve is the room for descriptors of 1024 times as many blocks.
func (b *builder) defaultReserve(descs uint64) uint16 {
	sb := &b.sb
	most := uint64(math.MaxUint32)
	if sb.BlocksCount < most/1024 {
		most = sb.BlocksCount * 1024
	}
	groups := divUp(most-uint64(sb.FirstDataBlock), uint64(sb.BlocksPerGroup))
	blocks := divUp(groups, uint64(sb.DescsPerBlock()))
	limit := uint64(sb.BlockSize() / 4)
	if blocks < descs {
		return uint16(limit)
	}
	return uint16(min(blocks-descs, limit))
}
