package disk

import (
	"strings"
	"testing"
)

// makeRoot is a root of the given layout with keys for blocks 1, 2, ...
func makeRoot(l DirLayout, levels uint8, keys ...uint32) []byte {
	b := makeBlock(l.BlockSize, l.BlockSize, false, rec{2, ".", 0, 2}, rec{2, "..", -1, 2})
	h := HashHalfMD4
	if l.HashInDirent {
		h = HashSipHash
	}
	DXInfo{Hash: h, InfoLength: DXInfoSize, Levels: levels}.Encode(b)
	putArray(l, b, 32, keys)
	return b
}

func makeNode(l DirLayout, keys ...uint32) []byte {
	b := makeBlock(l.BlockSize, l.BlockSize, false, rec{0, "", -1, 0})
	putArray(l, b, DXNodeOffset, keys)
	return b
}

func putArray(l DirLayout, b []byte, off int, keys []uint32) {
	for i, k := range keys {
		le.PutUint32(b[off+8*i:], k)
		le.PutUint32(b[off+8*i+4:], uint32(i+1)|0xf0000000)
	}
	le.PutUint16(b[off:], uint16(l.DXLimit(off)))
	le.PutUint16(b[off+2:], uint16(len(keys)))
}

func TestDXLimit(t *testing.T) {
	tests := []struct {
		size       int
		checksum   bool
		root, node int
	}{
		{1024, true, 123, 126},
		{1024, false, 124, 127},
		{4096, true, 507, 510},
		{4096, false, 508, 511},
		{65536, true, 8187, 8190},
		{65536, false, 8188, 8191},
	}
	for _, tt := range tests {
		l := DirLayout{BlockSize: tt.size, Checksum: tt.checksum}
		if r, n := l.DXLimit(32), l.DXLimit(8); r != tt.root || n != tt.node {
			t.Errorf("%+v: root %d, node %d", tt, r, n)
		}
	}
}

func TestDXRoot(t *testing.T) {
	l := DirLayout{BlockSize: 1024}
	i, e, err := l.DXRoot(makeRoot(l, 1, 0, 0x1000, 0x2001, 0x9000))
	if err != nil {
		t.Fatal(err)
	}
	if i.Levels != 1 || i.Hash != HashHalfMD4 || e.Count() != 4 || e.Limit() != 124 {
		t.Errorf("%+v, count %d, limit %d", i, e.Count(), e.Limit())
	}
	if e.Key(0) != 0 || e.Key(2) != 0x2001 || e.Block(0) != 1 || e.Block(3) != 4 {
		t.Errorf("key %x, block %d", e.Key(2), e.Block(3))
	}
	for hash, want := range map[uint32]int{0: 0, 0xffe: 0, 0x1000: 1, 0x2000: 1, 0x2002: 2, 0x8ffe: 2, 0x9000: 3, 0xfffffffe: 3} {
		if got := e.Search(hash); got != want {
			t.Errorf("Search(%#x) = %d, want %d", hash, got, want)
		}
	}
}

