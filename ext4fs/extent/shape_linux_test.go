package extent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
	"github.com/e4kit/e4kit/testimages"
)

// TestBuild_oracle maps the blocks of a file anew, scattered, with a tree or a
// table that was built. The checker finds nothing, debugfs lists the same runs,
// and the kernel reads the same.
func TestBuild_oracle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		blocks int
	}{
		{"root", []string{"-t", "ext4", "-b", "1024"}, 4},
		{"leaf", []string{"-t", "ext4", "-b", "1024"}, 40},
		{"two levels", []string{"-t", "ext4", "-b", "1024"}, 3000},
		{"three levels", []string{"-t", "ext4", "-b", "1024"}, 29000},
		{"four KiB", []string{"-t", "ext4", "-b", "4096"}, 3000},
		{"no checksums", []string{"-t", "ext4", "-b", "2048", "-O", "^metadata_csum"}, 2000},
		{"direct", []string{"-t", "ext2", "-b", "1024"}, 9},
		{"single", []string{"-t", "ext3", "-b", "1024"}, 100},
		{"double", []string{"-t", "ext3", "-b", "1024"}, 5000},
		{"triple", []string{"-t", "ext2", "-b", "1024"}, 66500},
		{"table 4k", []string{"-t", "ext4", "-O", "^extent,^64bit", "-b", "4096"}, 3000},
	} {
		t.Run(tt.name, func(t *testing.T) { buildOracle(t, tt.args, tt.blocks) })
	}
}

func buildOracle(t *testing.T, args []string, blocks int) {
	testimages.RequireTool(t, "mke2fs", "debugfs", "e2fsck")
	top := testimages.Scratch(t)
	img := filepath.Join(top, "build.img")
	src := filepath.Join(top, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	size := 1024
	for i := range args {
		if args[i] == "-b" {
			fmt.Sscan(args[i+1], &size)
		}
	}
	if err := os.WriteFile(filepath.Join(src, "f"), testimages.Content(7, blocks*size), 0o644); err != nil {
		t.Fatal(err)
	}
	testimages.Mkfs(t, img, int64(blocks*size*3/2)+16<<20, append(args, "-d", src)...)
	runs, count := rebuild(t, img, "f")
	testimages.Fsck(t, img)
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := f.Lookup("f")
	if err != nil {
		t.Fatal(err)
	}
	m, err := in.Map()
	if err != nil {
		t.Fatal(err)
	}
	var got []extent.Extent
	for e, err := range m.From(0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if !slices.Equal(got, runs) {
		t.Errorf("%d runs instead of %d", len(got), len(runs))
	}
	if in.Flags().Has(disk.FlagExtents) {
		out := testimages.Debugfs(t, img, fmt.Sprintf("dump_extents <%d>", in.Number()))
		compareTree(t, out, uint64(in.Number()), m, got)
	} else if out := testimages.Debugfs(t, img, fmt.Sprintf("stat <%d>", in.Number())); strings.Count(out, "IND)") != count {
		t.Errorf("debugfs shows %d pointer blocks of %d", strings.Count(out, "IND)"), count)
	}
	compareContent(t, img, f, in)
}

// compareContent reads the file with the kernel and here.
func compareContent(t *testing.T, img string, f *ext4fs.FS, in *ext4fs.Inode) {
	want := make([]byte, in.Size())
	if _, err := in.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	testimages.RequireLoop(t)
	testimages.WithMount(t, img, "ro", func(dir string) {
		data, err := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || string(data) != string(want) {
			t.Errorf("the kernel reads %d bytes of %d, %v", len(data), len(want), err)
		}
	})
}

// rebuild gives a file's blocks to a new map, in which no two follow each
// other. It returns the runs and how many blocks the map itself takes.
func rebuild(t *testing.T, img, name string) ([]extent.Extent, int) {
	t.Helper()
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := f.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := in.Map()
	if err != nil {
		t.Fatal(err)
	}
	var all []disk.BlockNum
	for n, err := range m.Nodes() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n.Block)
	}
	for e, err := range m.From(0) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range e.Len {
			all = append(all, e.Physical+disk.BlockNum(i))
		}
	}
	size := f.BlockSize()
	o := extent.Owner{Inode: in.Number(), Seed: disk.InodeSeed(f.Super().Seed(), in.Number(), in.Raw().Generation()),
		HasChecksum: f.Super().HasMetadataCsum(), FirstBlock: disk.BlockNum(f.Super().FirstDataBlock), Blocks: f.Super().Blocks()}
	var runs []extent.Extent
	count := 0
	for n := len(all); n > 0; n-- {
		runs = runs[:0]
		for i := range n {
			runs = append(runs, extent.Extent{Logical: disk.LogicalNum(i), Physical: all[n-1-i], Len: 1})
		}
		if !in.Flags().Has(disk.FlagExtents) {
			count, err = indirect.MapBlocks(runs, size)
		} else if count, err = extent.Pieces(runs); err == nil {
			count, err = extent.TreeBlocks(count, size)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n+count <= len(all) {
			break
		}
	}
	if len(runs)+count != len(all) {
		t.Fatalf("%d data blocks and %d others do not make %d", len(runs), count, len(all))
	}
	out, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	put := func(bn disk.BlockNum, data []byte) error {
		_, err := out.WriteAt(data, int64(bn)*int64(size))
		return err
	}
	record := slices.Clone(in.Raw())
	build := extent.Build
	if !in.Flags().Has(disk.FlagExtents) {
		build = indirect.Build
	}
	if err := build(o, size, runs, all[len(runs):], record.Block(), put); err != nil {
		t.Fatal(err)
	}
	record.SetSize(int64(len(runs)) * int64(size))
	if o.HasChecksum {
		record.Seal(f.Super().Seed(), in.Number())
	}
	bn, at, err := f.InodeLocation(in.Number())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteAt(record, int64(bn)*int64(size)+int64(at)); err != nil {
		t.Fatal(err)
	}
	return runs, count
}
