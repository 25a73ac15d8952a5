package indirect

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// runs joins a map of pointers, the slow way.
func runs(pointers map[uint64]uint32) (out extent.List) {
	var keys []uint64
	for l := range pointers {
		keys = append(keys, l)
	}
	slices.Sort(keys)
	for _, l := range keys {
		bn := disk.BlockNum(pointers[l])
		if n := len(out); n > 0 && out[n-1].End() == l && out[n-1].Physical+disk.BlockNum(out[n-1].Len) == bn {
			out[n-1].Len++
			continue
		}
		out = append(out, extent.Extent{Logical: disk.LogicalNum(l), Physical: bn, Len: 1})
	}
	return out
}

func TestTable_agreesWithList(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const apb = 256
	starts := []uint64{0, direct, direct + apb, direct + apb + apb*apb, direct + apb + apb*apb + 5*apb*apb, 1<<24 - 1}
	for round := range 30 {
		v := newVolume(t, 1024, 2000)
		pointers := map[uint64]uint32{}
		for range r.IntN(60) {
			l := starts[r.IntN(len(starts))] + uint64(r.IntN(700))
			l -= min(l, uint64(r.IntN(300)))
			bn := uint32(5000 + r.IntN(1<<20))
			for range 1 + r.IntN(40) { // runs that cross blocks of pointers
				if l >= direct+apb+apb*apb+apb*apb*apb {
					break
				}
				if _, ok := pointers[l]; !ok {
					pointers[l] = bn
					v.set(l, bn)
				}
				l++
				bn++
			}
		}
		m, list := v.open(v.owner()), runs(pointers)
		got, err := collect(m, 0)
		if err != nil || !slices.Equal(got, list) {
			t.Fatalf("round %d: %v, want %v, %v", round, got, list, err)
		}
		for _, e := range list {
			for _, l := range []uint64{uint64(e.Logical) - 1, uint64(e.Logical), uint64(e.Logical) + 1, e.End() - 1, e.End()} {
				if l > uint64(disk.MaxLogical) {
					continue
				}
				checkFind(t, m, list, disk.LogicalNum(l))
				checkFrom(t, m, list, disk.LogicalNum(l))
			}
		}
		for _, l := range []disk.LogicalNum{0, 11, 12, 267, 268, 1 << 25, disk.MaxLogical, disk.MaxLogical + 1} {
			checkFind(t, m, list, l)
		}
	}
}

// checkFind compares holes exactly; a run may be cut where a block of pointers
// ends.
func checkFind(t *testing.T, m extent.Map, list extent.List, l disk.LogicalNum) {
	t.Helper()
	got, err := m.Find(l)
	want, _ := list.Find(l)
	if want.Flags == 0 && got.Logical >= want.Logical && got.End() <= want.End() && got.Logical <= l && uint64(l) < got.End() {
		want.Physical += disk.BlockNum(got.Logical - want.Logical)
		want.Logical, want.Len = got.Logical, got.Len
	}
	if err != nil || got != want {
		t.Fatalf("Find(%d) = %+v, %v; want %+v", l, got, err, want)
	}
}

// checkFrom compares but for the start of the first run.
func checkFrom(t *testing.T, m extent.Map, list extent.List, l disk.LogicalNum) {
	t.Helper()
	got, err := collect(m, l)
	want, _ := collect(list, l)
	want = slices.Clone(want)
	if len(got) > 0 && len(want) > 0 && got[0].Logical <= max(l, want[0].Logical) {
		cut := uint32(got[0].Logical - want[0].Logical)
		want[0].Logical += disk.LogicalNum(cut)
		want[0].Physical += disk.BlockNum(cut)
		want[0].Len -= cut
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("From(%d) = %+v, %v; want %+v", l, got, err, want)
	}
}

func TestTable_levels(t *testing.T) {
	for _, bs := range []int{1024, 4096, 65536} {
		apb := uint64(bs / pointerSize)
		edges := []uint64{0, 11, 12, 12 + apb - 1, 12 + apb, 12 + apb + apb*apb - 1}
		if last := 12 + apb + apb*apb; last <= uint64(disk.MaxLogical) {
			edges = append(edges, last, min(last+apb*apb*apb-1, uint64(disk.MaxLogical)))
		}
		v := newVolume(t, bs, 40)
		var want []extent.Extent
		for i, l := range edges {
			v.set(l, uint32(1000+2*i))
			want = append(want, extent.Extent{Logical: disk.LogicalNum(l), Physical: disk.BlockNum(1000 + 2*i), Len: 1})
		}
		m := v.open(v.owner())
		if got, err := collect(m, 0); err != nil || !slices.Equal(got, want) {
			t.Errorf("block size %d: %+v, %v", bs, got, err)
		}
		for _, w := range want {
			checkFind(t, m, want, w.Logical)
			checkFind(t, m, want, w.Logical+1)
		}
	}
}

