package alloc

import (
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// kinds of file systems that differ in what an allocator must know.
var kinds = []struct {
	name string
	size int64
	args []string
}{
	{"4k", 96 << 20, []string{"-b", "4096", "-g", "2048"}},
	{"1k", 40 << 20, []string{"-b", "1024"}},
	{"lazy", 96 << 20, []string{"-b", "4096", "-g", "2048", "-E", "lazy_itable_init=1"}},
	{"bigalloc", 128 << 20, []string{"-b", "4096", "-O", "bigalloc", "-C", "16384", "-g", "8192"}},
	{"bigalloc1k", 64 << 20, []string{"-b", "1024", "-O", "bigalloc", "-C", "8192"}},
	{"no flex_bg", 40 << 20, []string{"-b", "1024", "-O", "^flex_bg"}},
	{"meta_bg", 64 << 20, []string{"-b", "1024", "-O", "meta_bg,^resize_inode"}},
	{"32bit", 40 << 20, []string{"-b", "1024", "-O", "^64bit"}},
	{"gdt_csum", 40 << 20, []string{"-b", "1024", "-O", "^metadata_csum,uninit_bg"}},
	{"no checksums", 40 << 20, []string{"-b", "1024", "-O", "^metadata_csum,^uninit_bg"}},
	{"ext2", 40 << 20, []string{"-t", "ext2", "-b", "1024"}},
	{"64k", 256 << 20, []string{"-b", "65536", "-g", "1024", "-N", "2048"}},
	{"sparse_super2", 40 << 20, []string{"-b", "1024", "-O", "sparse_super2,^resize_inode"}},
}

// model is what the image must hold.
type model struct {
	w     *world
	rng   *rand.Rand
	used  []bool            // by block; bigalloc: all of a cluster
	wait  map[uint64]uint32 // freed by that transaction, which is not committed
	own   []Run             // allocated here
	inos  []disk.InodeNum
	dirs  map[disk.InodeNum]bool
	inode map[disk.InodeNum]bool // in use
	gone  map[disk.InodeNum]uint32
	base  []uint32 // directories by group, before the test
}

func newModel(w *world, seed uint64) *model {
	m := &model{
		w: w, rng: rand.New(rand.NewPCG(seed, 9)), used: make([]bool, w.super.Blocks()), wait: make(map[uint64]uint32),
		dirs: make(map[disk.InodeNum]bool), inode: make(map[disk.InodeNum]bool), gone: make(map[disk.InodeNum]uint32),
	}
	for g := range w.super.Groups() {
		b, err := w.a.BlockBitmap(g)
		if err != nil {
			w.t.Fatal(err)
		}
		for c := range b.Len {
			if b.Bits[c/8]&(1<<(c%8)) != 0 {
				m.mark(w.a.first(&w.a.groups[g], uint32(c)), 1, true)
			}
		}
		d, err := w.a.Group(g)
		if err != nil {
			w.t.Fatal(err)
		}
		m.base = append(m.base, d.UsedDirs())
		b, err = w.a.InodeBitmap(g)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range b.Len {
			if b.Bits[i/8]&(1<<(i%8)) != 0 {
				m.inode[w.a.inodeNum(&w.a.groups[g], uint32(i))] = true
			}
		}
	}
	return m
}

// clusters is the range of whole clusters around blocks.
func (m *model) clusters(bn disk.BlockNum, n uint64) (lo, hi uint64) {
	r, first := uint64(m.w.a.ratio), uint64(m.w.super.FirstDataBlock)
	lo = (uint64(bn)-first)/r*r + first
	hi = (uint64(bn)-first+n+r-1)/r*r + first
	return lo, min(hi, uint64(len(m.used)))
}

func (m *model) mark(bn disk.BlockNum, n uint64, used bool) {
	lo, hi := m.clusters(bn, n)
	for b := lo; b < hi; b++ {
		m.used[b] = used
	}
}

func (m *model) alloc() {
	t := m.w.t
	r := Request{
		Inode: disk.InodeNum(m.rng.Uint32N(40)), Logical: disk.LogicalNum(m.rng.Uint32N(1 << m.rng.IntN(20))),
		Len: 1 + m.rng.Uint32N(1<<m.rng.IntN(10)), Meta: m.rng.IntN(8) == 0, NoPrealloc: m.rng.IntN(8) == 0,
	}
	if m.rng.IntN(2) == 0 {
		r.Goal = disk.BlockNum(m.rng.Uint64N(m.w.super.Blocks()))
	}
	if m.rng.IntN(3) == 0 {
		r.Size = m.rng.Int64N(64 << 20)
	}
	bn, n, err := m.w.a.Alloc(m.w, r)
	if errors.Is(err, ErrNoSpace) {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal("no space is not ENOSPC")
		}
		free := 0
		for b, used := range m.used {
			if _, waits := m.wait[uint64(b)]; !used && !waits && b >= int(m.w.super.FirstDataBlock) {
				free++
			}
		}
		if pool := int(m.w.a.Pool()); free > pool || r.Meta && free > 0 {
			t.Fatalf("no space for %+v with %d blocks free, pool %d", r, free, pool)
		}
		return
	}
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	if n == 0 || n > r.Len || uint64(bn)+uint64(n) > m.w.super.Blocks() {
		t.Fatalf("%+v: %d blocks at %d", r, n, bn)
	}
	if ratio := m.w.a.ratio; uint32(bn)%ratio != uint32(r.Logical)%ratio && ratio > 1 {
		t.Fatalf("%+v: block %d", r, bn)
	}
	lo, hi := m.clusters(bn, uint64(n))
	for b := lo; b < hi; b++ {
		if _, waits := m.wait[b]; m.used[b] || waits {
			t.Fatalf("%+v: %d blocks at %d, of which %d is in use or not committed", r, n, bn, b)
		}
	}
	m.mark(bn, uint64(n), true)
	m.own = append(m.own, Run{bn, uint64(n)})
}

