package ext4fs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestCrash_fastCommits does what TestCrash_viewEqualsTheKernelsRecovery does
// with images that end in fast commits.
func TestCrash_fastCommits(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	n := *fastCrashes
	if testing.Short() {
		n = min(n, 10)
	}
	dir := testimages.Scratch(t)
	fast := 0
	for k := range n {
		c, err := testimages.FastCrashImage(dir, *crashSeed+uint64(k))
		if err != nil {
			t.Fatal(err)
		}
		if compareCrash(t, c).fast {
			fast++
		}
		recoverCrash(t, c)
		if err := os.Remove(c.Path); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d images, %d with fast commits", n, fast)
	if fast < n/2 {
		t.Errorf("only %d of %d images have fast commits", fast, n)
	}
}

// TestFastCommit_bitmapsAndCounters: inodes and blocks that only fast commits
// took are in use, although no bitmap on disk says so.
func TestFastCommit_bitmapsAndCounters(t *testing.T) {
	c := testimages.Find(t, "dirty-fast-commit")
	img := testimages.Build(t, c)
	fsys := openCase(t, c, img)
	if r := fsys.Recovery(); r == nil || r.FastCommitCount == 0 {
		t.Fatal("the image has no fast commits")
	}
	listed := map[disk.InodeNum]bool{}
	for i, err := range fsys.Inodes() {
		if err != nil {
			t.Fatal(err)
		}
		listed[i.Number()] = true
	}
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	s := fsys.Super()
	seen := map[disk.InodeNum]bool{}
	err = fsys.Walk(t.Context(), root, "/", func(e *ext4fs.WalkEntry) error {
		if e.Err != nil {
			return e.Err
		}
		n := e.Inode.Number()
		if seen[n] = true; !listed[n] {
			t.Errorf("%s, inode %d, is not in use", e.Path(), n)
		}
		for x, err := range e.Inode.Extents() {
			if err != nil {
				return err
			}
			if x.Flags&ext4fs.ExtentInline != 0 {
				continue
			}
			g := s.GroupOf(x.Physical)
			bm, err := fsys.BlockBitmap(g)
			if err != nil {
				return err
			}
			if !bm.Has(int(x.Physical - s.GroupFirstBlock(g))) {
				t.Errorf("%s: block %d is free", e.Path(), x.Physical)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range listed {
		if n >= s.FirstInode && !seen[n] {
			t.Errorf("inode %d is in use and has no name", n)
		}
	}
	space, err := fsys.Space()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(testimages.Scratch(t), "copy.img")
	if err := testimages.CopyFile(copied, img); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	err = testimages.Mounted(copied, "noatime", func(dir string) error { return unix.Statfs(dir, &st) })
	if err != nil {
		t.Fatal(err)
	}
	free, inodes := st.Bfree, st.Ffree
	if space.Free != free || space.InodesFree != inodes {
		t.Errorf("%d blocks and %d inodes are free; after the kernel's recovery %d and %d", space.Free, space.InodesFree, free, inodes)
	}
}
