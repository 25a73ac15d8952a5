package alloc

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// freed is what one transaction freed: clusters of a group, or one inode.
type freed struct {
	g     disk.GroupNum
	c, n  uint32
	inode bool
}

// pending holds what was freed and is not committed, by transaction. mu comes
// after every group's.
type pending struct {
	mu      sync.Mutex
	batches []batch // few: the running transaction's and the committing one's
}

type batch struct {
	tid  uint32
	list []freed
}

func (p *pending) add(tid uint32, f freed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.batches, func(b batch) bool { return b.tid == tid })
	if i < 0 {
		i = len(p.batches)
		p.batches = append(p.batches, batch{tid: tid})
	}
	b := &p.batches[i]
	if n := len(b.list); n > 0 && !f.inode {
		// A file is mostly freed from one end to the other.
		l := &b.list[n-1]
		if !l.inode && l.g == f.g && l.c+l.n == f.c {
			l.n += f.n
			return
		}
		if !l.inode && l.g == f.g && f.c+f.n == l.c {
			l.c, l.n = f.c, l.n+f.n
			return
		}
	}
	b.list = append(b.list, f)
}

// until takes out what transactions up to tid freed.
func (p *pending) until(tid uint32) []freed {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []freed
	p.batches = slices.DeleteFunc(p.batches, func(b batch) bool {
		if disk.SequenceBefore(tid, b.tid) {
			return false
		}
		list = append(list, b.list...)
		return true
	})
	return list
}

// Pending reports whether something freed waits for a commit: who finds no
// space commits, and tries once more.
func (a *Allocator) Pending() bool {
	a.pending.mu.Lock()
	defer a.pending.mu.Unlock()
	return len(a.pending.batches) > 0
}

// Free takes back n blocks from bn on; with bigalloc, every cluster that they
// touch. They can be given out again after Committed of the transaction. If a
// block is free already, or not one that is ever given out, nothing is changed
// and the error is a *disk.CorruptError. Groups that are out of use because
// their bitmap is damaged are left as they are, and that is no error: their
// blocks are lost until a checker finds them.
//
// All groups that are touched are locked together, in ascending order.
func (a *Allocator) Free(tx cache.Tx, bn disk.BlockNum, n uint64) error {
	if n == 0 {
		return nil
	}
	begin, end, err := a.whole(bn, n)
	if err != nil {
		return err
	}
	parts := a.split(begin, end)
	for _, p := range parts {
		a.groups[p.g].mu.Lock()
		defer a.groups[p.g].mu.Unlock()
	}
	return a.freeParts(tx, parts)
}

// whole is the range of whole clusters that blocks touch, if they are blocks
// that can be given out and taken back at all.
func (a *Allocator) whole(bn disk.BlockNum, n uint64) (begin, end disk.BlockNum, err error) {
	lo, blocks := uint64(a.super.FirstDataBlock), a.super.Blocks()
	if uint64(bn) < lo || uint64(bn) >= blocks || n > blocks-uint64(bn) {
		return 0, 0, &disk.CorruptError{
			What: "block number", Block: bn, Detail: fmt.Sprintf("%d blocks from there on, of %d", n, blocks),
		}
	}
	mask := uint64(a.ratio) - 1
	begin = disk.BlockNum((uint64(bn)-lo)&^mask + lo)
	end = disk.BlockNum(min((uint64(bn)-lo+n+mask)&^mask+lo, blocks))
	if z, ok := a.inZone(begin, uint64(end-begin)); ok {
		return 0, 0, &disk.CorruptError{
			What: "block number", Block: bn,
			Detail: fmt.Sprintf("%d blocks from there on, %d to %d hold the file system's own structures", n, z.start, z.end-1),
		}
	}
	return begin, end, nil
}

