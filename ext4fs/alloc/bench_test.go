package alloc

import (
	"context"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// fill takes everything but pieces of hole blocks after every piece of use
// blocks; 0 for hole leaves nothing.
func fill(b testing.TB, w *world, use, hole uint32) {
	b.Helper()
	var runs []Run
	for {
		bn, n, err := w.a.Alloc(w, Request{Len: 1 << 15, Meta: true})
		if err != nil {
			break
		}
		runs = append(runs, Run{bn, uint64(n)})
	}
	for _, r := range runs {
		for at := uint64(use); hole > 0 && at+uint64(hole) <= r.Len; at += uint64(use + hole) {
			if err := w.a.Free(w, r.Start+disk.BlockNum(at), uint64(hole)); err != nil {
				b.Fatal(err)
			}
		}
	}
	w.sync()
}

// BenchmarkAlloc takes runs and frees them a while later, on images in
// different states.
func BenchmarkAlloc(b *testing.B) {
	for _, tt := range []struct {
		name      string
		use, hole uint32
		leave     int // blocks, on a full one
	}{
		{"empty", 0, 0, 0}, {"checkerboard", 1, 1, 0}, {"holes of 8", 24, 8, 0}, {"nearly full", 0, 0, 300},
	} {
		for _, length := range []uint32{1, 64} {
			b.Run(tt.name+"/"+map[uint32]string{1: "1", 64: "64"}[length], func(b *testing.B) {
				w := newWorld(b, mkfs(b, 512<<20, "-b", "1024"), nil)
				switch {
				case tt.use > 0:
					fill(b, w, tt.use, tt.hole)
				case tt.leave > 0:
					fill(b, w, 0, 0)
					for i := range tt.leave { // somewhere
						if err := w.a.Free(w, spot(w, i), 1); err != nil {
							b.Fatal(err)
						}
					}
					w.sync()
				}
				var held []Run
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					bn, n, err := w.a.Alloc(w, Request{Inode: disk.InodeNum(11 + i%16), Len: length, Meta: true, Goal: 1 + disk.BlockNum(i*7919)%400000})
					if err != nil {
						b.Fatal(err)
					}
					if held = append(held, Run{bn, uint64(n)}); len(held) == 200 {
						for _, r := range held {
							if err := w.a.Free(w, r.Start, r.Len); err != nil {
								b.Fatal(err)
							}
						}
						held = held[:0]
						w.a.Committed(w.tid)
					}
				}
			})
		}
	}
}

// spot is a block that fill took, another one for each i.
func spot(w *world, i int) disk.BlockNum {
	bn := disk.BlockNum(1+i*1511) % disk.BlockNum(w.super.Blocks())
	for ; ; bn++ {
		if _, ok := w.a.inZone(bn, 1); ok {
			continue
		}
		g, c := w.a.place(bn)
		if bm, err := w.a.BlockBitmap(g); err == nil && bm.Bits[c/8]&(1<<(c%8)) != 0 && bn > 2000 {
			// The journal's and the root directory's are somebody's, which
			// does not matter here.
			return bn
		}
	}
}

// BenchmarkGrow is a file that grows by 64 KiB, as a writer that waits for
// nobody does it.
func BenchmarkGrow(b *testing.B) {
	w := newWorld(b, mkfs(b, 512<<20, "-b", "4096"), nil)
	f := &file{a: w.a, tx: w, ino: 12}
	b.ReportAllocs()
	for b.Loop() {
		if err := f.grow(16, 0); err != nil {
			b.StopTimer()
			for _, r := range f.runs {
				if err := w.a.Free(w, r.Start, r.Len); err != nil {
					b.Fatal(err)
				}
			}
			w.a.Committed(w.tid)
			w.a.Release(12)
			f.runs, f.next = nil, 0
			b.StartTimer()
		}
	}
}

func BenchmarkNewInode(b *testing.B) {
	w := newWorld(b, mkfs(b, 512<<20, "-b", "4096", "-N", "200000"), nil)
	var held []disk.InodeNum
	b.ReportAllocs()
	for b.Loop() {
		n, _, err := w.a.NewInode(w, NewInode{Parent: 2})
		if err != nil {
			b.Fatal(err)
		}
		if held = append(held, n); len(held) == 10000 {
			for _, n := range held {
				if err := w.a.FreeInode(w, n, false); err != nil {
					b.Fatal(err)
				}
			}
			w.a.Committed(w.tid)
			held = held[:0]
		}
	}
}

// BenchmarkNew opens a file system of many groups.
func BenchmarkNew(b *testing.B) {
	testimages.RequireTool(b, "mke2fs")
	w := newWorld(b, mkfs(b, 512<<20, "-b", "1024", "-g", "256", "-N", "20000"), nil)
	for b.Loop() {
		if _, err := New(context.Background(), w.a.cfg); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(w.a.groups)), "ns/group")
}
