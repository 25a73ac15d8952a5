package disk

import (
	"bytes"
	"testing"
)

func TestGroupDesc_setters(t *testing.T) {
	for _, size := range []int{32, 64, 128} {
		g := GroupDesc(bytes.Repeat([]byte{0xa5}, size))
		wide := size >= 64
		g.SetBlockBitmap(0x0123_4567_89ab)
		g.SetInodeBitmap(0x1123_4567_89ac)
		g.SetInodeTable(0x2123_4567_89ad)
		g.SetFreeClusters(0x7_8001)
		g.SetFreeInodes(0x7_8002)
		g.SetUsedDirs(0x7_8003)
		g.SetItableUnused(0x7_8004)
		g.SetBlockBitmapChecksum(0xdead_beef)
		g.SetInodeBitmapChecksum(0xfeed_f00d)
		g.SetFlags(GroupInodeZeroed)
		block := func(bn BlockNum) BlockNum {
			if wide {
				return bn
			}
			return bn & 0xffff_ffff
		}
		half := func(n uint32) uint32 {
			if wide {
				return n
			}
			return n & 0xffff
		}
		if g.BlockBitmap() != block(0x0123_4567_89ab) || g.InodeBitmap() != block(0x1123_4567_89ac) ||
			g.InodeTable() != block(0x2123_4567_89ad) {
			t.Errorf("size %d: blocks %x %x %x", size, g.BlockBitmap(), g.InodeBitmap(), g.InodeTable())
		}
		if g.FreeClusters() != half(0x7_8001) || g.FreeInodes() != half(0x7_8002) ||
			g.UsedDirs() != half(0x7_8003) || g.ItableUnused() != half(0x7_8004) {
			t.Errorf("size %d: counters %x %x %x %x", size, g.FreeClusters(), g.FreeInodes(), g.UsedDirs(), g.ItableUnused())
		}
		if g.BlockBitmapChecksum() != half(0xdead_beef) || g.InodeBitmapChecksum() != half(0xfeed_f00d) ||
			g.Flags() != GroupInodeZeroed {
			t.Errorf("size %d: sums %x %x, flags %x", size, g.BlockBitmapChecksum(), g.InodeBitmapChecksum(), g.Flags())
		}
		// What no setter names survives: the exclude bitmap, the reserved tail.
		for _, at := range []int{0x14, 0x17, 0x34, 0x3c, 0x3f, 0x40, 0x7f} {
			if at < size && g[at] != 0xa5 {
				t.Errorf("size %d: byte %#x was changed", size, at)
			}
		}
	}
}

func TestSealGroupDesc(t *testing.T) {
	for _, f := range []ROCompat{0, ROCompatGDTCsum, ROCompatMetadataCsum} {
		s := &Superblock{UUID: [16]byte{1, 2, 3}, Features: Features{ROCompat: f}}
		g := GroupDesc(make([]byte, 64))
		g.SetFreeClusters(77)
		s.SealGroupDesc(5, g)
		sum, ok := s.GroupDescSum(5, g)
		if ok != (f != 0) || ok && sum != g.Checksum() || !ok && g.Checksum() != 0 {
			t.Errorf("features %x: stored %04x, computed %04x %v", f, g.Checksum(), sum, ok)
		}
	}
}
