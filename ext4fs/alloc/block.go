package alloc

import (
	"errors"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Request asks for blocks of one file.
type Request struct {
	Inode   disk.InodeNum   // whose they will be; 0: nobody's, nothing is set aside
	Logical disk.LogicalNum // of the first block
	// Goal is where the first block would best be: after the block before it.
	// 0 or no block: near the inode's group.
	Goal disk.BlockNum
	Len  uint32 // blocks wanted, 1 or more
	// Gap is how many blocks right before Logical the file does not have. A
	// short gap is taken for what other writers bring in a moment: room for it
	// is set aside, too, so that all of it lies in order.
	Gap uint32
	// Room is how many blocks from Logical on the file does not have, 0 for no
	// end: more than that is not set aside.
	Room uint32
	// Size is the expected final size of the file in bytes, 0 if it is not
	// known. It decides what is set aside: nothing beyond it.
	Size int64
	// Meta is for blocks that the file system needs to go on, such as nodes of
	// an extent tree: they may take what is reserved and the pool. Nothing is
	// set aside.
	Meta bool
	// Dir is for blocks of a directory: these lie together, before the files,
	// and only a directory that grows has something set aside, wherever Size
	// goes.
	Dir bool
	// Root may take what is reserved, not the pool.
	Root bool
	// NoPrealloc: nothing is set aside for this file, nor taken from what is.
	NoPrealloc bool
	// Low: only blocks below 2^32, for what has no room for larger numbers.
	Low bool
}

// ask is a request in clusters.
type ask struct {
	need  uint32        // at most this is given
	want  uint32        // need, and what is to be set aside
	group disk.GroupNum // the goal
	at    uint32
	exact bool // the goal was given: what follows it is welcome even if short
	limit disk.GroupNum
	dir   disk.InodeNum // the directory it is for, 0 for files
	gap   uint32        // of what is to be set aside this comes before
}

// Alloc gives out 1 to r.Len blocks in a row from bn on. With bigalloc they
// lie in fresh clusters, all of whose blocks belong to the file then, and bn
// and r.Logical have the same place in their clusters: who maps a part of a
// cluster that the file has already asks for nothing. Bits, counters and the
// descriptor change in tx, in one group (see BlockCredits). On error nothing
// is changed: ErrNoSpace, or what tx says.
func (a *Allocator) Alloc(tx cache.Tx, r Request) (bn disk.BlockNum, n uint32, err error) {
	if r.Len == 0 {
		return 0, 0, fmt.Errorf("no blocks for inode %d: %w", r.Inode, ErrInvalid)
	}
	if uint64(r.Goal) >= a.super.Blocks() {
		r.Goal = 0 // after the last one
	}
	off := uint32(r.Logical) % a.ratio
	q := a.ask(&r, off)
	a.gate.RLock()
	g, c, n, err := a.attempt(tx, &r, q)
	a.gate.RUnlock()
	if errors.Is(err, ErrNoSpace) {
		// Alone: nobody holds more than he uses, nothing is set aside.
		a.gate.Lock()
		a.dropWindows()
		r.NoPrealloc = true
		g, c, n, err = a.attempt(tx, &r, q)
		a.gate.Unlock()
	}
	if err != nil {
		return 0, 0, err
	}
	blocks := min(uint64(n)*uint64(a.ratio)-uint64(off), uint64(r.Len))
	return a.first(g, c) + disk.BlockNum(off), uint32(blocks), nil
}

// ask puts a request into clusters.
func (a *Allocator) ask(r *Request, off uint32) ask {
	s := &a.super
	q := ask{limit: disk.GroupNum(len(a.groups)), exact: r.Goal != 0}
	need := (uint64(off) + uint64(r.Len) + uint64(a.ratio) - 1) / uint64(a.ratio)
	q.need = uint32(min(need, uint64(a.perGrp)))
	q.want = q.need
	if r.Low && s.Blocks() > 1<<32 {
		q.limit = s.GroupOf(1 << 32)
	}
	if r.Dir {
		q.dir = r.Inode
	}
	if uint64(r.Goal) >= uint64(s.FirstDataBlock) && r.Goal != 0 {
		q.group, q.at = a.place(r.Goal)
	} else if r.Inode != 0 {
		q.group = a.home(r)
	}
	if q.group >= q.limit {
		q.group, q.at, q.exact = 0, 0, false
	}
	return q
}

// home is the group where a file's blocks go when nothing is said: the first of
// its flex group for metadata, the one after it for data, so that directories
// and the nodes of maps lie together before the files.
func (a *Allocator) home(r *Request) disk.GroupNum {
	n := disk.GroupNum(len(a.groups))
	g, _ := a.super.InodeGroup(r.Inode)
	if a.flex >= 2 {
		g = g >> a.flex << a.flex
		if !r.Meta && !r.Dir && g+1 < n {
			g++
		}
	}
	return min(g, n-1)
}

// attempt claims clusters and finds them.
func (a *Allocator) attempt(tx cache.Tx, r *Request, q ask) (g *group, c, n uint32, err error) {
	claimed := a.claim(r, q.need)
	if claimed == 0 {
		return nil, 0, 0, ErrNoSpace
	}
	q.need = claimed
	if r.Inode == 0 || r.Meta || r.NoPrealloc {
		q.want = claimed
		g, c, n, err = a.direct(tx, q)
	} else if r.Dir {
		g, c, n, err = a.forDir(tx, r, q)
	} else {
		g, c, n, err = a.forFile(tx, r, q)
	}
	a.avail.Add(int64(claimed) - int64(n))
	return g, c, n, err
}

// direct takes clusters for which nothing is set aside.
func (a *Allocator) direct(tx cache.Tx, q ask) (*group, uint32, uint32, error) {
	for range maxTries {
		g, c, n := a.search(&q)
		if g == nil {
			break
		}
		n = min(n, q.need)
		ok, err := a.take(tx, g, c, n, false)
		g.mu.Unlock()
		if ok || err != nil {
			return g, c, okCount(n, err), err
		}
	}
	return nil, 0, 0, ErrNoSpace
}

func okCount(n uint32, err error) uint32 {
	if err != nil {
		return 0
	}
	return n
}

// take allocates clusters that the index has as free, or that were set aside.
// False without an error says that the bitmap is damaged after all. g.mu is
// held.
func (a *Allocator) take(tx cache.Tx, g *group, c, n uint32, windowed bool) (bool, error) {
	bm, desc, err := a.open(tx, g)
	if err != nil {
		return false, err
	}
	if !noneSet(bm, c, n) || n > g.freeClusters {
		a.spoilBlocks(g, &disk.CorruptError{
			What: fmt.Sprintf("block bitmap of group %d", g.num), Block: g.blockBitmap,
			Detail: fmt.Sprintf("clusters %d to %d were free and are in use", c, c+n-1),
		})
		return false, nil
	}
	setBits(bm, c, n)
	g.freeClusters -= n
	desc.SetFreeClusters(g.freeClusters)
	if windowed {
		g.windowed -= n
	} else {
		g.idx.mark(c, n, true)
		a.rank(g)
	}
	a.freeClusters.Add(-int64(n))
	a.flexOf(g.num).clusters.Add(-int64(n))
	return true, nil
}

const (
	// maxTries bounds how often another goroutine may take what was found.
	maxTries = 64
	// maxLoads bounds the bitmaps that are read in hope of a better place.
	maxLoads = 32
	// goodRun clusters right at the goal are better than a longer run
	// elsewhere.
	goodRun = 16
)

// search finds a free run, as long as q wants or else needs or else as long as
// there is, near the goal. Its group comes back locked; nil if there is none.
func (a *Allocator) search(q *ask) (g *group, c, n uint32) {
	if g, c, n := a.atGoal(q); g != nil {
		return g, c, n
	}
	loads := maxLoads
	for _, n := range [2]uint32{q.want, q.need} {
		for range maxTries {
			num, ok := a.ranks.fit(n, q.group, q.limit, loads > 0)
			if !ok {
				break
			}
			g := &a.groups[num]
			g.mu.Lock()
			if g.idx == nil {
				loads--
			}
			if a.usable(g) {
				if c, ok := a.findIn(g, q, n); ok {
					return g, c, g.idx.run(c, max(q.want, q.need))
				}
			}
			g.mu.Unlock()
		}
	}
	for stale := 0; stale < maxTries; {
		num, ok := a.ranks.best(q.group, q.limit)
		if !ok {
			break
		}
		g := &a.groups[num]
		g.mu.Lock()
		if g.idx != nil {
			stale++ // an unknown one can be met only once
		}
		if a.usable(g) && g.idx.longest() > 0 {
			n := min(g.idx.longest(), q.need)
			if c, ok := a.findIn(g, q, n); ok {
				return g, c, n
			}
		}
		g.mu.Unlock()
	}
	return nil, 0, 0
}

// atGoal looks at the goal's group first, which mostly does.
func (a *Allocator) atGoal(q *ask) (*group, uint32, uint32) {
	g := &a.groups[q.group]
	g.mu.Lock()
	if a.usable(g) {
		if q.exact {
			if n := g.idx.run(q.at, q.want); n >= min(q.need, goodRun) {
				return g, q.at, n
			}
		}
		if c, ok := a.findIn(g, q, q.want); ok {
			return g, c, q.want
		}
	}
	g.mu.Unlock()
	return nil, 0, 0
}

// findIn finds n clusters in group g, from the goal on first if it is there.
func (a *Allocator) findIn(g *group, q *ask, n uint32) (uint32, bool) {
	if g.num == q.group && q.at > 0 {
		if c, ok := g.idx.find(q.at, n); ok {
			return c, true
		}
	}
	return g.idx.find(0, n)
}
