package format

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestFormat_kernelMounts lets the kernel fill what was made: it must find room
// for files in every group, and leave a clean file system.
func TestFormat_kernelMounts(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	testimages.RequireLoop(t)
	dir := testimages.Scratch(t)
	for _, c := range []mkfsCase{
		"40M", "-b 2048 60M", "-b 4096 64M", "-t ext2 30M", "-t ext3 50M", "-b 4096 -O bigalloc 100M", "-O meta_bg,^resize_inode 60M", "-O sparse_super2 60M",
		"-O mmp 40M", "-O inline_data 40M", "-O orphan_file 40M", "-b 4096 -O fast_commit,orphan_file 100M",
		"-O ^flex_bg 60M", "-E packed_meta_blocks=1 60M", "-O uninit_bg,^metadata_csum 60M", "-O metadata_csum_seed,large_dir,ea_inode 40M",
		"-I 128 40M", "-O ^has_journal 40M", "-t ext2 -r 0 20M", "-E resize=1G 40M",
	} {
		t.Run(strings.ReplaceAll(string(c), " ", "_"), func(t *testing.T) {
			img, err := c.make(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer os.Remove(img)
			fsck(t, img)
			if t.Failed() {
				return
			}
			testimages.WithMount(t, img, "", func(mnt string) {
				if _, err := os.Stat(filepath.Join(mnt, "lost+found")); err != nil {
					t.Error(err)
				}
				for n := range 8 {
					sub := filepath.Join(mnt, fmt.Sprint("dir", n))
					if err := os.Mkdir(sub, 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(sub, "file"), bytes.Repeat([]byte{byte(n)}, 300<<10), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			})
			fsck(t, img)
		})
	}
}
