package alloc

import (
	"encoding/binary"
	"math/bits"
)

// A leaf of the tree stands for this many clusters.
const (
	leafWords = 4
	leafBits  = 64 * leafWords
)

// index knows the free runs of one group: a bitmap, and over it a binary tree
// that tells of every stretch how many clusters are free at its beginning, at
// its end, and in its longest run. A search costs the height of the tree, and
// so does a change. It is guarded by the group's mutex.
//
// busy is what cannot be given out: allocated clusters, those that a
// transaction freed and has not committed, those set aside for a file, and
// everything beyond the group.
type index struct {
	busy   []uint64
	n      uint32 // clusters of the group that can be given out at all
	leaves int    // a power of two
	tree   []span // tree[1] is the root, tree[i]'s children are 2i and 2i+1
}

// span sums up a stretch of clusters.
type span struct{ pre, suf, max uint32 }

// newIndex builds the index of the n first bits of a bitmap, which has room
// for them.
func newIndex(raw []byte, n uint32) *index {
	x := &index{busy: loadWords(raw, n), n: n, leaves: 1}
	for x.leaves*leafWords < len(x.busy) {
		x.leaves *= 2
	}
	for len(x.busy) < x.leaves*leafWords {
		x.busy = append(x.busy, ^uint64(0))
	}
	x.tree = make([]span, 2*x.leaves)
	for i := range x.leaves {
		x.tree[x.leaves+i] = x.leafSpan(i)
	}
	half := uint32(leafBits)
	for level := x.leaves / 2; level > 0; level /= 2 {
		for i := level; i < 2*level; i++ {
			x.tree[i] = join(x.tree[2*i], x.tree[2*i+1], half)
		}
		half *= 2
	}
	return x
}

// loadWords copies n bits out of a bitmap; those beyond are set.
func loadWords(raw []byte, n uint32) []uint64 {
	words := make([]uint64, (n+63)/64)
	for i := range words {
		var b [8]byte
		copy(b[:], raw[min(8*i, len(raw)):])
		words[i] = binary.LittleEndian.Uint64(b[:])
	}
	if r := n % 64; r != 0 {
		words[len(words)-1] |= ^uint64(0) << r
	}
	return words
}

// leafSpan sums up the words of leaf i.
func (x *index) leafSpan(i int) span {
	var s span
	run, begun := uint32(0), true
	for _, w := range x.busy[i*leafWords : (i+1)*leafWords] {
		if w == 0 {
			run += 64
			continue
		}
		run += uint32(bits.TrailingZeros64(w))
		s.max = max(s.max, run)
		if begun {
			s.pre, begun = run, false
		}
		// Only a word that could beat what is known is looked into.
		if uint32(64-bits.OnesCount64(w)) > s.max {
			s.max = max(s.max, longestZeros(w))
		}
		run = uint32(bits.LeadingZeros64(w))
	}
	s.suf, s.max = run, max(s.max, run)
	if begun {
		s.pre = run
	}
	return s
}

// longestZeros is the length of the longest run of clear bits in w.
func longestZeros(w uint64) uint32 {
	n := uint32(0)
	for free := ^w; free != 0; free &= free << 1 {
		n++
	}
	return n
}

// join sums up two stretches of half clusters each.
func join(l, r span, half uint32) span {
	s := span{pre: l.pre, suf: r.suf, max: max(l.max, r.max, l.suf+r.pre)}
	if l.pre == half {
		s.pre += r.pre
	}
	if r.suf == half {
		s.suf += l.suf
	}
	return s
}

// longest is the length of the longest free run.
func (x *index) longest() uint32 { return x.tree[1].max }

// isFree reports whether cluster c can be given out.
func (x *index) isFree(c uint32) bool {
	return c < x.n && x.busy[c/64]&(1<<(c%64)) == 0
}

