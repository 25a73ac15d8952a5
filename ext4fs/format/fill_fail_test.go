package format

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

// addFile adds a regular file to a tree.
func addFile(t *testing.T, tr *tree.Tree, name string, size int64, c tree.Content) tree.ID {
	t.Helper()
	id, err := tr.Add(tree.Root, name, tree.Node{Mode: disk.ModeRegular | 0o644, Size: size})
	if err == nil && c != nil {
		err = tr.SetContent(id, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// hooked is content that calls a function when it is read.
type hooked struct {
	*pieces
	hook func()
}

func (h hooked) Open() (tree.File, error) { return h, nil }
func (h hooked) ReadAt(p []byte, off int64) (int, error) {
	h.hook()
	return h.pieces.ReadAt(p, off)
}

// oldImage is a device that holds a file system already.
func oldImage(t *testing.T, size int64) *device.RAM {
	t.Helper()
	w := device.NewRAM(size)
	if err := Format(t.Context(), w, Options{Zeroed: true}); err != nil {
		t.Fatal(err)
	}
	fsys, err := ext4fs.Open(w, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := fsys.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// noSuperblock holds that nobody takes the device for a file system.
func noSuperblock(t *testing.T, w device.Device) {
	t.Helper()
	var b [1024]byte
	for _, off := range []int64{1024, 8193 << 10, 24577 << 10, 32768 << 12} {
		if off+1024 > w.Size() {
			continue
		}
		if _, err := w.ReadAt(b[:], off); err != nil {
			t.Fatal(err)
		}
		var sb disk.Superblock
		if sb.Decode(b[:]) == nil {
			t.Errorf("there is a superblock at %d", off)
		}
	}
}

func TestWrite_interrupted(t *testing.T) {
	const size = 160 << 20
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, w *device.RAM) error
		want error
	}{
		{"cancelled", func(t *testing.T, w *device.RAM) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tr := tree.New()
			for i := range 20 {
				p := &pieces{size: 3 << 20, spans: []tree.Span{{Off: 0, Len: 3 << 20}}}
				addFile(t, tr, fmt.Sprint(i), p.size, hooked{p, func() {
					if i == 11 {
						cancel()
					}
				}})
			}
			j, err := Plan(ctx, Options{Size: size}, tr)
			if err != nil {
				t.Fatal(err)
			}
			_, err = j.Write(ctx, w)
			return err
		}, context.Canceled},
		{"short file", func(t *testing.T, w *device.RAM) error {
			tr := tree.New()
			addFile(t, tr, "good", 10, tree.Bytes([]byte("0123456789")))
			addFile(t, tr, "short", 10000, tree.Bytes(make([]byte, 9999)))
			j, err := Plan(t.Context(), Options{Size: size}, tr)
			if err != nil {
				t.Fatal(err)
			}
			_, err = j.Write(t.Context(), w)
			if err == nil || !strings.Contains(err.Error(), "/short") {
				t.Errorf("error %v does not name the file", err)
			}
			return err
		}, io.ErrUnexpectedEOF},
		{"short inline file", func(t *testing.T, w *device.RAM) error {
			tr := tree.New()
			addFile(t, tr, "short", 50, tree.Bytes(make([]byte, 49)))
			j, err := Plan(t.Context(), Options{Size: size, Features: []string{"inline_data"}}, tr)
			if err != nil {
				t.Fatal(err)
			}
			_, err = j.Write(t.Context(), w)
			return err
		}, io.ErrUnexpectedEOF},
		{"write error", func(t *testing.T, w *device.RAM) error {
			j, err := Plan(t.Context(), Options{Size: size}, newRandomTree(1, 200, true))
			if err != nil {
				t.Fatal(err)
			}
			_, err = j.Write(t.Context(), failing{w, 20 << 10})
			return err
		}, syscall.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := oldImage(t, size)
			if err := tt.run(t, w); !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			noSuperblock(t, w)
		})
	}
}

// failing is a device that takes writes of data up to some length.
type failing struct {
	*device.RAM
	most int
}

func (f failing) WriteAt(p []byte, off int64) (int, error) {
	if len(p) > f.most {
		return 0, syscall.EIO
	}
	return f.RAM.WriteAt(p, off)
}

func TestPlan_contentTooLarge(t *testing.T) {
	tr := tree.New()
	for i := range 30 {
		addFile(t, tr, fmt.Sprint(i), 1<<20, tree.Bytes(make([]byte, 1<<20)))
	}
	_, err := Plan(t.Context(), Options{Size: 24 << 20}, tr)
	var small *SizeError
	if !errors.As(err, &small) || !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if small.Need < 30<<20 || small.Need > 31<<20 || small.Have > 24<<20 || small.What != "bytes" {
		t.Fatalf("%+v", small)
	}
	for i := range 200 {
		addFile(t, tr, fmt.Sprint("empty", i), 0, nil)
	}
	if _, err := Plan(t.Context(), Options{Size: 64 << 20, BlockSize: 4096, Inodes: 20}, tr); err == nil {
		t.Fatal("20 inodes are enough for 230 files")
	}
}

func TestPlan_impossibleFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		o    Options
		make func(t *testing.T, tr *tree.Tree)
		want error
	}{
		{"lost+found", Options{}, func(t *testing.T, tr *tree.Tree) { addFile(t, tr, lostFound, 0, nil) }, syscall.ENOTDIR},
		{"symlink", Options{BlockSize: 1024}, func(t *testing.T, tr *tree.Tree) {
			id, err := tr.Add(tree.Root, "symlink", tree.Node{Mode: disk.ModeSymlink | 0o777})
			if err = errors.Join(err, tr.SetTarget(id, strings.Repeat("x", 1024))); err != nil {
				t.Fatal(err)
			}
		}, errTarget},
		{"no target", Options{}, func(t *testing.T, tr *tree.Tree) {
			if _, err := tr.Add(tree.Root, "no target", tree.Node{Mode: disk.ModeSymlink | 0o777}); err != nil {
				t.Fatal(err)
			}
		}, errTarget},
		{"device", Options{}, func(t *testing.T, tr *tree.Tree) {
			if _, err := tr.Add(tree.Root, "device", tree.Node{Mode: disk.ModeBlock, Major: 4096}); err != nil {
				t.Fatal(err)
			}
		}, errDevice},
		{"large", Options{Type: "ext2", BlockSize: 1024}, func(t *testing.T, tr *tree.Tree) { addFile(t, tr, "large", 20<<30, nil) }, errTooBig},
		{"huge", Options{BlockSize: 4096}, func(t *testing.T, tr *tree.Tree) { addFile(t, tr, "huge", 17<<40, nil) }, errTooBig},
		{"attribute", Options{}, func(t *testing.T, tr *tree.Tree) {
			tr.SetXattrs(addFile(t, tr, "attribute", 0, nil), []tree.Xattr{{Name: "user.x", Value: make([]byte, 5000)}})
		}, syscall.ENOSPC},
		{"links", Options{}, func(t *testing.T, tr *tree.Tree) {
			id := addFile(t, tr, "links", 0, nil)
			for i := range maxLinks {
				if err := tr.Link(tree.Root, fmt.Sprint(i), id); err != nil {
					t.Fatal(err)
				}
			}
		}, syscall.EMLINK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int64{200 << 20, SizeAuto} {
				tr := tree.New()
				tt.make(t, tr)
				tt.o.Size = size
				_, err := Plan(t.Context(), tt.o, tr)
				var file *FileError
				if !errors.Is(err, tt.want) || !errors.As(err, &file) || !strings.Contains(err.Error(), "/") {
					t.Fatalf("%v, want %v", err, tt.want)
				}
			}
		})
	}
}

