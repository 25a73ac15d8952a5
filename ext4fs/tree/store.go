package tree

import (
	"hash/maphash"
	"strings"
)

// chunked is a list that grows without being copied, so that a million nodes
// never need space twice. Pointers into it stay valid.
type chunked[T any] struct {
	chunks [][]T
	n      int
}

const (
	chunkBits = 10
	chunkLen  = 1 << chunkBits
)

func (c *chunked[T]) at(i uint32) *T { return &c.chunks[i>>chunkBits][i&(chunkLen-1)] }

func (c *chunked[T]) add(v T) uint32 {
	if c.n == len(c.chunks)<<chunkBits {
		c.chunks = append(c.chunks, make([]T, chunkLen))
	}
	i := uint32(c.n)
	c.n++
	*c.at(i) = v
	return i
}

// arena keeps strings of up to 64 KiB one behind the other. A reference is the
// place of the string, in front of which is its length in two bytes. Nothing
// is ever taken out.
type arena struct {
	chunks []*strings.Builder
}

const (
	arenaBits = 18
	arenaLen  = 1 << arenaBits
	arenaMost = 1 << (32 - arenaBits) // chunks that a reference can name
	maxText   = 1<<16 - 1
)

// add keeps s, of at most maxText bytes. It fails when all is used up.
func (a *arena) add(s string) (uint32, error) {
	need := 2 + len(s)
	n := len(a.chunks)
	if n == 0 || arenaLen-a.chunks[n-1].Len() < need {
		if n >= arenaMost {
			return 0, ErrTooMany
		}
		b := new(strings.Builder)
		// All of it at once: what is added later must not move what strings
		// already point to.
		b.Grow(arenaLen)
		a.chunks = append(a.chunks, b)
		n++
	}
	b := a.chunks[n-1]
	at := b.Len()
	b.WriteByte(byte(len(s)))
	b.WriteByte(byte(len(s) >> 8))
	b.WriteString(s)
	return uint32(n-1)<<arenaBits | uint32(at), nil
}

// text gives a string without copying it.
func (a *arena) text(ref uint32) string {
	s := a.chunks[ref>>arenaBits].String()[ref&(arenaLen-1):]
	n := int(s[0]) | int(s[1])<<8
	return s[2 : 2+n]
}

// index finds a link by directory and name. It is a hash table in parts, so
// that growing costs little at a time. Links stay in it for ever: one that is
// removed is marked, and used again for the same name.
//
//	hash  bits 26-31 the part, 20-25 the tag, the lower ones the place
//	slot  bits 26-31 the tag, 0-25 a link's number + 1; 0 is free
type index struct {
	seed  maphash.Seed
	parts [indexParts]indexPart
}

const (
	indexParts = 64
	slotBits   = 26
	slotLink   = 1<<slotBits - 1
	indexMost  = slotLink
)

type indexPart struct {
	slots []uint32
	used  int
}

func (x *index) hash(dir ID, name string) uint32 {
	h := maphash.String(x.seed, name) ^ uint64(dir)*0x9e3779b97f4a7c15
	h ^= h >> 29
	return uint32(h * 0xbf58476d1ce4e5b9 >> 32)
}

func slot(hash, link uint32) uint32 { return hash>>20<<slotBits | (link + 1) }

// find returns the link, or where it belongs.
func (x *index) find(t *Tree, hash uint32, dir ID, name string) (link uint32, ok bool) {
	p := &x.parts[hash>>slotBits]
	if len(p.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(p.slots) - 1)
	tag := slot(hash, 0) &^ slotLink
	for at := hash & mask; p.slots[at] != 0; at = (at + 1) & mask {
		if p.slots[at]&^slotLink != tag {
			continue
		}
		n := p.slots[at]&slotLink - 1
		if l := t.links.at(n); l.hash == hash && l.dir == dir && t.names.text(l.name) == name {
			return n, true
		}
	}
	return 0, false
}

// add puts in a link that is not there.
func (x *index) add(t *Tree, hash, link uint32) {
	p := &x.parts[hash>>slotBits]
	if 4*(p.used+1) > 3*len(p.slots) {
		p.grow(t)
	}
	p.put(hash, link)
	p.used++
}

func (p *indexPart) put(hash, link uint32) {
	mask := uint32(len(p.slots) - 1)
	at := hash & mask
	for p.slots[at] != 0 {
		at = (at + 1) & mask
	}
	p.slots[at] = slot(hash, link)
}

func (p *indexPart) grow(t *Tree) {
	old := p.slots
	p.slots = make([]uint32, max(16, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			link := s&slotLink - 1
			p.put(t.links.at(link).hash, link)
		}
	}
}
