package ext4fs_test

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// recoverCrash opens a crash image for writing, which must do in the image what
// the kernel's mount does: the tree is the kernel's, and a check finds nothing.
func recoverCrash(t *testing.T, c testimages.Crash) {
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
		return
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
	fast := report.FastCommits > 0
	var ignore []string
	if fast {
		ignore = []string{"NLINK"} // Linux gets some wrong, e2fsck knows them
	}
	compareTree(t, c, fast, ignore...)
}