// mark makes the n clusters from start on busy or free.
func (x *index) mark(start, n uint32, busy bool) {
	if n == 0 {
		return
	}
	for c, end := start, start+n; c < end; {
		m, next := wordMask(c, end)
		if busy {
			x.busy[c/64] |= m
		} else {
			x.busy[c/64] &^= m
		}
		c = next
	}
	lo, hi := x.leaves+int(start/leafBits), x.leaves+int((start+n-1)/leafBits)
	for i := lo; i <= hi; i++ {
		x.tree[i] = x.leafSpan(i - x.leaves)
	}
	half := uint32(leafBits)
	for lo, hi = lo/2, hi/2; lo > 0; lo, hi = lo/2, hi/2 {
		for i := lo; i <= hi; i++ {
			x.tree[i] = join(x.tree[2*i], x.tree[2*i+1], half)
		}
		half *= 2
	}
}

// wordMask is the part of [c, end) that lies in c's word, and where the next
// word begins, or end.
func wordMask(c, end uint32) (mask uint64, next uint32) {
	next = min(c&^63+64, end)
	mask = ^uint64(0) << (c % 64)
	if r := next % 64; r != 0 {
		mask &= 1<<r - 1
	}
	return mask, next
}

// run is the length of the free run that begins at cluster at, limit at most.
func (x *index) run(at, limit uint32) uint32 {
	if at >= x.n {
		return 0
	}
	n := uint32(0)
	for c := at; n < limit && int(c/64) < len(x.busy); {
		w := x.busy[c/64] >> (c % 64)
		room := 64 - c%64
		if k := uint32(bits.TrailingZeros64(w)); k < room {
			return min(n+k, limit)
		}
		n += room
		c += room
	}
	return min(n, limit)
}

// find returns the first cluster at or after from with n free ones in a row.
func (x *index) find(from, n uint32) (uint32, bool) {
	if n == 0 || from >= x.n || x.tree[1].max < n {
		return 0, false
	}
	leaf := int(from / leafBits)
	at, carry, ok := x.scan(from, uint32(leaf+1)*leafBits, n)
	if ok {
		return at, true
	}
	size := uint32(leafBits)
	for i := x.leaves + leaf; ; {
		for i&1 == 1 {
			i, size = i/2, size*2
			if i <= 1 {
				return 0, false
			}
		}
		i++ // the stretch after the last one
		s := x.tree[i]
		begin := (uint32(i) - uint32(x.leaves)/(size/leafBits)) * size
		if carry+s.pre >= n {
			return begin - carry, true
		}
		if s.max >= n {
			return x.descend(i, begin, size, n)
		}
		if s.pre == size {
			carry += size
		} else {
			carry = s.suf
		}
	}
}

// descend finds the first run of n in stretch i, which has one.
func (x *index) descend(i int, begin, size, n uint32) (uint32, bool) {
	for i < x.leaves {
		size /= 2
		l, r := x.tree[2*i], x.tree[2*i+1]
		switch {
		case l.max >= n:
			i = 2 * i
		case l.suf+r.pre >= n:
			return begin + size - l.suf, true
		default:
			i, begin = 2*i+1, begin+size
		}
	}
	at, _, ok := x.scan(begin, begin+size, n)
	return at, ok
}

// scan looks for n free clusters in a row in [from, to); carry is how many are
// free at its end.
func (x *index) scan(from, to, n uint32) (at, carry uint32, ok bool) {
	for c := from; c < to; {
		w := x.busy[c/64] >> (c % 64)
		room := min(64-c%64, to-c)
		if used := uint32(bits.TrailingZeros64(w)); used < room {
			if carry += used; carry >= n {
				return c + used - carry, 0, true
			}
			// Past the run of busy ones.
			carry = 0
			c += used + min(uint32(bits.TrailingZeros64(^(w>>used))), room-used)
			continue
		}
		carry += room
		c += room
		if carry >= n {
			return c - carry, 0, true
		}
	}
	return 0, carry, false
}