// TestPlan_sizes holds that the free space is what was asked for, and that the
// smallest size is no larger than others.
func TestPlan_sizes(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	tr := newRandomTree(3, 300, true)
	addFile(t, tr, "large", 9<<20, &pieces{size: 9 << 20, spans: []tree.Span{{Len: 9 << 20}}})
	free := func(o Options) (total, left int64) {
		t.Helper()
		o.Zeroed = true
		img, j := writeImage(t, o, tr)
		testimages.Fsck(t, img)
		sb := j.Super()
		return j.Size(), int64(sb.FreeBlocks-sb.ReservedBlocks) * int64(sb.BlockSize())
	}
	// A target that blocks of 1 KiB, the default here, have no room for.
	id, err := tr.Add(tree.Root, "long", tree.Node{Mode: disk.ModeSymlink | 0o777})
	if err = errors.Join(err, tr.SetTarget(id, strings.Repeat("x", 1500))); err != nil {
		t.Fatal(err)
	}
	auto, _ := free(Options{Size: SizeAuto})
	smallest, _ := free(Options{Size: SizeMin})
	if smallest > auto || auto > 40<<20 {
		t.Errorf("auto is %d bytes, min is %d", auto, smallest)
	}
	if total, left := free(Options{Size: SizeAuto, Free: 50 << 20}); left < 50<<20 || left > 51<<20 {
		t.Errorf("%d bytes of %d free, asked for 50 MiB", left, total)
	}
	if total, left := free(Options{Size: SizeAuto, FreePercent: 25}); left < total/4 || left > total*3/10 {
		t.Errorf("%d bytes of %d free, asked for 25 percent", left, total)
	}
}

