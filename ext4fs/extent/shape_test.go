package extent

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// built makes the tree of the runs in a volume, and opens it.
func built(t testing.TB, v *volume, runs []Extent) (Map, []byte, []disk.BlockNum) {
	t.Helper()
	n, err := Pieces(runs)
	if err != nil {
		t.Fatal(err)
	}
	count, err := TreeBlocks(n, v.blockSize)
	if err != nil {
		t.Fatal(err)
	}
	blocks := make([]disk.BlockNum, count)
	for i := range blocks {
		blocks[i] = v.next
		v.next++
	}
	root := make([]byte, disk.ExtentRootSize)
	for i := range root {
		root[i] = 0x5a
	}
	o := v.owner()
	o.HasChecksum = true
	var put []disk.BlockNum
	err = Build(o, v.blockSize, runs, blocks, root, func(bn disk.BlockNum, node []byte) error {
		put = append(put, bn)
		copy(v.block(bn), node)
		return nil
	})
	if err != nil || !slices.Equal(put, blocks) {
		t.Fatalf("%v, %d blocks of %d", err, len(put), len(blocks))
	}
	return v.open(root), root, blocks
}

// pieces are the runs as the tree must have them.
func pieces(runs []Extent) (out []Extent) {
	for _, e := range runs {
		for e.Len > 0 {
			p := e
			p.Len = min(e.Len, disk.MaxExtentLen)
			if e.Flags&FlagUnwritten != 0 {
				p.Len = min(e.Len, disk.MaxUnwrittenLen)
			}
			out = append(out, p)
			e.Logical, e.Physical, e.Len = e.Logical+disk.LogicalNum(p.Len), e.Physical+disk.BlockNum(p.Len), e.Len-p.Len
		}
	}
	return out
}

