package ext4fs_test

import (
	"os"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// TestRecover_equalsTheKernels: a writable open does in the image what the
// kernel's mount does: the tree is the kernel's, and a check finds nothing.
func TestRecover_equalsTheKernels(t *testing.T) {
	recoverImages(t, *crashes, testimages.CrashImage)
}

// TestRecover_fastCommits does the same with images that end in fast commits.
func TestRecover_fastCommits(t *testing.T) {
	recoverImages(t, *fastCrashes, testimages.FastCrashImage)
}

func recoverImages(t *testing.T, n int, image func(string, uint64) (testimages.Crash, error)) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	if testing.Short() {
		n = min(n, 10)
	}
	dir := testimages.Scratch(t)
	fast := 0
	for k := range n {
		c, err := image(dir, *crashSeed+uint64(k))
		if err != nil {
			t.Fatal(err)
		}
		if recoverCrash(t, c) {
			fast++
		}
		for _, f := range []string{c.Path, c.Journal} {
			if f != "" {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Logf("%d images, %d with fast commits", n, fast)
}

func recoverCrash(t *testing.T, c testimages.Crash) (fast bool) {
	t.Helper()
	opts := &ext4fs.Options{Write: true}
	if c.Journal != "" {
		j, err := device.Open(c.Journal, device.Options{Write: true})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		opts.Journal = j
	}
	fsys, err := ext4fs.OpenFile(c.Path, opts)
	if err != nil {
		t.Errorf("image %d (%s): %v", c.Seed, c.How, err)
		return false
	}
	report := fsys.Recovered()
	if err := fsys.Close(); err != nil {
		t.Errorf("image %d (%s): close: %v", c.Seed, c.How, err)
	}
	if c.Journal != "" {
		opts.Journal.(*device.Image).Close()
	}
	if err := testimages.Check(c.Path); err != nil {
		t.Errorf("image %d (%s): %v", c.Seed, c.How, err)
	}
	fast = report.FastCommits > 0
	var ignore []string
	if fast {
		ignore = []string{"NLINK"} // Linux gets some wrong, e2fsck knows them
	}
	compareTree(t, c, fast, ignore...)
	return fast
}
