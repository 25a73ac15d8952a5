package alloc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// file writes one file from its beginning on.
type file struct {
	a    *Allocator
	tx   cache.Tx
	ino  disk.InodeNum
	next disk.LogicalNum
	runs []Run
}

func (f *file) grow(blocks uint32, size int64) error {
	for blocks > 0 {
		r := Request{Inode: f.ino, Logical: f.next, Len: blocks, Size: size}
		if n := len(f.runs); n > 0 {
			r.Goal = f.runs[n-1].Start + disk.BlockNum(f.runs[n-1].Len)
		}
		bn, n, err := f.a.Alloc(f.tx, r)
		if err != nil {
			return err
		}
		if len(f.runs) > 0 && r.Goal == bn {
			f.runs[len(f.runs)-1].Len += uint64(n)
		} else {
			f.runs = append(f.runs, Run{bn, uint64(n)})
		}
		blocks -= n
		f.next += disk.LogicalNum(n)
	}
	return nil
}

func TestAlloc_filesInParallelDoNotInterleave(t *testing.T) {
	w := newWorld(t, mkfs(t, 512<<20, "-b", "4096"), nil)
	files := make([]*file, 16)
	for i := range files {
		files[i] = &file{a: w.a, tx: w, ino: disk.InodeNum(20 + i)}
	}
	for range 256 { // 16 MiB each
		for _, f := range files {
			if err := f.grow(16, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	worst, sum := 0, 0
	for _, f := range files {
		worst, sum = max(worst, len(f.runs)), sum+len(f.runs)
		w.a.Release(f.ino)
	}
	t.Logf("%d runs in 16 files, %d in one", sum, worst)
	if worst > 10 {
		t.Errorf("a file of 16 MiB has %d runs: %v", worst, files[0].runs)
	}
	for i := range w.a.groups {
		checkIndex(t, w.a, &w.a.groups[i])
	}
	checkSums(t, w.a)
}

// One file alone is contiguous up to what a group has.
func TestAlloc_fileAloneIsContiguous(t *testing.T) {
	w := newWorld(t, mkfs(t, 320<<20, "-b", "4096"), nil)
	f := &file{a: w.a, tx: w, ino: 20}
	for range 512 { // 32 MiB
		if err := f.grow(16, 0); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.runs) > 2 {
		t.Errorf("%d runs: %v", len(f.runs), f.runs)
	}
	g := &file{a: w.a, tx: w, ino: 21}
	if err := g.grow(8192, 32<<20); err != nil {
		t.Fatal(err)
	}
	if len(g.runs) > 2 {
		t.Errorf("of a known size: %v", g.runs)
	}
}

// Small files lie side by side, whatever else is written meanwhile.
func TestAlloc_smallFilesArePacked(t *testing.T) {
	w := newWorld(t, mkfs(t, 320<<20, "-b", "4096"), nil)
	big := &file{a: w.a, tx: w, ino: 20}
	var all []Run
	for i := range 400 {
		f := &file{a: w.a, tx: w, ino: disk.InodeNum(100 + i)}
		if err := f.grow(1+uint32(i%3), int64(i%3+1)*4096); err != nil {
			t.Fatal(err)
		}
		all = append(all, f.runs...)
		w.a.Release(f.ino)
		if err := big.grow(64, 0); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(all, func(a, b Run) int { return int(a.Start) - int(b.Start) })
	gaps := 0
	for i := 1; i < len(all); i++ {
		if all[i-1].Start+disk.BlockNum(all[i-1].Len) != all[i].Start {
			gaps++
		}
	}
	if gaps > 4 || len(big.runs) > 12 {
		t.Errorf("%d gaps between small files, %d runs in the big one", gaps, len(big.runs))
	}
}

func TestAlloc_goal(t *testing.T) {
	w := newWorld(t, mkfs(t, 256<<20, "-b", "4096", "-g", "4096"), nil)
	bn, n, err := w.a.Alloc(w, Request{Len: 50, Goal: 40000})
	if err != nil || bn != 40000 || n != 50 {
		t.Fatalf("%d %d %v", bn, n, err)
	}
	bn, n, err = w.a.Alloc(w, Request{Len: 50, Goal: 40000})
	if err != nil || bn != 40050 || n != 50 {
		t.Fatalf("%d %d %v", bn, n, err)
	}
	// Behind the end of a group the next one goes on.
	last := w.super.GroupFirstBlock(10) - 10
	if bn, n, err = w.a.Alloc(w, Request{Len: 300, Goal: last}); err != nil || n < 10 {
		t.Fatalf("%d %d %v", bn, n, err)
	}
	if w.super.GroupOf(bn) != 9 && w.super.GroupOf(bn) != 10 {
		t.Errorf("goal %d, got %d", last, bn)
	}
	// After the last block there is none: any will do.
	for _, goal := range []disk.BlockNum{disk.BlockNum(w.super.Blocks()), 1 << 60} {
		if _, _, err := w.a.Alloc(w, Request{Len: 1, Goal: goal}); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := w.a.Alloc(w, Request{}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	// Nobody's blocks lie anywhere, a file's in its flex group.
	ino := disk.InodeNum(w.super.InodesPerGroup*9 + 5)
	if bn, _, err = w.a.Alloc(w, Request{Inode: ino, Len: 1000, Size: 1 << 20}); err != nil || w.super.GroupOf(bn) != 1 {
		t.Errorf("inode %d: block %d of group %d, %v", ino, bn, w.super.GroupOf(bn), err)
	}
}

// What is set aside for one file is there for another that finds nothing else.
func TestAlloc_windowsAreStolen(t *testing.T) {
	w := newWorld(t, mkfs(t, 32<<20, "-b", "4096", "-O", "^has_journal"), func(c *Config) { c.Reserved = 100 })
	var total uint64
	files := make([]*file, 10)
	for i := range files {
		files[i] = &file{a: w.a, tx: w, ino: disk.InodeNum(20 + i)}
		if err := files[i].grow(17, 0); err != nil {
			t.Fatal(err)
		}
	}
	free := w.a.Counts().FreeBlocks
	for {
		_, n, err := w.a.Alloc(w, Request{Inode: 99, Len: 7})
		if errors.Is(err, ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total += uint64(n)
	}
	if pool := w.a.Pool(); pool != w.super.Blocks()/50 || free-total != pool+100 {
		t.Errorf("%d blocks left, the pool has %d", free-total, pool)
	}
	got := uint64(0)
	for {
		_, n, err := w.a.Alloc(w, Request{Len: 1 << 14, Root: true})
		if errors.Is(err, ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got += uint64(n)
	}
	if got != 100 {
		t.Errorf("root got %d blocks of the 100 that are reserved", got)
	}
	for {
		if _, _, err := w.a.Alloc(w, Request{Len: 1, Meta: true}); err != nil {
			break
		}
	}
	if c := w.a.Counts(); c.FreeBlocks != 0 {
		t.Errorf("%d blocks left", c.FreeBlocks)
	}
	if w.a.Pending() {
		t.Error("pending, and nothing was freed")
	}
}

// Nothing changes when the transaction takes no more blocks.
func TestAllocator_outOfCredits(t *testing.T) {
	w := newWorld(t, mkfs(t, 64<<20, "-b", "1024"), nil)
	run, n, err := w.a.Alloc(w, Request{Len: 3, Goal: 20000})
	if err != nil || n != 3 {
		t.Fatal(err)
	}
	ino, _, err := w.a.NewInode(w, NewInode{Parent: 2})
	if err != nil {
		t.Fatal(err)
	}
	w.sync()
	m := newModel(w, 3)
	m.check(w.a)
	for limit := range 4 {
		w.sync()
		w.limit = limit
		if limit < AllocCredits {
			if _, _, err := w.a.Alloc(w, Request{Inode: 12, Len: 30}); !errors.Is(err, cache.ErrCredits) {
				t.Errorf("limit %d: %v", limit, err)
			}
			w.sync()
			w.limit = limit
			if err := w.a.Free(w, run, 3); !errors.Is(err, cache.ErrCredits) {
				t.Errorf("limit %d: %v", limit, err)
			}
			w.sync()
			w.limit = limit
			if err := w.a.FreeInode(w, ino, false); !errors.Is(err, cache.ErrCredits) {
				t.Errorf("limit %d: %v", limit, err)
			}
			w.sync()
			w.limit = limit
			if _, _, err := w.a.NewInode(w, NewInode{Parent: 2}); !errors.Is(err, cache.ErrCredits) {
				t.Errorf("limit %d: %v", limit, err)
			}
		}
		m.check(w.a)
	}
	w.noDamage()
}

func TestNewInode_virgin(t *testing.T) {
	for _, ext := range []string{"lazy_itable_init=0", "lazy_itable_init=1"} {
		w := newWorld(t, mkfs(t, 64<<20, "-b", "1024", "-E", ext), nil)
		seen := make(map[disk.BlockNum]bool)
		per := disk.InodeNum(w.super.InodesPerBlock())
		block := func(n disk.InodeNum) disk.BlockNum {
			g, i := w.super.InodeGroup(n)
			return w.a.groups[g].inodeTable + disk.BlockNum(disk.InodeNum(i)/per)
		}
		seen[block(11)] = true
		for i := range 3 * w.super.InodesPerGroup / 2 {
			n, virgin, err := w.a.NewInode(w, NewInode{Parent: 2})
			if err != nil {
				t.Fatal(err)
			}
			if b := block(n); virgin == seen[b] {
				t.Fatalf("%s: inode %d of block %d: virgin is %v", ext, n, b, virgin)
			} else {
				seen[b] = true
			}
			if i%3 == 0 {
				if err := w.a.FreeInode(w, n, false); err != nil {
					t.Fatal(err)
				}
			}
			if i%50 == 0 {
				w.sync()
			}
		}
		// A goal far out skips blocks only where they are zeroed.
		goal := disk.InodeNum(w.super.InodesPerGroup*3 + w.super.InodesPerGroup/2 + 1)
		n, virgin, err := w.a.NewInode(w, NewInode{Goal: goal})
		if err != nil || !virgin {
			t.Fatal(n, virgin, err)
		}
		if far := n == goal; far != (ext == "lazy_itable_init=0") {
			t.Errorf("%s: goal %d, got %d", ext, goal, n)
		}
		w.sync()
		newModel(newWorld(t, w.ram, nil), 1)
	}
}

// The callback runs before anybody else can have an inode of the block.
func TestNewInode_virginCallback(t *testing.T) {
	broken := errors.New("no")
	var got []disk.BlockNum
	fail := false
	w := newWorld(t, mkfs(t, 64<<20, "-b", "1024"), func(c *Config) {
		c.Virgin = func(tx cache.Tx, bn disk.BlockNum) error {
			if fail {
				return broken
			}
			got = append(got, bn)
			b, err := tx.Fresh(bn, plain{})
			if err == nil && !bytes.Equal(b.Data(), make([]byte, 1024)) {
				t.Error("not fresh")
			}
			return err
		}
	})
	before := w.a.Counts()
	fail = true
	for range 8 {
		if _, _, err := w.a.NewInode(w, NewInode{Parent: 2}); err != nil {
			if !errors.Is(err, broken) || w.a.Counts() != before {
				t.Fatal(err, w.a.Counts(), before)
			}
			break
		}
		before = w.a.Counts()
	}
	fail = false
	if _, virgin, err := w.a.NewInode(w, NewInode{Parent: 2}); err != nil || !virgin || len(got) != 1 {
		t.Errorf("virgin %v, blocks %v, %v", virgin, got, err)
	}
}

func TestNewInode_spreadsDirectories(t *testing.T) {
	w := newWorld(t, mkfs(t, 256<<20, "-b", "1024", "-G", "4"), nil)
	flexes := make(map[disk.GroupNum]int)
	var first disk.InodeNum
	for i := range 200 {
		n, _, err := w.a.NewInode(w, NewInode{Parent: 2, Dir: true, Name: fmt.Appendf(nil, "dir%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		g, _ := w.super.InodeGroup(n)
		flexes[g>>w.a.flex]++
		first = n
	}
	if len(flexes) < len(w.a.flexes)*3/4 {
		t.Errorf("200 directories of the root in %d of %d flex groups", len(flexes), len(w.a.flexes))
	}
	// What is below stays near.
	home, _ := w.super.InodeGroup(first)
	for i := range 100 {
		n, _, err := w.a.NewInode(w, NewInode{Parent: first, Dir: i%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		if g, _ := w.super.InodeGroup(n); g>>w.a.flex != home>>w.a.flex {
			t.Fatalf("child %d of a directory in group %d is in group %d", i, home, g)
		}
	}
}

func TestCommitted_discards(t *testing.T) {
	var got []Run
	w := newWorld(t, mkfs(t, 64<<20, "-b", "1024"), func(c *Config) {
		c.Discard = func(bn disk.BlockNum, n uint64) { got = append(got, Run{bn, n}) }
	})
	bn, n, err := w.a.Alloc(w, Request{Len: 100, Goal: 30000})
	if err != nil || n != 100 {
		t.Fatal(err)
	}
	bn2, n2, err := w.a.Alloc(w, Request{Len: 100, Goal: 20000})
	if err != nil || n2 != 100 {
		t.Fatal(err)
	}
	for i := range disk.BlockNum(10) { // backwards, in pieces
		if err := w.a.Free(w, bn+90-10*i, 10); err != nil {
			t.Fatal(err)
		}
	}
	c := w.close()
	if err := w.a.Free(w, bn2, 100); err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 || !w.a.Pending() {
		t.Error("too early")
	}
	w.commit(c)
	if want := []Run{{bn, 100}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	w.sync()
	if want := []Run{{bn, 100}, {bn2, 100}}; !slices.Equal(got, want) || w.a.Pending() {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTrim(t *testing.T) {
	for _, args := range [][]string{{"-b", "1024"}, {"-b", "1024", "-O", "bigalloc", "-C", "8192"}} {
		w := newWorld(t, mkfs(t, 64<<20, args...), nil)
		bn, _, err := w.a.Alloc(w, Request{Len: 1000, Goal: 30000})
		if err != nil {
			t.Fatal(err)
		}
		w.sync()
		m := newModel(w, 1)
		trim := func(from, to disk.BlockNum, least uint64) uint64 {
			last := disk.BlockNum(0)
			n, err := w.a.Trim(context.Background(), from, to, least, func(bn disk.BlockNum, n uint64) error {
				if bn < last || n < least || bn < from || uint64(bn)+n > uint64(to) {
					t.Errorf("%d blocks at %d of %d to %d", n, bn, from, to)
				}
				last = bn + disk.BlockNum(n)
				for b := bn; b < last; b++ {
					if m.used[b] {
						t.Fatalf("block %d is in use", b)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		broken := errors.New("no")
		if _, err := w.a.Trim(context.Background(), bn-500, bn+9000, 1, func(disk.BlockNum, uint64) error { return broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		if n := trim(bn, bn+2000, 1); n == 0 || n > 1016 {
			t.Errorf("%d of 2000", n)
		}
		all := trim(0, 1<<40, 1)
		if free := w.a.Counts().FreeBlocks; all != free {
			t.Errorf("%d of %d", all, free)
		}
		if n := trim(0, 1<<40, 1); n != 0 {
			t.Errorf("again: %d", n)
		}
		if err := w.a.Free(w, bn, 1000); err != nil {
			t.Fatal(err)
		}
		w.sync()
		m.mark(bn, 1000, false)
		if n := trim(0, 1<<40, 1); n < 1000 || n > uint64(w.super.BlocksPerGroup) {
			t.Errorf("after a free: %d", n)
		}
	}
}

// TestAlloc_knownSizes: for files whose size is known when they are written
// nothing is set aside beyond it, so that those which nobody ever releases do not
// use up the runs that the next ones need.
func TestAlloc_knownSizes(t *testing.T) {
	w := newWorld(t, mkfs(t, 1<<30, "-b", "4096"), nil)
	for i := range 600 {
		f := &file{a: w.a, tx: w, ino: disk.InodeNum(100 + i)}
		blocks := uint32(1 + i%50)
		if err := f.grow(blocks, int64(blocks)*4096-100); err != nil {
			t.Fatal(err)
		}
		if len(f.runs) > 1 {
			t.Errorf("file %d of %d blocks: %v", i, blocks, f.runs)
		}
	}
	windowed := uint32(0)
	for i := range w.a.groups {
		windowed += w.a.groups[i].windowed
	}
	if small := uint32(len(w.a.flexes) * smallChunk / 4096); windowed > small {
		t.Errorf("%d blocks are set aside, and %d would do for the small files", windowed, small)
	}
	big := &file{a: w.a, tx: w, ino: 50}
	if err := big.grow(16384, 64<<20); err != nil {
		t.Fatal(err)
	}
	if len(big.runs) > 1 {
		t.Errorf("the last one: %v", big.runs)
	}
}