// free frees a whole run or, without bigalloc, a part of one.
func (m *model) free() {
	if len(m.own) == 0 {
		return
	}
	i := m.rng.IntN(len(m.own))
	r := m.own[i]
	m.own = slices.Delete(m.own, i, i+1)
	if m.w.a.ratio == 1 && r.Len > 1 && m.rng.IntN(2) == 0 {
		keep := 1 + m.rng.Uint64N(r.Len-1)
		if m.rng.IntN(2) == 0 {
			m.own = append(m.own, Run{r.Start, keep})
			r = Run{r.Start + disk.BlockNum(keep), r.Len - keep}
		} else {
			m.own = append(m.own, Run{r.Start + disk.BlockNum(r.Len-keep), keep})
			r.Len -= keep
		}
	}
	if err := m.w.a.Free(m.w, r.Start, r.Len); err != nil {
		m.w.t.Fatal(err)
	}
	m.mark(r.Start, r.Len, false)
	lo, hi := m.clusters(r.Start, r.Len)
	for b := lo; b < hi; b++ {
		m.wait[b] = m.w.ID()
	}
}

func (m *model) newInode() {
	r := NewInode{Parent: 2, Dir: m.rng.IntN(4) == 0, Name: []byte{byte(m.rng.Uint32())}}
	if len(m.inos) > 0 && m.rng.IntN(2) == 0 {
		r.Parent = m.inos[m.rng.IntN(len(m.inos))]
	}
	if m.rng.IntN(8) == 0 {
		r.Goal = 1 + disk.InodeNum(m.rng.Uint32N(uint32(m.w.super.Inodes())))
	}
	n, _, err := m.w.a.NewInode(m.w, r)
	if errors.Is(err, ErrNoInodes) {
		if free := int(m.w.super.Inodes()) - len(m.inode) - len(m.gone); free > 0 {
			m.w.t.Fatalf("no inodes with %d free", free)
		}
		return
	}
	if err != nil {
		m.w.t.Fatal(err)
	}
	if _, waits := m.gone[n]; waits || m.inode[n] || n < m.w.super.FirstInode || n > m.w.super.Inodes() {
		m.w.t.Fatalf("inode %d was given out; waits: %v", n, waits)
	}
	m.inode[n] = true
	m.inos = append(m.inos, n)
	if r.Dir {
		m.dirs[n] = true
	}
}

func (m *model) freeInode() {
	if len(m.inos) == 0 {
		return
	}
	i := m.rng.IntN(len(m.inos))
	n := m.inos[i]
	m.inos = slices.Delete(m.inos, i, i+1)
	if err := m.w.a.FreeInode(m.w, n, m.dirs[n]); err != nil {
		m.w.t.Fatal(err)
	}
	delete(m.inode, n)
	delete(m.dirs, n)
	m.gone[n] = m.w.ID()
}

func (m *model) committed(tid uint32) {
	for b, t := range m.wait {
		if !disk.SequenceBefore(tid, t) {
			delete(m.wait, b)
		}
	}
	for n, t := range m.gone {
		if !disk.SequenceBefore(tid, t) {
			delete(m.gone, n)
		}
	}
}

// steps is the length of a random test.
func steps() int {
	if testing.Short() {
		return 600
	}
	return 3000
}

