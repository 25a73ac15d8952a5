package alloc

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// patch changes bytes of the image.
func patch(t testing.TB, ram *device.RAM, off int64, n int, f func(b []byte)) {
	t.Helper()
	b := make([]byte, n)
	if _, err := ram.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	f(b)
	if _, err := ram.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func TestFree_doubleFree(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, mkfs(t, k.size, k.args...), nil)
			ratio := uint64(w.a.ratio)
			goal := disk.BlockNum(w.super.Blocks()/2) / disk.BlockNum(ratio) * disk.BlockNum(ratio)
			bn, n, err := w.a.Alloc(w, Request{Len: uint32(20 * ratio), Goal: goal})
			if err != nil || n != uint32(20*ratio) {
				t.Fatal(n, err)
			}
			w.sync()
			if err := w.a.Free(w, bn+disk.BlockNum(5*ratio), 5*ratio); err != nil {
				t.Fatal(err)
			}
			m := newModel(w, 1)
			var ce *disk.CorruptError
			if err := w.a.Free(w, bn, 20*ratio); !errors.As(err, &ce) || len(w.corrupt) != 1 {
				t.Errorf("%v, reported %v", err, w.corrupt)
			}
			// Nothing has changed, and nothing more comes from that group.
			g := w.super.GroupOf(bn)
			d, _ := w.a.Group(g)
			before := d.FreeClusters()
			if err := w.a.Free(w, bn, ratio); err != nil {
				t.Error(err)
			}
			if d, _ = w.a.Group(g); d.FreeClusters() != before {
				t.Error("a damaged group was changed")
			}
			for range 200 {
				bn, n, err := w.a.Alloc(w, Request{Len: 20, Goal: bn, Inode: 12})
				if errors.Is(err, ErrNoSpace) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if w.super.GroupOf(bn) == g {
					t.Fatalf("%d blocks at %d of a damaged group", n, bn)
				}
				m.mark(bn, uint64(n), true)
			}
			w.sync()
			b, err := w.a.BlockBitmap(g)
			if err != nil {
				t.Fatal(err)
			}
			for c := range b.Len {
				bn := w.a.first(&w.a.groups[g], uint32(c))
				if m.used[bn] != (b.Bits[c/8]&(1<<(c%8)) != 0) {
					t.Fatalf("block %d was changed", bn)
				}
			}
		})
	}
}

func TestFree_refusesWhatIsNotAFiles(t *testing.T) {
	w := newWorld(t, mkfs(t, 64<<20, "-b", "1024"), func(c *Config) { c.Zones = []Run{{40000, 10}} })
	g := &w.a.groups[1]
	for _, r := range []Run{
		{0, 1}, {1, 1}, {2, 1}, {g.blockBitmap, 1}, {g.inodeBitmap, 1}, {g.inodeTable, 1}, {g.inodeTable - 1, 2},
		{disk.BlockNum(w.super.Blocks()), 1}, {disk.BlockNum(w.super.Blocks()) - 1, 2}, {1 << 60, 1}, {5, ^uint64(0)},
		{39995, 6}, {40005, 100},
	} {
		if err := w.a.Free(w, r.Start, r.Len); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, n := range []disk.InodeNum{0, 1, 2, 8, 10, w.super.Inodes() + 1, ^disk.InodeNum(0)} {
		if err := w.a.FreeInode(w, n, false); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("inode %d: %v", n, err)
		}
	}
	if len(w.blocks) != 0 {
		t.Error("blocks were touched")
	}
	w.noDamage()
	if err := w.a.FreeInode(w, 500, false); !errors.Is(err, disk.ErrCorrupt) || len(w.corrupt) != 1 {
		t.Error(err, w.corrupt)
	}
	// The zone of the configuration is free in the bitmap: that group is out.
	if bn, _, err := w.a.Alloc(w, Request{Len: 5, Goal: 39998}); err != nil || w.super.GroupOf(bn) == w.super.GroupOf(40000) {
		t.Error(bn, err)
	}
}

