package extent

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// FuzzChanger changes whatever the bytes make of a tree: 60 bytes of root, then
// blocks of 1 KiB from block 2 on. Whatever is asked, only blocks that the tree
// leads to or that were given to it are written, and it comes to an end. A
// tree that could be read as a whole stays one, and says what it was told.
func FuzzChanger(f *testing.F) {
	for _, tt := range []struct{ n, perNode, depth int }{{0, 84, 0}, {4, 84, 0}, {20, 84, 0}, {25, 3, 0}, {30, 3, 5}, {84, 84, 1}, {336, 84, 1}} {
		v := newVolume(f, 1024, 64)
		root := v.build(gappy(tt.n), tt.perNode, tt.depth)
		f.Add(append(root, v.bytes[2048:int(v.next)*1024]...), []byte{0, 1, 2, 3, 1, 9, 4, 2, 5, 8, 3, 3, 70, 1, 1, 6, 9, 9}, false)
		f.Add(append(root, v.bytes[2048:int(v.next)*1024]...), []byte{1, 0, 255, 0, 44, 4, 6, 3, 7, 1}, true)
	}
	f.Fuzz(func(t *testing.T, b, ops []byte, verify bool) {
		if len(b) < disk.ExtentRootSize || len(b) > 1<<16 || len(ops) > 300 {
			return
		}
		root, rest := b[:disk.ExtentRootSize], b[disk.ExtentRootSize:]
		used := (len(rest) + 1023) / 1024
		v := newVolume(t, 1024, 2+used+40)
		copy(v.bytes[2048:], rest)
		tx := newFakeTx(t, v)
		tx.space.free = tx.space.free[:40]
		o := v.owner()
		o.Verify, o.HasChecksum = verify, true
		m, err := Open(tx.c, o, root, tx.space)
		if err != nil {
			return
		}
		tx.mayBe = map[disk.BlockNum]bool{}
		v.reach(root, tx.mayBe, disk.MaxExtentDepth)
		for bn := range tx.mayBe {
			tx.space.nodes[bn] = true
		}
		whole := readable(m)
		for len(ops) >= 4 {
			change(t, tx, m, ops, whole)
			if ops = ops[4:]; whole && !readable(m) {
				t.Fatal("a good tree has become a bad one")
			}
		}
		tx.commit()
		if m, err := Open(v.cache(), o, m.Root(), tx.space); whole && (err != nil || !readable(m)) {
			t.Fatal("a good tree has become a bad one on the device", err)
		}
	})
}

// reach collects all blocks that a tree may lead to.
func (v *volume) reach(n disk.ExtentNode, seen map[disk.BlockNum]bool, depth int) {
	if depth == 0 {
		return
	}
	for i := range n.Capacity() {
		if bn := n.Index(i).Child; bn > 1 && bn < disk.BlockNum(v.blocks) && !seen[bn] {
			seen[bn] = true
			v.reach(v.block(bn), seen, disk.MaxExtentDepth)
		}
	}
}

func readable(m Map) bool {
	for _, err := range m.From(0) {
		if err != nil {
			return false
		}
	}
	seen := map[disk.BlockNum]bool{}
	for n, err := range m.Nodes() {
		if err != nil || seen[n.Block] {
			return false
		}
		seen[n.Block] = true
	}
	return true
}

// change does what four bytes say.
func change(t *testing.T, tx *fakeTx, m Changer, op []byte, whole bool) {
	l := disk.LogicalNum(op[1]) | disk.LogicalNum(op[0]>>4)<<7
	if op[0]&8 != 0 {
		l = disk.MaxLogical - l
	}
	n := uint32(op[2]) + 1
	end := uint64(l) + uint64(n)
	tx.restart(plenty)
	if op[3]&1 != 0 {
		tx.restart(int(op[3] >> 1))
	}
	switch op[0] & 7 {
	default:
		e := Extent{Logical: l, Physical: 1<<30 + disk.BlockNum(l), Len: n, Flags: Flags(op[3] >> 1 & 1)}
		if m.Insert(tx, e) == nil && whole {
			if got, err := m.Find(l); err != nil || got.Flags != e.Flags || got.Physical-disk.BlockNum(got.Logical) != 1<<30 {
				t.Fatalf("%+v is found as %+v, %v", e, got, err)
			}
		}
	case 3, 4:
		next, err := m.Remove(tx, l, end, func(Extent) error { return nil })
		if err == nil && next == uint64(l) && whole {
			if got, err := m.Find(l); err != nil || got.Flags != FlagHole {
				t.Fatalf("%d is removed, but %+v, %v", l, got, err)
			}
		}
	case 5:
		_, _ = m.SetUnwritten(tx, l, end, op[3]&2 != 0)
	case 6:
		_, _, _ = m.Shift(tx, l, int64(n))
	case 7:
		_, _, _ = m.Shift(tx, l, -int64(n))
	}
}
