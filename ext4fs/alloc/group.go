package alloc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// group is what is known of one block group. mu comes after the owners' locks;
// who needs several groups takes them in ascending order.
type group struct {
	mu sync.Mutex

	// Never change after New.
	num                                  disk.GroupNum
	blockBitmap, inodeBitmap, inodeTable disk.BlockNum
	damage                               error // of the descriptor: nothing here is ever changed

	// Guarded by mu. The counters and flags are those of the descriptor's
	// current version; flags and unused are 0 without descriptor checksums.
	freeClusters, freeInodes, dirs, unused uint32
	flags                                  uint16
	badBlocks, badInodes                   bool   // that bitmap is not used any more
	used                                   bool   // since the last look for what can be dropped
	idx                                    *index // nil: the block bitmap was not looked at
	ranked                                 uint32 // the longest free run, as ranks has it
	ibusy                                  []uint64
	ifirst                                 uint32   // no inode below this index can be given out
	heldClusters                           uint32   // freed, not committed
	heldInodes                             []uint64 // a set of indexes: freed, not committed
	heldCount                              uint32   // of these
	windowed                               uint32   // clusters set aside for files
	trimmed                                uint64   // 0, or 1 + the shortest run that was trimmed since the last free

	// What the descriptor said at New of its bitmaps, or what the last commit
	// sealed. Written by sealers only.
	blockSum, inodeSum atomic.Uint32
	sealed             atomic.Bool
}

// holdsInode reports whether the inode of that index was freed, and that is not
// committed. mu is held.
func (g *group) holdsInode(i uint32) bool {
	return g.heldCount > 0 && g.heldInodes[i/64]>>(i%64)&1 != 0
}

// holdInode notes that an inode was freed; n is how many the group has. mu is held.
func (g *group) holdInode(i, n uint32) {
	if g.heldInodes == nil {
		g.heldInodes = make([]uint64, (n+63)/64)
	}
	if !g.holdsInode(i) {
		g.heldInodes[i/64] |= 1 << (i % 64)
		g.heldCount++
	}
}

// letInode takes holdInode back. mu is held.
func (g *group) letInode(i uint32) {
	if g.holdsInode(i) {
		g.heldInodes[i/64] &^= 1 << (i % 64)
		g.heldCount--
	}
}

// readDescs fills a.groups.
func (a *Allocator) readDescs(ctx context.Context) error {
	s := &a.super
	n := s.Groups()
	per := disk.GroupNum(s.DescsPerBlock())
	a.groups = make([]group, 0, min(n, 1<<14))
	var buf *cache.Buffer
	for g := disk.GroupNum(0); g < n; g++ {
		if g%per == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			i := uint32(g / per)
			first, row := s.DescBlock(i), min(s.DescBlocks()-i, 256)
			if s.DescBlock(i+row-1) != first+disk.BlockNum(row-1) {
				row = 1 // meta_bg: here and there
			}
			if buf, err = a.cfg.Cache.GetRun(first, first, int(row)); err != nil {
				return fmt.Errorf("descriptors from group %d on: %w", g, err)
			}
		}
		if len(a.groups) == cap(a.groups) {
			a.groups = slices.Grow(a.groups, int(min(n-g, g)))
		}
		a.groups = a.groups[:g+1]
		gr := &a.groups[g]
		gr.num = g
		size := s.DescSize()
		at := int(g%per) * size
		a.readDesc(gr, disk.GroupDesc(buf.Data()[at:at+size]))
	}
	return nil
}

func (a *Allocator) readDesc(g *group, d disk.GroupDesc) {
	s := &a.super
	g.blockBitmap, g.inodeBitmap, g.inodeTable = d.BlockBitmap(), d.InodeBitmap(), d.InodeTable()
	g.freeClusters, g.freeInodes, g.dirs = d.FreeClusters(), d.FreeInodes(), d.UsedDirs()
	if s.HasGroupCsum() {
		g.flags, g.unused = d.Flags(), d.ItableUnused()
	}
	g.blockSum.Store(d.BlockBitmapChecksum())
	g.inodeSum.Store(d.InodeBitmapChecksum())
	if sum, ok := s.GroupDescSum(g.num, d); ok && a.cfg.Verify && sum != d.Checksum() {
		g.damage = &disk.ChecksumError{
			What: fmt.Sprintf("descriptor of group %d", g.num), Block: s.DescBlock(uint32(g.num) / s.DescsPerBlock()),
			Stored: uint32(d.Checksum()), Computed: uint32(sum),
		}
	} else {
		g.damage = a.judgeDesc(g)
	}
	if g.damage != nil { // its counters would spoil the sums
		g.freeClusters, g.freeInodes, g.dirs = 0, 0, 0
	}
}