// TestPlan_tooMuchFree asks for more free space than any size can have.
func TestPlan_tooMuchFree(t *testing.T) {
	for _, o := range []Options{
		{FreePercent: 93}, {FreePercent: 99.5}, {FreePercent: 99.9999999999999}, {Free: 1 << 62}, {Free: 1<<63 - 1},
		{FreePercent: 99.99, ReservedPercent: ptr(0.0)},
	} {
		for _, tr := range []*tree.Tree{nil, newRandomTree(1, 10, false)} {
			o.Size = SizeAuto
			if j, err := Plan(t.Context(), o, tr); !errors.Is(err, ErrOption) {
				t.Errorf("%d bytes and %v percent free: %v, %v", o.Free, o.FreePercent, j, err)
			}
		}
	}
}

// TestPlan_rootOwner: the root directory belongs to whom it was given to, also
// to root.
func TestPlan_rootOwner(t *testing.T) {
	tr := tree.New()
	tr.Node(tree.Root).UID, tr.Node(tree.Root).GID = 7, 8
	for list, want := range map[string][2]uint32{
		"": {7, 8}, "root_owner=0:0": {0, 0}, "root_owner=5:0": {5, 0}, "root_owner=5:6": {5, 6},
	} {
		o := Options{Size: 8 << 20, Zeroed: true}
		if err := o.ParseExtended(list); err != nil {
			t.Fatal(err)
		}
		j, err := Plan(t.Context(), o, tr)
		if err != nil {
			t.Fatal(err)
		}
		if n := j.m.node(0); n.UID != want[0] || n.GID != want[1] {
			t.Errorf("%q: %d:%d", list, n.UID, n.GID)
		}
	}
}

// TestPlan_inodes holds that the number of inodes follows the content, unless
// it was asked for.
func TestPlan_inodes(t *testing.T) {
	tr := tree.New()
	for i := range 3000 {
		addFile(t, tr, fmt.Sprint(i), 0, nil)
	}
	for _, tt := range []struct {
		o        Options
		from, to uint32
	}{
		{Options{Size: SizeAuto}, 3100, 3400},
		{Options{Size: SizeMin}, 3010, 3030},
		{Options{Size: SizeAuto, Inodes: 50_000}, 50_000, 50_100},
		{Options{Size: SizeMin, Inodes: 9000}, 8990, 9100},
		{Options{Size: SizeAuto, InodeRatio: 1024, Free: 20 << 20}, 20 << 10, 40 << 10},
		{Options{Size: 64 << 20}, 16 << 10, 17 << 10},
		{Options{Size: 64 << 20, InodeRatio: 65536}, 3010, 3200},
	} {
		j, err := Plan(t.Context(), tt.o, tr)
		if err != nil {
			t.Errorf("%+v: %v", tt.o, err)
			continue
		}
		if n := j.Super().InodesCount; n < tt.from || n > tt.to {
			t.Errorf("%d inodes, want %d to %d", n, tt.from, tt.to)
		}
	}
	var small *SizeError
	if _, err := Plan(t.Context(), Options{Size: SizeAuto, Inodes: 2000}, tr); !errors.As(err, &small) || small.What != "inodes" {
		t.Errorf("2000 inodes: %v", err)
	}
}
