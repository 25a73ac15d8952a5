package extent_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
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

// The maps of all regular files in images that the kernel filled are what its
// FIEMAP says, and what debugfs finds in the tree.
func TestTree_kernelAndDebugfs(t *testing.T) {
	for _, name := range []string{"ext4-1k", "ext4-4k", "bigalloc-4k", "no-csum", "csum-seed", "fragmented", "deep-extents", "aged"} {
		t.Run(name, func(t *testing.T) {
			compare(t, testimages.Build(t, testimages.Find(t, name)))
		})
	}
}

// Files made to have every kind of extent.
func TestTree_kinds(t *testing.T) {
	testimages.RequireLoop(t)
	img := filepath.Join(testimages.Scratch(t), "kinds.img")
	testimages.Mkfs(t, img, 96<<20, "-b", "1024")
	testimages.WithMount(t, img, "", func(dir string) { fillKinds(t, dir) })
	testimages.Fsck(t, img)
	if n := compare(t, img); n < 300 {
		t.Errorf("%d extents compared", n)
	}
}

func fillKinds(t *testing.T, dir string) {
	create := func(name string, size int64, do func(f *os.File) error) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err == nil {
			err = f.Truncate(size)
		}
		if err == nil {
			err = do(f)
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.Close()
	}
	const k = 1024
	alloc := func(f *os.File, mode uint32, off, n int64) error {
		return unix.Fallocate(int(f.Fd()), mode, off, n)
	}
	write := func(f *os.File, off int64, n int) error {
		_, err := f.WriteAt(testimages.Content(1, n), off)
		return err
	}
	create("empty", 0, func(f *os.File) error { return nil })
	create("hole", 1<<40, func(f *os.File) error { return nil })
	create("last block", (1<<32-1)*k, func(f *os.File) error { return write(f, (1<<32-2)*k, k) })
	create("sparse", 0, func(f *os.File) error {
		for i := range int64(32) { // up to 2^41, half of what a file can have
			if err := write(f, k<<i, k); err != nil {
				return err
			}
		}
		return nil
	})
	create("unwritten", 0, func(f *os.File) error { return alloc(f, 0, 0, 40<<20) }) // more than one extent holds
	create("beyond", 5000, func(f *os.File) error {
		return alloc(f, unix.FALLOC_FL_KEEP_SIZE, 0, 300*k)
	})
	create("mixed", 0, func(f *os.File) error {
		err := alloc(f, 0, 0, 2000*k)
		for i := int64(0); i < 200 && err == nil; i++ {
			err = write(f, i*10*k, 3*k)
		}
		return err
	})
	create("punched", 0, func(f *os.File) error {
		err := write(f, 0, 900*k)
		for i := int64(0); i < 60 && err == nil; i++ {
			err = alloc(f, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, i*15*k, 4*k)
		}
		return err
	})
	create("shifted", 0, func(f *os.File) error {
		err := write(f, 0, 300*k)
		if err == nil {
			err = alloc(f, unix.FALLOC_FL_INSERT_RANGE, 100*k, 50*k)
		}
		if err == nil {
			err = alloc(f, unix.FALLOC_FL_COLLAPSE_RANGE, 20*k, 10*k)
		}
		return err
	})
}

// compare asks kernel and debugfs about every regular file of img, and returns
// the number of extents.
func compare(t *testing.T, img string) (count int) {
	t.Helper()
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	maps := map[uint64]extent.Map{}
	kernel := map[uint64][]extent.Extent{}
	testimages.WithMount(t, img, "ro", func(dir string) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				return err
			}
			in, err := f.Inode(disk.InodeNum(st.Ino))
			if err != nil || !in.Flags().Has(disk.FlagExtents) {
				return err
			}
			if maps[st.Ino], err = in.Map(); err != nil {
				return err
			}
			kernel[st.Ino], err = fiemap(path, int64(f.BlockSize()))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	var order []uint64
	var commands []string
	for ino := range maps {
		order = append(order, ino)
		commands = append(commands, fmt.Sprintf("dump_extents <%d>", ino))
	}
	trees := strings.Split(testimages.Debugfs(t, img, commands...), "Level Entries")[1:]
	if len(trees) != len(order) {
		t.Fatalf("debugfs lists %d trees of %d", len(trees), len(order))
	}
	for i, ino := range order {
		m := maps[ino]
		var got []extent.Extent
		for e, err := range m.From(0) {
			if err != nil {
				t.Fatalf("inode %d: %v", ino, err)
			}
			got = append(got, e)
		}
		count += len(got)
		if want := kernel[ino]; !slices.Equal(joined(got), joined(want)) {
			t.Errorf("inode %d: %v, the kernel says %v", ino, got, want)
		}
		compareTree(t, trees[i], ino, m, got)
	}
	return count
}

