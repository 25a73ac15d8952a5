package alloc

import (
	"sync"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// window is a run of clusters set aside: busy in the index of their group and
// free in its bitmap. What is set aside lives in memory only.
type window struct {
	g       disk.GroupNum
	c, n    uint32
	logical uint64 // cluster of the file that the first one is for
	dir     disk.InodeNum
	unused  bool // of a directory that has nothing of it yet
}

// owner has windows: a file that grows, or the small files of one flex group
// together, or its directories, whose windows say whose they are. mu comes
// before every group's.
type owner struct {
	mu      sync.Mutex
	gone    bool // not to be found any more: nothing may be added
	windows []window
}

const (
	// maxWindows bounds the windows of a file that is written here and there:
	// a writer that is maxGap behind others leaves them one for every piece.
	maxWindows = 128
	// maxDirWindows bounds those of a flex group's directories.
	maxDirWindows = 8
)

const (
	ownerShards = 32
	maxOwners   = 512 // per shard: files that are never released must not add up
)

// owners finds owners by inode, or for small files and directories by smallKey
// and dirKey of the flex group. A shard's mu comes before the owners'; it is not held with them.
type owners struct {
	shards [ownerShards]struct {
		mu sync.Mutex
		m  map[uint64]*owner
	}
}

func (o *owners) init() {
	for i := range o.shards {
		o.shards[i].m = make(map[uint64]*owner)
	}
}

func smallKey(flex uint32) uint64 { return 1<<32 | uint64(flex) }
func dirKey(flex uint32) uint64   { return 2<<32 | uint64(flex) }

// get returns the owner of key; it makes one only if create is set. Where there
// are too many it makes another one be forgotten, which is then to be dropped.
func (o *owners) get(key uint64, create bool) (w, old *owner) {
	s := &o.shards[key%ownerShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if w = s.m[key]; w != nil || !create {
		return w, nil
	}
	if len(s.m) >= maxOwners {
		for k := range s.m {
			old = s.m[k]
			delete(s.m, k)
			break
		}
	}
	w = new(owner)
	s.m[key] = w
	return w, old
}

// owner returns the owner of key locked; nil if there is none and create is
// not set.
func (a *Allocator) owner(key uint64, create bool) *owner {
	for {
		w, old := a.owners.get(key, create)
		if old != nil {
			a.drop(old)
		}
		if w == nil {
			return nil
		}
		w.mu.Lock()
		if !w.gone {
			return w
		}
		w.mu.Unlock()
	}
}

// forget makes key have no owner, and returns the one it had.
func (o *owners) forget(key uint64) *owner {
	s := &o.shards[key%ownerShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.m[key]
	delete(s.m, key)
	return w
}

// Release gives back what is set aside for a file: when it is closed by its
// last writer, or deleted.
func (a *Allocator) Release(n disk.InodeNum) {
	if w := a.owners.forget(uint64(n)); w != nil {
		a.drop(w)
	}
}

// drop gives back an owner's windows for good.
func (a *Allocator) drop(w *owner) {
	w.mu.Lock()
	w.gone = true
	for _, win := range w.windows {
		a.giveBack(win)
	}
	w.windows = nil
	w.mu.Unlock()
}

// dropWindows gives back everything that is set aside.
func (a *Allocator) dropWindows() {
	for i := range a.owners.shards {
		s := &a.owners.shards[i]
		s.mu.Lock()
		m := s.m
		s.m = make(map[uint64]*owner)
		s.mu.Unlock()
		for _, w := range m {
			a.drop(w)
		}
	}
}

// giveBack lets everybody have what is left of a window.
func (a *Allocator) giveBack(w window) {
	if w.n == 0 {
		return
	}
	g := &a.groups[w.g]
	g.mu.Lock()
	defer g.mu.Unlock()
	g.windowed -= w.n
	if !g.badBlocks {
		g.idx.mark(w.c, w.n, false)
		a.rank(g)
		g.trimmed = 0
	}
}

// Sizes in bytes, as Linux has them.
const (
	smallFile  = 64 << 10 // below that files are packed together
	smallChunk = 2 << 20  // what is set aside for them
	minAhead   = 8 << 20  // what is set aside for a file that outgrows these
	maxAhead   = 64 << 20
	maxGap     = 64 << 20 // what writers of one file may be apart
)

// plan says up to which byte of a file something is set aside when it is
// written up to end, and will have size bytes (0: nobody knows): all of it and no
// more, or as much again as it has. What Linux learns by delaying the allocation
// must come from this, so it asks for more than Linux; bounded says what it gets,
// and what is left over at the end is given back.
func plan(end, size int64) int64 {
	if size >= end {
		return min(size, end+maxAhead)
	}
	return end + min(max(end, minAhead), maxAhead)
}

// forFile takes clusters for a file's data: what is set aside for it, or else
// new ones, with more set aside.
func (a *Allocator) forFile(tx cache.Tx, r *Request, q ask) (*group, uint32, uint32, error) {
	bs := int64(a.super.BlockSize())
	end := (int64(r.Logical) + int64(r.Len)) * bs
	logical := uint64(r.Logical) / uint64(a.ratio)
	// A file that has outgrown the small ones, or has something set aside.
	w := a.owner(uint64(r.Inode), max(end, r.Size) >= smallFile)
	if w != nil {
		defer w.mu.Unlock()
		if g, c, n, err := a.fromWindow(tx, w, logical, &q); g != nil || err != nil {
			return g, c, n, err
		}
		cluster := bs * int64(a.ratio)
		size := (r.Size + bs - 1) / bs * bs // end is that of a block, too
		want := (plan(end, size)+cluster-1)/cluster - int64(logical)
		if r.Room > 0 {
			want = min(want, int64(r.Room)/int64(a.ratio))
		}
		if gap := a.gap(w, r, logical); gap > 0 {
			if g, c, n, err := a.afterGap(tx, w, logical, gap, want, q); g != nil || err != nil {
				return g, c, n, err
			}
		}
		q.want = a.bounded(q.need, want)
		return a.newWindow(tx, w, logical, q, maxWindows)
	}
	return a.small(tx, q)
}

// gap is how many clusters before logical are to be set aside with it: none if
// that is a hole rather than something to come, and none that are already.
func (a *Allocator) gap(w *owner, r *Request, logical uint64) uint32 {
	if int64(r.Gap)*int64(a.super.BlockSize()) > maxGap {
		return 0
	}
	// The file may have a part of the cluster that the gap begins in.
	begin := (uint64(r.Logical-disk.LogicalNum(r.Gap)) + uint64(a.ratio) - 1) / uint64(a.ratio)
	for _, win := range w.windows {
		if win.logical < logical {
			begin = max(begin, win.logical+uint64(win.n))
		}
	}
	return uint32(logical - min(begin, logical))
}

// afterGap takes what is needed from a run that has room for the gap before it.
// Without such a run the group is nil.
func (a *Allocator) afterGap(tx cache.Tx, w *owner, logical uint64, gap uint32, want int64, q ask) (*group, uint32, uint32, error) {
	whole := int64(gap) + int64(q.need)
	q.want = a.bounded(uint32(whole), int64(gap)+want)
	if int64(a.bounded(0, whole)) < whole {
		return nil, 0, 0, nil // it is getting tight
	}
	q.need, q.gap = uint32(whole), gap
	if q.exact {
		// The goal is for the first block after the gap.
		if q.at < gap {
			q.at, q.exact = 0, false
		} else {
			q.at -= gap
		}
	}
	return a.newWindow(tx, w, logical, q, maxWindows)
}

// bounded is how much to look for: never less than is needed, and not much of
// what is left when space runs out.
func (a *Allocator) bounded(need uint32, want int64) uint32 {
	want = min(want, int64(a.perGrp)/2, a.avail.Load()/64)
	return uint32(max(want, int64(need)))
}

// small takes clusters for a small file from the run that is set aside for
// those of the flex group.
func (a *Allocator) small(tx cache.Tx, q ask) (*group, uint32, uint32, error) {
	w := a.owner(smallKey(uint32(q.group>>a.flex)), true)
	defer w.mu.Unlock()
	if q.exact {
		// Right after what the file has, if that is free or set aside for
		// small files anyway.
		if g, c, n, err := a.follow(tx, w, q); g != nil || err != nil {
			return g, c, n, err
		}
	}
	if len(w.windows) > 0 && w.windows[0].n >= q.need {
		if g, c, n, err := a.fromWindow(tx, w, w.windows[0].logical, &q); g != nil || err != nil {
			return g, c, n, err
		}
	}
	chunk := int64(smallChunk) / a.super.ClusterSize()
	q.want = a.bounded(q.need, max(min(chunk, int64(a.perGrp)/8), 1))
	q.exact = false
	return a.newWindow(tx, w, 0, q, 1)
}

const (
	minDirAhead = 4 // blocks
	maxDirAhead = 64
)

// forDir takes clusters for a directory. What is set aside for one that grows
// is as much as it has, and a flex group's directories have few such windows
// together, so that nobody has to give them back. A new directory has one until
// the next one is made: copies fill a directory before, or do not, and then its
// one block is followed by that of the next.
func (a *Allocator) forDir(tx cache.Tx, r *Request, q ask) (*group, uint32, uint32, error) {
	num, _ := a.super.InodeGroup(r.Inode)
	w := a.owner(dirKey(uint32(num>>a.flex)), true)
	defer w.mu.Unlock()
	logical := uint64(r.Logical) / uint64(a.ratio)
	if logical > 0 {
		if g, c, n, err := a.fromWindow(tx, w, logical, &q); g != nil || err != nil {
			return g, c, n, err
		}
	}
	for i := len(w.windows) - 1; i >= 0; i-- {
		// Of the new one before, or of an old one that goes on elsewhere.
		if win := w.windows[i]; win.dir == r.Inode || logical == 0 && win.unused {
			a.giveBack(win)
			w.remove(i)
		}
	}
	ahead := min(max(r.Logical, minDirAhead), maxDirAhead) / disk.LogicalNum(a.ratio)
	q.want = a.bounded(q.need, int64(q.need)+int64(ahead))
	return a.newWindow(tx, w, logical, q, maxDirWindows)
}

// follow takes the clusters at the goal, if they are free or the next ones of
// the small files' run.
func (a *Allocator) follow(tx cache.Tx, w *owner, q ask) (*group, uint32, uint32, error) {
	if len(w.windows) > 0 && w.windows[0].g == q.group && w.windows[0].c == q.at {
		return a.fromWindow(tx, w, w.windows[0].logical, &q)
	}
	g := &a.groups[q.group]
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.usable(g) {
		return nil, 0, 0, nil
	}
	n := g.idx.run(q.at, q.need)
	if n < q.need {
		return nil, 0, 0, nil
	}
	if ok, err := a.take(tx, g, q.at, n, false); !ok || err != nil {
		return nil, 0, 0, err
	}
	return g, q.at, n, nil
}

// fromWindow takes what is needed, or less, out of the window that is for
// cluster logical of the file. Without such a window the group is nil. w.mu is
// held.
func (a *Allocator) fromWindow(tx cache.Tx, w *owner, logical uint64, q *ask) (*group, uint32, uint32, error) {
	for i := range w.windows {
		win := w.windows[i]
		if win.dir != q.dir || logical < win.logical || logical-win.logical >= uint64(win.n) || win.g >= q.limit {
			continue
		}
		skip := uint32(logical - win.logical)
		n := min(q.need, win.n-skip)
		g := &a.groups[win.g]
		g.mu.Lock()
		ok := !g.badBlocks
		var err error
		if ok {
			ok, err = a.take(tx, g, win.c+skip, n, true)
		}
		g.mu.Unlock()
		if err != nil {
			return nil, 0, 0, err
		}
		if !ok { // damaged meanwhile: its windows are worth nothing
			a.giveBack(win)
			w.remove(i)
			return nil, 0, 0, nil
		}
		rest := window{g: win.g, c: win.c + skip + n, n: win.n - skip - n, logical: logical + uint64(n), dir: win.dir}
		if skip > 0 {
			w.windows[i].n = skip
			a.add(w, rest, maxWindows)
		} else if w.windows[i] = rest; rest.n == 0 {
			w.remove(i)
		}
		return g, win.c + skip, n, nil
	}
	return nil, 0, 0, nil
}

func (w *owner) remove(i int) { w.windows = append(w.windows[:i], w.windows[i+1:]...) }

// add gives an owner a window more, and drops his oldest ones beyond limit.
func (a *Allocator) add(w *owner, win window, limit int) {
	if win.n == 0 {
		return
	}
	w.windows = append(w.windows, win)
	for len(w.windows) > limit {
		a.giveBack(w.windows[0])
		w.remove(0)
	}
}

// newWindow finds a run, takes what is needed of it and sets the rest aside.
// w.mu is held.
func (a *Allocator) newWindow(tx cache.Tx, w *owner, logical uint64, q ask, limit int) (*group, uint32, uint32, error) {
	for range maxTries {
		g, c, found := a.search(&q)
		if g == nil {
			break
		}
		gap := q.gap
		if found < q.need && gap > 0 {
			g.mu.Unlock()
			return nil, 0, 0, nil
		}
		n := min(found, q.need) - gap
		ok, err := a.take(tx, g, c+gap, n, false)
		before := window{g: g.num, c: c, n: gap, logical: logical - uint64(gap)}
		rest := window{
			g: g.num, c: c + gap + n, n: found - gap - n, logical: logical + uint64(n),
			dir: q.dir, unused: logical == 0 && q.dir != 0,
		}
		if ok {
			a.setAside(g, before)
			a.setAside(g, rest)
		}
		g.mu.Unlock()
		if err != nil {
			return nil, 0, 0, err
		}
		if ok {
			a.add(w, before, limit)
			a.add(w, rest, limit)
			return g, c + gap, n, nil
		}
	}
	return nil, 0, 0, ErrNoSpace
}

// setAside keeps others away from a new window. g.mu is held.
func (a *Allocator) setAside(g *group, w window) {
	if w.n > 0 {
		g.idx.mark(w.c, w.n, true)
		a.rank(g)
		g.windowed += w.n
	}
}
