package indirect_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
	"github.com/e4kit/e4kit/testimages"
)

// Maps of both kinds that were built by random changes are good for e2fsck, but
// for the bitmaps, which nobody told; debugfs lists what they map; and once
// e2fsck has put the bitmaps right the kernel can change and delete the files,
// and nothing is left over.
func TestChanger_e2fsckAndKernel(t *testing.T) {
	testimages.RequireLoop(t)
	for _, tt := range []struct {
		name string
		args []string
		tree bool
	}{
		{"ext4-1k", []string{"-b", "1024"}, true},
		{"ext4-4k", []string{"-b", "4096"}, true},
		{"ext4-no-csum", []string{"-b", "1024", "-O", "^metadata_csum"}, true},
		{"ext2-1k", []string{"-t", "ext2", "-b", "1024"}, false},
		{"ext3-4k", []string{"-t", "ext3", "-b", "4096"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := filepath.Join(testimages.Scratch(t), "changer.img")
			testimages.Mkfs(t, img, 96<<20, tt.args...)
			before := freeOf(t, img)
			in := newImage(t, img)
			for i := range 6 {
				in.file(fmt.Sprintf("f%d", i), tt.tree)
			}
			in.finish()
			if out, _ := e2fsck(t, "-fn", "-E", "no_optimize_extents", img); badLine.MatchString(out) {
				t.Fatalf("e2fsck: %s", out)
			}
			in.compareBlocks()
			if out, code := e2fsck(t, "-fy", "-E", "no_optimize_extents", img); code > 1 {
				t.Fatalf("e2fsck: %d, %s", code, out)
			}
			testimages.Fsck(t, img)
			testimages.WithMount(t, img, "", func(dir string) {
				for i := range 6 {
					in.byKernel(filepath.Join(dir, fmt.Sprintf("f%d", i)))
				}
			})
			testimages.Fsck(t, img)
			testimages.WithMount(t, img, "", func(dir string) {
				for i := range 6 {
					if err := os.Remove(filepath.Join(dir, fmt.Sprintf("f%d", i))); err != nil {
						t.Error(err)
					}
				}
			})
			testimages.Fsck(t, img)
			if after := freeOf(t, img); after != before {
				t.Errorf("%s free blocks, not %s", after, before)
			}
		})
	}
}

// What e2fsck says about an inode or a map, and not about bitmaps and counts.
var badLine = regexp.MustCompile(`(?i)inode \d+|extent|checksum|multiply|illegal`)

var freeLine = regexp.MustCompile(`(?m)^Free blocks: +(\d+)`)

func freeOf(t *testing.T, img string) string {
	t.Helper()
	m := freeLine.FindStringSubmatch(testimages.Debugfs(t, img, "stats"))
	if m == nil {
		t.Fatal("no count of free blocks")
	}
	return m[1]
}

