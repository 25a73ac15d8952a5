package alloc

import (
	"math/bits"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// groupSet is a set of groups that finds the next member from any group on in
// a few steps: a bitmap, a bitmap of its words that are not zero, and so on.
type groupSet [][]uint64

func newGroupSet(n int) groupSet {
	var s groupSet
	for {
		n = (n + 63) / 64
		s = append(s, make([]uint64, n))
		if n <= 1 {
			return s
		}
	}
}

func (s groupSet) add(g disk.GroupNum) {
	i := uint32(g)
	for _, level := range s {
		w := &level[i/64]
		had := *w != 0
		*w |= 1 << (i % 64)
		if had {
			return
		}
		i /= 64
	}
}

func (s groupSet) remove(g disk.GroupNum) {
	i := uint32(g)
	for _, level := range s {
		w := &level[i/64]
		if *w &^= 1 << (i % 64); *w != 0 {
			return
		}
		i /= 64
	}
}

// next is the first member in [from, limit).
func (s groupSet) next(from, limit disk.GroupNum) (disk.GroupNum, bool) {
	i, up := uint64(from), 0
	for up < len(s) && i/64 < uint64(len(s[up])) {
		if w := s[up][i/64] >> (i % 64); w != 0 {
			i += uint64(bits.TrailingZeros64(w))
			for ; up > 0; up-- {
				i = i*64 + uint64(bits.TrailingZeros64(s[up-1][i]))
			}
			g := disk.GroupNum(i)
			return g, g < limit
		}
		i, up = i/64+1, up+1
	}
	return 0, false
}

// around is the first member at or after from, or else the first below it;
// limit bounds all.
func (s groupSet) around(from, limit disk.GroupNum) (disk.GroupNum, bool) {
	if g, ok := s.next(from, limit); ok {
		return g, true
	}
	return s.next(0, min(from, limit))
}

// maxOrder: no group has 2^(maxOrder+1) clusters.
const maxOrder = 20

// ranks sorts groups by their longest free run, so that an allocation goes to
// one that fits without looking at those that do not. Groups whose bitmap was
// not looked at yet stand apart: all that is known is that something is free.
// mu comes after every group's.
type ranks struct {
	mu      sync.Mutex
	longest []uint32               // by group
	atLeast [maxOrder + 1]groupSet // atLeast[k]: the longest run has 2^k clusters or more
	unknown groupSet
}

func (r *ranks) init(groups int) {
	r.longest = make([]uint32, groups)
	for k := range r.atLeast {
		r.atLeast[k] = newGroupSet(groups)
	}
	r.unknown = newGroupSet(groups)
}

// set says that group g is known, and its longest free run. 0 takes it out.
func (r *ranks) set(g disk.GroupNum, longest uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, is := bits.Len32(r.longest[g]), bits.Len32(longest)
	for k := was; k < is; k++ {
		r.atLeast[k].add(g)
	}
	for k := is; k < was; k++ {
		r.atLeast[k].remove(g)
	}
	r.longest[g] = longest
	r.unknown.remove(g)
}

// fitTries bounds the groups of the order just below that are looked at, in
// hope that the longest run is a little longer than its order says.
const fitTries = 8

// fit returns the first group from from on, and around, whose longest run has
// n clusters or, where guess is set, one that is not known yet if it is nearer.
func (r *ranks) fit(n uint32, from, limit disk.GroupNum, guess bool) (disk.GroupNum, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g, ok := r.fitKnown(n, from, limit)
	if !guess {
		return g, ok
	}
	u, found := r.unknown.around(from, limit)
	if found && (!ok || u-from < g-from) { // unsigned: those below from are far
		return u, true
	}
	return g, ok
}

func (r *ranks) fitKnown(n uint32, from, limit disk.GroupNum) (disk.GroupNum, bool) {
	k := bits.Len32(n) - 1
	if k > maxOrder {
		return 0, false
	}
	at := from
	for range fitTries {
		g, ok := r.atLeast[k].around(at, limit)
		if !ok {
			return 0, false
		}
		if r.longest[g] >= n {
			return g, true
		}
		if at = g + 1; at >= limit {
			at = 0
		}
	}
	if k++; k > maxOrder {
		return 0, false
	}
	return r.atLeast[k].around(from, limit)
}

// best returns the nearest group of those with the longest runs, or one that
// is not known.
func (r *ranks) best(from, limit disk.GroupNum) (disk.GroupNum, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := maxOrder; k >= 0; k-- {
		if g, ok := r.atLeast[k].around(from, limit); ok {
			return g, true
		}
	}
	return r.unknown.around(from, limit)
}

// lockedSet is a groupSet for many goroutines. mu comes after every group's.
type lockedSet struct {
	mu sync.Mutex
	s  groupSet
}

func (l *lockedSet) put(g disk.GroupNum, in bool) {
	l.mu.Lock()
	if in {
		l.s.add(g)
	} else {
		l.s.remove(g)
	}
	l.mu.Unlock()
}

func (l *lockedSet) next(from, limit disk.GroupNum) (disk.GroupNum, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.next(from, limit)
}

func (l *lockedSet) around(from, limit disk.GroupNum) (disk.GroupNum, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.around(from, limit)
}
