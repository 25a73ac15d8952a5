package ext4fs

import (
	"errors"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// unmapped are the flags of runs that have no data.
const unmapped = extent.FlagHole | extent.FlagUnwritten

// newRun is blocks for a hole that are not mapped yet.
type newRun struct {
	bn disk.BlockNum
	n  uint32
	// taken are the blocks allocated for it: whole clusters. It is 0 where
	// the run lies in a cluster that the file had.
	taken int64
}

// allocRun finds blocks for the hole that begins at l: at least one and at most
// want, all of which must be unmapped. With bigalloc a cluster that the file
// has is used before another is taken. size is the file's expected one. It asks
// for its own credits, and those to map the run. Called with mu and mapMu.
func (i *Inode) allocRun(tx *opTx, m *blockMap, l disk.LogicalNum, want uint32, size int64) (newRun, error) {
	ratio := i.fs.super.ClusterRatio()
	if ratio > 1 {
		r, left, err := i.inCluster(m, l, want, ratio)
		if err != nil || r.n != 0 {
			return r, errors.Join(err, need(tx, i.runCredits(m, 0)))
		}
		want = left
	}
	if err := need(tx, i.runCredits(m, uint64(want))); err != nil {
		return newRun{}, err
	}
	near, err := i.near(m, l)
	if err != nil {
		return newRun{}, err
	}
	want, err = i.chargeSome(tx, l, want, ratio)
	if err != nil {
		return newRun{}, err
	}
	charged := clusterBlocks(uint64(l), want, ratio)
	bn, n, err := i.fs.live.alloc.Alloc(tx, alloc.Request{
		Inode: i.num, Logical: l, Goal: near.goal, Gap: near.gap, Room: near.room, Len: want, Size: size,
		Root: i.asRoot(), Low: i.mapsLow(), Dir: i.IsDir(),
	})
	if err != nil {
		return newRun{}, errors.Join(noSpace(err), i.charge(tx.h, -charged, 0))
	}
	r := newRun{bn, n, clusterBlocks(uint64(l), n, ratio)}
	if r.taken < charged {
		if err := i.charge(tx.h, r.taken-charged, 0); err != nil {
			return newRun{}, i.fs.abort(err)
		}
	}
	m.space.taken += r.taken
	return r, nil
}

// chargeSome charges the quota for the clusters of want blocks at l, or for
// fewer where the limit is near, and says for how many blocks.
func (i *Inode) chargeSome(tx *opTx, l disk.LogicalNum, want, ratio uint32) (uint32, error) {
	for {
		err := i.charge(tx.h, clusterBlocks(uint64(l), want, ratio), 0)
		if err == nil || want <= ratio || !errors.Is(err, ErrQuota) {
			return want, err
		}
		want /= 2
	}
}

// clusterBlocks is the size of the clusters that n blocks at l touch, in
// blocks.
func clusterBlocks(l uint64, n, ratio uint32) int64 {
	if n == 0 {
		return 0
	}
	r := uint64(ratio)
	return int64(((l+uint64(n)-1)/r - l/r + 1) * r)
}

// inCluster gives the blocks at l of a cluster that the file has already. If it
// has none there, the run is empty, and left says how many of want blocks do
// not reach into a cluster that it has.
func (i *Inode) inCluster(m *blockMap, l disk.LogicalNum, want, ratio uint32) (r newRun, left uint32, err error) {
	begin := l - l%disk.LogicalNum(ratio)
	base, ok, err := clusterAt(m, begin, ratio)
	if err != nil {
		return r, 0, err
	}
	if ok {
		in := uint32(l - begin)
		return newRun{bn: base + disk.BlockNum(in), n: min(want, ratio-in)}, 0, nil
	}
	last := (uint64(l) + uint64(want) - 1) / uint64(ratio) * uint64(ratio)
	if last > uint64(l) {
		if _, ok, err = clusterAt(m, disk.LogicalNum(last), ratio); ok {
			want = uint32(last - uint64(l))
		}
	}
	return r, want, err
}

// clusterAt returns the first block of the cluster to which the file's logical
// cluster beginning at begin is mapped, if any of it is.
func clusterAt(m extent.Map, begin disk.LogicalNum, ratio uint32) (disk.BlockNum, bool, error) {
	end := uint64(begin) + uint64(ratio)
	for at := uint64(begin); at < end && at <= uint64(disk.MaxLogical); {
		e, err := m.Find(disk.LogicalNum(at))
		if err != nil {
			return 0, false, err
		}
		if e.Flags&extent.FlagHole == 0 {
			bn := e.Physical + disk.BlockNum(at-uint64(e.Logical))
			return bn &^ disk.BlockNum(ratio-1), true, nil
		}
		at = e.End()
	}
	return 0, false, nil
}

// near is what the allocator has to know of the file around a hole.
type near struct {
	// goal is where the block would lie best: as far behind the run before it,
	// or else before the one behind it, as it is in the file; 0 is anywhere
	// near the inode.
	goal disk.BlockNum
	gap  uint32 // blocks before it that the file does not have
	room uint32 // from it on, 0 where no run follows
}

// near looks around block l, which is in a hole.
func (i *Inode) near(m *blockMap, l disk.LogicalNum) (n near, err error) {
	e, err := m.Find(l)
	if err != nil || e.Flags&extent.FlagHole == 0 {
		return n, err
	}
	var next Extent
	if n.gap = uint32(l); e.End() <= uint64(disk.MaxLogical) {
		if next, err = m.Find(disk.LogicalNum(e.End())); err != nil {
			return n, err
		}
		if next.Flags&extent.FlagHole == 0 {
			n.room = uint32(e.End() - uint64(l))
		}
	}
	before, ok, err := runBefore(m, l)
	switch {
	case err != nil:
		return n, err
	case ok && before.End() <= uint64(l):
		n.gap = uint32(uint64(l) - before.End())
		n.goal = i.inside(before.Physical + disk.BlockNum(l-before.Logical))
	case n.room > 0 && next.Physical > disk.BlockNum(n.room):
		n.goal = i.inside(next.Physical - disk.BlockNum(n.room))
	}
	return n, nil
}

// inside returns bn if it is a block of the file system, else 0.
func (i *Inode) inside(bn disk.BlockNum) disk.BlockNum {
	if uint64(bn) >= i.fs.super.Blocks() {
		return 0
	}
	return bn
}

// runBefore returns the run before the hole at l, if the map finds it.
func runBefore(m *blockMap, l disk.LogicalNum) (Extent, bool, error) {
	if l == 0 {
		return Extent{}, false, nil
	}
	if n, ok := m.Changer.(extent.Neighbour); ok {
		return n.Before(l)
	}
	e, err := m.Find(l - 1)
	return e, e.Flags&extent.FlagHole == 0, err
}

// giveBack frees a run that could not be mapped, and returns err. Blocks are
// free to be taken again after the commit.
func (i *Inode) giveBack(tx *opTx, r newRun, err error) error {
	if i.readsThroughCache() {
		for n := range r.n {
			tx.Forget(r.bn + disk.BlockNum(n))
		}
	}
	if r.taken == 0 {
		return err
	}
	if ferr := i.fs.live.alloc.Free(tx, r.bn, uint64(r.n)); ferr != nil {
		return i.fs.abort(errors.Join(err, ferr))
	}
	return errors.Join(err, i.charge(tx.h, -r.taken, 0))
}

// insertRun maps a new run. If that fails the run is free again.
func (i *Inode) insertRun(tx *opTx, m *blockMap, l disk.LogicalNum, r newRun, flags extent.Flags) error {
	err := m.Insert(tx, extent.Extent{Logical: l, Physical: r.bn, Len: r.n, Flags: flags})
	if err != nil {
		m.space.taken -= r.taken
		return i.giveBack(tx, r, err)
	}
	return nil
}

// removeRuns unmaps [from, end) and frees what it unmaps, as far as the
// credits reach: blocks from next on are done; next == from says all are.
// Called with mu and mapMu.
func (i *Inode) removeRuns(tx *opTx, m *blockMap, from disk.LogicalNum, end uint64) (next uint64, err error) {
	journaled := i.readsThroughCache()
	return m.Remove(tx, from, end, func(e extent.Extent) error { return i.freeRun(tx, m, e, journaled) })
}

// freeRun frees the blocks of a run that is about to be unmapped. With bigalloc
// these are the clusters in which nothing else is mapped.
func (i *Inode) freeRun(tx *opTx, m *blockMap, e extent.Extent, journaled bool) error {
	first, n, err := i.ownClusters(m, e)
	if err != nil {
		return err
	}
	if n > 0 {
		if err := i.freeCharged(tx, first, n); err != nil {
			return err
		}
	}
	if journaled {
		for k := range e.Len {
			tx.Forget(e.Physical + disk.BlockNum(k))
		}
	}
	m.space.taken -= int64(n)
	return nil
}

// freeCharged frees blocks and takes them off the quota. It fails before it
// changes anything.
func (i *Inode) freeCharged(tx *opTx, bn disk.BlockNum, n uint64) error {
	if err := need(tx, i.fs.live.alloc.BlockCredits(n)); err != nil {
		return err
	}
	if err := i.charge(tx.h, -int64(n), 0); err != nil {
		return err
	}
	if err := i.fs.live.alloc.Free(tx, bn, n); err != nil {
		return errors.Join(err, i.charge(tx.h, int64(n), 0))
	}
	return nil
}

// ownClusters are the blocks to free when e is unmapped: all of it, or whole
// clusters of which it has the last mapped blocks.
func (i *Inode) ownClusters(m extent.Map, e extent.Extent) (disk.BlockNum, uint64, error) {
	ratio := uint64(i.fs.super.ClusterRatio())
	if ratio == 1 {
		return e.Physical, uint64(e.Len), nil
	}
	begin, end := uint64(e.Logical)/ratio*ratio, (e.End()+ratio-1)/ratio*ratio
	base := uint64(e.Physical) &^ (ratio - 1) // of the cluster at begin
	mapped, err := anyMapped(m, begin, uint64(e.Logical))
	if err != nil {
		return 0, 0, err
	}
	lo, hi := begin, end
	if mapped {
		lo += ratio
	}
	if mapped, err = anyMapped(m, e.End(), end); err != nil {
		return 0, 0, err
	}
	if mapped {
		hi -= ratio
	}
	if lo >= hi {
		return 0, 0, nil
	}
	return disk.BlockNum(base + lo - begin), hi - lo, nil
}

// anyMapped reports whether a block in [from, end) is mapped.
func anyMapped(m extent.Map, from, end uint64) (bool, error) {
	for from < end && from <= uint64(disk.MaxLogical) {
		e, err := m.Find(disk.LogicalNum(from))
		if err != nil {
			return false, err
		}
		if e.Flags&extent.FlagHole == 0 {
			return true, nil
		}
		from = e.End()
	}
	return false, nil
}

// retry is withSpace, which goes on in another transaction where the one that
// runs has no room for even a beginning.
func (f *FS) retry(op func() error) error {
	err := f.withSpace(op)
	for range 3 {
		if !errors.Is(err, cache.ErrCredits) || f.batched() {
			break
		}
		if e := f.commitNow(); e != nil {
			return e
		}
		err = f.withSpace(op)
	}
	return noSpace(err)
}

// stops reports whether an error only says that a transaction or the file
// system has no more room: what was done before it stays.
func stops(err error) bool {
	return errors.Is(err, cache.ErrCredits) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrQuota)
}
