package format

import (
	"math"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
)

// hiddenFile is where a file of the file system itself lies.
type hiddenFile struct {
	blocks uint32          // of content
	runs   []extent.Extent // written ones, without holes
	nodes  []disk.BlockNum // of the map, in the order that extent.Build or indirect.Build want
}

// sectors is i_blocks of the file in units of 512 bytes: whole clusters, also
// for each block of the map.
func (h *hiddenFile) sectors(sb *disk.Superblock) uint64 {
	ratio := uint64(sb.ClusterRatio())
	clusters := divUp(uint64(h.blocks), ratio) + uint64(len(h.nodes))
	return clusters * ratio * uint64(sb.BlockSize()/512)
}

// all yields the blocks of the file and its map.
func (h *hiddenFile) all(yield func(bn disk.BlockNum, n uint32) bool) {
	for i := range h.runs {
		if !yield(h.runs[i].Physical, h.runs[i].Len) {
			return
		}
	}
	for _, bn := range h.nodes {
		if !yield(bn, 1) {
			return
		}
	}
}

// placeHidden finds places for the files of the file system itself, in the
// order of mke2fs: root and lost+found get theirs first.
func (b *builder) placeHidden() error {
	l, sb := b.l, &b.sb
	f := sb.Features
	roomFor := func(ok bool, what string) error {
		if ok {
			return nil
		}
		return &SmallError{sb.BlocksCount, what}
	}
	// These places are only kept free: the builder of the image finds them,
	// because it begins with these two.
	_, ok := l.one(0)
	_, lost := l.series(l.inodeGoal(sb.FirstInode), divUp(uint64(b.lostFoundBlocks()), l.ratio))
	if err := roomFor(ok && lost, "root and lost+found"); err != nil {
		return err
	}
	if f.Compat.Has(disk.CompatResizeInode) {
		base := uint64(max(sb.FirstDataBlock, 1)) // of the superblock on 1 KiB blocks
		if sb.LogBlockSize != 0 {
			base = 0
		}
		bn, ok := l.one(base + uint64(sb.DescBlocks()) + uint64(sb.ReservedGDTBlocks) + 2 + l.table)
		if err := roomFor(ok, "the resize inode"); err != nil {
			return err
		}
		b.dind = disk.BlockNum(bn)
	}
	if err := b.placeJournal(); err != nil {
		return err
	}
	if sb.Features.Incompat.Has(disk.IncompatMMP) {
		bn, ok := l.one(0)
		if err := roomFor(ok, "the MMP block"); err != nil {
			return err
		}
		b.mmp, sb.MMPBlock = disk.BlockNum(bn), disk.BlockNum(bn)
		if sb.MMPInterval == 0 {
			sb.MMPInterval = mmpInterval
		}
	}
	b.chooseQuota()
	b.requireLargeFile()
	if n := b.o.OrphanFileSize.blocks(sb.LogBlockSize); n > orphanMax && sb.Features.Compat.Has(disk.CompatOrphanFile) {
		b.warn("the orphan file has %d blocks, not %d", orphanMax, n)
	}
	return nil
}

// requireLargeFile sets the feature that hidden files of 2 GiB or more need, also
// if it is not wanted, as mke2fs does.
func (b *builder) requireLargeFile() {
	sb := &b.sb
	bs := sb.BlockSize()
	longest := int64(b.journal.blocks) * int64(bs)
	if b.dind != 0 {
		longest = max(longest, resizeInodeSize(bs))
	}
	if longest > math.MaxInt32 && sb.RevLevel > 0 {
		sb.Features.ROCompat |= disk.ROCompatLargeFile
	}
}

// inodeGoal is where mke2fs begins to look for blocks of a new inode.
func (l *placer) inodeGoal(n disk.InodeNum) uint64 {
	g, _ := l.sb.InodeGroup(n)
	first, _ := l.flexGroup(g)
	return uint64(l.sb.GroupFirstBlock(first))
}

// one takes one cluster at goal or where the next free one is.
func (l *placer) one(goal uint64) (uint64, bool) {
	runs, ok := l.series(goal, 1)
	if !ok {
		return 0, false
	}
	return runs[0].from, true
}

// series takes the next n free clusters from goal on; at the end of the file
// system it begins anew at the start. On failure some are taken.
func (l *placer) series(goal, n uint64) ([]interval, bool) {
	first := uint64(l.sb.FirstDataBlock)
	if goal == 0 || goal >= l.end {
		goal = first
	}
	at := goal &^ (l.ratio - 1)
	var runs []interval
	for wrapped := false; n > 0; {
		from, to := l.used.gap(at, l.end)
		if from >= l.end {
			if wrapped {
				return nil, false
			}
			wrapped, at = true, first
			continue
		}
		k := min(n, (to-from)/l.ratio)
		l.take(from, k*l.ratio)
		runs = append(runs, interval{from, from + k*l.ratio})
		n -= k
		at = from + k*l.ratio
	}
	return runs, true
}

