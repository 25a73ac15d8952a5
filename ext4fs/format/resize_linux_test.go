package format

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestFormat_resize2fs grows and shrinks what was made: it walks over reserved
// descriptors, tables and backups. (Its 1.47.0 miscounts bigalloc, also what
// mke2fs made, and waits long for MMP.)
func TestFormat_resize2fs(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "resize2fs", "e2fsck")
	dir := testimages.Scratch(t)
	for _, c := range []mkfsCase{
		"-b 1024 40M", "-b 4096 100M", "-t ext2 -b 1024 40M", "-t ext3 40M", "-O meta_bg,^resize_inode 60M", "-O sparse_super2 60M",
		"-O ^flex_bg 40M", "-E resize=1G 40M", "-E packed_meta_blocks=1 60M", "-O orphan_file,quota 60M",
	} {
		t.Run(strings.ReplaceAll(string(c), " ", "_"), func(t *testing.T) {
			img, err := c.make(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer os.Remove(img)
			for _, size := range []string{"400M", "70M"} {
				if out, err := exec.Command("resize2fs", "-f", img, size).CombinedOutput(); err != nil {
					t.Fatalf("to %s: %v\n%s", size, err, out)
				}
				fsck(t, img)
			}
		})
	}
}
