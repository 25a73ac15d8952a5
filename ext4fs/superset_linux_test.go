package ext4fs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// onDevice reads label and UUID as blkid does, who knows of no journal.
func onDevice(t *testing.T, img string) (label, uuid string) {
	t.Helper()
	file, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b := make([]byte, disk.SuperblockSize)
	if _, err := file.ReadAt(b, disk.SuperblockOffset); err != nil {
		t.Fatal(err)
	}
	var sb disk.Superblock
	if err := sb.Decode(b); err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(sb.VolumeName[:]), "\x00"), disk.UUIDString(sb.UUID)
}

// TestSetSuper_copies changes label and UUID of images of several kinds: the
// superblock and all its copies say so, and checksums stay good.
func TestSetSuper_copies(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "dumpe2fs", "e2fsck")
	for _, tt := range []struct {
		name    string
		args    []string
		refused bool
		first   int // block of the first copy
		bs      int
	}{
		{"default", []string{"-b", "4096"}, false, 32768, 4096},
		{"1k", []string{"-b", "1024"}, false, 8193, 1024},
		{"seed", []string{"-b", "1024", "-O", "metadata_csum_seed"}, false, 8193, 1024},
		{"everywhere", []string{"-b", "1024", "-O", "^sparse_super,^resize_inode", "-g", "1024"}, false, 1025, 1024},
		{"ext2", []string{"-b", "1024", "-t", "ext2"}, false, 8193, 1024},
		{"uninit_bg", []string{"-b", "1024", "-O", "^metadata_csum,uninit_bg"}, true, 8193, 1024},
		{"bigalloc", []string{"-b", "1024", "-O", "bigalloc", "-C", "8192"}, false, 65536, 1024},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "img")
			testimages.Mkfs(t, img, 160<<20, tt.args...)
			fsys, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: true})
			if err != nil {
				t.Fatal(err)
			}
			before := disk.UUIDString(fsys.UUID())
			if err := fsys.SetLabel("a new name"); err != nil || fsys.Label() != "a new name" {
				t.Error(err)
			}
			if err := fsys.SetLabel(strings.Repeat("x", 17)); !errors.Is(err, ext4fs.ErrInvalid) {
				t.Error(err)
			}
			uuid := [16]byte{0xaa, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}
			if err := fsys.SetUUID(uuid); tt.refused != errors.Is(err, ext4fs.ErrNotSupported) || !tt.refused && err != nil {
				t.Error(err)
			}
			want := disk.UUIDString(uuid)
			if tt.refused {
				want = before
			}
			if label, id := onDevice(t, img); label != "a new name" || id != want {
				t.Errorf("before the end the device has %q and %s, not %s", label, id, want)
			}
			if err := fsys.WriteFile("later", []byte("x"), 0o644); err != nil {
				t.Error(err)
			}
			if err := fsys.Close(); err != nil {
				t.Fatal(err)
			}
			testimages.Fsck(t, img)
			for _, args := range [][]string{{"-h"}, {"-h", "-o", fmt.Sprintf("superblock=%d", tt.first), "-o", fmt.Sprintf("blocksize=%d", tt.bs)}} {
				out, err := exec.Command("dumpe2fs", append(args, img)...).CombinedOutput()
				if err != nil || !strings.Contains(string(out), "a new name") || !strings.Contains(string(out), want) {
					t.Errorf("dumpe2fs %v: %v: want %s in\n%.400s", args, err, want, out)
				}
			}
			again, err := ext4fs.OpenFile(img, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if got := disk.UUIDString(again.UUID()); got != want || again.Label() != "a new name" {
				t.Errorf("%s, %q", got, again.Label())
			}
			if _, err := again.Stat("later"); err != nil {
				t.Error(err)
			}
		})
	}
}
