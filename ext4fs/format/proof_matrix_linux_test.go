package format_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

var proofSeeds = flag.Int("proof-seeds", 0, "so many more matrices of options, in which other ones meet")

// TestProof_matrix makes images with every two options together, empty and of
// a tree, and lets everyone use them: e2fsck, e4kit, the kernel, resize2fs.
func TestProof_matrix(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "e2fsck", "resize2fs")
	src := proofSource(t)
	tr := src.load(t, tree.Options{})
	all := []*pairs{proof}
	for seed := range *proofSeeds {
		all = append(all, proof.shuffled(uint64(seed)))
	}
	for seed, p := range all {
		rows := p.rows()
		if testing.Short() {
			rows = rows[:3]
		}
		// A group of its own waits for the rows that run at the same time.
		t.Run(fmt.Sprintf("rows-%d", seed), func(t *testing.T) {
			for n, r := range rows {
				t.Run(fmt.Sprintf("%02d", n), func(t *testing.T) {
					t.Parallel()
					t.Log(p.text(r))
					prove(t, proofOptions(p, r), src, tr)
				})
			}
		})
	}
}

// TestProof_types makes the types and sizes that people ask for by name.
func TestProof_types(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "e2fsck", "resize2fs")
	src := proofSource(t)
	tr := src.load(t, tree.Options{})
	percent := 0.0
	tests := []struct {
		name string
		o    format.Options
	}{
		{"ext2", format.Options{Type: "ext2", Size: 64 << 20}},
		{"ext3", format.Options{Type: "ext3", Size: 64 << 20}},
		{"ext4, auto", format.Options{Size: format.SizeAuto, FreePercent: 80, ReservedPercent: &percent}},
		{"ext4, auto, 1k", format.Options{Size: format.SizeAuto, Free: 10 << 20, BlockSize: 1024}},
		{"ext2, auto", format.Options{Type: "ext2", Size: format.SizeAuto, Free: 10 << 20}},
		{"bigalloc, auto", format.Options{Size: format.SizeAuto, Free: 64 << 20, Features: []string{"bigalloc"}}},
		{"raid", format.Options{Size: 200 << 20, BlockSize: 4096, Extended: format.Extended{Stride: 16, StripeWidth: 64, RootUID: 0}}},
		{"huge", format.Options{Size: 100 << 30, Usage: []string{"huge"}}},
		{"largefile4", format.Options{Size: 200 << 30, Usage: []string{"largefile4"}}},
		{"news", format.Options{Size: 256 << 20, Usage: []string{"news"}}},
	}
	t.Run("all", func(t *testing.T) {
		for n, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				if testing.Short() && n > 2 {
					t.Skip("more than a sample")
				}
				t.Parallel()
				tt.o.Zeroed = true
				prove(t, tt.o, src, tr)
			})
		}
	})
}

// TestProof_smallest holds that the smallest image has no room to spare, and
// that the next smaller size is refused.
func TestProof_smallest(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "e2fsck")
	src := proofSource(t)
	tr := src.load(t, tree.Options{})
	for _, o := range []format.Options{
		{}, {BlockSize: 1024}, {Type: "ext2"}, {Features: []string{"^has_journal", "^resize_inode"}}, {Features: []string{"bigalloc"}},
	} {
		t.Run(fmt.Sprintf("%s-%d%v", o.Type, o.BlockSize, o.Features), func(t *testing.T) {
			o.Size, o.Zeroed = format.SizeMin, true
			img := build(t, o, tr)
			testimages.Fsck(t, img)
			want := src.in(t, img)
			sameTree(t, img, want)
			fi, err := os.Stat(img)
			if err != nil {
				t.Fatal(err)
			}
			o.Size = fi.Size() * 9 / 10
			if _, err := format.Plan(t.Context(), o, tr); err == nil {
				t.Errorf("%d bytes are not the least: %d do", fi.Size(), o.Size)
			}
			kernelUse(t, img, want, false)
		})
	}
}

// prove makes images with the options and lets everyone use them.
func prove(t *testing.T, o format.Options, src *source, tr *tree.Tree) {
	testimages.Fsck(t, build(t, o, nil))
	img := build(t, o, tr)
	testimages.Fsck(t, img)
	want := src.in(t, img)
	sameTree(t, img, want)
	maps := o.Type == "ext2" || o.Type == "ext3" || slices.Contains(o.Features, "^extent")
	src.sameLayout(t, img, !maps)
	if resizes(o) {
		resized(t, img, want)
	}
	written(t, img)
	if mounts(o) {
		testimages.RequireLoop(t)
		kernelUse(t, img, want, mountsToWrite(o))
	}
}

// resizes leaves out what resize2fs refuses: clusters, inodes that must stay;
// what it waits for: multiple mount protection; what it takes minutes for; and
// what it damages, also when mke2fs made it: the bitmaps with sparse_super2.
func resizes(o format.Options) bool {
	has := func(f string) bool { return slices.Contains(o.Features, f) }
	return o.Size <= 3<<30 && !has("bigalloc") && !has("stable_inodes") && !has("mmp") && !has("sparse_super2")
}

// mounts tells whether the kernel that the tests run on mounts it: it has no
// tables to fold case, it wants blocks of a page at most, and multiple mount
// protection makes it wait for many seconds.
func mounts(o format.Options) bool {
	return o.BlockSize <= 4096 && !slices.Contains(o.Features, "casefold") && !slices.Contains(o.Features, "mmp")
}

// mountsToWrite leaves out what kernels may lack the means for, and fast
// commits, which the kernel is trusted with in tests of their own.
func mountsToWrite(o format.Options) bool {
	return !slices.Contains(o.Features, "quota") && !slices.Contains(o.Features, "fast_commit")
}

// written lets e4kit write into a copy of the image.
func written(t *testing.T, img string) {
	t.Helper()
	img = testimages.Copy(t, img)
	fsys, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	do(fsys.MkdirAll("/new/deep", 0o755))
	for i := range 20 {
		do(fsys.WriteFile(fmt.Sprintf("/new/file-%02d", i), testimages.Content(uint64(i), i*700), 0o644))
		do(fsys.WriteFile(fmt.Sprintf("/many/late-%02d", i), nil, 0o644))
		do(fsys.Remove(fmt.Sprintf("/many/entry-%04d%s", 100+i, strings.Repeat("x", (100+i)%40))))
	}
	do(fsys.Rename("/new/file-07", "/lost+found/moved"))
	do(fsys.RemoveAll("/deep"))
	do(fsys.Truncate("/holes/maps", 5000))
	do(fsys.SetXattr("/xattr/shared1", "user.more", []byte("value"), 0))
	do(fsys.Close())
	testimages.Fsck(t, img)
}

// resized lets resize2fs grow and shrink a copy of the image.
func resized(t *testing.T, img string, want testimages.Manifest) {
	t.Helper()
	img = testimages.Copy(t, img)
	size, err := os.Stat(img)
	if err != nil {
		t.Fatal(err)
	}
	const most = 65536 // the largest block
	grown := (size.Size() + size.Size()/2) / most * most
	if err := os.Truncate(img, grown); err != nil {
		t.Fatal(err)
	}
	for _, to := range []int64{grown, size.Size()} {
		// resize2fs wants one that was checked since it was last mounted.
		testimages.Run(t, "e2fsck", "-fy", img)
		testimages.Run(t, "resize2fs", img, fmt.Sprintf("%dK", to>>10))
		testimages.Fsck(t, img)
		sameTree(t, img, want)
	}
}