// joined merges what touches: the kernel may answer from its own memory of
// runs, which does not keep the borders of extents.
func joined(in []extent.Extent) (out []extent.Extent) {
	for _, e := range in {
		if n := len(out); n > 0 {
			l := &out[n-1]
			if l.End() == uint64(e.Logical) && l.Physical+disk.BlockNum(l.Len) == e.Physical && l.Flags == e.Flags {
				l.Len += e.Len
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

var exLine = regexp.MustCompile(`(?m)^ *(\d+)/ *(\d+) +(\d+)/ *(\d+) +(\d+) - +(\d+) +(\d+)( - +\d+)? +(\d+) *(Uninit)?`)

// compareTree compares extents and nodes with debugfs's list of the tree.
func compareTree(t *testing.T, out string, ino uint64, m extent.Map, got []extent.Extent) {
	t.Helper()
	var nodes, wantNodes []extent.Node
	for n, err := range m.Nodes() {
		if err != nil {
			t.Fatalf("inode %d: %v", ino, err)
		}
		if n.HasChecksum && !n.ChecksumOK {
			t.Errorf("inode %d: %+v", ino, n)
		}
		nodes = append(nodes, extent.Node{Block: n.Block, Depth: n.Depth, Logical: n.Logical})
	}
	var want []extent.Extent
	for _, f := range exLine.FindAllStringSubmatch(out, -1) {
		n := func(i int) uint64 {
			v, err := strconv.ParseUint(f[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if level, depth := n(1), n(2); level < depth {
			wantNodes = append(wantNodes, extent.Node{Block: disk.BlockNum(n(7)), Depth: int(depth - level - 1), Logical: disk.LogicalNum(n(5))})
			continue
		}
		e := extent.Extent{Logical: disk.LogicalNum(n(5)), Physical: disk.BlockNum(n(7)), Len: uint32(n(9))}
		if f[10] != "" {
			e.Flags = extent.FlagUnwritten
		}
		want = append(want, e)
	}
	if !slices.Equal(got, want) {
		t.Errorf("inode %d: %v, debugfs says %v\n%s", ino, got, want, out[:min(len(out), 2000)])
	}
	if !slices.Equal(nodes, wantNodes) {
		t.Errorf("inode %d: nodes %+v, debugfs says %+v\n%s", ino, nodes, wantNodes, out[:min(len(out), 2000)])
	}
}

// fiemap asks the kernel for the extents of a file.
func fiemap(path string, blockSize int64) (out []extent.Extent, err error) {
	const (
		request   = 0xc020660b // FS_IOC_FIEMAP
		batch     = 500
		head      = 32
		size      = 56
		last      = 0x1
		unwritten = 0x800
		inline    = 0x200
	)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	le := binary.LittleEndian
	for start := uint64(0); ; {
		b := make([]byte, head+batch*size)
		le.PutUint64(b[0:], start)
		le.PutUint64(b[8:], 1<<63-1-start)
		le.PutUint32(b[24:], batch)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
			return nil, &os.PathError{Op: "fiemap", Path: path, Err: errno}
		}
		n := int(le.Uint32(b[20:]))
		for i := range n {
			e := b[head+i*size:]
			logical, physical, length, flags := le.Uint64(e), le.Uint64(e[8:]), le.Uint64(e[16:]), le.Uint32(e[40:])
			if flags&inline != 0 {
				return nil, fmt.Errorf("%s: inline", path)
			}
			x := extent.Extent{
				Logical: disk.LogicalNum(logical / uint64(blockSize)), Physical: disk.BlockNum(physical / uint64(blockSize)),
				Len: uint32(length / uint64(blockSize)),
			}
			if flags&unwritten != 0 {
				x.Flags = extent.FlagUnwritten
			}
			out = append(out, x)
			start = logical + length
			if flags&last != 0 {
				return out, nil
			}
		}
		if n == 0 {
			return out, nil
		}
	}
}
