package journal_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/testimages"
)

// A journal on a device of its own, for blocks of 1 KiB, where its superblock
// lies in block 2, and of 4 KiB, where it lies in block 1.
func TestOpenExternal_equalsRecovery(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck", "losetup", "mount", "umount")
	for _, bs := range []int{1024, 4096} {
		t.Run(strconv.Itoa(bs), func(t *testing.T) {
			img, jnl := crashExternal(t, bs)
			dev, sb := open(t, img), superblock(t, open(t, img))
			o := journal.ExternalOptions{BlockSize: bs, JournalUUID: sb.JournalUUID, FSUUID: sb.UUID}
			log, err := journal.OpenExternal(open(t, jnl), o)
			if err != nil {
				t.Fatal(err)
			}
			rec, err := journal.Load(t.Context(), log, journal.Options{
				BlockSize: bs, FSBlocks: sb.Blocks(), NeedsRecovery: sb.Features.Incompat.Has(disk.IncompatRecover)})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(rec)
			if len(rec.Transactions) == 0 || rec.Blocks() == 0 {
				t.Error("nothing to recover")
			}
			checkWalk(t, log, bs, rec)
			want, wantJnl := testimages.Copy(t, img), testimages.Copy(t, jnl)
			out, err := exec.Command("e2fsck", "-E", "journal_only", "-y", "-j", wantJnl, want).CombinedOutput()
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) {
				t.Fatalf("e2fsck: %v\n%s", err, out)
			}
			ci := &crashImage{path: img, dev: dev, sb: sb}
			ci.compare(t, rec.Overlay(dev), open(t, want))
			o.FSUUID[0] ^= 1
			if _, err := journal.OpenExternal(open(t, jnl), o); !errors.Is(err, journal.ErrWrongJournal) {
				t.Errorf("another file system: %v", err)
			}
		})
	}
}

// crashExternal leaves an image and its journal behind.
func crashExternal(t *testing.T, bs int) (img, jnl string) {
	t.Helper()
	dir := testimages.Scratch(t)
	img, jnl = filepath.Join(dir, "fs.img"), filepath.Join(dir, "journal.img")
	if err := errors.Join(os.WriteFile(jnl, nil, 0o600), os.Truncate(jnl, int64(bs)*2048)); err != nil {
		t.Fatal(err)
	}
	block := strconv.Itoa(bs)
	testimages.Run(t, "mke2fs", "-q", "-F", "-O", "journal_dev", "-b", block, jnl)
	loop := strings.TrimSpace(testimages.Run(t, "losetup", "-f", "--show", jnl))
	defer testimages.Run(t, "losetup", "-d", loop)
	testimages.Mkfs(t, img, 32<<20, "-b", block, "-J", "device="+loop)
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	testimages.Run(t, "mount", "-t", "ext4", "-o", "loop", img, mnt)
	defer testimages.Run(t, "umount", mnt)
	c := crashCase{rounds: 400}
	c.load(t, mnt, 1)
	if err := testimages.Shutdown(mnt); err != nil {
		t.Fatal(err)
	}
	return img, jnl
}