func TestTable_nodes(t *testing.T) {
	v := newVolume(t, 1024, 40)
	v.set(3, 900)
	v.set(12, 901)                     // single: block 2
	v.set(12+256+256*4, 902)           // double 3, single 4
	v.set(12+256+256*4+1, 903)         // the same
	v.set(12+256+256*256+256*300, 904) // triple 5, double 6, single 7
	got, err := nodes(v.open(v.owner()))
	want := []extent.Node{
		{Block: 2, Depth: 0, Logical: 12, Entries: 1, Max: 256},
		{Block: 3, Depth: 1, Logical: 268, Entries: 1, Max: 256},
		{Block: 4, Parent: 3, Depth: 0, Logical: 268 + 1024, Entries: 2, Max: 256},
		{Block: 5, Depth: 2, Logical: 268 + 65536, Entries: 1, Max: 256},
		{Block: 6, Parent: 5, Depth: 1, Logical: 268 + 65536 + 65536, Entries: 1, Max: 256},
		{Block: 7, Parent: 6, Depth: 0, Logical: 268 + 65536 + 256*300, Entries: 1, Max: 256},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range want { // stops when asked
		n := 0
		for range v.open(v.owner()).Nodes() {
			if n++; n > i {
				break
			}
		}
		if n != i+1 {
			t.Errorf("%d nodes, asked for %d", n, i+1)
		}
	}
}

func TestTable_corrupt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		at     disk.LogicalNum
		change func(v *volume)
		node   bool // Nodes sees it, too
	}{
		{"direct outside", 3, func(v *volume) { v.set(3, 1<<31) }, false},
		{"direct superblock", 3, func(v *volume) { v.set(3, 1) }, false},
		{"run over the end", 3, func(v *volume) { v.set(3, 1<<31-1); v.set(4, 1<<31) }, false},
		{"indirect pointer outside", 20, func(v *volume) { v.set(20, 1<<31+5) }, false},
		{"indirect block outside", 20, func(v *volume) { binary.LittleEndian.PutUint32(v.root[48:], 1<<32-1) }, true},
		{"indirect block superblock", 20, func(v *volume) { binary.LittleEndian.PutUint32(v.root[48:], 1) }, true},
		{"indirect block beyond the cache", 20, func(v *volume) { binary.LittleEndian.PutUint32(v.root[48:], 50) }, true},
		{"double outside", 300, func(v *volume) { binary.LittleEndian.PutUint32(v.root[52:], 1<<32-1) }, true},
		{"triple outside", 70000, func(v *volume) { binary.LittleEndian.PutUint32(v.root[56:], 1<<32-1) }, true},
		{"inner outside", 300, func(v *volume) { v.set(300, 100); binary.LittleEndian.PutUint32(v.block(2), 1<<32-2) }, true},
	} {
		v := newVolume(t, 1024, 40)
		tt.change(v)
		m := v.open(v.owner())
		if e, err := m.Find(tt.at); !errors.Is(err, disk.ErrCorrupt) || !strings.Contains(err.Error(), "inode 12") {
			t.Errorf("%s: Find: %+v, %v", tt.name, e, err)
		}
		if got, err := collect(m, 0); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s: From: %+v, %v", tt.name, got, err)
		}
		if got, err := nodes(m); tt.node != errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s: Nodes: %+v, %v", tt.name, got, err)
		}
	}
}

// Pointer blocks that point to themselves, on all levels, end after as many
// visits as there are blocks.
func TestTable_loop(t *testing.T) {
	for _, bs := range []int{1024, 65536} {
		v := newVolume(t, bs, 40)
		for i := range levels {
			binary.LittleEndian.PutUint32(v.root[(direct+i)*pointerSize:], 2)
		}
		b := v.block(2)
		for i := range bs / pointerSize {
			binary.LittleEndian.PutUint32(b[i*pointerSize:], 2)
		}
		o := v.owner()
		o.Blocks = 40
		m := v.open(o)
		got, err := collect(m, 0)
		if !errors.Is(err, disk.ErrCorrupt) || !strings.Contains(err.Error(), "more pointer blocks") || len(got) > 40*bs/pointerSize {
			t.Errorf("From: %d runs, %v", len(got), err)
		}
		if got, err := nodes(m); !errors.Is(err, disk.ErrCorrupt) || len(got) > 40 {
			t.Errorf("Nodes: %d, %v", len(got), err)
		}
		// A hole of many empty blocks that are all the same one.
		clear(v.block(3))
		for i := range bs / pointerSize {
			binary.LittleEndian.PutUint32(b[i*pointerSize:], 3)
		}
		m = v.open(o)
		if e, err := m.Find(disk.LogicalNum(direct + bs/pointerSize)); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("Find: %+v, %v", e, err)
		}
	}
}

func TestTable_readError(t *testing.T) {
	v := newVolume(t, 1024, 40)
	v.set(20, 1000)
	v.bytes = v.bytes[:2*1024+5]
	c := cache.New(device.NewMemory(v.bytes), 1024, 40, cache.Options{})
	m, err := New(c, v.owner(), v.root[:])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Find(20); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "inode 12") {
		t.Errorf("%v", err)
	}
	if _, err := collect(m, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestNew_refuses(t *testing.T) {
	c := cache.New(device.NewMemory(make([]byte, 4096)), 1024, 4, cache.Options{})
	for _, n := range []int{0, 59, 61} {
		if m, err := New(c, extent.Owner{}, make([]byte, n)); m != nil || !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("root of %d bytes: %v, %v", n, m, err)
		}
	}
	for _, bs := range []int{1, 512, 1000, 3000, 131072} {
		c := cache.New(device.NewMemory(make([]byte, 4096)), bs, 4, cache.Options{})
		if m, err := New(c, extent.Owner{}, make([]byte, rootSize)); m != nil || !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("blocks of %d bytes: %v, %v", bs, m, err)
		}
	}
}

func TestFind_doesNotAllocate(t *testing.T) {
	v := newVolume(t, 1024, 200)
	for i := range uint64(3000) {
		v.set(12+256+65000+i*3, uint32(10_000+i))
	}
	m := v.open(v.owner())
	l := disk.LogicalNum(60_000)
	if n := testing.AllocsPerRun(5000, func() {
		if _, err := m.Find(l); err != nil {
			t.Error(err)
		}
		l++
	}); n > 0.5 { // the first visits load blocks
		t.Errorf("%v allocations", n)
	}
}