func e2fsck(t *testing.T, args ...string) (string, int) {
	t.Helper()
	testimages.RequireTool(t, "e2fsck")
	cmd := exec.Command("e2fsck", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	return string(out), 0
}

// image is a file system in which maps are built, and where they stand in it.
type image struct {
	t     *testing.T
	path  string
	f     *os.File
	super disk.Superblock
	c     *cache.Cache
	free  []disk.BlockNum // in order, the largest first
	open  map[disk.BlockNum]openBlock
	used  int // blocks taken for data
	files []*mapped
	r     *rand.Rand
}

type openBlock struct {
	buf  *cache.Buffer
	seal cache.Sealer
}

type mapped struct {
	ino    disk.InodeNum
	m      extent.Changer
	blocks map[uint64]disk.BlockNum
	flags  map[uint64]extent.Flags
	nodes  int
}

func newImage(t *testing.T, path string) *image {
	t.Helper()
	in := &image{t: t, path: path, open: map[disk.BlockNum]openBlock{}, r: rand.New(rand.NewPCG(3, 4))}
	var commands []string
	for i := range 6 {
		commands = append(commands, fmt.Sprintf("write /dev/null f%d", i))
	}
	testimages.DebugfsWrite(t, path, commands...)
	for _, w := range strings.Fields(testimages.Debugfs(t, path, "ffb 40000 9000")) {
		if n, err := strconv.ParseUint(w, 10, 48); err == nil {
			in.free = append(in.free, disk.BlockNum(n))
		}
	}
	slices.Sort(in.free)
	slices.Reverse(in.free)
	if len(in.free) < 10_000 {
		t.Fatalf("%d free blocks", len(in.free))
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	in.f = f
	b := make([]byte, 4096)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := in.super.Decode(b[1024:2048]); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in.c = cache.New(device.NewMemory(whole), in.super.BlockSize(), in.super.Blocks(), cache.Options{})
	return in
}

// file builds the map of a file.
func (in *image) file(name string, tree bool) {
	t := in.t
	t.Helper()
	ino, at := in.place(name)
	raw := make([]byte, in.super.InodeSize())
	if _, err := in.f.ReadAt(raw, at); err != nil {
		t.Fatal(err)
	}
	node := disk.Inode(raw)
	csum := in.super.HasMetadataCsum()
	o := extent.Owner{
		Inode: ino, Seed: disk.InodeSeed(in.super.Seed(), ino, node.Generation()),
		HasChecksum: csum, Verify: csum, FirstBlock: disk.BlockNum(in.super.FirstDataBlock), Blocks: in.super.Blocks(),
	}
	open, root := indirect.Open, make([]byte, 60)
	if tree {
		open, root = extent.Open, extent.EmptyRoot()
	}
	m, err := open(in.c, o, root, in)
	if err != nil {
		t.Fatal(err)
	}
	f := &mapped{ino: ino, m: m, blocks: map[uint64]disk.BlockNum{}, flags: map[uint64]extent.Flags{}}
	in.files = append(in.files, f)
	for range 1500 {
		in.step(f, tree)
	}
	size := uint64(0)
	for l := range f.blocks {
		size = max(size, l+1)
	}
	for n, err := range m.Nodes() {
		if err != nil || !n.ChecksumOK && csum {
			t.Fatal(n, err)
		}
		f.nodes++
	}
	bs := uint64(in.super.BlockSize())
	node.SetSize(int64(size * bs))
	if !node.SetSectors(uint64(len(f.blocks)+f.nodes)*bs/512, false, int(bs)) {
		t.Fatal("too many blocks")
	}
	copy(node.Block(), m.Root())
	if csum {
		node.Seal(in.super.Seed(), ino)
	}
	if _, err := in.f.WriteAt(raw, at); err != nil {
		t.Fatal(err)
	}
}

var placeLine = regexp.MustCompile(`Inode (\d+) is part of block group \d+\s+located at block (\d+), offset 0x([0-9a-f]+)`)

func (in *image) place(name string) (disk.InodeNum, int64) {
	in.t.Helper()
	m := placeLine.FindStringSubmatch(testimages.Debugfs(in.t, in.path, "imap "+name))
	if m == nil {
		in.t.Fatal("no inode ", name)
	}
	ino, _ := strconv.ParseUint(m[1], 10, 32)
	bn, _ := strconv.ParseUint(m[2], 10, 48)
	off, err := strconv.ParseUint(m[3], 16, 32)
	if err != nil {
		in.t.Fatal(err)
	}
	return disk.InodeNum(ino), int64(bn)*int64(in.super.BlockSize()) + int64(off)
}

// step changes a map at random: a few long holes, many short ones.
func (in *image) step(f *mapped, tree bool) {
	t := in.t
	t.Helper()
	l := uint64(in.r.IntN(3000))
	if in.r.IntN(3) == 0 {
		l += uint64(in.r.IntN(4)) * 66_000
	}
	n := uint64(1 + in.r.IntN(4))
	switch k := in.r.IntN(10); {
	case k < 6 && in.used < 6000:
		in.insert(f, l, n, tree)
	case k < 8:
		_, err := f.m.Remove(in, disk.LogicalNum(l), l+n*4, func(e extent.Extent) error {
			for i := range uint64(e.Len) {
				delete(f.blocks, uint64(e.Logical)+i)
				delete(f.flags, uint64(e.Logical)+i)
				in.free = append(in.free, e.Physical+disk.BlockNum(i))
				in.used--
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	case tree:
		for end := l; end < l+n && f.blocks[end] != 0; end++ {
			if _, err := f.m.SetUnwritten(in, disk.LogicalNum(end), end+1, k == 8); err != nil {
				t.Fatal(err)
			}
			f.flags[end] = 0
			if k == 8 {
				f.flags[end] = extent.FlagUnwritten
			}
		}
	}
	if in.r.IntN(100) == 0 {
		in.commit()
	}
}

func (in *image) insert(f *mapped, l, n uint64, tree bool) {
	e := extent.Extent{Logical: disk.LogicalNum(l), Physical: in.take()}
	for f.blocks[l+uint64(e.Len)] == 0 && uint64(e.Len) < n {
		if e.Len > 0 {
			if bn := in.take(); bn != e.Physical+disk.BlockNum(e.Len) {
				in.free = append(in.free, bn)
				break
			}
		}
		e.Len++
	}
	if e.Len == 0 {
		in.free = append(in.free, e.Physical)
		return
	}
	if tree && in.r.IntN(3) == 0 {
		e.Flags = extent.FlagUnwritten
	}
	if err := f.m.Insert(in, e); err != nil {
		in.t.Fatal(err)
	}
	for i := range uint64(e.Len) {
		f.blocks[l+i] = e.Physical + disk.BlockNum(i)
		f.flags[l+i] = e.Flags
		in.used++
	}
}

func (in *image) take() disk.BlockNum {
	bn := in.free[len(in.free)-1]
	in.free = in.free[:len(in.free)-1]
	return bn
}

// byKernel lets the kernel write into a file, and punch holes.
func (in *image) byKernel(path string) {
	t := in.t
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	bs := int64(in.super.BlockSize())
	for range 100 {
		at := int64(in.r.IntN(3000)) * bs
		if _, err := f.WriteAt([]byte("by the kernel"), at); err != nil {
			t.Error(err)
		}
		at = int64(in.r.IntN(3000)) * bs
		if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, 3*bs); err != nil {
			t.Error(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// finish writes the nodes home.
func (in *image) finish() {
	in.commit()
	if err := in.f.Sync(); err != nil {
		in.t.Fatal(err)
	}
}

// compareBlocks compares what debugfs says about the maps.
func (in *image) compareBlocks() {
	t := in.t
	t.Helper()
	for _, f := range in.files {
		want := fmt.Sprint(len(f.blocks) + f.nodes)
		out := strings.Fields(testimages.Debugfs(t, in.path, fmt.Sprintf("blocks <%d>", f.ino)))
		if fmt.Sprint(len(out)) != want {
			t.Errorf("inode %d: %d blocks, not %s", f.ino, len(out), want)
		}
		var commands []string
		var ls []uint64
		for l := range f.blocks {
			if ls = append(ls, l); len(ls) == 300 {
				break
			}
		}
		for _, l := range ls {
			commands = append(commands, fmt.Sprintf("bmap <%d> %d", f.ino, l))
		}
		for i, line := range strings.Split(strings.TrimSpace(testimages.Debugfs(t, in.path, commands...)), "\n") {
			l := ls[i]
			want := fmt.Sprint(f.blocks[l])
			if f.flags[l] != 0 {
				want += " (uninit)"
			}
			if strings.TrimSpace(line) != want {
				t.Errorf("inode %d, logical block %d: %q, want %q", f.ino, l, line, want)
			}
		}
	}
}

func (in *image) ID() uint32       { return 1 }
func (in *image) Credits() int     { return 1 << 30 }
func (in *image) Extend(int) error { return nil }

func (in *image) Write(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	if o, ok := in.open[bn]; ok {
		return o.buf, nil
	}
	old, err := in.c.Get(bn)
	if err != nil {
		return nil, err
	}
	return in.install(bn, old, s)
}

func (in *image) Fresh(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	return in.install(bn, nil, s)
}

func (in *image) install(bn disk.BlockNum, old *cache.Buffer, s cache.Sealer) (*cache.Buffer, error) {
	b, err := in.c.NewVersion(bn, old, 1)
	if err != nil {
		return nil, err
	}
	in.c.Install(b)
	in.open[bn] = openBlock{b, s}
	return b, nil
}

func (in *image) Forget(bn disk.BlockNum) {
	delete(in.open, bn)
	in.c.Drop(bn)
}

func (in *image) commit() {
	for bn, o := range in.open {
		frozen, err := in.c.NewVersion(bn, o.buf, 0)
		if err != nil {
			in.t.Fatal(err)
		}
		if o.seal != nil {
			o.seal.Seal(bn, frozen.Data(), nil)
		}
		if _, err := in.f.WriteAt(frozen.Data(), int64(bn)*int64(in.super.BlockSize())); err != nil {
			in.t.Fatal(err)
		}
		in.c.Install(frozen)
	}
	clear(in.open)
}

// AllocNode takes nodes from the other end than data, so that some data is in
// runs.
func (in *image) AllocNode(cache.Tx, disk.BlockNum) (disk.BlockNum, error) {
	bn := in.free[0]
	in.free = in.free[1:]
	return bn, nil
}

func (in *image) FreeNode(tx cache.Tx, bn disk.BlockNum) error {
	tx.Forget(bn)
	in.free = append([]disk.BlockNum{bn}, in.free...)
	return nil
}