// A group that is damaged in any way is left alone; the others go on.
func TestAllocator_skipsDamagedGroups(t *testing.T) {
	const victim = 3
	for name, damage := range map[string]func(w *world){
		"block bitmap": func(w *world) {
			patch(t, w.ram, int64(w.a.groups[victim].blockBitmap)*1024+100, 1, func(b []byte) { b[0] ^= 4 })
		},
		"inode bitmap": func(w *world) {
			patch(t, w.ram, int64(w.a.groups[victim].inodeBitmap)*1024+10, 1, func(b []byte) { b[0] ^= 4 })
		},
		"descriptor": func(w *world) {
			bn, at := w.a.descAt(victim)
			patch(t, w.ram, int64(bn)*1024+int64(at), 64, func(b []byte) { b[0x0d] ^= 1 })
		},
		"counters": func(w *world) {
			bn, at := w.a.descAt(victim)
			patch(t, w.ram, int64(bn)*1024+int64(at), 64, func(b []byte) {
				d := disk.GroupDesc(b)
				d.SetFreeClusters(d.FreeClusters() - 1)
				d.SetFreeInodes(d.FreeInodes() - 1)
				w.super.SealGroupDesc(victim, d)
			})
		},
		"bitmap location": func(w *world) {
			bn, at := w.a.descAt(victim)
			patch(t, w.ram, int64(bn)*1024+int64(at), 64, func(b []byte) {
				d := disk.GroupDesc(b)
				d.SetBlockBitmap(disk.BlockNum(w.super.Blocks() + 5))
				w.super.SealGroupDesc(victim, d)
			})
		},
		"overlap": func(w *world) {
			bn, at := w.a.descAt(victim)
			patch(t, w.ram, int64(bn)*1024+int64(at), 64, func(b []byte) {
				d := disk.GroupDesc(b)
				d.SetBlockBitmap(w.a.groups[1].inodeTable + 3)
				w.super.SealGroupDesc(victim, d)
			})
		},
	} {
		// A group that has been used: its bitmaps are on disk.
		first := newWorld(t, mkfs(t, 64<<20, "-b", "1024"), nil)
		for range first.super.InodesPerGroup * 4 {
			if _, _, err := first.a.NewInode(first, NewInode{Goal: 12}); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := first.a.Alloc(first, Request{Len: 10, Goal: first.super.GroupFirstBlock(victim) + 4000}); err != nil {
			t.Fatal(err)
		}
		first.sync()
		damage(first)
		w := newWorld(t, first.ram, nil)
		inodes := 0
		for {
			bn, n, err := w.a.Alloc(w, Request{Len: 3000, Meta: true, Goal: w.super.GroupFirstBlock(victim) + 100})
			if errors.Is(err, ErrNoSpace) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if g := w.super.GroupOf(bn); g == victim && name != "inode bitmap" {
				t.Fatalf("%s: %d blocks at %d", name, n, bn)
			}
		}
		for {
			n, _, err := w.a.NewInode(w, NewInode{Goal: disk.InodeNum(w.super.InodesPerGroup*victim + 5)})
			if errors.Is(err, ErrNoInodes) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if g, _ := w.super.InodeGroup(n); g == victim && name != "block bitmap" {
				t.Fatalf("%s: inode %d", name, n)
			}
			inodes++
		}
		if len(w.corrupt) == 0 || inodes == 0 {
			t.Errorf("%s: reported %v, %d inodes", name, w.corrupt, inodes)
		}
		// The damage stays what it was: nothing sealed it.
		w.sync()
		again := newWorld(t, w.ram, nil)
		again.a.groups[victim].mu.Lock()
		ok := again.a.usable(&again.a.groups[victim]) && again.a.usableInodes(&again.a.groups[victim])
		again.a.groups[victim].mu.Unlock()
		if ok {
			t.Errorf("%s: the damage was sealed", name)
		}
	}
}

// Whatever descriptors and bitmaps say, nothing that the descriptors in use
// point to is given out, nothing twice, and nothing goes wild.
func TestAllocator_hostile(t *testing.T) {
	base := mkfs(t, 16<<20, "-b", "1024", "-g", "1024")
	small := mkfs(t, 16<<20, "-b", "1024", "-g", "1024", "-O", "^64bit,^metadata_csum,^flex_bg")
	big := mkfs(t, 16<<20, "-b", "1024", "-O", "bigalloc", "-C", "4096", "-g", "4096")
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 5))
		ram := []*device.RAM{base, small, big}[seed%3].Clone()
		for range 1 + rng.IntN(20) {
			off := 2048 + rng.Int64N(3000)
			if rng.IntN(4) == 0 {
				off = rng.Int64N(ram.Size())
			}
			patch(t, ram, off, 1, func(b []byte) { b[0] = byte(rng.Uint32()) })
		}
		w := newWorld(t, ram, func(c *Config) { c.Verify = false })
		used := make(map[disk.BlockNum]bool)
		for i := range 300 {
			bn, n, err := w.a.Alloc(w, Request{Inode: disk.InodeNum(rng.Uint32N(500)), Logical: disk.LogicalNum(4 * rng.Uint32N(50)), Len: 1 + rng.Uint32N(200)})
			if err != nil && !errors.Is(err, ErrNoSpace) && !errors.Is(err, disk.ErrCorrupt) {
				t.Fatal(err)
			}
			if z, ok := w.a.inZone(bn, uint64(n)); ok && err == nil {
				t.Fatalf("seed %d: %d blocks at %d, in %v", seed, n, bn, z)
			}
			for b := bn; b < bn+disk.BlockNum(n); b++ {
				if used[b] {
					t.Fatalf("seed %d: block %d twice", seed, b)
				}
				used[b] = true
			}
			_, _, _ = w.a.NewInode(w, NewInode{Parent: disk.InodeNum(rng.Uint32()), Dir: i%2 == 0, Goal: disk.InodeNum(rng.Uint32N(2) * rng.Uint32())})
			_ = w.a.FreeInode(w, disk.InodeNum(rng.Uint32N(3000)), i%3 == 0)
		}
		for range 20 {
			_ = w.a.Free(w, disk.BlockNum(rng.Uint64N(20000)), rng.Uint64N(3000))
			w.sync()
			if _, _, err := w.a.Alloc(w, Request{Inode: 12, Len: 1 + rng.Uint32N(200)}); err != nil && !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
		}
		_, _ = w.a.Trim(context.Background(), 0, 1<<40, 1, func(bn disk.BlockNum, n uint64) error {
			if z, ok := w.a.inZone(bn, n); ok {
				t.Fatalf("seed %d: %d blocks at %d, in %v", seed, n, bn, z)
			}
			return nil
		})
		w.sync()
	}
}

