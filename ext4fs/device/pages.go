package device

import (
	"bytes"
	"sync"
)

// Memory that can be written to is kept in pages below a tree:
//
//	root        covers the whole device
//	  nodes     of fan children each, on as many levels as the size asks for
//	    leaves  one page each
//
// A child that is nil was never written. A copy shares the whole tree: each
// node has an owner, only he may change it, and at a copy both sides become new
// owners, who own nothing yet. So a copy costs nothing, a write to it copies
// the page and the nodes above, and two copies are compared in the time of what
// differs, for what they share are the same nodes.

const (
	pageShift = 12
	pageSize  = 1 << pageShift
	fanShift  = 6
	fan       = 1 << fanShift
)

// owner is a pages as long as it is not copied. It has a size because all
// pointers to nothing may be equal.
type owner struct{ _ byte }

// node is a leaf with a page, or has fan children.
type node struct {
	owner *owner
	page  *[pageSize]byte
	kids  []*node
}

// pages is sparse memory of a fixed size.
type pages struct {
	size   int64
	levels int // of nodes above the leaves
	// filler gives a page its first content where it is not zeros.
	filler func(p []byte, off int64) error

	mu    sync.RWMutex // guards what follows and the content of owned nodes
	owner *owner
	root  *node
	// blank[l] is a node of level l that reads as zeros, for memory in
	// which nil does not; nobody owns it. Set as needed.
	blank []*node
}

func newPages(size int64) *pages {
	size = max(size, 0)
	p := &pages{size: size, owner: new(owner)}
	for n := (uint64(size) + pageSize - 1) >> pageShift; n > 1; n = (n + fan - 1) >> fanShift {
		p.levels++
	}
	return p
}

// clone makes a copy that shares what neither side changes.
func (p *pages) clone() *pages {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owner = new(owner)
	return &pages{size: p.size, levels: p.levels, filler: p.filler, owner: new(owner), root: p.root, blank: p.blank}
}

// find is the page with that index, nil if there is none. mu is held.
func (p *pages) find(i uint64) *[pageSize]byte {
	n := p.root
	for l := p.levels; n != nil; l-- {
		if l == 0 {
			return n.page
		}
		n = n.kids[i>>((l-1)*fanShift)%fan]
	}
	return nil
}

// own returns a page that may be changed. Its old content is only there if
// keep says that it is wanted. mu is held for writing.
func (p *pages) own(i uint64, keep bool) (*[pageSize]byte, error) {
	at := &p.root
	for l := p.levels; ; l-- {
		n := *at
		if l == 0 {
			if n != nil && n.owner == p.owner {
				return n.page, nil
			}
			page, err := p.newPage(n, i, keep)
			if err == nil {
				*at = &node{owner: p.owner, page: page}
			}
			return page, err
		}
		if n == nil || n.owner != p.owner {
			n = p.branch(n)
			*at = n
		}
		at = &n.kids[i>>((l-1)*fanShift)%fan]
	}
}

// branch is an own copy of the inner node n, which may be nil.
func (p *pages) branch(n *node) *node {
	own := &node{owner: p.owner, kids: make([]*node, fan)}
	if n != nil {
		copy(own.kids, n.kids)
	}
	return own
}