// placeFile takes room for a file of n blocks from goal on.
func (l *placer) placeFile(goal uint64, n uint32) (hiddenFile, bool) {
	if l.sb.Features.Incompat.Has(disk.IncompatExtents) {
		return l.placeExtents(goal, n)
	}
	return l.placeMapped(goal, n)
}

// placeExtents takes room for a file with an extent tree, for one extent after
// the other. Like mke2fs it takes the first node when the root is full.
func (l *placer) placeExtents(goal uint64, n uint32) (h hiddenFile, ok bool) {
	h.blocks = n
	pieces, left := 0, uint64(n)
	node := func(at uint64) bool {
		b, ok := l.one(at)
		h.nodes = append(h.nodes, disk.BlockNum(b))
		return ok
	}
	at := goal
	for left > 0 {
		from, to, found := l.nextRun(at)
		if !found {
			return h, false
		}
		most := max(disk.MaxExtentLen, l.ratio) // more than one extent if a cluster is
		k := min(divUp(left, l.ratio)*l.ratio, (to-from)/l.ratio*l.ratio, most)
		l.take(from, k)
		at = from + k
		k = min(k, left)
		h.runs = append(h.runs, extent.Extent{
			Logical: disk.LogicalNum(uint64(n) - left), Physical: disk.BlockNum(from), Len: uint32(k),
		})
		left -= k
		pieces += int(divUp(k, disk.MaxExtentLen))
		if pieces > disk.ExtentRootMax && len(h.nodes) == 0 && !node(max(uint64(h.runs[0].Physical), l.ratio)-l.ratio) {
			return h, false
		}
	}
	want, err := extent.TreeBlocks(pieces, l.sb.BlockSize())
	if err != nil {
		return h, false
	}
	for len(h.nodes) < want {
		if !node(uint64(h.nodes[len(h.nodes)-1])) {
			return h, false
		}
	}
	return h, true
}

// nextRun is the next run of free blocks from b on, or from the start.
func (l *placer) nextRun(b uint64) (from, to uint64, ok bool) {
	first := uint64(l.sb.FirstDataBlock)
	if b == 0 || b >= l.end {
		b = first
	}
	if from, to = l.used.gap(b&^(l.ratio-1), l.end); from < l.end {
		return from, to, true
	}
	from, to = l.used.gap(first, l.end)
	return from, to, from < l.end
}

// placeMapped takes room for a file with a map of pointer blocks, each of which
// lies before the blocks that it is the first to map.
func (l *placer) placeMapped(goal uint64, n uint32) (h hiddenFile, ok bool) {
	h.blocks = n
	nodes, err := indirect.MapBlocks([]extent.Extent{{Physical: 1 << 20, Len: n}}, l.sb.BlockSize())
	if err != nil {
		return h, false
	}
	runs, ok := l.series(goal, uint64(n)+uint64(nodes))
	if !ok {
		return h, false
	}
	per := uint64(l.sb.BlockSize() / 4)
	logical := uint64(0)
	pending := pointersBefore(0, per)
	for _, r := range runs {
		for r.from < r.to {
			if pending > 0 {
				h.nodes = append(h.nodes, disk.BlockNum(r.from))
				r.from++
				pending--
				continue
			}
			k := min(r.to-r.from, nextPointer(logical, per)-logical, uint64(n)-logical)
			if k == 0 {
				return h, false
			}
			h.addRun(disk.LogicalNum(logical), disk.BlockNum(r.from), uint32(k))
			r.from += k
			if logical += k; logical < uint64(n) {
				pending = pointersBefore(logical, per)
			}
		}
	}
	return h, true
}

// addRun appends blocks, to the run before if they follow it.
func (h *hiddenFile) addRun(l disk.LogicalNum, bn disk.BlockNum, n uint32) {
	if k := len(h.runs); k > 0 && h.runs[k-1].Physical+disk.BlockNum(h.runs[k-1].Len) == bn {
		h.runs[k-1].Len += n
		return
	}
	h.runs = append(h.runs, extent.Extent{Logical: l, Physical: bn, Len: n})
}

// Direct pointers in an inode.
const directBlocks = 12

// nextPointer is the next logical block that needs a new pointer block.
func nextPointer(l, per uint64) uint64 {
	if l < directBlocks {
		return directBlocks
	}
	return directBlocks + ((l-directBlocks)/per+1)*per
}

// pointersBefore is how many pointer blocks are new at logical block l; per is
// the number of pointers in one.
func pointersBefore(l, per uint64) int {
	if l < directBlocks || (l-directBlocks)%per != 0 {
		return 0
	}
	k := (l - directBlocks) / per
	switch {
	case k == 0:
		return 1
	case k == 1: // the first of the double indirect ones
		return 2
	case k == 1+per: // and of the triple
		return 3
	case k > 1+per && (k-1)%per == 0:
		return 2
	}
	return 1
}
