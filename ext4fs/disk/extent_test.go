package disk

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestExtentNode_sizes(t *testing.T) {
	for _, tt := range []struct{ size, capacity int }{
		{ExtentRootSize, ExtentRootMax}, {1024, 84}, {2048, 169}, {4096, 340}, {65536, 5460},
	} {
		n := ExtentNode(make([]byte, tt.size))
		n.Init(1)
		if n.Capacity() != tt.capacity || n.Max() != tt.capacity {
			t.Errorf("size %d: capacity %d, max %d, want %d", tt.size, n.Capacity(), n.Max(), tt.capacity)
		}
		if at, ok := extentTail(n); tt.size != ExtentRootSize && (!ok || at > tt.size-ExtentTailSize) {
			t.Errorf("size %d: tail at %d, %v", tt.size, at, ok)
		}
		if p := n[:].HeaderProblem(1); !strings.Contains(p, "no entries") {
			t.Errorf("size %d: %q", tt.size, p)
		}
	}
}

// The bytes of an inode that Linux wrote: one written extent 0+8 at 1234 and
// an unwritten one behind it; and an index root.
func TestExtentNode_decode(t *testing.T) {
	raw := func(s string) ExtentNode {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return append(b, make([]byte, ExtentRootSize-len(b))...)
	}
	n := raw("0af3 0200 0400 0000 07000000" +
		"00000000 0800 0100 d2040000" +
		"08000000 0280 ffff ffffffff")
	if n.Magic() != ExtentMagic || n.Entries() != 2 || n.Max() != 4 || n.Depth() != 0 || n.Generation() != 7 {
		t.Errorf("header %x", n[:12])
	}
	want := []ExtentLeaf{
		{Logical: 0, Len: 8, Physical: 1<<32 + 1234},
		{Logical: 8, Len: 2, Unwritten: true, Physical: 1<<48 - 1},
	}
	for i, w := range want {
		if got := n.Leaf(i); got != w {
			t.Errorf("leaf %d: %+v, want %+v", i, got, w)
		}
		m := ExtentNode(make([]byte, ExtentRootSize))
		m.PutLeaf(i, w)
		if !bytes.Equal(m[12+12*i:24+12*i], n[12+12*i:24+12*i]) {
			t.Errorf("leaf %d encoded: %x", i, m)
		}
	}
	x := raw("0af3 0100 0400 0100 00000000" + "10000000 d2040000 0200 aabb")
	if got, want := x.Index(0), (ExtentIndex{Logical: 16, Child: 2<<32 + 1234}); got != want {
		t.Errorf("index %+v, want %+v", got, want)
	}
	before := append([]byte(nil), x...)
	x.PutIndex(0, x.Index(0))
	if !bytes.Equal(before, x) {
		t.Errorf("unused bytes of an index were lost: %x", x)
	}
}

func TestExtentLeaf_lengths(t *testing.T) {
	for _, tt := range []struct {
		raw  uint16
		want ExtentLeaf
	}{
		{0, ExtentLeaf{}},
		{1, ExtentLeaf{Len: 1}},
		{32768, ExtentLeaf{Len: 32768}},
		{32769, ExtentLeaf{Len: 1, Unwritten: true}},
		{65535, ExtentLeaf{Len: 32767, Unwritten: true}},
	} {
		n := ExtentNode(make([]byte, ExtentRootSize))
		le.PutUint16(n[16:], tt.raw)
		if got := n.Leaf(0); got != tt.want {
			t.Errorf("%d: %+v, want %+v", tt.raw, got, tt.want)
		}
		m := ExtentNode(make([]byte, ExtentRootSize))
		m.PutLeaf(0, tt.want)
		if !bytes.Equal(m, n) {
			t.Errorf("%d encodes as %x", tt.raw, m[12:24])
		}
	}
}