func (p *pages) newPage(old *node, i uint64, keep bool) (*[pageSize]byte, error) {
	page := new([pageSize]byte)
	switch {
	case !keep:
	case old != nil:
		*page = *old.page
	case p.filler != nil:
		off := int64(i << pageShift)
		if err := p.filler(page[:min(pageSize, p.size-off)], off); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// write copies b to off. It must lie inside. An error is one of the filler.
func (p *pages) write(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		at := off + int64(done)
		skip := int(at & (pageSize - 1))
		n := min(len(b)-done, pageSize-skip)
		page, err := p.own(uint64(at)>>pageShift, n < pageSize)
		if err != nil {
			return done, err
		}
		copy(page[skip:], b[done:done+n])
		done += n
	}
	return done, nil
}

// zero makes a range that lies inside read as zeros, and frees its pages.
func (p *pages) zero(off, n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := off + n
	// Pages that are cleared as a whole; the last one of all may be short.
	first := (uint64(off) + pageSize - 1) >> pageShift
	last := uint64(end) >> pageShift
	if end == p.size {
		last = beyond
	}
	if first >= last {
		return p.zeroParts(off, n)
	}
	if err := p.zeroParts(off, int64(first<<pageShift)-off); err != nil {
		return err
	}
	p.root = p.clear(p.root, p.levels, 0, first, last)
	if last == beyond {
		return nil
	}
	from := int64(last << pageShift)
	return p.zeroParts(from, end-from)
}

// beyond is after the last page of the largest device, and of its tree.
const beyond = 1 << 60

// zeroParts clears a range that has no whole page, but may touch two.
func (p *pages) zeroParts(off, n int64) error {
	for n > 0 {
		k := min(n, pageSize-off&(pageSize-1))
		if err := p.zeroPart(off, k); err != nil {
			return err
		}
		off += k
		n -= k
	}
	return nil
}

// zeroPart clears a part of one page.
func (p *pages) zeroPart(off, n int64) error {
	if p.filler == nil && p.find(uint64(off)>>pageShift) == nil {
		return nil
	}
	_, err := p.write(zeroRun[:n], off)
	return err
}

// clear takes the pages from lo to before hi out of the node n, which covers
// those from base on.
func (p *pages) clear(n *node, level int, base, lo, hi uint64) *node {
	span := uint64(1) << (level * fanShift)
	if hi <= base || lo >= base+span || lo >= hi {
		return n
	}
	if lo <= base && hi >= base+span {
		return p.empty(level)
	}
	if n == nil && p.filler == nil {
		return nil
	}
	if n == nil || n.owner != p.owner {
		n = p.branch(n)
	}
	span >>= fanShift
	for i := range n.kids {
		n.kids[i] = p.clear(n.kids[i], level-1, base+uint64(i)*span, lo, hi)
	}
	return n
}

// empty is what reads as zeros on a level.
func (p *pages) empty(level int) *node {
	if p.filler == nil {
		return nil
	}
	for len(p.blank) <= level {
		n := new(node)
		if l := len(p.blank); l == 0 {
			n.page = new([pageSize]byte)
		} else {
			n.kids = make([]*node, fan)
			for i := range n.kids {
				n.kids[i] = p.blank[l-1]
			}
		}
		// A copy may share the array below: never append in place.
		p.blank = append(p.blank[:len(p.blank):len(p.blank)], n)
	}
	return p.blank[level]
}

// diff calls f for every page that was written in one of a and b since one was
// copied from the other, and is not known to be equal.
func diff(a, b *node, level int, base uint64, f func(i uint64) error) error {
	if a == b {
		return nil
	}
	if level == 0 {
		if a != nil && b != nil && bytes.Equal(a.page[:], b.page[:]) {
			return nil
		}
		return f(base)
	}
	span := uint64(1) << ((level - 1) * fanShift)
	for i := range fan {
		var x, y *node
		if a != nil {
			x = a.kids[i]
		}
		if b != nil {
			y = b.kids[i]
		}
		if err := diff(x, y, level-1, base+uint64(i)*span, f); err != nil {
			return err
		}
	}
	return nil
}

func (p *pages) writeAt(b []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(b)), p.size); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(b, off)
}

func (p *pages) writeVAt(bufs [][]byte, off int64) (int, error) {
	if err := inside("write", off, total(bufs), p.size); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	done := 0
	for _, b := range bufs {
		n, err := p.write(b, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (p *pages) wipe(op string, off, n int64) error {
	if err := inside(op, off, n, p.size); err != nil || n == 0 {
		return err
	}
	return p.zero(off, n)
}

// untouched is how many of n bytes at off, the first of which is in no page,
// are in none. mu is held.
func (p *pages) untouched(off int64, n int) int {
	end := off + int64(n)
	next := off&^(pageSize-1) + pageSize
	for next < end && p.find(uint64(next)>>pageShift) == nil {
		next += pageSize
	}
	return int(min(next, end) - off)
}
