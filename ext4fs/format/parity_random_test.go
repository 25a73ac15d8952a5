package format

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// randomCase draws options that may or may not go together.
func randomCase(r *rand.Rand) mkfsCase {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var args []string
	some := func(p float64, name string, values ...string) {
		if r.Float64() < p {
			args = append(args, name, pick(values...))
		}
	}
	some(0.4, "-t", "ext2", "ext3", "ext4")
	some(0.5, "-b", "1024", "2048", "4096", "8192", "65536")
	some(0.2, "-I", "128", "256", "512", "1024")
	some(0.2, "-i", "1024", "4096", "65536", "1048576")
	some(0.2, "-N", "16", "100", "5000", "100000")
	some(0.2, "-m", "0", "1", "7.3", "49")
	some(0.2, "-g", "256", "1024", "4096", "8192", "8184", "32768")
	some(0.2, "-G", "1", "2", "8", "32", "256")
	some(0.1, "-T", "news", "largefile", "small", "big", "hurd")
	var words []string
	for _, f := range []string{
		"^resize_inode", "sparse_super2", "^sparse_super", "meta_bg", "^flex_bg", "^64bit", "^metadata_csum", "uninit_bg", "bigalloc",
		"^has_journal", "has_journal", "quota", "project", "mmp", "inline_data", "orphan_file", "fast_commit", "metadata_csum_seed", "^extent",
		"casefold", "ea_inode", "large_dir", "none", "extent",
	} {
		if r.Float64() < 0.09 {
			words = append(words, f)
		}
	}
	if len(words) > 0 {
		args = append(args, "-O", strings.Join(words, ","))
		if strings.Contains(args[len(args)-1], "bigalloc") {
			some(0.6, "-C", "2048", "4096", "16384", "65536", "1048576")
		}
	}
	var ext []string
	for _, e := range []string{
		"packed_meta_blocks=1,stride=2", "stride=8", "stride=8,stripe_width=32", "resize=3000000", "num_backup_sb=0", "num_backup_sb=1",
		"orphan_file_size=256K",
	} {
		if r.Float64() < 0.06 {
			ext = append(ext, e)
		}
	}
	if len(ext) > 0 {
		args = append(args, "-E", strings.Join(ext, ","))
	}
	some(0.15, "-J", "size=1", "size=4", "size=40", "size=8", "fast_commit_size=512")
	// Not larger: without sparse_super every group has all descriptors.
	kib := int64(20) << r.IntN(16)
	kib += r.Int64N(kib)
	return mkfsCase(strings.Join(append(args, fmt.Sprintf("%dK", kib)), " "))
}

// TestFormat_randomIsAsMke2fs compares random combinations. E4KIT_PARITY sets
// how many, and the first seed: "5000" or "5000,17".
func TestFormat_randomIsAsMke2fs(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	n, seed := 80, uint64(1)
	if v := os.Getenv("E4KIT_PARITY"); v != "" {
		a, b, _ := strings.Cut(v, ",")
		n, _ = strconv.Atoi(a)
		if b != "" {
			seed, _ = strconv.ParseUint(b, 10, 64)
		}
	}
	dir := testimages.Scratch(t)
	made := 0
	for i := range uint64(n) {
		c := randomCase(rand.New(rand.NewPCG(seed+i, 7)))
		if has := func(s string) bool { return strings.Contains(string(c), s) }; has("-G 1 ") && has("packed") {
			continue // mke2fs 1.47.0 counts free blocks below zero
		}
		t.Run(fmt.Sprintf("%d", seed+i), func(t *testing.T) {
			theirs, mkErr := c.mke2fs(t, dir)
			ours, err := c.make(t, dir)
			defer os.Remove(theirs)
			defer os.Remove(ours)
			if mkErr != nil || err != nil {
				// Later releases than 1.47.0 find room for the first inodes.
				// And it gives up where resize= leaves a group no room.
				few := mkErr != nil && (strings.Contains(mkErr.Error(), "Illegal inode number") || strings.Contains(mkErr.Error(), "Could not allocate inode") ||
					strings.Contains(mkErr.Error(), "requested number of inodes") && strings.Contains(string(c), "resize="))
				if (mkErr == nil) != (err == nil) && !few {
					t.Errorf("%s: mke2fs: %v; ours: %v", c, mkErr, err)
				}
				return
			}
			made++
			compareImages(t, theirs, ours)
			if c.size(t) < 2<<30 {
				fsck(t, ours)
			}
			if t.Failed() {
				t.Log(c)
			}
		})
	}
	t.Logf("%d of %d were made", made, n)
}