func TestNew_refuses(t *testing.T) {
	ram := mkfs(t, 16<<20, "-b", "1024")
	w := newWorld(t, ram, nil)
	for name, change := range map[string]func(s *disk.Superblock){
		"groups":          func(s *disk.Superblock) { s.BlocksCount = 1 << 34; s.BlocksPerGroup = 8 },
		"block size":      func(s *disk.Superblock) { s.LogBlockSize = 2; s.FirstDataBlock = 0 },
		"bigalloc offset": func(s *disk.Superblock) { s.Features.ROCompat |= disk.ROCompatBigalloc; s.LogClusterSize = 2 },
	} {
		s := w.super
		change(&s)
		if _, err := New(context.Background(), Config{Cache: w.cache, Super: &s}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := New(ctx, Config{Cache: w.cache, Super: &w.super}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s := w.super
	s.BlocksCount = 1 << 30 // descriptors beyond the cache
	if _, err := New(context.Background(), Config{Cache: cache.New(ram, 1024, 100, cache.Options{}), Super: &s}); err == nil {
		t.Error("no error")
	}
}

// Blocks that have no room for large numbers get small ones. The device has no
// such block, so the bound is put where it can be met.
func TestAlloc_low(t *testing.T) {
	w := newWorld(t, mkfs(t, 64<<20, "-b", "1024"), nil)
	q := w.a.ask(&Request{Len: 1 << 20, Goal: 50000, Low: true}, 0)
	if int(q.limit) != len(w.a.groups) {
		t.Errorf("limit %d", q.limit)
	}
	q = ask{need: 1 << 20, want: 1 << 20, limit: 2}
	for {
		g, c, n, err := w.a.direct(w, q)
		if errors.Is(err, ErrNoSpace) {
			break
		}
		if err != nil || g.num >= 2 {
			t.Fatal(g.num, c, n, err)
		}
	}
	if d, _ := w.a.Group(1); d.FreeClusters() != 0 {
		t.Errorf("%d clusters left in group 1", d.FreeClusters())
	}
	if d, _ := w.a.Group(2); d.FreeClusters() == 0 {
		t.Error("group 2 is full")
	}
}
