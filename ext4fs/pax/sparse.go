package pax

import (
	"errors"
	"io"
	"iter"
	"strconv"
	"strings"
)

// pieces checks the map of a sparse member as it comes: in order, apart, within
// the size. Pieces without data, which mark the end, are not kept.
type pieces struct {
	size     int64
	end, sum int64
	list     []Span
}

func (p *pieces) add(off, n int64) bool {
	if off < p.end || n < 0 || n > p.size || off > p.size-n {
		return false
	}
	last := len(p.list) - 1
	switch {
	case n == 0:
	case last >= 0 && off == p.end && p.list[last].Off+p.list[last].Len == off:
		p.list[last].Len += n
	case len(p.list) >= maxPieces:
		return false
	default:
		p.list = append(p.list, Span{off, n})
	}
	p.end = off + n
	p.sum += n
	return true
}

// take makes the pieces those of the member, if they are what data follows.
func (t *Reader) take(h *Header, p *pieces) error {
	if p.sum != t.left {
		return t.bad("a sparse file has %d bytes, its pieces %d", t.left, p.sum)
	}
	h.Sparse, h.Size, h.Pieces = true, p.size, p.list
	return nil
}

func (t *Reader) badMap() error {
	return t.bad("the pieces of a sparse file are not in order, too many, or no numbers")
}

// oldSparse reads the map in a header of GNU tar's own format.
func (t *Reader) oldSparse(h *Header) error {
	n := numbers{b: t.block[:]}
	stored, p := h.Size, &pieces{size: n.at(483, 12)}
	ok := p.size >= 0
	add := func(off, count int) {
		for k := range count {
			at := off + 24*k
			if n.b[at] == 0 {
				break
			}
			ok = ok && p.add(n.at(at, 12), n.at(at+12, 12))
		}
	}
	add(386, 4)
	for more := t.block[482] != 0; more && ok && !n.bad; more = t.block[504] != 0 {
		if err := t.full(); err != nil {
			return noEOF(err)
		}
		add(0, 21)
	}
	if !ok || n.bad {
		return t.badMap()
	}
	t.follows(stored, h.Type)
	return t.take(h, p)
}

// paxSparse finds the map of a sparse member in one of the three forms that
// GNU tar has had for PAX.
func (t *Reader) paxSparse(h *Header, offsets []string) error {
	value := func(key string) string { v, _ := h.Record(key); return v }
	size, old := value("GNU.sparse.size"), true
	if value("GNU.sparse.major") == "1" && value("GNU.sparse.minor") == "0" {
		size, old = value("GNU.sparse.realsize"), false
	}
	if size == "" {
		return nil
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 {
		return t.bad("sparse size %q", excerpt(size))
	}
	if name := value("GNU.sparse.name"); name != "" {
		h.Name = name
	}
	p := &pieces{size: n}
	if !old {
		err = t.sparseMap(p)
	} else if text, ok := h.Record("GNU.sparse.map"); ok {
		err = t.addAll(p, strings.SplitSeq(text, ","))
	} else {
		err = t.addAll(p, func(yield func(string) bool) {
			for _, s := range offsets {
				if !yield(s) {
					return
				}
			}
		})
	}
	if err != nil {
		return err
	}
	return t.take(h, p)
}

// addAll takes offsets and lengths in turn.
func (t *Reader) addAll(p *pieces, list iter.Seq[string]) error {
	off, odd := int64(0), false
	for s := range list {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || odd && !p.add(off, n) {
			return t.badMap()
		}
		off, odd = n, !odd
	}
	if odd {
		return t.badMap()
	}
	return nil
}

// sparseMap reads the map at the beginning of the data: decimal lines, filled
// up to whole blocks.
func (t *Reader) sparseMap(p *pieces) error {
	lines := mapLines{t: t}
	count, err := lines.next()
	if err == nil && (count < 0 || count > maxPieces) {
		return t.bad("%d pieces", count)
	}
	for ; err == nil && count > 0; count-- {
		var off, n int64
		if off, err = lines.next(); err == nil {
			n, err = lines.next()
		}
		if err == nil && !p.add(off, n) {
			err = errMap
		}
	}
	if err == errMap {
		return t.badMap()
	}
	return err
}

var errMap = errors.New("not a map")

// mapLines reads numbers, one a line.
type mapLines struct {
	t    *Reader
	rest []byte
}

func (l *mapLines) next() (int64, error) {
	var digits [20]byte
	for n := 0; ; n++ {
		if len(l.rest) == 0 {
			if l.t.left < blockSize {
				return 0, errMap
			}
			if _, err := io.ReadFull(l.t, l.t.block[:]); err != nil {
				return 0, noEOF(err)
			}
			l.rest = l.t.block[:]
		}
		c := l.rest[0]
		l.rest = l.rest[1:]
		if c == '\n' {
			v, err := strconv.ParseInt(string(digits[:n]), 10, 64)
			if err != nil {
				return 0, errMap
			}
			return v, nil
		}
		if n == len(digits) {
			return 0, errMap
		}
		digits[n] = c
	}
}