func TestDXRoot_refuses(t *testing.T) {
	plain := DirLayout{BlockSize: 1024}
	tests := []struct {
		name   string
		layout DirLayout
		change func(b []byte)
		detail string
	}{
		{"hash version", plain, func(b []byte) { b[28] = 3 }, "hash version 3"},
		{"siphash without need", plain, func(b []byte) { b[28] = 6 }, "hash version 6"},
		{"no siphash", DirLayout{BlockSize: 1024, HashInDirent: true}, func(b []byte) { b[28] = 1 }, "hash version 1"},
		{"flags", plain, func(b []byte) { b[31] = 1 }, "flags 0x01"},
		{"levels", plain, func(b []byte) { b[30] = 2 }, "2 levels"},
		{"levels of large_dir", DirLayout{BlockSize: 1024, LargeDir: true}, func(b []byte) { b[30] = 3 }, "3 levels"},
		{"info length", plain, func(b []byte) { b[29] = 7 }, "info length 7"},
		{"info length moves the array", plain, func(b []byte) { b[29] = 16 }, "limit"},
		{"limit", plain, func(b []byte) { b[32]++ }, "limit 125, should be 124"},
		{"limit with checksum", DirLayout{BlockSize: 1024, Checksum: true}, func(b []byte) { b[32]++ }, "should be 123"},
		{"count 0", plain, func(b []byte) { b[34] = 0 }, "count 0"},
		{"count", plain, func(b []byte) { b[34] = 125 }, "count 125"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := makeRoot(tt.layout, 0, 0, 0x1000)
			if _, _, err := tt.layout.DXRoot(b); err != nil {
				t.Fatal(err)
			}
			tt.change(b)
			if _, _, err := tt.layout.DXRoot(b); err == nil || !strings.Contains(err.Detail, tt.detail) {
				t.Errorf("got %v, want %q", err, tt.detail)
			}
		})
	}
	if _, _, err := plain.DXRoot(make([]byte, 512)); err == nil {
		t.Error("a short block is taken")
	}
}

func TestDXRoot_longInfo(t *testing.T) {
	l := DirLayout{BlockSize: 1024}
	b := makeRoot(l, 0, 0)
	b[29] = 24
	putArray(l, b, 48, []uint32{0, 0x10})
	if _, e, err := l.DXRoot(b); err != nil || e.Count() != 2 || e.Key(1) != 0x10 {
		t.Errorf("%v", err)
	}
}

func TestDXNode(t *testing.T) {
	for _, size := range []int{1024, 4096, 65536} {
		l := DirLayout{BlockSize: size, Checksum: true}
		b := makeNode(l, 0, 4, 8)
		e, err := l.DXNode(b)
		if err != nil || e.Count() != 3 || !l.IsDXNode(b) {
			t.Errorf("%d: %v", size, err)
		}
		b[8]--
		if _, err := l.DXNode(b); err == nil {
			t.Errorf("%d: a wrong limit is taken", size)
		}
		leaf := makeBlock(size, size, false, rec{12, "a", -1, 1})
		if _, err := l.DXNode(leaf); err == nil || l.IsDXNode(leaf) {
			t.Errorf("%d: a leaf is taken", size)
		}
	}
}

func TestDXChecksum(t *testing.T) {
	l := DirLayout{BlockSize: 1024, Checksum: true}
	const seed = 0xcafe
	root, node := makeRoot(l, 0, 0, 2), makeNode(l, 0, 2, 4)
	for _, tt := range []struct {
		b    []byte
		off  int
		used int
	}{{root, 32, 48}, {node, 8, 32}} {
		tail := tt.off + 8*l.DXLimit(tt.off)
		le.PutUint32(tt.b[tail:], 0xdeadbeef) // covered, whatever it is
		if !SealDX(seed, tt.b, tt.off) {
			t.Fatal("not sealed")
		}
		s, c, found := VerifyDX(seed, tt.b, tt.off)
		if want := SumUint32(SumUint32(Sum(seed, tt.b[:tt.used]), 0xdeadbeef), 0); !found || s != c || s != want {
			t.Errorf("%x %x %v, want %x", s, c, found, want)
		}
		tt.b[tt.used] ^= 1 // not in use, not covered
		if s, c, _ := VerifyDX(seed, tt.b, tt.off); s != c {
			t.Error("bytes that are not in use count")
		}
		tt.b[tail]++
		if s, c, _ := VerifyDX(seed, tt.b, tt.off); s == c {
			t.Error("the reserved field does not count")
		}
		tt.b[tail]--
		tt.b[tt.used-1]++
		if s, c, _ := VerifyDX(seed, tt.b, tt.off); s == c {
			t.Error("a change is not seen")
		}
		le.PutUint16(tt.b[tt.off:], uint16(l.DXLimit(tt.off)+1))
		if _, _, found := VerifyDX(seed, tt.b, tt.off); found || SealDX(seed, tt.b, tt.off) {
			t.Error("a checksum past the block")
		}
	}
}
