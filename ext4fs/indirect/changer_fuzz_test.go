package indirect

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// FuzzChanger changes whatever the bytes make of a block map: 60 bytes of
// root, then blocks of 1 KiB from block 2 on. Whatever is asked, only blocks
// that the map leads to or that were given to it are written, and it comes to
// an end.
func FuzzChanger(f *testing.F) {
	for _, ls := range [][]uint64{nil, {0, 1, 5}, {12, 13, 267}, {268, 269, 65803}, {65804, 1 << 20, 1 << 24}} {
		v := newVolume(f, 1024, 40)
		for i, l := range ls {
			v.set(l, uint32(1002+i))
		}
		f.Add(append(v.root[:], v.bytes[2048:int(v.next)*1024]...), []byte{0, 1, 2, 3, 1, 9, 4, 2, 5, 8, 3, 3, 70, 1, 1, 6, 9, 9})
		f.Add(append(v.root[:], v.bytes[2048:int(v.next)*1024]...), []byte{1, 0, 255, 0, 44, 4, 6, 3, 7, 1, 2, 2})
	}
	f.Fuzz(func(t *testing.T, b, ops []byte) {
		if len(b) < rootSize || len(b) > 1<<15 || len(ops) > 200 {
			return
		}
		root, rest := b[:rootSize], b[rootSize:]
		v := newVolume(t, 1024, 2+(len(rest)+1023)/1024+30)
		copy(v.bytes[2048:], rest)
		tx := newFakeTx(t, v)
		tx.c = cache.New(device.NewMemory(v.bytes), 1024, uint64(len(v.bytes)/1024), cache.Options{})
		tx.space.free = tx.space.free[:30]
		v.reach(root[direct*pointerSize:], tx.space.nodes)
		tx.mayBe = map[disk.BlockNum]bool{}
		for bn := range tx.space.nodes {
			tx.mayBe[bn] = true
		}
		m, err := Open(tx.c, v.owner(), root, tx.space)
		if err != nil {
			t.Fatal(err)
		}
		for ; len(ops) >= 4; ops = ops[4:] {
			l := borders[ops[0]>>4%13] + uint64(ops[1])
			n := uint32(ops[2]) + 1
			tx.restart(plenty)
			if ops[3]&1 != 0 {
				tx.restart(int(ops[3] >> 1))
			}
			if ops[0]&1 == 0 {
				_ = m.Insert(tx, extent.Extent{Logical: disk.LogicalNum(l), Physical: 1 << 20, Len: n})
			} else {
				_, _ = m.Remove(tx, disk.LogicalNum(l), l+uint64(n)<<(ops[0]>>1&7*3), func(extent.Extent) error { return nil })
			}
		}
		tx.commit()
	})
}

// reach collects all blocks that pointers may lead to.
func (v *volume) reach(pointers []byte, seen map[disk.BlockNum]bool) {
	for i := range len(pointers) / pointerSize {
		bn := pointer(pointers, i)
		if bn > 1 && bn < uint64(len(v.bytes)/v.blockSize) && !seen[disk.BlockNum(bn)] {
			seen[disk.BlockNum(bn)] = true
			v.reach(v.block(uint32(bn)), seen)
		}
	}
}
