package ext4fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/dsnet/golib/memfile"
	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// openSeed opens a seed image in memory.
func openSeed(t testing.TB, name string, o *ext4fs.Options) *ext4fs.FS {
	t.Helper()
	fsys, err := ext4fs.Open(device.NewMemory(seed(t, name)), o)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestOpen_anyReaderAt(t *testing.T) {
	raw := seed(t, "ext4")
	for _, dev := range []device.Device{
		device.NewMemory(raw),
		device.NewReaderAt(memfile.New(raw), int64(len(raw))),
		device.NewReaderAt(bytes.NewReader(raw), int64(len(raw))),
	} {
		fsys, err := ext4fs.Open(dev, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := fsys.ReadFile("inline"); err != nil || string(b) != "a few bytes" {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestOpen_refuses(t *testing.T) {
	edit := func(name string, off int, v ...byte) device.Device {
		raw := seed(t, name)
		copy(raw[off:], v)
		return device.NewMemory(raw)
	}
	for _, c := range []struct {
		name string
		dev  device.Device
		want error
	}{
		{"nothing", device.NewMemory(nil), ext4fs.ErrNotExt4},
		{"zeros", device.NewMemory(make([]byte, 1<<20)), ext4fs.ErrNotExt4},
		{"unknown feature", edit("ext2", 1024+0x62, 0x80), ext4fs.ErrUnsupported},
		{"checksum", edit("ext4", 1024+0x200, 'x'), ext4fs.ErrChecksum},
		{"block size", edit("ext2", 1024+0x18, 9), ext4fs.ErrCorrupt},
		{"short image", device.NewMemory(seed(t, "ext2")[:100<<10]), ext4fs.ErrCorrupt},
	} {
		if _, err := ext4fs.Open(c.dev, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := ext4fs.Open(edit("ext4", 1024+0x200, 'x'), &ext4fs.Options{IgnoreChecksums: true}); err != nil {
		t.Errorf("checksum ignored: %v", err)
	}
}

func TestErrors_matchTheStandardKinds(t *testing.T) {
	fsys := openSeed(t, "ext4", nil)
	for _, c := range []struct {
		err  error
		want []error
	}{
		{second(fsys.Open("none")), []error{fs.ErrNotExist, syscall.ENOENT, ext4fs.ErrNotExist}},
		{second(fsys.Open("inline/x")), []error{syscall.ENOTDIR, ext4fs.ErrNotDir}},
		{second(fsys.Open("/inline")), []error{fs.ErrInvalid}},
		{second(fsys.ReadLink("inline")), []error{fs.ErrInvalid, syscall.EINVAL}},
		{second(fsys.ReadFile(".")), []error{syscall.EISDIR, ext4fs.ErrIsDir}},
		{second(fsys.ReadDir("inline")), []error{syscall.ENOTDIR}},
		{second(fsys.Inode(0)), []error{fs.ErrInvalid}},
		{second(fsys.Inode(1 << 30)), []error{fs.ErrInvalid}},
	} {
		for _, want := range c.want {
			if !errors.Is(c.err, want) {
				t.Errorf("%v is not %v", c.err, want)
			}
		}
	}
	var pe *fs.PathError
	if err := second(fsys.Open("none")); !errors.As(err, &pe) || pe.Op != "open" || pe.Path != "none" {
		t.Errorf("%#v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestLookup_symlinksStayInside(t *testing.T) {
	img := filepath.Join(testimages.Scratch(t), "links.img")
	testimages.Mkfs(t, img, 4<<20)
	testimages.DebugfsWrite(t, img, "mkdir a", "mkdir a/b", "symlink a/up ../../../../a", "symlink abs /a/b",
		"symlink loop1 loop2", "symlink loop2 loop1", "symlink dangling nowhere", "symlink chain abs")
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	b, err := fsys.Lookup("/a/b")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"abs", "chain", "a/up/b", "//a///b//", "a/up/up/up/b", "/abs/../b", "/../../a/b", "a/./b/."} {
		if i, err := fsys.Lookup(path); err != nil || i.Number() != b.Number() {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, want := range map[string]error{
		"loop1": ext4fs.ErrLoop, "dangling": ext4fs.ErrNotExist, "loop1/x": ext4fs.ErrLoop, "abs/none": ext4fs.ErrNotExist,
	} {
		if _, err := fsys.Lookup(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if i, err := fsys.LookupNoFollow("chain"); err != nil || !i.IsSymlink() {
		t.Errorf("a link that is not to be followed: %v", err)
	}
	if i, err := fsys.LookupNoFollow("chain/"); err != nil || !i.IsDir() {
		t.Errorf("a trailing slash follows: %v", err)
	}
}

// TestReplay_leavesTheImageAlone opens a dirty image and reads it all; not a
// byte of the file changes.
func TestReplay_leavesTheImageAlone(t *testing.T) {
	raw := seed(t, "dirty")
	img := filepath.Join(t.TempDir(), "dirty.img")
	if err := os.WriteFile(img, raw, 0o444); err != nil {
		t.Fatal(err)
	}
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	if r := fsys.Recovery(); r == nil || !r.Needed {
		t.Fatal("the image was not dirty")
	}
	walkAll(t, fsys, 1000)
	after, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, after) {
		t.Error("reading changed the image")
	}
}

// TestInode_readsAgree compares ReadAt at odd places, WriteTo, Data and
// HostRange with the whole content.
func TestInode_readsAgree(t *testing.T) {
	c := testimages.Find(t, "ext4-1k")
	img := testimages.Build(t, c)
	fsys := openCase(t, c, img)
	raw, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	checked := 0
	for i, err := range fsys.Inodes() {
		if err != nil {
			t.Fatal(err)
		}
		if !i.IsRegular() || i.Size() == 0 || i.Size() > 1<<20 || i.Number() < 11 {
			continue
		}
		checked++
		whole := make([]byte, i.Size())
		if n, err := i.ReadAt(whole, 0); n != len(whole) || err != nil {
			t.Fatalf("inode %d: %d of %d bytes, %v", i.Number(), n, len(whole), err)
		}
		checkPieces(t, i, whole)
		checkSpans(t, i, whole)
		for off := int64(0); off < i.Size(); off += 3001 {
			f, at, n := i.HostRange(off, 5000)
			if f == nil {
				continue
			}
			got := make([]byte, n)
			if _, err := raw.ReadAt(got, at); err != nil || !bytes.Equal(got, whole[off:off+n]) {
				t.Errorf("inode %d: the host range at %d is not the content (%v)", i.Number(), off, err)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d files", checked)
	}
}

func checkPieces(t *testing.T, i *ext4fs.Inode, whole []byte) {
	t.Helper()
	size := i.Size()
	for _, off := range []int64{0, 1, size / 3, size - 1} {
		for _, n := range []int64{1, 1023, 1025, 70000} {
			p := make([]byte, n)
			got, err := i.ReadAt(p, off)
			want := min(n, size-off)
			if int64(got) != want || (err == io.EOF) != (n > size-off) || err != nil && err != io.EOF || !bytes.Equal(p[:got], whole[off:off+want]) {
				t.Errorf("inode %d, %d bytes at %d: %d, %v", i.Number(), n, off, got, err)
			}
		}
	}
	if _, err := i.ReadAt(make([]byte, 1), size); err != io.EOF {
		t.Errorf("inode %d: reading at the end gives %v", i.Number(), err)
	}
}

// checkSpans checks that all outside of the data spans is zero, and that
// SeekData and SeekHole agree with them.
func checkSpans(t *testing.T, i *ext4fs.Inode, whole []byte) {
	t.Helper()
	at := int64(0)
	for s, err := range i.Data() {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(whole[at:s.Off], make([]byte, s.Off-at)) {
			t.Errorf("inode %d: data in the hole before %d", i.Number(), s.Off)
		}
		if got, err := i.SeekData(at); err != nil || got != s.Off {
			t.Errorf("inode %d: data after %d begins at %d, %v; want %d", i.Number(), at, got, err, s.Off)
		}
		if got, err := i.SeekHole(s.Off); err != nil || got != s.Off+s.Len {
			t.Errorf("inode %d: the hole after %d begins at %d, %v; want %d", i.Number(), s.Off, got, err, s.Off+s.Len)
		}
		at = s.Off + s.Len
	}
	if !bytes.Equal(whole[at:], make([]byte, int64(len(whole))-at)) {
		t.Errorf("inode %d: data in the hole at the end", i.Number())
	}
	if at < i.Size() {
		if _, err := i.SeekData(at); !errors.Is(err, ext4fs.ErrNoData) {
			t.Errorf("inode %d: data after the last: %v", i.Number(), err)
		}
	}
}

// TestEntriesFrom_resumesAnywhere reads directories in steps of every size.
func TestEntriesFrom_resumesAnywhere(t *testing.T) {
	for _, name := range []string{"ext4-4k", "inline-data", "hash-legacy-signed", "ext2-1k", "encrypt-1k", "casefold"} {
		t.Run(name, func(t *testing.T) {
			c := testimages.Find(t, name)
			fsys := openCase(t, c, testimages.Build(t, c))
			for i, err := range fsys.Inodes() {
				if err != nil {
					t.Fatal(err)
				}
				if i.IsDir() {
					resume(t, i)
				}
			}
		})
	}
}

func resume(t *testing.T, i *ext4fs.Inode) {
	t.Helper()
	all := map[string]disk.InodeNum{}
	for e, err := range i.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		all[string(e.Name)] = e.Inode
	}
	for _, step := range []int{1, 7, 100} {
		if len(all) > 2000 && step == 1 {
			continue
		}
		seen := map[string]bool{}
		var cookie uint64
		for more := true; more; {
			more = false
			n := 0
			for e, err := range i.EntriesFrom(cookie) {
				if err != nil {
					t.Fatal(err)
				}
				if n == step {
					more = true
					break
				}
				n++
				if seen[string(e.Name)] {
					t.Fatalf("inode %d: %q comes twice", i.Number(), e.Name)
				}
				if all[string(e.Name)] != e.Inode {
					t.Fatalf("inode %d: %q is %d, was %d", i.Number(), e.Name, e.Inode, all[string(e.Name)])
				}
				seen[string(e.Name)] = true
				cookie = e.Cookie
			}
		}
		if len(seen) != len(all) {
			t.Errorf("inode %d in steps of %d: %d of %d names", i.Number(), step, len(seen), len(all))
		}
	}
}

// TestFS_concurrentUse lets many goroutines read everything through a cache
// that is far too small.
func TestFS_concurrentUse(t *testing.T) {
	c := testimages.Find(t, "ext4-1k")
	fsys, err := ext4fs.OpenFile(testimages.Build(t, c), &ext4fs.Options{CacheBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	want := manifest(t, fsys)
	var wg sync.WaitGroup
	bad := make(chan string, 8)
	for range 8 {
		wg.Go(func() {
			if d := testimages.Diff(want, manifest(t, fsys)); d != "" {
				bad <- d
			}
		})
	}
	wg.Wait()
	close(bad)
	for d := range bad {
		t.Error(d)
	}
	if s := fsys.CacheStats(); s.Bytes > 64<<10 || s.Evictions == 0 || s.Hits == 0 {
		t.Errorf("cache: %+v", s)
	}
}

// TestRead_dataStaysOutOfTheCache reads a large file; the cache sees metadata
// only.
func TestRead_dataStaysOutOfTheCache(t *testing.T) {
	fsys := openSeed(t, "ext4", nil)
	i, err := fsys.Lookup("data")
	if err != nil {
		t.Fatal(err)
	}
	before := fsys.CacheStats()
	for range 10 {
		if _, err := i.ReadAt(make([]byte, i.Size()), 0); err != nil {
			t.Fatal(err)
		}
	}
	if after := fsys.CacheStats(); after.Bytes != before.Bytes {
		t.Errorf("the cache grew from %d to %d bytes", before.Bytes, after.Bytes)
	}
}

func TestMMP_tellsWhoHasIt(t *testing.T) {
	img := filepath.Join(testimages.Scratch(t), "mmp.img")
	testimages.Mkfs(t, img, 8<<20, "-O", "mmp", "-E", "mmp_update_interval=1")
	status := func() ext4fs.MMPStatus {
		fsys, err := ext4fs.OpenFile(img, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer fsys.Close()
		s, err := fsys.MMP()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s.State != ext4fs.MMPClean {
		t.Errorf("a fresh image: %v", s)
	}
	testimages.WithMount(t, img, "", func(dir string) {
		s := status()
		host, _ := os.Hostname()
		if s.State != ext4fs.MMPInUse || s.Node != host {
			t.Errorf("mounted: %v, this host is %s", s, host)
		}
	})
	if s := status(); s.State != ext4fs.MMPClean {
		t.Errorf("unmounted: %v", s)
	}
}

func TestGroups_freeCountsAgree(t *testing.T) {
	for _, name := range []string{"ext4-1k", "bigalloc-1k", "meta-bg", "gdt-csum", "ext4-64k", "ext2-4k", "sparse-super2"} {
		t.Run(name, func(t *testing.T) {
			c := testimages.Find(t, name)
			fsys := openCase(t, c, testimages.Build(t, c))
			var free uint64
			for g := range fsys.Super().Groups() {
				desc, err := fsys.Group(g)
				if err != nil {
					t.Fatal(err)
				}
				blocks, err := fsys.BlockBitmap(g)
				if err != nil {
					t.Fatal(err)
				}
				if n := blocks.Free(); n != int(desc.FreeClusters()) {
					t.Errorf("group %d: %d clusters are free, the descriptor says %d", g, n, desc.FreeClusters())
				}
				inodes, err := fsys.InodeBitmap(g)
				if err != nil {
					t.Fatal(err)
				}
				if n := inodes.Free(); n != int(desc.FreeInodes()) {
					t.Errorf("group %d: %d inodes are free, the descriptor says %d", g, n, desc.FreeInodes())
				}
			}
			for run, err := range fsys.FreeRuns() {
				if err != nil {
					t.Fatal(err)
				}
				free += run.Len
			}
			if free != fsys.Super().Free() {
				t.Errorf("%d blocks are free, the superblock says %d", free, fsys.Super().Free())
			}
		})
	}
}

func TestWalkEntry_path(t *testing.T) {
	root := &ext4fs.WalkEntry{Name: "/"}
	a := &ext4fs.WalkEntry{Name: "a", Up: root, Depth: 1}
	b := &ext4fs.WalkEntry{Name: "b", Up: a, Depth: 2}
	if got := fmt.Sprint(root.Path(), " ", a.Path(), " ", b.Path()); got != "/ /a /a/b" {
		t.Error(got)
	}
	root.Name = "/usr"
	if got := b.Path(); got != "/usr/a/b" {
		t.Error(got)
	}
	root.Name = ""
	if got := b.Path(); got != "a/b" {
		t.Error(got)
	}
}
