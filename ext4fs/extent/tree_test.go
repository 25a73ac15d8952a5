package extent

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// A random list of extents, with runs that touch and runs that do not.
func randomExtents(r *rand.Rand, n int) []disk.ExtentLeaf {
	var out []disk.ExtentLeaf
	at := uint64(r.IntN(3))
	for range n {
		e := disk.ExtentLeaf{Logical: disk.LogicalNum(at), Len: 1 + uint32(r.IntN(9)), Unwritten: r.IntN(4) == 0,
			Physical: disk.BlockNum(1000 + r.IntN(1<<30))}
		out = append(out, e)
		at = e.End() + uint64(max(r.IntN(12)-6, 0))
	}
	return out
}

func TestTree_agreesWithList(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, tt := range []struct{ n, perNode, depth int }{
		{0, 84, 0}, {1, 84, 0}, {4, 84, 0}, {5, 84, 0}, {84 * 4, 84, 0}, {84*4 + 1, 84, 0}, {1000, 10, 0}, {3000, 5, 5}, {3, 2, 5}, {700, 3, 5},
	} {
		v := newVolume(t, 1024, 3000)
		leaves := randomExtents(r, tt.n)
		m := v.open(v.build(leaves, tt.perNode, tt.depth))
		var list List
		for _, l := range leaves {
			list = append(list, fromLeaf(l))
		}
		got, err := collect(m, 0)
		if err != nil || !slices.Equal(got, list) {
			t.Fatalf("%+v: %d extents, %v", tt, len(got), err)
		}
		for l := range disk.LogicalNum(tt.n*8 + 20) {
			sameFind(t, m, list, l)
			sameBefore(t, m, list, l)
			if l%7 == 0 {
				sameFrom(t, m, list, l)
			}
		}
		for _, l := range []disk.LogicalNum{1 << 31, disk.MaxLogical, disk.MaxLogical + 1} {
			sameFind(t, m, list, l)
			sameFrom(t, m, list, l)
		}
	}
}

// sameFind compares Find; the hole may be cut at the border of a node.
func sameFind(t *testing.T, m Map, list List, l disk.LogicalNum) {
	t.Helper()
	got, err := m.Find(l)
	want, _ := list.Find(l)
	if err != nil || got != want {
		t.Fatalf("Find(%d) = %+v, %v; want %+v", l, got, err, want)
	}
}

func sameBefore(t *testing.T, m Map, list List, l disk.LogicalNum) {
	t.Helper()
	var want Extent
	n, _ := slices.BinarySearchFunc(list, l, func(e Extent, l disk.LogicalNum) int { return cmp.Compare(e.Logical, l) })
	if n > 0 {
		want = list[n-1]
	}
	if got, ok, err := m.(Neighbour).Before(l); err != nil || ok != (n > 0) || got != want {
		t.Fatalf("Before(%d) = %+v, %v, %v; want %+v", l, got, ok, err, want)
	}
}

func sameFrom(t *testing.T, m Map, list List, l disk.LogicalNum) {
	t.Helper()
	var got []Extent
	for e, err := range m.From(l) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e); len(got) == 20 {
			break
		}
	}
	want, _ := collect(list, l)
	want = want[:min(20, len(want))]
	if !slices.Equal(got, want) {
		t.Fatalf("From(%d) = %+v, want %+v", l, got, want)
	}
}