func TestExtentNode_headerProblem(t *testing.T) {
	good := func() ExtentNode {
		n := ExtentNode(make([]byte, 1024))
		n.Init(0)
		n.SetEntries(1)
		return n
	}
	for _, tt := range []struct {
		name   string
		change func(n ExtentNode) ExtentNode
		want   string
	}{
		{"good", func(n ExtentNode) ExtentNode { return n }, ""},
		{"empty leaf", func(n ExtentNode) ExtentNode { n.SetEntries(0); return n }, ""},
		{"full", func(n ExtentNode) ExtentNode { n.SetEntries(84); return n }, ""},
		{"fewer fit", func(n ExtentNode) ExtentNode { n.SetMax(82); return n }, ""},
		{"too short", func(n ExtentNode) ExtentNode { return n[:23] }, "node of 23"},
		{"nothing", func(n ExtentNode) ExtentNode { return nil }, "node of 0"},
		{"magic", func(n ExtentNode) ExtentNode { n[0] = 0; return n }, "magic"},
		{"depth", func(n ExtentNode) ExtentNode { n.SetDepth(1); return n }, "depth 1 where 0"},
		{"no room", func(n ExtentNode) ExtentNode { n.SetMax(0); return n }, "room for 0"},
		{"too much room", func(n ExtentNode) ExtentNode { n.SetMax(85); return n }, "room for 85"},
		{"overfull", func(n ExtentNode) ExtentNode { n.SetMax(5); n.SetEntries(6); return n }, "6 entries"},
	} {
		got := tt.change(good()).HeaderProblem(0)
		if got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	n := good()
	n.SetDepth(6)
	if got := n.HeaderProblem(-1); !strings.Contains(got, "depth 6") {
		t.Errorf("depth 6: %q", got)
	}
}

func TestExtentNode_entriesProblem(t *testing.T) {
	leaf := func(ls ...ExtentLeaf) ExtentNode {
		n := ExtentNode(make([]byte, ExtentRootSize))
		n.Init(0)
		for i, l := range ls {
			n.PutLeaf(i, l)
		}
		n.SetEntries(len(ls))
		return n
	}
	index := func(xs ...ExtentIndex) ExtentNode {
		n := ExtentNode(make([]byte, ExtentRootSize))
		n.Init(1)
		for i, x := range xs {
			n.PutIndex(i, x)
		}
		n.SetEntries(len(xs))
		return n
	}
	for _, tt := range []struct {
		name string
		node ExtentNode
		want string
	}{
		{"good leaf", leaf(ExtentLeaf{0, 5, false, 2}, ExtentLeaf{5, 5, true, 95}), ""},
		{"last block", leaf(ExtentLeaf{MaxLogical, 1, false, 2}), ""},
		{"past last block", leaf(ExtentLeaf{MaxLogical, 2, false, 2}), "past the last possible"},
		{"no blocks", leaf(ExtentLeaf{0, 0, false, 2}), "no blocks"},
		{"overlap", leaf(ExtentLeaf{0, 5, false, 2}, ExtentLeaf{4, 5, true, 95}), "before the end"},
		{"order", leaf(ExtentLeaf{9, 5, false, 2}, ExtentLeaf{4, 5, true, 95}), "before the end"},
		{"superblock", leaf(ExtentLeaf{0, 5, false, 1}), "maps blocks 1+5"},
		{"past the end", leaf(ExtentLeaf{0, 6, false, 95}), "maps blocks 95+6"},
		{"far out", leaf(ExtentLeaf{0, 1, false, 1 << 47}), "maps blocks"},
		{"good index", index(ExtentIndex{0, 2}, ExtentIndex{1, 99}), ""},
		{"same key", index(ExtentIndex{1, 2}, ExtentIndex{1, 99}), "key 1 after 1"},
		{"child out", index(ExtentIndex{0, 100}), "block 100 of 100"},
		{"child superblock", index(ExtentIndex{0, 1}), "block 1 of 100"},
	} {
		got := tt.node.EntriesProblem(1, 100)
		if got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestExtentNode_search(t *testing.T) {
	n := ExtentNode(make([]byte, 1024))
	n.Init(0)
	for i := range 84 {
		n.PutLeaf(i, ExtentLeaf{Logical: LogicalNum(10 + 3*i), Len: 1, Physical: 5})
	}
	for count := range 85 {
		for l := range LogicalNum(300) {
			want := -1
			for i := range count {
				if n.Key(i) <= l {
					want = i
				}
			}
			if got := n.Search(count, l); got != want {
				t.Fatalf("search %d in %d: %d, want %d", l, count, got, want)
			}
		}
	}
}

func TestExtentBlock_seal(t *testing.T) {
	for _, size := range []int{1024, 2048, 4096, 65536} {
		n := ExtentNode(make([]byte, size))
		n.Init(0)
		n.SetEntries(1)
		n.PutLeaf(0, ExtentLeaf{Len: 1, Physical: 9})
		if _, _, ok := VerifyExtentBlock(77, n); ok {
			t.Errorf("size %d: good before it was sealed", size)
		}
		SealExtentBlock(77, n)
		if stored, computed, ok := VerifyExtentBlock(77, n); !ok || stored != computed || stored == 0 {
			t.Errorf("size %d: stored %x, computed %x", size, stored, computed)
		}
		if _, _, ok := VerifyExtentBlock(78, n); ok {
			t.Errorf("size %d: good for another owner", size)
		}
		n[12]++
		if _, _, ok := VerifyExtentBlock(77, n); ok {
			t.Errorf("size %d: good after a change", size)
		}
		n.SetMax(65535)
		before := append([]byte(nil), n...)
		SealExtentBlock(77, n)
		if _, _, ok := VerifyExtentBlock(77, n); ok || !bytes.Equal(before, n) {
			t.Errorf("size %d: a header without place for the tail", size)
		}
	}
	if _, _, ok := VerifyExtentBlock(0, nil); ok {
		t.Error("nothing is good")
	}
}
