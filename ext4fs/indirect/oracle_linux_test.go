package indirect_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/testimages"
)

// The block maps of all files and folders in images that the kernel or mke2fs
// filled are what debugfs says, which lists data and pointer blocks.
func TestTable_debugfs(t *testing.T) {
	for _, name := range []string{"ext2-1k", "ext2-4k", "ext2-rev0", "ext3-4k", "ext3-256", "ext2-64k"} {
		t.Run(name, func(t *testing.T) {
			if n := compare(t, testimages.Build(t, testimages.Find(t, name))); n < 20 {
				t.Errorf("%d runs compared", n)
			}
		})
	}
}

// Sparse and scattered files that need every level.
func TestTable_levelsByKernel(t *testing.T) {
	testimages.RequireLoop(t)
	for _, bs := range []int64{1024, 2048, 4096} {
		img := filepath.Join(testimages.Scratch(t), "levels.img")
		testimages.Mkfs(t, img, 64<<20, "-t", "ext2", "-b", fmt.Sprint(bs))
		testimages.WithMount(t, img, "", func(dir string) { fill(t, dir, bs) })
		testimages.Fsck(t, img)
		if n := compare(t, img); n < 1000 {
			t.Errorf("block size %d: %d runs compared", bs, n)
		}
	}
}

func fill(t *testing.T, dir string, bs int64) {
	apb := bs / 4
	edges := []int64{0, 11, 12, 12 + apb - 1, 12 + apb, 12 + apb + apb*apb - 1, 12 + apb + apb*apb, 12 + apb + apb*apb + 7*apb*apb + 3*apb + 1}
	write := func(name string, blocks func(yield func(int64) bool)) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for at := range blocks {
			if _, err := f.WriteAt(testimages.Content(uint64(at), int(bs)), at*bs); err != nil {
				t.Fatalf("%s, block %d: %v", name, at, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write("edges", slices.Values(edges))
	for i, e := range edges {
		write(fmt.Sprintf("edge %d", i), func(yield func(int64) bool) { yield(e) })
	}
	write("whole", func(yield func(int64) bool) {
		for i := int64(0); i < 12+apb+300 && yield(i); i++ {
		}
	})
	write("gaps", func(yield func(int64) bool) {
		for i := int64(1200); i > 0 && yield(i*2); i-- {
		}
	})
}

// compare asks debugfs about every inode with a block map, and returns the
// number of runs.
func compare(t *testing.T, img string) (count int) {
	t.Helper()
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var inodes []*ext4fs.Inode
	var commands []string
	for n := disk.InodeNum(1); n <= disk.InodeNum(f.Super().InodesCount); n++ {
		in, err := f.Inode(n)
		if err != nil {
			t.Fatal(err)
		}
		if in.Raw().Links() == 0 || !in.IsDir() && !in.IsRegular() || in.Stat().Sectors == 0 {
			continue
		}
		inodes = append(inodes, in)
		commands = append(commands, fmt.Sprintf("stat <%d>", n))
	}
	texts := strings.Split(testimages.Debugfs(t, img, commands...), "Inode: ")[1:]
	if len(texts) != len(inodes) {
		t.Fatalf("debugfs shows %d inodes of %d", len(texts), len(inodes))
	}
	for i, in := range inodes {
		count += compareInode(t, texts[i], in)
	}
	return count
}

var run = regexp.MustCompile(`\((IND|DIND|TIND|\d+)(?:-(\d+))?\):(\d+)(?:-(\d+))?`)

func compareInode(t *testing.T, text string, in *ext4fs.Inode) int {
	t.Helper()
	m, err := in.Map()
	if err != nil {
		t.Fatal(err)
	}
	var want, got []extent.Extent
	var wantNodes, gotNodes []string
	_, text, _ = strings.Cut(text, "BLOCKS:")
	for _, f := range run.FindAllStringSubmatch(text, -1) {
		if depth := strings.Index("IND DIND TIND", f[1]); depth >= 0 && strings.HasSuffix(f[1], "IND") {
			wantNodes = append(wantNodes, f[1]+" "+f[3])
			continue
		}
		n := func(s string) uint64 {
			v, _ := strconv.ParseUint(s, 10, 64)
			return v
		}
		e := extent.Extent{Logical: disk.LogicalNum(n(f[1])), Physical: disk.BlockNum(n(f[3])), Len: 1}
		if f[2] != "" {
			e.Len = uint32(n(f[2])-n(f[1])) + 1
		}
		if k := len(want); k > 0 && want[k-1].End() == uint64(e.Logical) && want[k-1].Physical+disk.BlockNum(want[k-1].Len) == e.Physical {
			want[k-1].Len += e.Len
			continue
		}
		want = append(want, e)
	}
	for e, err := range m.From(0) {
		if err != nil {
			t.Fatalf("inode %d: %v", in.Number(), err)
		}
		got = append(got, e)
	}
	for n, err := range m.Nodes() {
		if err != nil {
			t.Fatalf("inode %d: %v", in.Number(), err)
		}
		gotNodes = append(gotNodes, fmt.Sprintf("%s %d", []string{"IND", "DIND", "TIND"}[n.Depth], n.Block))
	}
	if !slices.Equal(got, want) {
		t.Errorf("inode %d: %v, debugfs says %v", in.Number(), got, want)
	}
	if !slices.Equal(gotNodes, wantNodes) {
		t.Errorf("inode %d: nodes %v, debugfs says %v", in.Number(), gotNodes, wantNodes)
	}
	return len(got)
}

// The kernel's FIBMAP, block by block, says where Find says.
func TestTable_kernel(t *testing.T) {
	testimages.RequireLoop(t)
	img := filepath.Join(testimages.Scratch(t), "fibmap.img")
	testimages.Mkfs(t, img, 32<<20, "-t", "ext2", "-b", "1024")
	testimages.WithMount(t, img, "", func(dir string) { fill(t, dir, 1024) })
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	testimages.WithMount(t, img, "ro", func(dir string) {
		names, err := filepath.Glob(dir + "/[egw]*")
		if err != nil || len(names) < 10 {
			t.Fatalf("%q, %v", names, err)
		}
		for _, name := range names {
			in, err := f.Lookup(filepath.Base(name))
			if err != nil {
				t.Fatal(err)
			}
			compareBlocks(t, name, in)
		}
	})
}

func compareBlocks(t *testing.T, name string, in *ext4fs.Inode) {
	t.Helper()
	m, err := in.Map()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	blocks := in.Size() / 1024
	for i := int64(0); i < min(blocks, 4000); i++ {
		l := disk.LogicalNum(max(i, blocks-1-i)) // from both ends
		if i%2 == 0 {
			l = disk.LogicalNum(i)
		}
		want := int32(l)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), 1 /* FIBMAP */, uintptr(unsafe.Pointer(&want))); errno != 0 {
			t.Fatalf("%s: FIBMAP: %v", name, errno)
		}
		e, err := m.Find(l)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := e.Physical + disk.BlockNum(l-e.Logical)
		if e.Flags == extent.FlagHole {
			got = 0
		}
		if got != disk.BlockNum(want) {
			t.Fatalf("%s: block %d is %+v, the kernel says %d", name, l, e, want)
		}
	}
}
