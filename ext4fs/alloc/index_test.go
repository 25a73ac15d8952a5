package alloc

import (
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// slow is the index as one would write it down.
type slow []bool // true: busy

func (s slow) run(at, limit uint32) uint32 {
	n := uint32(0)
	for n < limit && int(at+n) < len(s) && !s[at+n] {
		n++
	}
	return n
}

func (s slow) find(from, n uint32) (uint32, bool) {
	for c := from; n > 0 && c < uint32(len(s)); c++ {
		if s.run(c, n) == n {
			return c, true
		}
	}
	return 0, false
}

func (s slow) longest() uint32 {
	best := uint32(0)
	for c := uint32(0); c < uint32(len(s)); {
		n := s.run(c, uint32(len(s)))
		best = max(best, n)
		c += n + 1
	}
	return best
}

func TestIndex_againstModel(t *testing.T) {
	for _, n := range []uint32{1, 7, 63, 64, 65, 255, 256, 257, 1000, 1024, 5000} {
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		raw := make([]byte, (n+7)/8)
		model := make(slow, n)
		for c := range n {
			if rng.IntN(3) == 0 {
				raw[c/8] |= 1 << (c % 8)
				model[c] = true
			}
		}
		x := newIndex(raw, n)
		for step := range 600 {
			start := rng.Uint32N(n)
			length := 1 + rng.Uint32N(min(n-start, 1+rng.Uint32N(400)))
			busy := rng.IntN(2) == 0
			x.mark(start, length, busy)
			for c := start; c < start+length; c++ {
				model[c] = busy
			}
			if x.longest() != model.longest() {
				t.Fatalf("n %d step %d: longest %d, want %d", n, step, x.longest(), model.longest())
			}
			from, want := rng.Uint32N(n+2), 1+rng.Uint32N(1+rng.Uint32N(n))
			got, ok := x.find(from, want)
			exp, expOK := model.find(from, want)
			if ok != expOK || ok && got != exp {
				t.Fatalf("n %d step %d: find(%d, %d) = %d %v, want %d %v", n, step, from, want, got, ok, exp, expOK)
			}
			if got, exp := x.run(from, want), model.run(from, want); got != exp {
				t.Fatalf("n %d step %d: run(%d, %d) = %d, want %d", n, step, from, want, got, exp)
			}
			if from < n && x.isFree(from) == model[from] {
				t.Fatalf("n %d step %d: isFree(%d)", n, step, from)
			}
		}
	}
}

func TestGroupSet_againstModel(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 4096, 5000, 300_000} {
		rng := rand.New(rand.NewPCG(2, uint64(n)))
		s := newGroupSet(n)
		model := make(map[disk.GroupNum]bool)
		for range 300 {
			g := disk.GroupNum(rng.IntN(n))
			if rng.IntN(3) > 0 {
				s.add(g)
				model[g] = true
			} else {
				s.remove(g)
				delete(model, g)
			}
			from, limit := disk.GroupNum(rng.IntN(n+1)), disk.GroupNum(rng.IntN(n+1))
			var want disk.GroupNum
			found := false
			for m := range model {
				if m >= from && m < limit && (!found || m < want) {
					want, found = m, true
				}
			}
			if got, ok := s.next(from, limit); ok != found || ok && got != want {
				t.Fatalf("n %d: next(%d, %d) = %d %v, want %d %v", n, from, limit, got, ok, want, found)
			}
		}
	}
}

func TestRanks_fit(t *testing.T) {
	var r ranks
	r.init(100)
	for g, longest := range map[disk.GroupNum]uint32{3: 5, 10: 64, 20: 100, 30: 1000, 40: 7} {
		r.set(g, longest)
	}
	r.unknown.add(50)
	for _, tt := range []struct {
		n           uint32
		from, limit disk.GroupNum
		guess       bool
		want        disk.GroupNum
		ok          bool
	}{
		{5, 0, 100, false, 3, true},
		{6, 0, 100, false, 10, true},
		{65, 0, 100, false, 20, true},
		{101, 0, 100, false, 30, true},
		{1000, 50, 100, false, 30, true},
		{1001, 0, 100, false, 0, false},
		{1001, 0, 100, true, 50, true},
		{5, 45, 100, true, 50, true},
		{5, 35, 100, true, 40, true},
		{64, 0, 10, true, 0, false},
		{1 << 21, 0, 100, false, 0, false},
	} {
		if g, ok := r.fit(tt.n, tt.from, tt.limit, tt.guess); ok != tt.ok || ok && g != tt.want {
			t.Errorf("%+v: %d %v", tt, g, ok)
		}
	}
	if g, _ := r.best(35, 100); g != 30 {
		t.Errorf("best %d", g)
	}
	for _, g := range []disk.GroupNum{3, 10, 20, 30, 40} {
		r.set(g, 0)
	}
	if g, ok := r.best(0, 100); !ok || g != 50 {
		t.Errorf("best of nothing known: %d %v", g, ok)
	}
}
