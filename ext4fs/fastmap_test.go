package ext4fs

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// TestOverlayRanges_equalsBlockByBlock lays random runs over each other, and
// does the same one block after the other.
func TestOverlayRanges_equalsBlockByBlock(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var ops []fastRange
		var want [64]Extent
		for range rng.IntN(12) {
			e := Extent{Logical: disk.LogicalNum(rng.IntN(50)), Len: uint32(1 + rng.IntN(13))}
			switch rng.IntN(3) {
			case 0:
				e.Flags = extent.FlagHole
			case 1:
				e.Flags = extent.FlagUnwritten
			}
			if e.Flags != extent.FlagHole {
				// Few places, so that runs touch.
				e.Physical = 100 + disk.BlockNum(e.Logical) + disk.BlockNum(50*rng.IntN(2))
			}
			ops = append(ops, e)
			for n := range e.Len {
				one := Extent{Logical: e.Logical + disk.LogicalNum(n), Physical: e.Physical + disk.BlockNum(n), Len: 1, Flags: e.Flags}
				want[one.Logical] = one
			}
		}
		var got [64]Extent
		last := uint64(0)
		for _, e := range overlayRanges(ops) {
			if uint64(e.Logical) < last || e.Len == 0 {
				t.Fatalf("%v: %v is out of order", ops, e)
			}
			last = e.End()
			for n := range e.Len {
				at := e.Logical + disk.LogicalNum(n)
				got[at] = Extent{Logical: at, Physical: e.Physical + disk.BlockNum(n), Len: 1, Flags: e.Flags}
			}
		}
		for n := range want {
			if want[n].Flags == extent.FlagHole {
				want[n] = Extent{}
			}
			if got[n] != want[n] {
				t.Fatalf("%v: block %d is %v, want %v", ops, n, got[n], want[n])
			}
		}
	}
}

// TestOverlayRanges_manyRunsEnd gives it the worst a log can hold: runs in
// descending order, and runs that all overlap.
func TestOverlayRanges_manyRunsEnd(t *testing.T) {
	const n = 300_000
	ops := make([]fastRange, 0, 2*n)
	for k := range n {
		ops = append(ops, Extent{Logical: disk.LogicalNum(2 * (n - k)), Physical: 1000, Len: 1},
			Extent{Logical: disk.LogicalNum(k), Physical: disk.BlockNum(k), Len: 30_000, Flags: extent.FlagUnwritten})
	}
	start := time.Now()
	list := overlayRanges(ops)
	if d := time.Since(start); d > 20*time.Second || len(list) == 0 {
		t.Errorf("%d runs in %v", len(list), d)
	}
}

func TestOverlayRanges_atTheEnd(t *testing.T) {
	last := Extent{Logical: disk.MaxLogical, Physical: 7, Len: 1}
	got := overlayRanges([]fastRange{last, {Logical: 5, Len: 1<<32 - 1, Flags: extent.FlagHole}, {Logical: 0, Physical: 9, Len: 2}})
	if want := (extent.List{{Logical: 0, Physical: 9, Len: 2}}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := overlayRanges([]fastRange{last}); !slices.Equal(got, extent.List{last}) {
		t.Errorf("%v, want %v", got, last)
	}
}

func TestWithin_findsWhatOverlaps(t *testing.T) {
	runs := union([]blockRun{{20, 30}, {5, 10}, {8, 12}, {12, 13}, {40, 41}})
	if want := []blockRun{{5, 13}, {20, 30}, {40, 41}}; !slices.Equal(runs, want) {
		t.Fatalf("%v, want %v", runs, want)
	}
	for first := range uint64(50) {
		for end := first + 1; end < 50; end++ {
			var want []blockRun
			for _, r := range runs {
				if r.first < end && r.end > first {
					want = append(want, r)
				}
			}
			if got := within(runs, first, end); !slices.Equal(got, want) {
				t.Errorf("%d to %d: %v, want %v", first, end, got, want)
			}
		}
	}
}

// TestLookup_foldedNamesOfFastCommits: names that fast commits removed or made
// are found by folding like all others.
func TestLookup_foldedNamesOfFastCommits(t *testing.T) {
	d := &fastDir{names: map[string]DirEntry{"Straße": {Inode: 12, Name: []byte("Straße")}, "Gone": {}}}
	if e, ok := d.folded("STRASSE"); !ok || e.Inode != 12 {
		t.Errorf("%v, %v", e, ok)
	}
	if _, ok := d.folded("gone"); ok {
		t.Error("a name that was removed is there")
	}
}
