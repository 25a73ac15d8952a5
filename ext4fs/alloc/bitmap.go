package alloc

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// bitmapVerified marks bitmaps whose checksum was good, or that were built
// here.
const bitmapVerified = 1<<63 | 2

// Bitmap is a copy of one group's bitmap: bit n of byte n/8, lowest first.
type Bitmap struct {
	Bits   []byte
	Len    int // bits that stand for clusters or inodes
	Block  disk.BlockNum
	Uninit bool // built here: the descriptor says it is not on disk
}

// BlockBitmap returns a copy of group g's block bitmap as the running
// transaction has it: freed clusters are clear at once. A bitmap that fails
// its checksum is a *disk.ChecksumError.
func (a *Allocator) BlockBitmap(g disk.GroupNum) (*Bitmap, error) {
	return a.snapshot(g, true)
}

// InodeBitmap returns a copy of group g's inode bitmap.
func (a *Allocator) InodeBitmap(g disk.GroupNum) (*Bitmap, error) {
	return a.snapshot(g, false)
}

func (a *Allocator) snapshot(n disk.GroupNum, blocks bool) (*Bitmap, error) {
	if uint64(n) >= uint64(len(a.groups)) {
		return nil, fmt.Errorf("group %d of %d: %w", n, len(a.groups), ErrInvalid)
	}
	g := &a.groups[n]
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &Bitmap{Len: int(a.super.InodesPerGroup), Block: g.inodeBitmap}
	if blocks {
		b.Len, b.Block = int(a.super.GroupClusters(n)), g.blockBitmap
	}
	var err error
	b.Bits, b.Uninit, err = a.raw(g, blocks)
	if err == nil && !b.Uninit {
		b.Bits = append([]byte(nil), b.Bits...)
	}
	return b, err
}

// Group returns a copy of group g's descriptor as the running transaction has
// it. Its checksums are brought up to date only when it is committed.
func (a *Allocator) Group(n disk.GroupNum) (disk.GroupDesc, error) {
	if uint64(n) >= uint64(len(a.groups)) {
		return nil, fmt.Errorf("group %d of %d: %w", n, len(a.groups), ErrInvalid)
	}
	g := &a.groups[n]
	g.mu.Lock()
	defer g.mu.Unlock()
	bn, at := a.descAt(n)
	buf, err := a.cfg.Cache.Get(bn)
	if err != nil {
		return nil, fmt.Errorf("descriptor of group %d: %w", n, err)
	}
	return append(disk.GroupDesc(nil), buf.Data()[at:at+a.super.DescSize()]...), nil
}

// descAt is where the descriptor of group g lies.
func (a *Allocator) descAt(g disk.GroupNum) (bn disk.BlockNum, offset int) {
	per := a.super.DescsPerBlock()
	return a.super.DescBlock(uint32(g) / per), int(uint32(g)%per) * a.super.DescSize()
}

// raw returns the bits of a bitmap: not to be changed, unless it was built
// because the descriptor says that it is not initialised. g.mu is held.
func (a *Allocator) raw(g *group, blocks bool) (bits []byte, built bool, err error) {
	what, bn, sum, uninit := "inode bitmap", g.inodeBitmap, &g.inodeSum, disk.GroupInodeUninit
	if blocks {
		what, bn, sum, uninit = "block bitmap", g.blockBitmap, &g.blockSum, disk.GroupBlockUninit
	}
	if g.damage != nil {
		return nil, false, fmt.Errorf("%s of group %d: %w", what, g.num, g.damage)
	}
	if g.flags&uninit != 0 {
		if blocks {
			return a.buildBlocks(g), true, nil
		}
		return a.buildInodes(), true, nil
	}
	first, n := a.neighbours(g, blocks)
	buf, err := a.cfg.Cache.GetRun(bn, first, n)
	if err != nil {
		return nil, false, fmt.Errorf("%s of group %d: %w", what, g.num, err)
	}
	buf.SetPriority(cache.PriorityHigh)
	if a.super.HasMetadataCsum() && a.cfg.Verify && !buf.Verified(bitmapVerified) {
		covered := a.coveredInodes(buf.Data())
		if blocks {
			covered = a.coveredBlocks(buf.Data())
		}
		desc := disk.GroupDesc(make([]byte, a.super.DescSize())) // its size decides
		if got := desc.BitmapSum(a.cfg.Seed, covered); got != sum.Load() {
			return nil, false, &disk.ChecksumError{
				What: fmt.Sprintf("%s of group %d", what, g.num), Block: bn, Stored: sum.Load(), Computed: got,
			}
		}
		buf.SetVerified(bitmapVerified)
	}
	return buf.Data(), false, nil
}

