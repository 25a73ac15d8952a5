package extent

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// FuzzExtentTree walks whatever the bytes make of a tree: 60 bytes of root,
// then blocks of 1 KiB from block 1 on. What comes out must be in order, in
// bounds, the same from all three ways of asking, and come to an end.
func FuzzExtentTree(f *testing.F) {
	for _, tt := range []struct{ n, perNode, depth int }{{0, 84, 0}, {4, 84, 0}, {20, 84, 0}, {25, 3, 0}, {30, 3, 5}, {84, 84, 1}} {
		v := newVolume(f, 1024, 64)
		v.next = 1
		root := v.build(gappy(tt.n), tt.perNode, tt.depth)
		f.Add(append(root, v.bytes[1024:int(v.next)*1024]...), uint8(0))
		f.Add(append(root, v.bytes[1024:int(v.next)*1024]...), uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		if len(b) < disk.ExtentRootSize || len(b) > 1<<16 {
			return
		}
		root, rest := b[:disk.ExtentRootSize], b[disk.ExtentRootSize:]
		image := make([]byte, 1024+(len(rest)+1023)/1024*1024)
		copy(image[1024:], rest)
		blocks := uint64(len(image) / 1024)
		c := cache.New(device.NewMemory(image), 1024, blocks, cache.Options{})
		o := Owner{Inode: 7, Seed: 0x1234, Verify: mode&1 != 0}
		if mode&2 != 0 {
			o.Blocks = 1 << 20 // pointers may lead out of the image
		}
		m, err := New(c, o, root)
		if err != nil {
			return
		}
		checkWalk(t, m, int(blocks+1)*84+4)
		count := 0
		for range m.Nodes() {
			if count++; count > 1<<20 {
				t.Fatal("nodes without end")
			}
		}
		for _, l := range []disk.LogicalNum{0, 1, 77, 1 << 16, 1 << 31, disk.MaxLogical, disk.MaxLogical + 1} {
			if e, err := m.Find(l); err == nil && (uint64(l) < uint64(e.Logical) || uint64(l) >= e.End()) {
				t.Fatalf("Find(%d) = %+v", l, e)
			}
		}
	})
}

// checkWalk goes over the whole map and looks each extent up again.
func checkWalk(t *testing.T, m Map, most int) {
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
			t.Fatalf("%d extents", count)
		}
		for _, l := range []disk.LogicalNum{e.Logical, disk.LogicalNum(e.End() - 1)} {
			if got, err := m.Find(l); err != nil || got != e {
				t.Fatalf("Find(%d) = %+v, %v; From gives %+v", l, got, err, e)
			}
		}
	}
}