// split cuts a range of blocks by groups.
func (a *Allocator) split(bn, end disk.BlockNum) []freed {
	var parts []freed
	for bn < end {
		g, c := a.place(bn)
		last := min(end, a.super.GroupFirstBlock(g)+disk.BlockNum(a.super.GroupBlocks(g)))
		_, lastCluster := a.place(last - 1)
		parts = append(parts, freed{g: g, c: c, n: lastCluster - c + 1})
		bn = last
	}
	return parts
}

// opened is a part of a Free with write access to its group.
type opened struct {
	freed
	bm   []byte
	desc disk.GroupDesc
}

func (a *Allocator) freeParts(tx cache.Tx, parts []freed) error {
	list := make([]opened, 0, len(parts))
	for _, p := range parts {
		g := &a.groups[p.g]
		if !a.usable(g) {
			continue
		}
		if g.flags&disk.GroupBlockUninit != 0 { // nothing was ever given out
			return a.notInUse(g, p)
		}
		bm, desc, err := a.open(tx, g)
		if err != nil {
			return err
		}
		if !allSet(bm, p.c, p.n) {
			return a.notInUse(g, p)
		}
		list = append(list, opened{p, bm, desc})
	}
	for _, p := range list {
		g := &a.groups[p.g]
		clearBits(p.bm, p.c, p.n)
		g.freeClusters += p.n
		g.heldClusters += p.n
		p.desc.SetFreeClusters(g.freeClusters)
		a.freeClusters.Add(int64(p.n))
		a.flexOf(p.g).clusters.Add(int64(p.n))
		a.pending.add(tx.ID(), p.freed)
	}
	return nil
}

// notInUse takes a group out of use whose bitmap has free what a file has.
func (a *Allocator) notInUse(g *group, p freed) error {
	err := &disk.CorruptError{
		What: fmt.Sprintf("block bitmap of group %d", g.num), Block: g.blockBitmap,
		Detail: fmt.Sprintf("blocks %d to %d are to be freed, and not all are in use", a.first(g, p.c), a.first(g, p.c+p.n)-1),
	}
	a.spoilBlocks(g, err)
	return err
}

// Committed says that transaction tid, and with it all before, is durable:
// what they freed can be given out again. Blocks are discarded first, if the
// configuration says so.
func (a *Allocator) Committed(tid uint32) {
	list := a.pending.until(tid)
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(x, y freed) int {
		return cmp.Or(cmp.Compare(x.g, y.g), cmp.Compare(x.c, y.c))
	})
	if a.cfg.Discard != nil {
		a.discard(list)
	}
	for i := 0; i < len(list); {
		j := i + 1
		for j < len(list) && list[j].g == list[i].g {
			j++
		}
		a.giveOut(list[i:j])
		i = j
	}
}

// giveOut makes freed things of one group available.
func (a *Allocator) giveOut(list []freed) {
	g := &a.groups[list[0].g]
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range list {
		if f.inode {
			a.giveOutInode(g, f.c)
			continue
		}
		g.heldClusters -= f.n
		if !g.badBlocks {
			g.idx.mark(f.c, f.n, false)
			a.avail.Add(int64(f.n))
		}
	}
	if !g.badBlocks && g.idx != nil {
		a.rank(g)
		g.trimmed = 0
	}
}

// discard tells of freed blocks, runs that touch joined. list is sorted.
func (a *Allocator) discard(list []freed) {
	var run Run
	for _, f := range list {
		g := &a.groups[f.g]
		// Who knows whose the blocks of a damaged group are.
		if f.inode || a.spoiled(g) {
			continue
		}
		start := a.first(g, f.c)
		// The last cluster may be cut by the end of the file system.
		n := min(uint64(f.n)*uint64(a.ratio), a.super.Blocks()-uint64(start))
		if run.Len > 0 && uint64(run.Start)+run.Len == uint64(start) {
			run.Len += n
			continue
		}
		if run.Len > 0 {
			a.cfg.Discard(run.Start, run.Len)
		}
		run = Run{start, n}
	}
	if run.Len > 0 {
		a.cfg.Discard(run.Start, run.Len)
	}
}

func (a *Allocator) spoiled(g *group) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.badBlocks
}