// neighbours is the run of bitmap blocks around g's that flex_bg put together:
// one read brings them all. Locations do not change, so no lock is needed.
func (a *Allocator) neighbours(g *group, blocks bool) (first disk.BlockNum, n int) {
	at := func(i disk.GroupNum) disk.BlockNum {
		if blocks {
			return a.groups[i].blockBitmap
		}
		return a.groups[i].inodeBitmap
	}
	first = at(g.num)
	end := min(disk.GroupNum(len(a.groups)), (g.num>>a.flex+1)<<a.flex)
	for n = 1; n < 16 && g.num+disk.GroupNum(n) < end && at(g.num+disk.GroupNum(n)) == first+disk.BlockNum(n); n++ {
	}
	return first, n
}

// buildBlocks makes the block bitmap of a group that has none yet: in use are
// the superblock and descriptors at its head, those of its own bitmaps and
// inode table that lie inside it, and what is beyond its end.
func (a *Allocator) buildBlocks(g *group) []byte {
	s := &a.super
	bm := make([]byte, s.BlockSize())
	start, count, ratio := uint64(s.GroupFirstBlock(g.num)), uint64(s.GroupBlocks(g.num)), uint64(a.ratio)
	use := func(first disk.BlockNum, n uint64) {
		lo, hi := max(uint64(first), start), min(uint64(first)+n, start+count)
		if lo < hi {
			setBits(bm, uint32((lo-start)/ratio), uint32((hi-1-start)/ratio-(lo-start)/ratio+1))
		}
	}
	base, n := s.BaseMeta(g.num)
	use(base, uint64(n))
	use(g.blockBitmap, 1)
	use(g.inodeBitmap, 1)
	use(g.inodeTable, uint64(s.InodeTableBlocks()))
	in := s.GroupClusters(g.num)
	setBits(bm, in, uint32(8*len(bm))-in)
	return bm
}

func (a *Allocator) buildInodes() []byte {
	bm := make([]byte, a.super.BlockSize())
	setBits(bm, a.super.InodesPerGroup, uint32(8*len(bm))-a.super.InodesPerGroup)
	return bm
}

// setBits, clearBits, allSet and noneSet work on n bits from start on, all of
// which must be there.
func setBits(b []byte, start, n uint32) {
	for c, end := start, start+n; c < end; c++ {
		if c%8 == 0 && end-c >= 8 {
			b[c/8] = 0xff
			c += 7
			continue
		}
		b[c/8] |= 1 << (c % 8)
	}
}

func clearBits(b []byte, start, n uint32) {
	for c, end := start, start+n; c < end; c++ {
		if c%8 == 0 && end-c >= 8 {
			b[c/8] = 0
			c += 7
			continue
		}
		b[c/8] &^= 1 << (c % 8)
	}
}

func allSet(b []byte, start, n uint32) bool {
	return sameBits(b, start, n, 0xff)
}

func noneSet(b []byte, start, n uint32) bool {
	return sameBits(b, start, n, 0)
}

// sameBits reports whether n bits from start on are like those of full, 0 or
// 0xff.
func sameBits(b []byte, start, n uint32, full byte) bool {
	for c, end := start, start+n; c < end; c++ {
		if c%8 == 0 && end-c >= 8 {
			if b[c/8] != full {
				return false
			}
			c += 7
			continue
		}
		if (b[c/8]^full)&(1<<(c%8)) != 0 {
			return false
		}
	}
	return true
}

// countFree counts the clear ones of the first n bits.
func countFree(words []uint64) uint32 {
	n := 0
	for _, w := range words {
		n += bits.OnesCount64(^w)
	}
	return uint32(n)
}

// usable reports whether clusters of the group can be given out or taken back,
// and builds its index. What forbids it is reported and takes the group out
// of use. g.mu is held.
func (a *Allocator) usable(g *group) bool {
	g.used = true
	if g.badBlocks || g.idx != nil {
		return !g.badBlocks
	}
	raw, _, err := a.raw(g, true)
	if err != nil {
		a.spoilBlocks(g, err)
		return false
	}
	clusters := a.super.GroupClusters(g.num)
	bad := func(format string, args ...any) bool {
		a.spoilBlocks(g, &disk.CorruptError{
			What: fmt.Sprintf("block bitmap of group %d", g.num), Block: g.blockBitmap, Detail: fmt.Sprintf(format, args...),
		})
		return false
	}
	x := newIndex(raw, clusters)
	if n := countFree(x.busy); n != g.freeClusters {
		return bad("%d clusters are free, the descriptor says %d", n, g.freeClusters)
	}
	if z, ok := a.zoneFree(g, raw); ok {
		return bad("blocks %d to %d of the file system's own structures are free", z.start, z.end-1)
	}
	// Of a cluster that the end of the file system cuts nothing is given out.
	if whole := a.super.GroupBlocks(g.num) / a.ratio; whole < clusters && x.isFree(whole) {
		x.mark(whole, 1, true)
	}
	g.idx, g.ranked = x, x.longest()
	a.ranks.set(g.num, g.ranked)
	a.keep(g)
	return true
}

