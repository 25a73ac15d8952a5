package indirect

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// built makes the map of the runs in a volume, and opens it.
func built(t testing.TB, v *volume, runs []extent.Extent) extent.Map {
	t.Helper()
	n, err := MapBlocks(runs, v.blockSize)
	if err != nil {
		t.Fatal(err)
	}
	var blocks, put []disk.BlockNum
	for range n {
		blocks = append(blocks, disk.BlockNum(v.next))
		v.next++
	}
	for i := range v.root {
		v.root[i] = 0x5a
	}
	err = Build(v.owner(), v.blockSize, runs, blocks, v.root[:], func(bn disk.BlockNum, data []byte) error {
		put = append(put, bn)
		copy(v.block(uint32(bn)), data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m := v.open(v.owner())
	list, err := nodes(m)
	if err != nil || len(list) != n || len(put) != n {
		t.Fatalf("%d nodes, %d put, %d planned, %v", len(list), len(put), n, err)
	}
	for i := range list {
		if list[i].Block != blocks[i] {
			t.Fatalf("node %d is block %d, not %d", i, list[i].Block, blocks[i])
		}
	}
	return m
}

func joined(runs []extent.Extent) (out []extent.Extent) {
	for _, e := range runs {
		if k := len(out); k > 0 && follows(out[k-1], e) {
			out[k-1].Len += e.Len
		} else {
			out = append(out, e)
		}
	}
	return out
}

func TestBuild(t *testing.T) {
	for _, size := range []int{1024, 4096, 65536} {
		apb := uint64(size / 4)
		edges := []uint64{0, 1, 11, 12, 12 + apb - 1, 12 + apb, 12 + 2*apb - 1, 12 + 2*apb, 12 + apb + apb*apb - 1, 12 + apb + apb*apb,
			12 + apb + 2*apb*apb - 1, 12 + apb + 2*apb*apb, 12 + apb + 2*apb*apb + apb}
		r := rand.New(rand.NewPCG(uint64(size), 1))
		for round := range 60 {
			v := newVolume(t, size, 800)
			var runs []extent.Extent
			end := uint64(0)
			for _, at := range edges {
				for range r.IntN(4) {
					l := at + uint64(r.IntN(3)) - 1
					n := uint32(1 + r.IntN([]int{2, 30, 3000}[r.IntN(3)]))
					if at == 0 || l < end || l+uint64(n) > logicalEnd {
						continue
					}
					e := extent.Extent{Logical: disk.LogicalNum(l), Physical: disk.BlockNum(1000 + r.IntN(1<<28)), Len: n}
					end = e.End()
					runs = append(runs, e)
				}
			}
			if round == 0 {
				runs = nil
			}
			got, err := collect(built(t, v, runs), 0)
			if err != nil || !slices.Equal(got, joined(runs)) {
				t.Fatalf("%d bytes: %v, %v, built of %v", size, got, err, runs)
			}
		}
		v := newVolume(t, size, 4000)
		runs := []extent.Extent{{Logical: 0, Physical: 5000, Len: 300_000}}
		got, err := collect(built(t, v, runs), 0)
		if err != nil || !slices.Equal(got, runs) {
			t.Errorf("one run: %v, %v", got, err)
		}
		last := newVolume(t, size, 10)
		b, _ := newBuilder(last.owner(), size)
		runs = []extent.Extent{{Logical: disk.LogicalNum(b.size() - 1), Physical: 5000, Len: 1}}
		if got, err = collect(built(t, last, runs), 0); err != nil || !slices.Equal(got, runs) {
			t.Errorf("last block: %v, %v", got, err)
		}
	}
}

func TestBuild_refuses(t *testing.T) {
	for name, tt := range map[string]struct {
		e   extent.Extent
		err error
	}{
		"good":      {extent.Extent{Logical: 5, Physical: 100, Len: 7}, nil},
		"no blocks": {extent.Extent{Logical: 5, Physical: 100}, extent.ErrInvalid},
		"unwritten": {extent.Extent{Logical: 5, Physical: 100, Len: 7, Flags: extent.FlagUnwritten}, extent.ErrInvalid},
		"overlap":   {extent.Extent{Logical: 4, Physical: 100, Len: 7}, extent.ErrInvalid},
		"end":       {extent.Extent{Logical: 1 << 25, Physical: 100, Len: 7}, extent.ErrTooBig},
		"32 bits":   {extent.Extent{Logical: 5, Physical: 1<<32 - 3, Len: 7}, extent.ErrTooBig},
		"wraps":     {extent.Extent{Logical: 5, Physical: 1<<64 - 3, Len: 7}, extent.ErrTooBig},
		"outside":   {extent.Extent{Logical: 5, Physical: 1<<20 - 3, Len: 7}, disk.ErrCorrupt},
		"super":     {extent.Extent{Logical: 5, Physical: 1, Len: 7}, disk.ErrCorrupt},
	} {
		o := extent.Owner{Inode: 12, FirstBlock: 1, Blocks: 1 << 20}
		runs := []extent.Extent{{Logical: 0, Physical: 50, Len: 5}, tt.e}
		if err := Build(o, 1024, runs, nil, make([]byte, 60), nil); !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("full")
	runs := []extent.Extent{{Logical: 12, Physical: 50, Len: 5}}
	for _, tt := range []struct {
		nodes      []disk.BlockNum
		root, size int
		blocks     uint64
		err        error
	}{{nil, 60, 1024, 1 << 20, extent.ErrInvalid}, {[]disk.BlockNum{7}, 59, 1024, 1 << 20, extent.ErrInvalid},
		{[]disk.BlockNum{7}, 60, 1000, 1 << 20, extent.ErrInvalid}, {[]disk.BlockNum{1}, 60, 1024, 1 << 20, disk.ErrCorrupt},
		{[]disk.BlockNum{1 << 20}, 60, 1024, 1 << 20, disk.ErrCorrupt}, {[]disk.BlockNum{1 << 33}, 60, 1024, 1 << 40, extent.ErrTooBig},
		{[]disk.BlockNum{7}, 60, 1024, 1 << 20, full}} {
		o := extent.Owner{Inode: 12, FirstBlock: 1, Blocks: tt.blocks}
		put := func(disk.BlockNum, []byte) error { return full }
		if err := Build(o, tt.size, runs, tt.nodes, make([]byte, tt.root), put); !errors.Is(err, tt.err) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
