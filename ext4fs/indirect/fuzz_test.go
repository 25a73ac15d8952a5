package indirect

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// FuzzIndirect walks whatever the bytes make of a block map: 60 bytes of root,
// then blocks of 1 KiB from block 1 on. What comes out must be in order, in
// bounds, the same from Find, and come to an end.
func FuzzIndirect(f *testing.F) {
	for _, ls := range [][]uint64{nil, {0, 1, 5}, {12, 13, 267}, {268, 269, 65803}, {65804, 1 << 20, 1 << 24}} {
		v := newVolume(f, 1024, 40)
		v.next = 1
		for i, l := range ls {
			v.set(l, uint32(2+i))
		}
		f.Add(append(v.root[:], v.bytes[1024:int(v.next)*1024]...), uint8(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		if len(b) < rootSize || len(b) > 1<<15 {
			return
		}
		root, rest := b[:rootSize], b[rootSize:]
		bs := 1024
		if mode&2 != 0 {
			bs = 4096
		}
		image := make([]byte, bs+(len(rest)+bs-1)/bs*bs)
		copy(image[bs:], rest)
		blocks := uint64(len(image) / bs)
		o := extent.Owner{Inode: 7}
		if mode&1 != 0 {
			o.Blocks = 2000
		}
		m, err := New(cache.New(device.NewMemory(image), bs, blocks, cache.Options{}), o, root)
		if err != nil {
			t.Fatal(err)
		}
		checkWalk(t, m, int(max(blocks, 2000)+1)*bs/pointerSize)
		count := 0
		for range m.Nodes() {
			if count++; count > 2000 {
				t.Fatal("nodes without end")
			}
		}
		for _, l := range []disk.LogicalNum{0, 12, 77, 1 << 16, 1 << 31, disk.MaxLogical, disk.MaxLogical + 1} {
			if e, err := m.Find(l); err == nil && (l < e.Logical || uint64(l) >= e.End()) {
				t.Fatalf("Find(%d) = %+v", l, e)
			}
		}
	})
}

// checkWalk goes over the whole map and looks the ends of runs up again.
func checkWalk(t *testing.T, m extent.Map, most int) {
	var end uint64
	count := 0
	for e, err := range m.From(0) {
		if err != nil {
			return
		}
		if e.Len == 0 || uint64(e.Logical) < end || e.End() > logicalEnd || e.Physical == 0 {
			t.Fatalf("%+v after logical block %d", e, end)
		}
		end = e.End()
		if count++; count > most {
			t.Fatalf("%d runs", count)
		}
		if count > 2000 {
			continue
		}
		for _, l := range []disk.LogicalNum{e.Logical, disk.LogicalNum(e.End() - 1)} {
			got, err := m.Find(l)
			if err != nil || got.Flags != 0 || got.Physical-disk.BlockNum(got.Logical) != e.Physical-disk.BlockNum(e.Logical) ||
				l < got.Logical || uint64(l) >= got.End() {
				t.Fatalf("Find(%d) = %+v, %v; From gives %+v", l, got, err, e)
			}
		}
	}
}