// zoneFree finds a zone whose clusters are not all in use in g's bitmap.
func (a *Allocator) zoneFree(g *group, raw []byte) (zone, bool) {
	start := a.super.GroupFirstBlock(g.num)
	end := start + disk.BlockNum(a.super.GroupBlocks(g.num))
	for at := start; at < end; {
		z, ok := a.inZone(at, uint64(end-at))
		if !ok {
			return zone{}, false
		}
		lo, hi := max(z.start, start), min(z.end, end)
		c := uint32(uint64(lo-start) / uint64(a.ratio))
		last := uint32(uint64(hi-1-start) / uint64(a.ratio))
		if !allSet(raw, c, last-c+1) {
			return z, true
		}
		at = z.end
	}
	return zone{}, false
}

// maxLoaded bounds the groups whose index is kept though nothing hangs on it.
const maxLoaded = 2048

// loadedGroups is a queue of the groups that have an index. mu comes after
// every group's.
type loadedGroups struct {
	mu    sync.Mutex
	q     []disk.GroupNum
	limit int // never changes
}

// keep notes that g has an index now, and drops those of a few groups that
// were not used lately if there are too many. What the rank of a group says
// stays true, since nothing changes without an index. g.mu is held: others are
// only tried.
func (a *Allocator) keep(g *group) {
	l := &a.loaded
	l.mu.Lock()
	defer l.mu.Unlock()
	l.q = append(l.q, g.num)
	for try := 0; try < 8 && len(l.q) > l.limit; try++ {
		n := l.q[0]
		l.q = l.q[1:]
		old := &a.groups[n]
		if n == g.num || !old.mu.TryLock() {
			l.q = append(l.q, n)
			continue
		}
		switch {
		case old.idx == nil && old.ibusy == nil: // spoiled, or queued twice
		case old.used || old.heldClusters > 0 || old.heldCount > 0 || old.windowed > 0:
			old.used = false
			l.q = append(l.q, n)
		default:
			old.idx, old.ibusy, old.heldInodes = nil, nil, nil
		}
		old.mu.Unlock()
	}
}

// open gives write access to the group's block bitmap and descriptor, and
// makes a bitmap that is not on disk. Nothing is changed if it fails, but for
// a bitmap that counts for nothing yet. g.mu is held.
func (a *Allocator) open(tx cache.Tx, g *group) (bm []byte, desc disk.GroupDesc, err error) {
	desc, err = a.openDesc(tx, g)
	if err != nil {
		return nil, nil, err
	}
	if g.flags&disk.GroupBlockUninit == 0 {
		bm, err = a.write(tx, g, true)
		return bm, desc, err
	}
	buf, err := tx.Fresh(g.blockBitmap, plain{})
	if err != nil {
		return nil, nil, fmt.Errorf("block bitmap of group %d: %w", g.num, err)
	}
	copy(buf.Data(), a.buildBlocks(g))
	buf.SetVerified(bitmapVerified)
	buf.SetPriority(cache.PriorityHigh)
	g.flags &^= disk.GroupBlockUninit
	desc.SetFlags(g.flags)
	return buf.Data(), desc, nil
}

// write gives write access to a bitmap that is on disk. It may have left the
// cache since it was looked at, and then is checked anew: the sum of one that
// is being changed cannot be. g.mu is held.
func (a *Allocator) write(tx cache.Tx, g *group, blocks bool) ([]byte, error) {
	if _, _, err := a.raw(g, blocks); err != nil {
		return nil, err
	}
	what, bn := "inode bitmap", g.inodeBitmap
	if blocks {
		what, bn = "block bitmap", g.blockBitmap
	}
	buf, err := tx.Write(bn, plain{})
	if err != nil {
		return nil, fmt.Errorf("%s of group %d: %w", what, g.num, err)
	}
	buf.SetVerified(bitmapVerified)
	return buf.Data(), nil
}

func (a *Allocator) openDesc(tx cache.Tx, g *group) (disk.GroupDesc, error) {
	bn, at := a.descAt(g.num)
	buf, err := tx.Write(bn, &a.sealers[uint32(g.num)/a.super.DescsPerBlock()])
	if err != nil {
		return nil, fmt.Errorf("descriptor of group %d: %w", g.num, err)
	}
	buf.SetPriority(cache.PriorityHigh)
	size := a.super.DescSize()
	return disk.GroupDesc(buf.Data()[at : at+size : at+size]), nil
}
