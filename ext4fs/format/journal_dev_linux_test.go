package format

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

func openImage(t testing.TB, path string) *device.Image {
	t.Helper()
	d, err := device.Open(path, device.Options{Write: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func sparseFile(t testing.TB, path string, size int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFormatJournal_isAsMke2fs(t *testing.T) {
	testimages.RequireTool(t, "mke2fs")
	dir := testimages.Scratch(t)
	for _, c := range []mkfsCase{"-t ext2 -O journal_dev 64M", "-O journal_dev 600M", "-O journal_dev -b 4096 20M", "-O journal_dev -b 1024 20M", "-O journal_dev -b 65536 200M", "-O journal_dev 1M"} {
		theirs, mkErr := c.mke2fs(t, dir)
		ours, err := c.make(t, dir)
		if (mkErr == nil) != (err == nil) {
			t.Errorf("%s: %v, mke2fs: %v", c, err, mkErr)
		}
		if err != nil {
			continue
		}
		var sb [2]disk.Superblock
		var j [2]disk.JournalSuperblock
		for i, img := range []string{theirs, ours} {
			d := openImage(t, img)
			if sb[i], j[i], _, err = readJournalDevice(d); err != nil {
				t.Fatalf("%s: %v", c, err)
			}
			d.Close()
			sb[i].KBytesWritten, sb[i].Checksum = 0, 0
		}
		for _, d := range superDiff(&sb[0], &sb[1]) {
			t.Errorf("%s: %s", c, d)
		}
		if j[0] != j[1] {
			t.Errorf("%s: journal superblock %+v, mke2fs has %+v", c, j[1], j[0])
		}
	}
}

// TestFormat_externalJournal mounts a file system with its journal elsewhere.
func TestFormat_externalJournal(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	testimages.RequireLoop(t)
	dir := testimages.Scratch(t)
	ctx := context.Background()
	jimg := sparseFile(t, filepath.Join(dir, "journal"), 16<<20)
	j := openImage(t, jimg)
	if err := FormatJournal(ctx, j, Options{Type: "ext4", BlockSize: 4096}); err != nil {
		t.Fatal(err)
	}
	jd, err := ReadJournalDevice(j)
	if err != nil || jd.BlockSize != 4096 {
		t.Fatal(jd, err)
	}
	img := sparseFile(t, filepath.Join(dir, "fs"), 100<<20)
	d := openImage(t, img)
	if err := Format(ctx, d, Options{Journal: JournalOptions{Device: &jd}, BlockSize: 1024}); !errors.Is(err, ErrOption) {
		t.Errorf("other block size: %v", err)
	}
	testimages.WithLoop(t, jimg, func(jdev string) {
		var st syscall.Stat_t
		if err := syscall.Stat(jdev, &st); err != nil {
			t.Fatal(err)
		}
		jd.Dev = EncodeDev(uint32(st.Rdev>>8&0xfff), uint32(st.Rdev&0xff|st.Rdev>>12&0xfff00))
		if err := Format(ctx, d, Options{Journal: JournalOptions{Device: &jd}}); err != nil {
			t.Fatal(err)
		}
		sb := readSuper(t, d)
		for range 2 {
			if err := AddJournalUser(j, sb.UUID); err != nil {
				t.Fatal(err)
			}
		}
		if _, js, _, err := readJournalDevice(j); err != nil || js.NrUsers != 1 {
			t.Fatal(js.NrUsers, err)
		}
		d.Close()
		j.Close()
		testimages.WithMount(t, img, "journal_path="+jdev, func(mnt string) {
			if err := os.WriteFile(filepath.Join(mnt, "file"), []byte("content"), 0o600); err != nil {
				t.Error(err)
			}
		})
		out := testimages.Run(t, "e2fsck", "-fn", "-j", jdev, img)
		if strings.Contains(out, "ERROR") {
			t.Error(out)
		}
	})
}

func TestReadJournalDevice_isNone(t *testing.T) {
	w := dirty(2 << 20)
	if _, err := ReadJournalDevice(w); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("garbage: %v", err)
	}
	if err := Format(context.Background(), w, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadJournalDevice(w); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("a file system: %v", err)
	}
	if err := AddJournalUser(w, [16]byte{1}); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("a file system: %v", err)
	}
}
