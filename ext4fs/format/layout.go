package format

import (
	"slices"
	"sort"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// interval is the blocks from one to before another.
type interval struct{ from, to uint64 }

// blockSet is a set of blocks, as intervals in ascending order that do not
// touch. What is added mostly lies near what was added before: the intervals are
// kept around a gap there, so that no long lists are moved.
type blockSet struct {
	before []interval
	behind []interval // in descending order
}

func (s *blockSet) len() int { return len(s.before) + len(s.behind) }

func (s *blockSet) get(i int) interval {
	if i < len(s.before) {
		return s.before[i]
	}
	return s.behind[s.len()-1-i]
}

// all yields the intervals in ascending order.
func (s *blockSet) all(yield func(interval) bool) {
	for i := range s.len() {
		if !yield(s.get(i)) {
			return
		}
	}
}

// at is the index of the first interval that ends after block b. Mostly that is
// one next to the gap: the tables of a flex group make three.
func (s *blockSet) at(b uint64) int {
	n, k := len(s.before), len(s.behind)
	i := n
	for ; i > 0 && s.before[i-1].to > b; i-- {
		if n-i == 4 {
			return sort.Search(i, func(i int) bool { return s.before[i].to > b })
		}
	}
	if i < n || k == 0 || s.behind[k-1].to > b {
		return i
	}
	return n + sort.Search(k, func(i int) bool { return s.behind[k-1-i].to > b })
}

// add adds n blocks.
func (s *blockSet) add(b, n uint64) {
	if n == 0 {
		return
	}
	v := interval{b, b + n}
	i := s.at(b)
	if i > 0 && s.get(i-1).to == b {
		i--
	}
	for ; len(s.before) > i; s.before = s.before[:len(s.before)-1] {
		s.behind = append(s.behind, s.before[len(s.before)-1])
	}
	for ; len(s.before) < i; s.behind = s.behind[:len(s.behind)-1] {
		s.before = append(s.before, s.behind[len(s.behind)-1])
	}
	for k := len(s.behind) - 1; k >= 0 && s.behind[k].from <= v.to; k-- {
		v.from, v.to = min(v.from, s.behind[k].from), max(v.to, s.behind[k].to)
		s.behind = s.behind[:k]
	}
	s.before = append(s.before, v)
}

// gap is the first free block from b on, and where the free blocks end; that is
// end if there are none in use behind it.
func (s *blockSet) gap(b, end uint64) (from, to uint64) {
	i := s.at(b)
	if i < s.len() && s.get(i).from <= b {
		b = s.get(i).to
		i++
	}
	if i < s.len() {
		end = min(end, s.get(i).from)
	}
	return b, end
}

// find is the first block from b on and before limit at which n blocks are free
// that lie before end.
func (s *blockSet) find(b, limit, n, end uint64) (uint64, bool) {
	for b < limit && b < end {
		from, to := s.gap(b, end)
		if from >= limit {
			return 0, false
		}
		if to > from && to-from >= n {
			return from, true
		}
		if to >= end {
			return 0, false
		}
		b = to
	}
	return 0, false
}

// clusters widens the set to whole clusters.
func (s *blockSet) clusters(ratio uint64) *blockSet {
	if ratio == 1 {
		return &blockSet{slices.Clone(s.before), slices.Clone(s.behind)}
	}
	c := &blockSet{}
	for v := range s.all {
		from, to := v.from/ratio*ratio, divUp(v.to, ratio)*ratio
		c.add(from, to-from)
	}
	return c
}

// placer finds places as mke2fs does, so that the same options give the same
// layout. It keeps what of the state of mke2fs decides over places, also where
// that is peculiar: the free counts are blocks while tables are placed, also
// with bigalloc, and wrap at 16 bits without 64bit.
type placer struct {
	sb    *disk.Superblock
	used  *blockSet
	end   uint64 // blocks of the file system
	free  []uint32
	mask  uint32 // of free
	table uint64 // blocks of an inode table
	ratio uint64
	hosts []uint64
	// first is the number of free blocks that mke2fs counts before it places
	// tables; those inside flex groups are not subtracted.
	first uint64
}

func newPlacer(sb *disk.Superblock) *placer {
	l := &placer{
		sb: sb, used: &blockSet{}, end: sb.Blocks(), mask: 0xffffffff,
		table: uint64(sb.InodeTableBlocks()), ratio: uint64(sb.ClusterRatio()),
	}
	if !sb.Features.Incompat.Has(disk.Incompat64bit) {
		l.mask = 0xffff
	}
	groups := sb.Groups()
	l.free = make([]uint32, groups)
	l.hosts = make([]uint64, (uint64(groups)+63)/64)
	for g := range groups {
		first, n := sb.BaseMeta(g)
		n = uint32(min(uint64(n), l.end-uint64(first)))
		l.used.add(uint64(first), uint64(n))
		left := uint64(sb.GroupBlocks(g)) - min(uint64(n), uint64(sb.GroupBlocks(g)))
		if sb.LogGroupsPerFlex == 0 {
			left -= min(left, 2+l.table)
		}
		l.free[g] = uint32(left) & l.mask
		l.first += left
	}
	if sb.FirstDataBlock == 0 && sb.LogBlockSize == 0 {
		l.used.add(0, 1) // the boot block, in the cluster of the superblock
	}
	return l
}

// take marks n blocks in use, and less free in the groups they lie in; each
// group counts whole clusters of its part.
func (l *placer) take(b, n uint64) {
	l.used.add(b, n)
	for n > 0 {
		g := l.sb.GroupOf(disk.BlockNum(b))
		part := min(n, uint64(l.sb.GroupFirstBlock(g))+uint64(l.sb.BlocksPerGroup)-b)
		l.free[g] = (l.free[g] - uint32(part/l.ratio)) & l.mask
		l.hosts[g/64] |= 1 << (g % 64)
		b, n = b+part, n-part
	}
}

// run finds n free blocks from start on and before finish. Where finish is not
// after start it goes on at the first block.
func (l *placer) run(start, finish, n uint64) (uint64, bool) {
	first := uint64(l.sb.FirstDataBlock)
	b := max(start, first)
	if finish > start {
		return l.used.find(b, finish, n, l.end)
	}
	if at, ok := l.used.find(b, l.end, n, l.end); ok {
		return at, true
	}
	return l.used.find(first, finish, n, l.end)
}

// placeTables finds places for bitmaps and inode tables.
func (b *builder) placeTables() error {
	l := newPlacer(&b.sb)
	b.l = l
	b.groups = make([]place, b.sb.Groups())
	var ok bool
	if b.o.PackedMeta && b.sb.Features.Incompat.Has(disk.IncompatFlexBG) {
		ok = b.packTables()
	} else {
		ok = true
		for g := range b.groups {
			if ok = l.placeGroup(b.groups, disk.GroupNum(g)); !ok {
				break
			}
		}
	}
	if !ok {
		return &SmallError{b.sb.BlocksCount, "the tables of all groups"}
	}
	b.meta, b.hosts = l.used, slices.Clone(l.hosts)
	l.used = l.used.clusters(l.ratio)
	overhead := uint64(b.sb.FirstDataBlock)
	for v := range l.used.all {
		overhead += (v.to - v.from) / l.ratio
	}
	b.sb.OverheadClusters = uint32(overhead)
	return nil
}

// packTables puts all bitmaps and tables at the start.
func (b *builder) packTables() bool {
	l := b.l
	at := uint64(0)
	next := func(n uint64) (ok bool) {
		first := uint64(b.sb.FirstDataBlock)
		if n == 1 {
			if at, ok = l.used.find(max(at, first), l.end, 1, l.end); !ok {
				at, ok = l.used.find(first, l.end, 1, l.end)
			}
		} else {
			at, ok = l.run(at, l.end-1, n)
		}
		if ok {
			l.take(at, n)
		}
		return ok
	}
	for g := range b.groups {
		if !next(1) {
			return false
		}
		b.groups[g].blockBitmap = disk.BlockNum(at)
	}
	for g := range b.groups {
		if !next(1) {
			return false
		}
		b.groups[g].inodeBitmap = disk.BlockNum(at)
	}
	for g := range b.groups {
		if !next(l.table) {
			return false
		}
		b.groups[g].inodeTable = disk.BlockNum(at)
	}
	return true
}

// flexGroup is the flex group of a group: its first group and its last one.
func (l *placer) flexGroup(g disk.GroupNum) (first, last disk.GroupNum) {
	size := disk.GroupNum(1) << l.sb.LogGroupsPerFlex
	first = g &^ (size - 1)
	return first, min(first+(size-1), l.sb.Groups()-1)
}

// lastBlock is the last block of a group.
func (l *placer) lastBlock(g disk.GroupNum) uint64 {
	return uint64(l.sb.GroupFirstBlock(g)) + uint64(l.sb.GroupBlocks(g)) - 1
}

// placeGroup finds places for the tables of one group.
func (l *placer) placeGroup(groups []place, g disk.GroupNum) bool {
	if l.sb.LogGroupsPerFlex != 0 && l.sb.Features.Incompat.Has(disk.IncompatFlexBG) {
		return l.placeFlex(groups, g)
	}
	first, last := uint64(l.sb.GroupFirstBlock(g)), l.lastBlock(g)
	start := first
	if l.sb.RAIDStride != 0 {
		var ok bool
		if start, ok = l.stride(g, first, last); !ok {
			return false
		}
	}
	var at [2]uint64
	for i := range at {
		b, ok := l.run(start, last, 1)
		if !ok {
			b, ok = l.run(first, last, 1)
		}
		if !ok {
			return false
		}
		l.used.add(b, 1)
		at[i] = b
	}
	b, ok := l.run(first, last, l.table)
	if !ok {
		return false
	}
	l.used.add(b, l.table)
	groups[g] = place{disk.BlockNum(at[0]), disk.BlockNum(at[1]), disk.BlockNum(b)}
	return true
}

// stride spreads the bitmaps of groups over the disks of a RAID.
func (l *placer) stride(g disk.GroupNum, first, last uint64) (uint64, bool) {
	start, ok := l.run(first, last, 1)
	if !ok {
		return 0, false
	}
	start += l.table
	if last+1 <= start {
		return first, true
	}
	start += uint64(l.sb.RAIDStride) * uint64(g) % (last - start + 1)
	if start >= last {
		start = first
	}
	return start, true
}

// placeFlex finds places for the tables of one group together with those of its
// flex group: all block bitmaps, all inode bitmaps, all inode tables.
func (l *placer) placeFlex(groups []place, g disk.GroupNum) bool {
	first, last := l.flexGroup(g)
	end := l.lastBlock(last)
	// room is how much is kept free for the bitmaps of the other groups.
	room := uint64(1) << l.sb.LogGroupsPerFlex
	if g == first && last == l.sb.Groups()-1 && last != first {
		room = uint64(last-first) + 1
	}
	one := func(after uint64) (uint64, bool) {
		start := l.flexStart(g, after, 1)
		b, ok := l.run(start, end, 1)
		if !ok {
			b, ok = l.run(uint64(l.sb.GroupFirstBlock(g)), end, 1)
		}
		if ok {
			l.take(b, 1)
		}
		return b, ok
	}
	var bb, ib, it uint64
	if g != first {
		before := groups[g-1]
		bb, ib, it = uint64(before.blockBitmap)+1, uint64(before.inodeBitmap)+1, uint64(before.inodeTable)+l.table
	}
	var ok bool
	if bb, ok = one(bb); !ok {
		return false
	}
	if g == first {
		ib = bb + room
	}
	if ib, ok = one(ib); !ok {
		return false
	}
	if g == first {
		it = ib + room
	}
	if it, ok = l.run(l.flexStart(g, it, l.table), end, l.table); !ok {
		return false
	}
	l.take(it, l.table)
	groups[g] = place{disk.BlockNum(bb), disk.BlockNum(ib), disk.BlockNum(it)}
	return true
}

// flexStart is where to look for the next element of size blocks: after, which
// is behind that of the group before, if there is room nearby; else where the
// flex group has room for those of all its groups, or for this one.
func (l *placer) flexStart(g disk.GroupNum, after, size uint64) uint64 {
	first, last := l.flexGroup(g)
	whole := min(uint64(last-g+1)*size, uint64(l.sb.BlocksPerGroup/4))
	if after != 0 && after < l.end {
		if b, ok := l.run(after, after+whole, size); ok {
			return b
		}
	}
	start, end := uint64(l.sb.GroupFirstBlock(first)), l.lastBlock(last)
	if b, ok := l.run(start, end, whole); ok {
		return b
	}
	if b, ok := l.run(start, end, size); ok {
		return b
	}
	if b, ok := l.run(0, end, size); ok {
		return b
	}
	return 0
}
