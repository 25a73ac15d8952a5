package format

import (
	"iter"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// run is n blocks that lie together.
type run struct {
	start disk.BlockNum
	n     uint32
}

// region is a free run, in clusters; cluster 0 begins at the first data block.
type region struct{ start, n uint64 }

// space gives out the blocks of a file system that is being laid out. It knows
// what is free and nothing else: everything is taken once and never given
// back, so that a bitmap is what the regions leave. Its memory goes with the
// number of regions, which is about that of the places of fixed metadata.
//
// With bigalloc everything is taken in whole clusters; lengths are told in
// blocks, as they were asked for.
type space struct {
	sb      *disk.Superblock
	ratio   uint64 // blocks in a cluster
	regions []region
	// longest is a tree over regions: node 1 is the root, node i's children
	// are 2i and 2i+1, and each holds the greatest length below it.
	longest []uint64
	leaves  int // the index of the first leaf of longest
	left    uint64
	used    []uint64 // a bit for each group of which something was taken
}

// newSpace is the space of a file system in which only fixed is in use: runs
// of blocks in ascending order that do not overlap.
func newSpace(sb *disk.Superblock, fixed iter.Seq2[disk.BlockNum, uint64]) *space {
	s := &space{sb: sb, ratio: uint64(sb.ClusterRatio())}
	s.used = make([]uint64, (uint64(sb.Groups())+63)/64)
	end := s.clusterUp(disk.BlockNum(sb.Blocks()))
	at := uint64(0)
	for bn, n := range fixed {
		first, after := s.cluster(bn), s.clusterUp(bn+disk.BlockNum(n))
		s.addFree(at, min(first, end))
		at = max(at, after)
	}
	s.addFree(at, end)
	s.index()
	return s
}

func (s *space) addFree(from, to uint64) {
	if from < to {
		s.regions = append(s.regions, region{from, to - from})
		s.left += to - from
	}
}

// cluster is the cluster that holds block bn. Blocks before the first data
// block, which belong to no group, count as its.
func (s *space) cluster(bn disk.BlockNum) uint64 {
	first := uint64(s.sb.FirstDataBlock)
	if uint64(bn) < first {
		return 0
	}
	return (uint64(bn) - first) / s.ratio
}

// clusterUp is the number of clusters that begin before block bn.
func (s *space) clusterUp(bn disk.BlockNum) uint64 {
	first := uint64(s.sb.FirstDataBlock)
	if uint64(bn) < first {
		return 0
	}
	return (uint64(bn) - first + s.ratio - 1) / s.ratio
}

func (s *space) block(cluster uint64) disk.BlockNum {
	return disk.BlockNum(uint64(s.sb.FirstDataBlock) + cluster*s.ratio)
}

// index builds longest anew.
func (s *space) index() {
	s.leaves = 1
	for s.leaves < len(s.regions) {
		s.leaves *= 2
	}
	s.longest = make([]uint64, 2*s.leaves)
	for i, r := range s.regions {
		s.longest[s.leaves+i] = r.n
	}
	for i := s.leaves - 1; i >= 1; i-- {
		s.longest[i] = max(s.longest[2*i], s.longest[2*i+1])
	}
}

// setLen sets the length of region i.
func (s *space) setLen(i int, n uint64) {
	s.regions[i].n = n
	k := s.leaves + i
	s.longest[k] = n
	for k > 1 {
		k /= 2
		s.longest[k] = max(s.longest[2*k], s.longest[2*k+1])
	}
}

// first is the first region of n clusters or more, -1 if there is none.
func (s *space) first(n uint64) int {
	if s.longest[1] < n || len(s.regions) == 0 {
		return -1
	}
	k := 1
	for k < s.leaves {
		k *= 2
		if s.longest[k] < n {
			k++
		}
	}
	return k - s.leaves
}

// largest is the longest region, the first of several; -1 if nothing is free.
func (s *space) largest() int {
	if s.left == 0 {
		return -1
	}
	return s.first(s.longest[1])
}

// take takes n blocks: in the first region that has room for all of them, else
// in as few pieces as possible, in ascending order. It takes nothing and gives
// nil when there is no room. With n 0 it gives nil.
func (s *space) take(n uint32) []run {
	if n == 0 {
		return nil
	}
	if r, ok := s.takeWhole(n); ok {
		return []run{r}
	}
	if s.clusters(n) > s.left {
		return nil
	}
	var runs []run
	for rest := uint64(n); rest > 0; {
		i := s.first((rest + s.ratio - 1) / s.ratio)
		if i < 0 {
			i = s.largest()
		}
		r := s.regions[i]
		part := min(rest, r.n*s.ratio)
		s.cut(i, (part+s.ratio-1)/s.ratio)
		runs = append(runs, run{s.block(r.start), uint32(part)})
		rest -= part
	}
	if len(runs) == 1 {
		return runs
	}
	return s.ascending(runs)
}

// ascending sorts the pieces of one run. Only the last one was cut, perhaps in
// the middle of a cluster; that end has to stay the end of the whole.
func (s *space) ascending(runs []run) []run {
	last := &runs[len(runs)-1]
	cut := uint32((s.ratio - uint64(last.n)%s.ratio) % s.ratio)
	last.n += cut
	slices.SortFunc(runs, func(a, b run) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	runs[len(runs)-1].n -= cut
	return runs
}

// takeWhole takes n blocks in one piece, where the first room for them is.
func (s *space) takeWhole(n uint32) (run, bool) {
	c := s.clusters(n)
	i := s.first(c)
	if n == 0 || i < 0 {
		return run{}, false
	}
	r := run{s.block(s.regions[i].start), n}
	s.cut(i, c)
	return r, true
}

// clusters is how many clusters n blocks take.
func (s *space) clusters(n uint32) uint64 { return (uint64(n) + s.ratio - 1) / s.ratio }

// cut takes the first n clusters of region i.
func (s *space) cut(i int, n uint64) {
	r := &s.regions[i]
	s.touch(r.start, n)
	r.start += n
	s.setLen(i, r.n-n)
	s.left -= n
}

// takeAt takes the n blocks at bn, and tells whether they were free. With
// bigalloc it takes the clusters that they lie in.
func (s *space) takeAt(bn disk.BlockNum, n uint32) bool {
	if n == 0 || uint64(bn) < uint64(s.sb.FirstDataBlock) || uint64(n) > s.sb.Blocks() || uint64(bn) > s.sb.Blocks()-uint64(n) {
		return false
	}
	from, to := s.cluster(bn), s.clusterUp(bn+disk.BlockNum(n))
	i := s.find(from)
	if i < 0 || s.regions[i].start+s.regions[i].n < to {
		return false
	}
	r := s.regions[i]
	s.touch(from, to-from)
	s.left -= to - from
	head, tail := region{r.start, from - r.start}, region{to, r.start + r.n - to}
	switch {
	case head.n == 0:
		s.regions[i].start = tail.start
		s.setLen(i, tail.n)
	case tail.n == 0:
		s.setLen(i, head.n)
	default:
		s.regions[i] = head
		s.regions = slices.Insert(s.regions, i+1, tail)
		s.index()
	}
	return true
}

// find is the region that holds cluster c, -1 if it is not free.
func (s *space) find(c uint64) int {
	i := s.from(c)
	if i < len(s.regions) && s.regions[i].start <= c {
		return i
	}
	return -1
}

// from is the index of the first region that ends after cluster c.
func (s *space) from(c uint64) int {
	i, _ := slices.BinarySearchFunc(s.regions, c, func(r region, c uint64) int {
		if r.start+r.n > c {
			return 1
		}
		return -1
	})
	return i
}

// touch notes that clusters were taken.
func (s *space) touch(start, n uint64) {
	per := uint64(s.sb.BlocksPerGroup) / s.ratio
	for g := start / per; g <= (start+n-1)/per; g++ {
		s.used[g/64] |= 1 << (g % 64)
	}
}

// touched reports whether anything but the fixed blocks of group g was taken.
func (s *space) touched(g disk.GroupNum) bool { return s.used[g/64]&(1<<(g%64)) != 0 }

// free is the number of free blocks.
func (s *space) free() uint64 { return s.left * s.ratio }

// freeRuns yields the free clusters of group g, as ranges of bits of its
// bitmap in ascending order.
func (s *space) freeRuns(g disk.GroupNum) iter.Seq2[uint32, uint32] {
	return func(yield func(first, n uint32) bool) {
		base := uint64(g) * (uint64(s.sb.BlocksPerGroup) / s.ratio)
		end := base + uint64(s.sb.GroupClusters(g))
		for i := s.from(base); i < len(s.regions) && s.regions[i].start < end; i++ {
			r := s.regions[i]
			from, to := max(r.start, base), min(r.start+r.n, end)
			if from < to && !yield(uint32(from-base), uint32(to-from)) {
				return
			}
		}
	}
}

// freeIn is the number of free clusters of group g.
func (s *space) freeIn(g disk.GroupNum) uint32 {
	total := uint32(0)
	for _, n := range s.freeRuns(g) {
		total += n
	}
	return total
}

// groupUsed makes b, one block, the block bitmap of group g: a bit for each
// cluster in use, the padding after the last one set. It returns the number of
// free clusters.
func (s *space) groupUsed(g disk.GroupNum, b []byte) uint32 {
	setAll(b)
	total := uint32(0)
	for first, n := range s.freeRuns(g) {
		clearBits(b, first, n)
		total += n
	}
	return total
}

// setAll sets all bits of b.
func setAll(b []byte) {
	if len(b) == 0 {
		return
	}
	b[0] = 0xff
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// clearBits clears n bits of b from bit first on.
func clearBits(b []byte, first, n uint32) {
	i, end := first, first+n
	for ; i < end && i%8 != 0; i++ {
		b[i/8] &^= 1 << (i % 8)
	}
	if whole := (end - i) / 8; whole > 0 {
		clear(b[i/8 : i/8+whole])
		i += whole * 8
	}
	for ; i < end; i++ {
		b[i/8] &^= 1 << (i % 8)
	}
}