// judgeDesc says why a descriptor is impossible.
func (a *Allocator) judgeDesc(g *group) error {
	s := &a.super
	bad := func(format string, args ...any) error {
		return &disk.CorruptError{
			What:   fmt.Sprintf("descriptor of group %d", g.num),
			Block:  s.DescBlock(uint32(g.num) / s.DescsPerBlock()),
			Detail: fmt.Sprintf(format, args...),
		}
	}
	lo, hi := uint64(s.FirstDataBlock), s.Blocks()
	if !s.Features.Incompat.Has(disk.IncompatFlexBG) {
		lo = uint64(s.GroupFirstBlock(g.num))
		hi = lo + uint64(s.GroupBlocks(g.num))
	}
	for _, m := range []struct {
		what string
		bn   disk.BlockNum
		n    uint64
	}{
		{"block bitmap", g.blockBitmap, 1},
		{"inode bitmap", g.inodeBitmap, 1},
		{"inode table", g.inodeTable, uint64(s.InodeTableBlocks())},
	} {
		if uint64(m.bn) < max(lo, 1) || uint64(m.bn) >= hi || m.n > hi-uint64(m.bn) {
			return bad("%s at block %d", m.what, m.bn)
		}
	}
	switch {
	case g.freeClusters > s.GroupClusters(g.num):
		return bad("%d of %d clusters free", g.freeClusters, s.GroupClusters(g.num))
	case g.freeInodes > s.InodesPerGroup, g.dirs > s.InodesPerGroup-g.freeInodes:
		return bad("%d inodes free and %d directories of %d inodes", g.freeInodes, g.dirs, s.InodesPerGroup)
	case g.unused > g.freeInodes:
		return bad("%d inodes never used, %d free", g.unused, g.freeInodes)
	}
	return nil
}

// zone is a range of blocks that holds the file system's own structures.
type zone struct{ start, end disk.BlockNum }

// findZones collects the zones. Groups whose structures overlap with those of
// another are damaged: nobody can tell whose they are.
func (a *Allocator) findZones() {
	s := &a.super
	type piece struct {
		zone
		g int64
	}
	list := make([]piece, 0, 4*len(a.groups)+len(a.cfg.Zones))
	for i := range a.groups {
		g := &a.groups[i]
		add := func(bn disk.BlockNum, n uint32) {
			if n > 0 && uint64(bn) < s.Blocks() {
				end := min(uint64(bn)+uint64(n), s.Blocks())
				list = append(list, piece{zone{bn, disk.BlockNum(end)}, int64(i)})
			}
		}
		add(s.BaseMeta(g.num))
		if g.damage == nil {
			add(g.blockBitmap, 1)
			add(g.inodeBitmap, 1)
			add(g.inodeTable, s.InodeTableBlocks())
		}
	}
	for _, z := range a.cfg.Zones {
		if uint64(z.Start) < s.Blocks() && z.Len > 0 {
			end := uint64(z.Start) + min(z.Len, s.Blocks()-uint64(z.Start))
			list = append(list, piece{zone{z.Start, disk.BlockNum(end)}, -1})
		}
	}
	slices.SortFunc(list, func(x, y piece) int {
		switch {
		case x.start < y.start:
			return -1
		case x.start > y.start:
			return 1
		}
		return 0
	})
	last := int64(-1) // whose piece reaches farthest
	for _, p := range list {
		n := len(a.zones)
		if n == 0 || p.start > a.zones[n-1].end {
			a.zones = append(a.zones, p.zone)
			last = p.g
			continue
		}
		if p.start < a.zones[n-1].end && p.g >= 0 && last >= 0 {
			for _, i := range []int64{last, p.g} {
				if g := &a.groups[i]; g.damage == nil {
					g.damage = &disk.CorruptError{
						What: fmt.Sprintf("descriptor of group %d", g.num), Block: p.start,
						Detail: "structures overlap with others",
					}
					g.freeClusters, g.freeInodes, g.dirs = 0, 0, 0
				}
			}
		}
		if p.end >= a.zones[n-1].end {
			a.zones[n-1].end, last = p.end, p.g
		}
	}
}

// inZone returns the first zone that [bn, bn+n) touches.
func (a *Allocator) inZone(bn disk.BlockNum, n uint64) (zone, bool) {
	i, _ := slices.BinarySearchFunc(a.zones, bn, func(z zone, b disk.BlockNum) int {
		if z.end <= b {
			return -1
		}
		return 1
	})
	if i < len(a.zones) && uint64(a.zones[i].start) < uint64(bn)+n {
		return a.zones[i], true
	}
	return zone{}, false
}

// spoilBlocks takes the group's block bitmap out of use. g.mu is held.
func (a *Allocator) spoilBlocks(g *group, err error) {
	if g.badBlocks {
		return
	}
	g.badBlocks = true
	left := int64(g.freeClusters) - int64(g.heldClusters)
	a.avail.Add(-left)
	a.flexOf(g.num).clusters.Add(-int64(g.freeClusters))
	g.idx, g.ranked = nil, 0
	a.ranks.set(g.num, 0)
	a.report(g, err)
}

// rank brings the group's rank up to date. g.mu is held.
func (a *Allocator) rank(g *group) {
	if n := g.idx.longest(); n != g.ranked {
		g.ranked = n
		a.ranks.set(g.num, n)
	}
}

// spoilInodes takes the group's inode bitmap out of use. g.mu is held.
func (a *Allocator) spoilInodes(g *group, err error) {
	if g.badInodes {
		return
	}
	g.badInodes = true
	a.flexOf(g.num).inodes.Add(-int64(g.freeInodes))
	a.inodes.put(g.num, false)
	g.ibusy = nil
	a.report(g, err)
}

// first is the first block of cluster c of the group.
func (a *Allocator) first(g *group, c uint32) disk.BlockNum {
	return a.super.GroupFirstBlock(g.num) + disk.BlockNum(uint64(c)*uint64(a.ratio))
}

// place is the group of a block, and the cluster it is in there.
func (a *Allocator) place(bn disk.BlockNum) (disk.GroupNum, uint32) {
	g := a.super.GroupOf(bn)
	return g, uint32(uint64(bn-a.super.GroupFirstBlock(g)) / uint64(a.ratio))
}