// check compares bitmaps, counters and index with the model.
func (m *model) check(a *Allocator) {
	t := m.w.t
	t.Helper()
	var sum Counts
	avail := int64(0)
	for g := range m.w.super.Groups() {
		bm, err := a.BlockBitmap(g)
		if err != nil {
			t.Fatal(err)
		}
		free := uint32(0)
		for c := range bm.Len {
			bn := a.first(&a.groups[g], uint32(c))
			set := bm.Bits[c/8]&(1<<(c%8)) != 0
			if !set {
				free++
			}
			if set != m.used[bn] {
				t.Fatalf("block %d: bit is %v", bn, set)
			}
		}
		if !allSet(bm.Bits, uint32(bm.Len), uint32(8*len(bm.Bits)-bm.Len)) {
			t.Fatalf("padding of block bitmap %d is not set", g)
		}
		d, err := a.Group(g)
		if err != nil {
			t.Fatal(err)
		}
		if d.FreeClusters() != free {
			t.Fatalf("group %d: %d clusters are free, the descriptor says %d", g, free, d.FreeClusters())
		}
		im, err := a.InodeBitmap(g)
		if err != nil {
			t.Fatal(err)
		}
		freeInodes, dirs, last := uint32(0), m.base[g], -1
		for i := range im.Len {
			n := a.inodeNum(&a.groups[g], uint32(i))
			set := im.Bits[i/8]&(1<<(i%8)) != 0
			if set != m.inode[n] {
				t.Fatalf("inode %d: bit is %v", n, set)
			}
			if in, err := a.InodeInUse(n); in != set || err != nil {
				t.Fatalf("inode %d: in use %v, %v", n, in, err)
			}
			if set {
				last = i
			} else {
				freeInodes++
			}
			if m.dirs[n] {
				dirs++
			}
		}
		if d.FreeInodes() != freeInodes || d.UsedDirs() != dirs {
			t.Fatalf("group %d: %d inodes free and %d directories, the descriptor says %d and %d",
				g, freeInodes, dirs, d.FreeInodes(), d.UsedDirs())
		}
		if m.w.super.HasGroupCsum() && int(m.w.super.InodesPerGroup-d.ItableUnused()) <= last {
			t.Fatalf("group %d: inode %d is in use, %d were never used", g, last, d.ItableUnused())
		}
		sum.FreeBlocks += uint64(free) * uint64(a.ratio)
		sum.FreeInodes += uint64(freeInodes)
		sum.Dirs += uint64(d.UsedDirs())
		avail += int64(free) - int64(a.groups[g].heldClusters)
		checkIndex(t, a, &a.groups[g])
	}
	checkSums(t, a)
	if got := a.Counts(); got != sum {
		t.Fatalf("counts %+v, want %+v", got, sum)
	}
	if got := a.avail.Load(); got != avail {
		t.Fatalf("%d clusters can be had, want %d", got, avail)
	}
}

// checkIndex compares the index of a group with its counters, and its rank.
func checkIndex(t testing.TB, a *Allocator, g *group) {
	t.Helper()
	if g.idx == nil {
		return
	}
	want := g.freeClusters - g.heldClusters - g.windowed
	if got := countFree(g.idx.busy); got != want {
		t.Fatalf("group %d: the index has %d free clusters, want %d", g.num, got, want)
	}
	if a.ranks.longest[g.num] != g.idx.longest() || g.ranked != g.idx.longest() {
		t.Fatalf("group %d: ranked as %d, longest run %d", g.num, a.ranks.longest[g.num], g.idx.longest())
	}
}

// checkSums compares what is summed up over flex groups and windows.
func checkSums(t testing.TB, a *Allocator) {
	t.Helper()
	sums := make([][3]int64, len(a.flexes))
	windowed := make([]uint32, len(a.groups))
	for i := range a.owners.shards {
		for _, o := range a.owners.shards[i].m {
			for _, w := range o.windows {
				windowed[w.g] += w.n
			}
		}
	}
	for i := range a.groups {
		g := &a.groups[i]
		s := &sums[g.num>>a.flex]
		s[0] += int64(g.freeClusters)
		s[1] += int64(g.freeInodes)
		s[2] += int64(g.dirs)
		if g.windowed != windowed[i] {
			t.Fatalf("group %d: %d clusters are set aside, windows have %d", i, g.windowed, windowed[i])
		}
	}
	for i := range sums {
		f := &a.flexes[i]
		if got := [3]int64{f.clusters.Load(), f.inodes.Load(), f.dirs.Load()}; got != sums[i] {
			t.Fatalf("flex group %d: %v, want %v", i, got, sums[i])
		}
	}
}

