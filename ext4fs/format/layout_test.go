package format

import (
	"math/rand/v2"
	"testing"
)

// TestBlockSet holds the set against an array of bits.
func TestBlockSet(t *testing.T) {
	const size = 300
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var s blockSet
		var bits [size]bool
		for range r.IntN(40) {
			b := r.IntN(size)
			n := r.IntN(min(20, size-b))
			s.add(uint64(b), uint64(n))
			for i := range n {
				bits[b+i] = true
			}
		}
		for i := range s.len() {
			if v := s.get(i); v.from >= v.to || i > 0 && s.get(i-1).to >= v.from {
				t.Fatalf("seed %d: intervals %v", seed, s)
			}
		}
		count := func() (n int) {
			for _, b := range bits {
				if b {
					n++
				}
			}
			return n
		}
		total := 0
		for v := range s.all {
			total += int(v.to - v.from)
		}
		if total != count() {
			t.Fatalf("seed %d: %d blocks, want %d", seed, total, count())
		}
		for range 50 {
			b, n := uint64(r.IntN(size)), uint64(1+r.IntN(10))
			limit := b + uint64(r.IntN(size))
			want, found := uint64(0), false
			for at := b; at < limit && !found; at++ {
				free := at+n <= size
				for i := at; free && i < at+n; i++ {
					free = !bits[i]
				}
				if free {
					want, found = at, true
				}
			}
			if got, ok := s.find(b, limit, n, size); ok != found || got != want {
				t.Fatalf("seed %d: %d free blocks from %d before %d: %d %v, want %d %v", seed, n, b, limit, got, ok, want, found)
			}
		}
	}
}

// TestPointersBefore counts the pointer blocks of maps of every length.
func TestPointersBefore(t *testing.T) {
	const per = 4
	nodes := 0
	for l := range uint64(directBlocks + per + per*per + per*per*per) {
		nodes += pointersBefore(l, per)
		want := 0
		if l >= directBlocks {
			want++ // the single indirect block
		}
		if k := int64(l) - directBlocks - per; k >= 0 {
			want += 1 + min(int(k)/per+1, per)
		}
		if k := int64(l) - directBlocks - per - per*per; k >= 0 {
			want += 1 + int(k)/(per*per) + 1 + int(k)/per + 1
		}
		if nodes != want {
			t.Fatalf("up to block %d: %d pointer blocks, want %d", l, nodes, want)
		}
	}
}

// TestPlan_fixed checks that all places are in the fixed blocks, in order.
func TestPlan_fixed(t *testing.T) {
	for _, c := range []mkfsCase{"10G", "-b 1024 -O bigalloc 1G", "-O meta_bg,^resize_inode 10G", "-O ^flex_bg 1G"} {
		o := c.options(t)
		p, err := newPlan(o, o.Size, need{})
		if err != nil {
			t.Fatal(err)
		}
		var end, total uint64
		for bn, n := range p.fixed {
			if uint64(bn) < end || n == 0 || end != 0 && uint64(bn) == end {
				t.Fatalf("%s: %d blocks at %d after %d", c, n, bn, end)
			}
			end = uint64(bn) + n
			total += n
		}
		want := uint64(0)
		for g := range p.sb.Groups() {
			_, n := p.sb.BaseMeta(g)
			want += uint64(n) + 2 + uint64(p.sb.InodeTableBlocks())
		}
		if p.sb.FirstDataBlock == 0 && p.sb.BlockSize() == 1024 {
			want++
		}
		if total != want || end > p.sb.Blocks() {
			t.Errorf("%s: %d fixed blocks up to %d, want %d", c, total, end, want)
		}
		if p.sb.Validate(o.Size) != nil {
			t.Errorf("%s: %v", c, p.sb.Validate(o.Size))
		}
	}
}

func TestPlan_needsInodes(t *testing.T) {
	o := mkfsCase("100M").options(t)
	p, err := newPlan(o, o.Size, need{inodes: 50000})
	if err != nil || p.sb.InodesCount < 50000 {
		t.Errorf("%v", err)
	}
	if p, err = newPlan(o, o.Size, need{inodes: 40, exact: true}); err != nil || p.sb.InodesCount < 40 || p.sb.InodesCount > 200 {
		t.Errorf("%v %v", p.sb.InodesCount, err)
	}
	o.Inodes = 100
	if _, err = newPlan(o, o.Size, need{inodes: 5000}); err == nil {
		t.Error("too few inodes are not refused")
	}
}

func TestEncodeDev(t *testing.T) {
	if got := EncodeDev(8, 17); got != 0x811 {
		t.Errorf("%x", got)
	}
	if got := EncodeDev(259, 300); got != 0x11032c {
		t.Errorf("%x", got)
	}
}
