package alloc

import (
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// parents remembers in which group a directory's last child went, so that the
// next one need not look again.
type parents struct {
	mu sync.Mutex
	m  map[disk.InodeNum]disk.GroupNum
}

const maxParents = 4096

func (p *parents) put(parent disk.InodeNum, g disk.GroupNum) {
	if parent == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil || len(p.m) >= maxParents {
		p.m = make(map[disk.InodeNum]disk.GroupNum)
	}
	p.m[parent] = g
}

func (p *parents) get(parent disk.InodeNum) (disk.GroupNum, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, ok := p.m[parent]
	return g, ok
}

// parentGroup is the group of a directory, the first one if there is no such.
func (a *Allocator) parentGroup(n disk.InodeNum) disk.GroupNum {
	if n == 0 || n > a.super.Inodes() {
		return 0
	}
	g, _ := a.super.InodeGroup(n)
	return min(g, disk.GroupNum(len(a.groups))-1)
}

// inFlex is the first group of flex group f that has inodes.
func (a *Allocator) inFlex(f uint32) (disk.GroupNum, bool) {
	first := disk.GroupNum(f) << a.flex
	return a.inodes.next(first, first+1<<a.flex)
}

// dirGroup chooses the group of a new directory by the rules of Orlov's
// allocator: those of a top directory are spread to where there is room and few
// directories, others stay near their parent as long as it is not crowded.
func (a *Allocator) dirGroup(r *NewInode) disk.GroupNum {
	n := uint32(len(a.flexes))
	avgInodes, avgClusters := a.freeInodes.Load()/int64(n), a.freeClusters.Load()/int64(n)
	parent := a.parentGroup(r.Parent)
	if r.TopDir || r.Parent == disk.RootInode {
		start := uint32(parent >> a.flex)
		if len(r.Name) > 0 {
			start = nameHash(r.Name) % n
		}
		best, fewest := uint32(0), int64(-1)
		for k := range n {
			i := (start + k) % n
			f := &a.flexes[i]
			if d := f.dirs.Load(); (fewest < 0 || d < fewest) && f.inodes.Load() > 0 &&
				f.inodes.Load() >= avgInodes && f.clusters.Load() >= avgClusters {
				best, fewest = i, d
			}
		}
		if g, ok := a.inFlex(best); fewest >= 0 && ok {
			return g
		}
		return a.roomy(parent, avgInodes)
	}
	size := int64(1) << a.flex
	perGroup := int64(a.super.InodesPerGroup)
	maxDirs := a.dirs.Load()/int64(n) + perGroup*size/16
	minInodes := max(avgInodes-perGroup*size/4, 1)
	minClusters := avgClusters - int64(a.perGrp)*size/4
	if g, ok := a.parents.get(r.Parent); ok {
		parent = g
	}
	start := uint32(parent >> a.flex)
	for k := range n {
		i := (start + k) % n
		f := &a.flexes[i]
		if f.dirs.Load() < maxDirs && f.inodes.Load() >= minInodes && f.clusters.Load() >= minClusters {
			if g, ok := a.inFlex(i); ok {
				return g
			}
		}
	}
	return a.roomy(parent, avgInodes)
}

// roomy is the first flex group from g's on that has as many free inodes as
// the average, or else the first group that has any.
func (a *Allocator) roomy(g disk.GroupNum, avg int64) disk.GroupNum {
	n := uint32(len(a.flexes))
	for k := range n {
		i := (uint32(g>>a.flex) + k) % n
		if a.flexes[i].inodes.Load() >= max(avg, 1) {
			if g, ok := a.inFlex(i); ok {
				return g
			}
		}
	}
	if any, ok := a.inodes.around(g, disk.GroupNum(len(a.groups))); ok {
		return any
	}
	return g
}

// fileGroup chooses the group of anything but a directory: its parent's, or
// one of the same flex group, or where the last one of that directory went.
func (a *Allocator) fileGroup(r *NewInode) disk.GroupNum {
	parent := a.parentGroup(r.Parent)
	if a.flex > 0 {
		if g, ok := a.inFlex(uint32(parent >> a.flex)); ok {
			return g
		}
		if last, ok := a.parents.get(r.Parent); ok {
			if g, ok := a.inFlex(uint32(last >> a.flex)); ok {
				return g
			}
		}
		return a.dirGroup(&NewInode{Parent: r.Parent})
	}
	// Without flex groups each flexStat is of one group.
	n := uint32(len(a.groups))
	has := func(g uint32) bool { return a.flexes[g].inodes.Load() > 0 && a.flexes[g].clusters.Load() > 0 }
	if has(uint32(parent)) {
		return parent
	}
	// Files of different directories that do not fit must not all go to the
	// same next group.
	g := uint32((uint64(parent) + uint64(r.Parent)) % uint64(n))
	for step := uint32(1); step < n; step *= 2 {
		if g = uint32((uint64(g) + uint64(step)) % uint64(n)); has(g) {
			return disk.GroupNum(g)
		}
	}
	if any, ok := a.inodes.around(parent, disk.GroupNum(n)); ok {
		return any
	}
	return parent
}

// nameHash spreads names (FNV-1a).
func nameHash(name []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range name {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}