// run does n random steps. Commits come in halves: the next transaction copies
// blocks before those of the last one are sealed.
func (m *model) run(n int) {
	var last *closed
	for i := range n {
		switch p := m.rng.IntN(100); {
		case p < 45:
			m.alloc()
		case p < 70:
			m.free()
		case p < 82:
			m.newInode()
		case p < 92:
			m.freeInode()
		case p < 96:
			m.w.a.Release(disk.InodeNum(m.rng.Uint32N(40)))
		case last == nil:
			c := m.w.close()
			last = &c
		default:
			m.w.commit(*last)
			m.committed(last.tid)
			last = nil
		}
		if i%400 == 399 {
			m.check(m.w.a)
		}
	}
	if last != nil {
		m.w.commit(*last)
		m.committed(last.tid)
	}
	m.sync()
	m.w.noDamage()
	m.check(m.w.a)
}

func (m *model) sync() {
	c := m.w.close()
	m.w.commit(c)
	m.committed(c.tid)
}

// onDisk compares what was written with the model: by another allocator, which
// verifies all checksums, and by dumpe2fs.
func (m *model) onDisk() {
	t := m.w.t
	t.Helper()
	w := newWorld(t, m.w.ram, nil)
	m.check(w.a)
	for g := range w.a.groups {
		g := &w.a.groups[g]
		if !w.a.usable(g) || !w.a.usableInodes(g) {
			t.Fatalf("group %d is damaged: %v", g.num, w.corrupt)
		}
	}
	d := dumpe2fs(t, w.file())
	// dumpe2fs ends its ranges with the first block of the last cluster.
	d.freeBlocks = slices.DeleteFunc(d.freeBlocks, func(b uint64) bool { return b%uint64(w.a.ratio) != 0 })
	var free []uint64
	for b, used := range m.used {
		if !used && b >= int(w.super.FirstDataBlock) && b%int(w.a.ratio) == 0 {
			free = append(free, uint64(b))
		}
	}
	if !slices.Equal(free, d.freeBlocks) {
		t.Errorf("dumpe2fs has %d free blocks, want %d, or others", len(d.freeBlocks), len(free))
	}
	if free := int(w.super.Inodes()) - len(m.inode); len(d.freeInodes) != free {
		t.Errorf("dumpe2fs has %d free inodes, want %d", len(d.freeInodes), free)
	}
}

// clear frees everything that the test allocated.
func (m *model) clear() {
	for len(m.own) > 0 {
		m.free()
	}
	for len(m.inos) > 0 {
		m.freeInode()
	}
	m.sync()
	m.check(m.w.a)
}

func TestAllocator_againstModel(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, mkfs(t, k.size, k.args...), nil)
			m := newModel(w, 1)
			m.check(w.a)
			m.run(steps())
			m.onDisk()
			m.clear()
			testimages.Fsck(t, w.file())
		})
	}
}

// A file system that is filled to the last block and inode, several times.
func TestAllocator_fills(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, mkfs(t, k.size/2, k.args...), nil)
			m := newModel(w, 2)
			for round := range 2 {
				for before := -1; before < len(m.own); {
					before = len(m.own)
					for range 50 {
						m.alloc()
					}
				}
				for {
					bn, n, err := w.a.Alloc(w, Request{Inode: 12, Len: 1 << 20, Meta: true})
					if errors.Is(err, ErrNoSpace) {
						break
					}
					if err != nil || n == 0 {
						t.Fatal(err)
					}
					m.mark(bn, uint64(n), true)
					m.own = append(m.own, Run{bn, uint64(n)})
				}
				if c := w.a.Counts(); c.FreeBlocks != 0 && !w.a.Pending() {
					t.Errorf("round %d: %d blocks left", round, c.FreeBlocks)
				}
				for before := -1; before < len(m.inos); {
					before = len(m.inos)
					for range 50 {
						m.newInode()
					}
				}
				if round == 0 {
					for range len(m.own) / 2 {
						m.free()
					}
					for range len(m.inos) / 2 {
						m.freeInode()
					}
					if !w.a.Pending() {
						t.Error("nothing is pending after a free")
					}
					m.sync()
				}
			}
			w.sync()
			w.noDamage()
		})
	}
}

var _ cache.Tx = (*world)(nil)

// Indexes that are dropped and built again change nothing.
func TestAllocator_fewIndexes(t *testing.T) {
	w := newWorld(t, mkfs(t, 160<<20, "-b", "1024", "-g", "1024"), nil)
	w.a.loaded.limit = 3
	m := newModel(w, 6)
	m.run(steps())
	loaded := 0
	for i := range w.a.groups {
		if g := &w.a.groups[i]; g.idx != nil {
			loaded++
		}
	}
	if loaded == len(w.a.groups) {
		t.Error("no index was dropped")
	}
	m.onDisk()
}
