package format

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// dumpeDiffers is what dumpe2fs tells of two images of the same options and
// time that need not be the same: what was written, and checksums.
var dumpeDiffers = regexp.MustCompile(`(?m)^Lifetime writes:.*$|^Checksum: .*$|csum 0x[0-9a-f]+|^ *mmp_[a-z_]+: .*$`)

func dumpe2fs(t testing.TB, img string) []string {
	t.Helper()
	out := testimages.Run(t, "dumpe2fs", img)
	return strings.Split(dumpeDiffers.ReplaceAllString(out, "-"), "\n")
}

// TestFormat_dumpe2fsTellsTheSame compares what users compare.
func TestFormat_dumpe2fsTellsTheSame(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "mke2fs", "dumpe2fs")
	dir := testimages.Scratch(t)
	for _, c := range []mkfsCase{
		"3M", "100M", "1G", "10G", "100G", "-t ext2 1G", "-t ext3 1G", "-b 1024 -t ext3 100M", "-O bigalloc 10G", "-O meta_bg,^resize_inode 5G",
		"-O sparse_super2 1G", "-E packed_meta_blocks=1 5G", "-O ^flex_bg 1G", "-O quota,project,mmp 1G", "-O inline_data,orphan_file 1G",
		"-O fast_commit 5G", "-b 65536 10G", "-O uninit_bg,^metadata_csum 1G", "-E stride=16,stripe_width=64 -G 8 5G", "-O casefold,encrypt,verity 1G",
		"-L label -M /mnt -e panic -m 1.5 700M", "-O ^large_file 1G",
	} {
		t.Run(strings.ReplaceAll(string(c), " ", "_"), func(t *testing.T) {
			theirs, err := c.mke2fs(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := c.make(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer os.Remove(theirs)
			defer os.Remove(ours)
			want, got := dumpe2fs(t, theirs), dumpe2fs(t, ours)
			for i := range max(len(want), len(got)) {
				if i >= len(want) || i >= len(got) || want[i] != got[i] {
					t.Fatalf("line %d:\n%s\nmke2fs:\n%s", i, line(got, i), line(want, i))
				}
			}
		})
	}
}

func line(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(none)"
}
