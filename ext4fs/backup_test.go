package ext4fs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestOpen_backupSuperblock reads images whose first blocks are lost through a
// backup of the superblock and the descriptors beside it.
func TestOpen_backupSuperblock(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		block   disk.BlockNum
		primary int64 // bytes that are lost
	}{
		{"classic", []string{"-b", "1024"}, 8193, 40 << 10},
		{"no checksums", []string{"-b", "1024", "-O", "^metadata_csum,^64bit"}, 8193, 40 << 10},
		{"uninit_bg", []string{"-b", "1024", "-O", "^metadata_csum,uninit_bg"}, 24577, 40 << 10},
		{"meta_bg", []string{"-b", "1024", "-O", "meta_bg,^resize_inode"}, 8193, 3 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := filepath.Join(testimages.Scratch(t), "backup.img")
			// The metadata of all groups lies apart, so that what is lost is
			// only superblock and descriptors.
			testimages.Mkfs(t, img, 64<<20, append(c.args, "-O", "^flex_bg")...)
			testimages.DebugfsWrite(t, img, "mkdir d", "mkdir d/e", "symlink d/s "+img)
			whole, err := ext4fs.OpenFile(img, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer whole.Close()
			want := manifest(t, whole)
			space, err := whole.Group(0)
			if err != nil {
				t.Fatal(err)
			}
			first := int64(min(space.BlockBitmap(), space.InodeBitmap(), space.InodeTable())) * 1024
			f, err := os.OpenFile(img, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, min(c.primary, first)), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := ext4fs.OpenFile(img, nil); err == nil {
				t.Fatal("the image still opens")
			}
			fsys, err := ext4fs.OpenFile(img, &ext4fs.Options{Superblock: c.block, BlockSize: 1024})
			if err != nil {
				t.Fatal(err)
			}
			defer fsys.Close()
			if d := testimages.Diff(want, manifest(t, fsys)); d != "" {
				t.Errorf("the tree differs:\n%s", d)
			}
			for g := range fsys.Super().Groups() {
				if _, err := fsys.BlockBitmap(g); err != nil {
					t.Error(err)
				}
			}
			n := 0
			for _, err := range fsys.Inodes() {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n < 5 {
				t.Errorf("%d inodes are in use", n)
			}
		})
	}
}
