package ext4fs

import (
	"fmt"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// The blocks of a directory lie together and are read together, although its
// index leads to them in another order.
func TestEntriesFrom_readsRuns(t *testing.T) {
	ram := formatRAM(t, 64<<20)
	f := openQuiet(t, ram)
	dir, err := mustRoot(t, f).Create("dir", &NewNode{Mode: disk.ModeDir | 0o700})
	if err != nil {
		t.Fatal(err)
	}
	const names = 4000
	for n := range names {
		if _, err := dir.Create(fmt.Sprintf("a rather long name %d", n), &NewNode{Mode: disk.ModeFIFO}); err != nil {
			t.Fatal(err)
		}
	}
	number, blocks := dir.Number(), uint64(dir.Size()>>12)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, write := range []bool{false, true} {
		f, err := Open(ram, &Options{Write: write})
		if err != nil {
			t.Fatal(err)
		}
		dir, err := f.Inode(number)
		if err != nil {
			t.Fatal(err)
		}
		before, n := f.CacheStats().Reads, 0
		for _, err := range dir.EntriesFrom(0) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if reads := f.CacheStats().Reads - before; n != names+2 || reads > blocks/8 {
			t.Errorf("write %v: %d names, %d reads of %d blocks", write, n, reads, blocks)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