// TestBuild makes trees of all sizes and reads them.
func TestBuild(t *testing.T) {
	for _, size := range []int{1024, 2048, 4096, 65536} {
		room := (size - 12) / 12
		for _, n := range []int{0, 1, 4, 5, room, room + 1, 4 * room, 4*room + 1, 4*room*room + 1, 3*room*room + 7*room + 3} {
			if n > 60000 {
				continue
			}
			r := rand.New(rand.NewPCG(uint64(size), uint64(n)))
			v := newVolume(t, size, n/room+n/room/room+20)
			var runs []Extent
			at := uint64(0)
			for i := range n {
				e := Extent{Logical: disk.LogicalNum(at), Physical: disk.BlockNum(1000 + i*7), Len: 1 + r.Uint32N(5), Flags: Flags(r.IntN(2))}
				if r.IntN(3) == 0 {
					e.Logical += disk.LogicalNum(r.IntN(100))
				}
				at = e.End()
				runs = append(runs, e)
			}
			m, root, blocks := built(t, v, runs)
			got, err := collect(m, 0)
			if err != nil || !slices.Equal(got, runs) {
				t.Fatalf("%d bytes, %d runs: %d, %v", size, n, len(got), err)
			}
			list, err := nodes(m)
			if err != nil || len(list) != len(blocks) {
				t.Fatalf("%d bytes, %d runs: %d nodes of %d, %v", size, n, len(list), len(blocks), err)
			}
			for _, node := range list {
				if !node.ChecksumOK {
					t.Errorf("node %+v", node)
				}
			}
			for range min(n, 100) {
				e := runs[r.IntN(n)]
				if f, err := m.Find(e.Logical + disk.LogicalNum(r.Uint32N(e.Len))); err != nil || f != e {
					t.Fatalf("%+v, %v instead of %+v", f, err, e)
				}
			}
			if _, err := New(v.cache(), v.owner(), root); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestBuild_long: runs longer than an entry can be, up to the last block that
// a file can have.
func TestBuild_long(t *testing.T) {
	v := newVolume(t, 1024, 4000)
	runs := []Extent{{Logical: 0, Physical: 5, Len: 100_000}, {Logical: 100_000, Physical: 200_000, Len: 65534, Flags: FlagUnwritten},
		{Logical: 200_000, Physical: 300_000, Len: 32768}, {Logical: 1 << 30, Physical: 1 << 31, Len: 1<<32 - 1 - 1<<30}}
	m, _, _ := built(t, v, runs)
	got, err := collect(m, 0)
	if err != nil || !slices.Equal(got, pieces(runs)) {
		t.Errorf("%d runs, %v", len(got), err)
	}
}

func TestBuild_refuses(t *testing.T) {
	good := Extent{Logical: 5, Physical: 100, Len: 10}
	with := func(change func(e *Extent)) []Extent {
		e := good
		change(&e)
		return []Extent{{Logical: 0, Physical: 50, Len: 5}, e}
	}
	for name, tt := range map[string]struct {
		runs []Extent
		err  error
	}{
		"good":      {with(func(e *Extent) {}), nil},
		"no blocks": {with(func(e *Extent) { e.Len = 0 }), ErrInvalid},
		"hole":      {with(func(e *Extent) { e.Flags = FlagHole }), ErrInvalid},
		"inline":    {with(func(e *Extent) { e.Flags = FlagInline }), ErrInvalid},
		"overlap":   {with(func(e *Extent) { e.Logical = 4 }), ErrInvalid},
		"end":       {with(func(e *Extent) { e.Logical = 1<<32 - 5 }), ErrTooBig},
		"48 bits":   {with(func(e *Extent) { e.Physical = 1<<48 - 5 }), ErrTooBig},
		"wraps":     {with(func(e *Extent) { e.Physical = 1<<64 - 5 }), ErrTooBig},
		"outside":   {with(func(e *Extent) { e.Physical = 1<<20 - 9 }), disk.ErrCorrupt},
		"super":     {with(func(e *Extent) { e.Physical = 1 }), disk.ErrCorrupt},
	} {
		o := Owner{Inode: 12, FirstBlock: 1, Blocks: 1 << 20}
		err := Build(o, 1024, tt.runs, nil, make([]byte, 60), nil)
		if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	five := pieces([]Extent{{Logical: 0, Physical: 100, Len: 5 * 32768}})
	o := Owner{Inode: 12, FirstBlock: 1, Blocks: 1 << 20}
	put := func(disk.BlockNum, []byte) error { return errFull }
	for _, tt := range []struct {
		nodes []disk.BlockNum
		root  int
		size  int
		err   error
	}{{nil, 60, 1024, ErrInvalid}, {[]disk.BlockNum{7}, 59, 1024, ErrInvalid}, {[]disk.BlockNum{7}, 60, 0, ErrInvalid},
		{[]disk.BlockNum{7, 8}, 60, 1024, ErrInvalid}, {[]disk.BlockNum{1}, 60, 1024, disk.ErrCorrupt},
		{[]disk.BlockNum{1 << 20}, 60, 1024, disk.ErrCorrupt}, {[]disk.BlockNum{7}, 60, 1024, errFull}} {
		if err := Build(o, tt.size, five, tt.nodes, make([]byte, tt.root), put); !errors.Is(err, tt.err) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	// With 32 bits no number is too large for the deepest tree.
	if _, err := TreeBlocks(math.MaxInt-1024, 1024); errors.Is(err, ErrTooBig) != (math.MaxInt > math.MaxInt32) {
		t.Error(err)
	}
}

var errFull = errors.New("full")

func FuzzBuild(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, false)
	f.Fuzz(func(t *testing.T, b []byte, large bool) {
		var runs []Extent
		at := uint32(0)
		for ; len(b) >= 3 && len(runs) < 2000; b = b[3:] {
			e := Extent{Logical: disk.LogicalNum(at + uint32(b[0])), Physical: disk.BlockNum(100 + uint64(b[1])*5000), Len: uint32(b[2])<<10 | 1, Flags: Flags(b[1] & 1)}
			if large {
				for range 20 {
					runs = append(runs, Extent{Logical: e.Logical, Physical: e.Physical, Len: 1})
					e.Logical += 2
				}
			}
			runs = append(runs, e)
			at = uint32(e.End())
		}
		v := newVolume(t, 1024, 3000)
		m, _, _ := built(t, v, runs)
		got, err := collect(m, 0)
		if err != nil || !slices.Equal(got, pieces(runs)) {
			t.Errorf("%d runs, %v", len(got), err)
		}
	})
}
