package format

import (
	"math"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Bounds of journals, in blocks.
const (
	journalMin      = disk.JournalMinBlocks
	journalMax      = 10240000
	journalSmallest = 2048 // blocks of a file system that has a journal
	journalFast     = 64   // the journal is so many times the fast-commit area
)

// journalPlan is the journal to be made.
type journalPlan struct {
	hiddenFile
	fast uint32 // blocks of the fast-commit area, counted in hiddenFile.blocks
}

// defaultJournal is the size of the journal of a file system of so many blocks,
// 0 if it is too small for one.
func defaultJournal(blocks uint64) uint32 {
	for _, step := range []struct {
		below uint64
		size  uint32
	}{
		{journalSmallest, 0}, {32 << 10, 1 << 10}, {256 << 10, 4 << 10}, {512 << 10, 8 << 10}, {4096 << 10, 16 << 10},
		{8192 << 10, 32 << 10}, {16384 << 10, 64 << 10}, {32768 << 10, 128 << 10},
	} {
		if blocks < step.below {
			return step.size
		}
	}
	return 256 << 10
}

// placeJournal finds the size and the place of the journal.
func (b *builder) placeJournal() error {
	sb, o := &b.sb, &b.o.Journal
	if !sb.Features.Compat.Has(disk.CompatHasJournal) {
		return nil
	}
	if d := o.Device; d != nil {
		sb.JournalUUID, sb.JournalDev = d.UUID, d.Dev
		return nil
	}
	n := defaultJournal(sb.BlocksCount)
	if n == 0 {
		b.warn("too small for a journal")
		sb.Features.Compat &^= disk.CompatHasJournal | disk.CompatOrphanFile
		return nil
	}
	fast, err := b.journalSize(&n)
	if err != nil {
		return err
	}
	goal := b.journalGoal()
	h, ok := b.l.placeFile(goal, n+fast)
	if !ok {
		return &SmallError{sb.BlocksCount, "the journal"}
	}
	b.journal = journalPlan{hiddenFile: h, fast: fast}
	sb.JournalInode = disk.JournalInode
	sb.JournalBackupType = 1
	sb.OverheadClusters += uint32(divUp(uint64(n)+uint64(fast), b.l.ratio))
	return nil
}

// journalSize changes n to what was asked for, and finds the size of the
// fast-commit area.
func (b *builder) journalSize(n *uint32) (fast uint32, err error) {
	sb, o := &b.sb, &b.o.Journal
	bs := int64(sb.BlockSize())
	withFast := sb.Features.Compat.Has(disk.CompatFastCommit)
	if withFast {
		fast = *n / journalFast
	}
	if o.Size < 0 || o.FastSize < 0 {
		return 0, bad("journal size", min(o.Size, o.FastSize), "must not be negative")
	}
	if o.Size == 0 && (!withFast || o.FastSize == 0) {
		return fast, nil
	}
	total := int64(*n) + int64(fast)
	if o.Size > 0 {
		total += min(o.Size/bs, math.MaxInt32) - int64(*n)
		*n = uint32(min(o.Size/bs, math.MaxInt32))
	}
	if withFast && o.FastSize > 0 {
		total += min(o.FastSize/bs, math.MaxInt32) - int64(fast)
		fast = uint32(min(o.FastSize/bs, math.MaxInt32))
	}
	if total < journalMin || total > journalMax {
		return 0, bad("journal size", total*bs, "%d blocks; it must have %d to %d", total, journalMin, journalMax)
	}
	if uint64(total) > b.l.first/2 {
		return 0, bad("journal size", total*bs, "%d blocks are more than half of the %d free ones", total, b.l.first)
	}
	return fast, nil
}

// journalGoal is where to look for room for the journal. mke2fs does not ask
// this for a journal without extents: that lies at the start unless a place is
// asked for.
func (b *builder) journalGoal() uint64 {
	sb := &b.sb
	switch loc := b.o.Journal.Location; {
	case b.o.PackedMeta:
		return 0
	case loc != nil:
		return loc.blocks(sb.LogBlockSize)
	case !sb.Features.Incompat.Has(disk.IncompatExtents):
		return b.l.inodeGoal(disk.JournalInode)
	}
	return uint64(sb.GroupFirstBlock(b.l.middle()))
}

// middle is the group near the middle of the file system with the most free
// blocks. That of a flex group is one of its first two.
func (l *placer) middle() disk.GroupNum {
	groups := l.sb.Groups()
	g := l.sb.GroupOf(disk.BlockNum((l.end - uint64(l.sb.FirstDataBlock)) / 2))
	start := g - min(g, 1)
	if flex := disk.GroupNum(1) << l.sb.LogGroupsPerFlex; flex > 1 && g > flex {
		for g &^= flex - 1; g < groups && l.free[g] == 0; {
			g++
		}
		if g == groups {
			g = 0
		}
		start = g
	}
	end := min(g+1, groups-1)
	best := start
	for i := start + 1; i <= end; i++ {
		if l.free[i] > l.free[best] {
			best = i
		}
	}
	return best
}
