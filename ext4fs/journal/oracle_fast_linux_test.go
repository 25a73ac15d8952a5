package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/testimages"
)

// fastImage crashes a file system with count fast commits of files files each
// on top of a full commit.
func fastImage(t *testing.T, count, files int) *crashImage {
	t.Helper()
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "debugfs")
	img := filepath.Join(testimages.Scratch(t), "fast.img")
	testimages.Mkfs(t, img, 64<<20, "-b", "1024", "-O", "fast_commit")
	runs := journalRuns(t, img)
	testimages.WithMount(t, img, "", func(dir string) {
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.WriteFile(dir+"/first", make([]byte, 5000), 0o644))
		// Not sync(2), which waits for every file system of the machine.
		d, err := os.Open(dir)
		must(err)
		must(errors.Join(unix.Syncfs(int(d.Fd())), d.Close()))
		for i := range count {
			var last string
			for k := range files {
				last = fmt.Sprintf("%s/file%d-%d", dir, i, k)
				must(os.WriteFile(last, []byte(last), 0o644))
			}
			if i == 1 {
				must(errors.Join(os.Link(dir+"/first", dir+"/second"), os.Remove(dir+"/first")))
				must(os.Truncate(dir+"/second", 0))
				must(syncFile(dir + "/second"))
			}
			must(syncFile(last))
		}
		must(testimages.Shutdown(dir))
	})
	return openCrashed(t, img, runs)
}

func TestLoad_fastCommits(t *testing.T) {
	img := fastImage(t, 5, 3)
	rec, err := img.load(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(rec)
	names := map[disk.FCTag][]string{}
	tags := map[disk.FCTag]int{}
	for _, r := range rec.FastCommits {
		tags[r.Tag()]++
		if d, ok := r.(*disk.FCDirent); ok {
			names[r.Tag()] = append(names[r.Tag()], string(d.Name))
		}
	}
	for i := range 5 {
		for k := range 3 {
			if name := fmt.Sprintf("file%d-%d", i, k); !slices.Contains(names[disk.FCTagCreat], name) {
				t.Errorf("no creation of %s", name)
			}
		}
	}
	if !slices.Contains(names[disk.FCTagLink], "second") || !slices.Contains(names[disk.FCTagUnlink], "first") {
		t.Errorf("link %v, unlink %v", names[disk.FCTagLink], names[disk.FCTagUnlink])
	}
	if rec.FastCommitCount < 5 || tags[disk.FCTagInode] < 15 || tags[disk.FCTagAddRange] < 5 || tags[disk.FCTagDelRange] == 0 {
		t.Errorf("%d fast commits: %v", rec.FastCommitCount, tags)
	}
	walked, tails := 0, 0
	for r, err := range journal.WalkFastCommits(img.log, img.sb.BlockSize()) {
		if err != nil {
			t.Fatal(err)
		}
		switch r.Record.(type) {
		case *disk.FCTail:
			if !r.ChecksumOK {
				t.Errorf("block %d: bad checksum", r.Block)
			}
			tails++
		case *disk.FCHead, *disk.FCPad:
		default:
			walked++
		}
	}
	if walked != len(rec.FastCommits) || tails != rec.FastCommitCount {
		t.Errorf("walk: %d records and %d tails, want %d and %d", walked, tails, len(rec.FastCommits), rec.FastCommitCount)
	}
}

// tear clears one block of the log, as if it had not come to the disk.
func (ci *crashImage) tear(t *testing.T, log uint32) *crashImage {
	t.Helper()
	img := testimages.Copy(t, ci.path)
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bs := int64(ci.sb.BlockSize())
	for _, r := range ci.runs {
		if n := log - uint32(r.Logical); log >= uint32(r.Logical) && n < r.Len {
			if _, err := f.WriteAt(make([]byte, bs), int64(uint64(r.Physical)+uint64(n))*bs); err != nil {
				t.Fatal(err)
			}
		}
	}
	return openCrashed(t, img, ci.runs)
}

// lastFastBlock is the log block that ends the last fast commit.
func (ci *crashImage) lastFastBlock(t *testing.T) (last uint32) {
	t.Helper()
	for r, err := range journal.WalkFastCommits(ci.log, ci.sb.BlockSize()) {
		if err != nil {
			t.Fatal(err)
		}
		last = r.Block
	}
	return last
}

// A fast commit whose last block never came to the disk does not count. Before
// the first complete one the kernel refuses the mount, after that it does not.
func TestLoad_tornFastCommit(t *testing.T) {
	img := fastImage(t, 1, 20)
	torn := img.tear(t, img.lastFastBlock(t))
	var te *journal.TransactionError
	if rec, err := torn.load(journal.Options{}); !errors.As(err, &te) || !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("first fast commit torn: %v, %v", rec, err)
	}
	if rec, err := torn.load(journal.Options{IgnoreChecksums: true}); err != nil || rec.Damage == nil || len(rec.FastCommits) != 0 || rec.Blocks() == 0 {
		t.Errorf("first fast commit torn, ignored: %v, %v", rec, err)
	}
	if err := kernelRecover(t, torn.path); err == nil {
		t.Error("the kernel mounts it after all")
	}

	img = fastImage(t, 3, 20)
	whole, err := img.load(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	torn = img.tear(t, img.lastFastBlock(t))
	rec, err := torn.load(journal.Options{})
	if err != nil || rec.FastCommitCount != whole.FastCommitCount-1 {
		t.Errorf("last of %d fast commits torn: %v, %v", whole.FastCommitCount, rec, err)
	}
	if err := kernelRecover(t, torn.path); err != nil {
		t.Error(err)
	}
}