func TestTree_nodes(t *testing.T) {
	v := newVolume(t, 1024, 100)
	root := v.build(gappy(25), 3, 0) // 9 leaves, 3 indexes above them
	v.block(4)[20] ^= 1              // no error: told in the node
	got, err := nodes(v.open(root))
	if err != nil || len(got) != 12 {
		t.Fatalf("%d nodes, %v", len(got), err)
	}
	var blocks, parents []disk.BlockNum
	for _, n := range got {
		blocks = append(blocks, n.Block)
		parents = append(parents, n.Parent)
		if n.HasChecksum != true || n.ChecksumOK != (n.Block != 4) || n.ChecksumOK != (n.Stored == n.Computed) {
			t.Errorf("node %+v", n)
		}
		if n.Max != 84 || n.Depth == 0 && n.Entries != 3 && n.Logical != 49 || n.Depth == 1 && n.Entries != 3 {
			t.Errorf("node %+v", n)
		}
	}
	if want := []disk.BlockNum{11, 2, 3, 4, 12, 5, 6, 7, 13, 8, 9, 10}; !slices.Equal(blocks, want) {
		t.Errorf("blocks %v, want %v", blocks, want)
	}
	if want := []disk.BlockNum{0, 11, 11, 11, 0, 12, 12, 12, 0, 13, 13, 13}; !slices.Equal(parents, want) {
		t.Errorf("parents %v, want %v", parents, want)
	}
	for n, err := range v.open(root).Nodes() { // stops when asked
		if err != nil || n.Block != 11 {
			t.Errorf("%+v, %v", n, err)
		}
		break
	}
	o := v.owner()
	o.Verify = false
	m, err := New(v.cache(), o, root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := nodes(m); err != nil || got[0].HasChecksum || got[0].Stored != 0 {
		t.Errorf("without checksums: %+v, %v", got[0], err)
	}
}

func TestTree_checksum(t *testing.T) {
	v := newVolume(t, 1024, 100)
	root := v.build(gappy(25), 3, 0)
	v.block(4)[17] ^= 0x80 // the upper half of a length: an unwritten extent now
	m := v.open(root)
	if _, err := m.Find(1); err != nil {
		t.Errorf("another leaf: %v", err)
	}
	var ce *disk.ChecksumError
	for range 2 { // a failure is not remembered as a success
		if _, err := m.Find(13); !errors.As(err, &ce) || ce.Block != 4 || ce.Inode != 12 || ce.Stored == ce.Computed {
			t.Errorf("Find: %v", err)
		}
	}
	if got, err := collect(m, 0); !errors.As(err, &ce) || len(got) != 6 {
		t.Errorf("From: %d extents, %v", len(got), err)
	}
	o := v.owner()
	o.Verify = false
	m, err := New(v.cache(), o, root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(m, 0); err != nil || len(got) != 25 {
		t.Errorf("without: %d extents, %v", len(got), err)
	}
}

// What was found good for one owner, or without a look at checksums, is not
// good for another.
func TestTree_checksumOfAnotherOwner(t *testing.T) {
	v := newVolume(t, 1024, 100)
	root := v.build(gappy(25), 3, 0)
	c := v.cache()
	for _, tt := range []struct {
		ino    disk.InodeNum
		seed   uint32
		verify bool
		want   error
	}{
		{12, v.seed, true, nil}, {12, v.seed + 1, true, disk.ErrChecksum}, {12, v.seed + 1, false, nil}, {12, v.seed + 1, true, disk.ErrChecksum},
	} {
		m, err := New(c, Owner{Inode: tt.ino, Seed: tt.seed, Verify: tt.verify, Blocks: 1 << 40}, root)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Find(1); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// The tree of damage: 25 extents, leaves in 2 to 10, indexes in 11 to 13.
func TestTree_corrupt(t *testing.T) {
	leaf, index := disk.BlockNum(3), disk.BlockNum(11)
	for _, tt := range []struct {
		name   string
		block  disk.BlockNum
		change func(n disk.ExtentNode)
		want   string
	}{
		{"no magic", leaf, func(n disk.ExtentNode) { n[0] = 0 }, "magic"},
		{"zeros", index, func(n disk.ExtentNode) { clear(n) }, "magic"},
		{"depth of leaf", leaf, func(n disk.ExtentNode) { n.SetDepth(1) }, "depth 1 where 0"},
		{"depth of index", index, func(n disk.ExtentNode) { n.SetDepth(0) }, "depth 0 where 1"},
		{"overfull", leaf, func(n disk.ExtentNode) { n.SetEntries(85) }, "85 entries"},
		{"empty index", index, func(n disk.ExtentNode) { n.SetEntries(0) }, "no entries"},
		{"below parent", leaf, func(n disk.ExtentNode) { n.SetKey(0, 6) }, "below the parent's"},
		{"beyond sibling", leaf, func(n disk.ExtentNode) { n.PutLeaf(2, disk.ExtentLeaf{Logical: 11, Len: 3, Physical: 9}) }, "beyond the parent's"},
		{"index beyond sibling", index, func(n disk.ExtentNode) { n.SetKey(2, 19) }, "beyond the parent's"},
		{"order", leaf, func(n disk.ExtentNode) { n.SetKey(1, 7) }, "before the end"},
		{"index order", index, func(n disk.ExtentNode) { n.SetKey(1, 1) }, "key 1 after 1"},
		{"no blocks", leaf, func(n disk.ExtentNode) { n.PutLeaf(1, disk.ExtentLeaf{Logical: 9, Physical: 9}) }, "no blocks"},
		{"outside", leaf, func(n disk.ExtentNode) {
			n.PutLeaf(1, disk.ExtentLeaf{Logical: 9, Len: 1, Physical: 1 << 40})
		}, "maps blocks"},
		{"superblock", leaf, func(n disk.ExtentNode) { n.PutLeaf(1, disk.ExtentLeaf{Logical: 9, Len: 1, Physical: 1}) }, "maps blocks"},
		{"child outside", index, func(n disk.ExtentNode) { n.PutIndex(1, disk.ExtentIndex{Logical: 7, Child: 1 << 40}) }, "points to block"},
		{"child outside the cache", index, func(n disk.ExtentNode) { n.PutIndex(1, disk.ExtentIndex{Logical: 7, Child: 100}) }, "100 blocks"},
		{"itself", index, func(n disk.ExtentNode) { n.PutIndex(1, disk.ExtentIndex{Logical: 7, Child: 11}) }, "depth 1 where 0"},
		{"sibling twice", index, func(n disk.ExtentNode) { n.PutIndex(1, disk.ExtentIndex{Logical: 7, Child: 4}) }, "beyond the parent's"},
		{"previous twice", index, func(n disk.ExtentNode) { n.PutIndex(1, disk.ExtentIndex{Logical: 7, Child: 2}) }, "below the parent's"},
	} {
		v := newVolume(t, 1024, 100)
		root := v.build(gappy(25), 3, 0)
		tt.change(v.block(tt.block))
		v.reseal(tt.block)
		m := v.open(root)
		check := func(op string, err error) {
			var ce *disk.CorruptError
			if !errors.As(err, &ce) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %s: %v, want %q", tt.name, op, err, tt.want)
			}
		}
		_, err := m.Find(9)
		check("Find", err)
		_, err = collect(m, 0)
		check("From", err)
		_, err = collect(m, 9)
		check("From 9", err)
		_, err = nodes(m)
		check("Nodes", err)
	}
}

func TestNew_refusesRoot(t *testing.T) {
	v := newVolume(t, 1024, 100)
	for _, tt := range []struct {
		name string
		root func() []byte
	}{
		{"length", func() []byte { return make([]byte, 59) }},
		{"nil", func() []byte { return nil }},
		{"zeros", func() []byte { return make([]byte, 60) }},
		{"depth", func() []byte { r := disk.ExtentNode(v.build(gappy(25), 3, 0)); r.SetDepth(6); return r }},
		{"max", func() []byte { r := disk.ExtentNode(v.build(gappy(2), 3, 0)); r.SetMax(5); return r }},
		{"empty index", func() []byte { r := disk.ExtentNode(v.build(nil, 3, 0)); r.SetDepth(1); return r }},
		{"child", func() []byte {
			r := disk.ExtentNode(v.build(gappy(25), 3, 0))
			r.PutIndex(0, disk.ExtentIndex{})
			return r
		}},
	} {
		if m, err := New(v.cache(), v.owner(), tt.root()); m != nil || !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s: %v, %v", tt.name, m, err)
		}
	}
}

// Index keys below their child's first key are left behind by old kernels.
func TestTree_lowParentKey(t *testing.T) {
	v := newVolume(t, 1024, 100)
	root := v.build(gappy(25), 3, 0) // leaf 3 holds 7, 9, 11; leaf 2 1, 3, 5
	v.block(11).SetKey(1, 6)
	v.reseal(11)
	m := v.open(root)
	if got, err := collect(m, 0); err != nil || len(got) != 25 {
		t.Errorf("%d extents, %v", len(got), err)
	}
	if got, err := m.Find(6); err != nil || got != (Extent{Logical: 6, Len: 1, Flags: FlagHole}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := m.Find(7); err != nil || got.Logical != 7 || got.Flags != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := nodes(m); err != nil {
		t.Error(err)
	}
}

// A leaf without entries is a hole, as for the kernel. An index of nothing but
// such leaves, and all of them one block, ends by the count of visits.
func TestTree_emptyLeaves(t *testing.T) {
	v := newVolume(t, 1024, 100)
	root := v.build(gappy(25), 3, 0)
	v.block(3).SetEntries(0)
	v.reseal(3)
	m := v.open(root)
	if got, err := collect(m, 0); err != nil || len(got) != 22 {
		t.Errorf("%d extents, %v", len(got), err)
	}
	if got, err := m.Find(9); err != nil || got != (Extent{Logical: 9, Len: 4, Flags: FlagHole}) {
		t.Errorf("%+v, %v", got, err)
	}

	x := v.block(20)
	x.Init(1)
	for i := range x.Max() {
		x.PutIndex(i, disk.ExtentIndex{Logical: disk.LogicalNum(i), Child: 3})
	}
	x.SetEntries(x.Max())
	v.reseal(20)
	r := disk.ExtentNode(make([]byte, disk.ExtentRootSize))
	r.Init(2)
	r.SetEntries(2)
	r.PutIndex(0, disk.ExtentIndex{Logical: 0, Child: 20})
	r.PutIndex(1, disk.ExtentIndex{Logical: 1000, Child: 20})
	o := v.owner()
	o.Blocks = 50
	m, err := New(v.cache(), o, r)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collect(m, 0); len(got) != 0 || !errors.Is(err, disk.ErrCorrupt) || !strings.Contains(err.Error(), "more nodes") {
		t.Errorf("%d extents, %v", len(got), err)
	}
	if got, err := nodes(m); len(got) > 50 || !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("%d nodes, %v", len(got), err)
	}
}

func TestTree_readError(t *testing.T) {
	v := newVolume(t, 1024, 100)
	root := v.build(gappy(25), 3, 0)
	v.bytes = v.bytes[:11*1024+1]
	m := v.open(root)
	if _, err := m.Find(1); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "inode 12") {
		t.Errorf("%v", err)
	}
	if _, err := collect(m, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestTree_readsAhead(t *testing.T) {
	v := newVolume(t, 1024, 3000)
	leaves := gappy(84 * 200) // 200 leaves side by side, 3 indexes
	m := v.open(v.build(leaves, 84, 0))
	if got, err := collect(m, 0); err != nil || len(got) != len(leaves) {
		t.Fatalf("%d extents, %v", len(got), err)
	}
	if n := v.reads.Load(); n > 8 {
		t.Errorf("%d reads for 203 blocks side by side", n)
	}
	// A single look does not read ahead.
	before := v.reads.Load()
	m = v.open(v.build(leaves, 84, 0))
	if _, err := m.Find(500); err != nil {
		t.Fatal(err)
	}
	if n := v.reads.Load() - before; n != 2 {
		t.Errorf("%d reads for a Find", n)
	}
}

func TestTree_concurrent(t *testing.T) {
	v := newVolume(t, 1024, 3000)
	leaves := gappy(2000)
	m := v.open(v.build(leaves, 10, 0))
	done := make(chan error)
	for k := range 4 {
		go func() {
			got, err := collect(m, disk.LogicalNum(k))
			if err == nil && len(got) != len(leaves)-k/2 {
				err = fmt.Errorf("%d extents", len(got))
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestFind_doesNotAllocate(t *testing.T) {
	v := newVolume(t, 1024, 3000)
	m := v.open(v.build(gappy(3000), 10, 5))
	small := v.open(v.build(gappy(3), 10, 0))
	l := disk.LogicalNum(0)
	if n := testing.AllocsPerRun(5000, func() {
		for _, m := range []Map{m, small} {
			if _, err := m.Find(l); err != nil {
				t.Error(err)
			}
		}
		l = (l + 7) % 7000
	}); n > 0.5 { // the first visits load blocks
		t.Errorf("%v allocations", n)
	}
}

func TestList(t *testing.T) {
	var none List
	if e, err := none.Find(5); err != nil || e != (Extent{Logical: 5, Len: 1<<32 - 6, Flags: FlagHole}) {
		t.Errorf("%+v, %v", e, err)
	}
	m := List{{Logical: 3, Len: 2, Physical: 9}, {Logical: 5, Len: 1, Physical: 90, Flags: FlagUnwritten}, {Logical: 9, Len: 1, Physical: 7}}
	for _, tt := range []struct {
		l    disk.LogicalNum
		want Extent
	}{
		{0, Extent{0, 0, 3, FlagHole}}, {3, m[0]}, {4, m[0]}, {5, m[1]}, {6, Extent{6, 0, 3, FlagHole}}, {9, m[2]},
		{10, Extent{10, 0, 1<<32 - 11, FlagHole}}, {disk.MaxLogical, Extent{disk.MaxLogical, 0, 1, FlagHole}},
		{disk.MaxLogical + 1, Extent{disk.MaxLogical + 1, 0, 1, FlagHole}},
	} {
		if got, err := m.Find(tt.l); err != nil || got != tt.want {
			t.Errorf("%d: %+v, %v", tt.l, got, err)
		}
	}
	if got, err := collect(m, 4); err != nil || !reflect.DeepEqual(got, []Extent(m)) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := collect(m, 6); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := nodes(m); err != nil || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
