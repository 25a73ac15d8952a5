package format_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

// junk makes a file that is full of what was there before, of a file system
// of another shape and then of noise.
func junk(t *testing.T, size int64) string {
	t.Helper()
	img := filepath.Join(testimages.Scratch(t), "image.img")
	f, err := os.Create(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	noise := testimages.Content(7, 1<<20)
	for at := int64(0); at < size; at += int64(len(noise)) {
		if _, err := f.WriteAt(noise[:min(int64(len(noise)), size-at)], at); err != nil {
			t.Fatal(err)
		}
	}
	// Superblocks where mke2fs puts copies with blocks of 1 and 4 KiB.
	old := filepath.Join(testimages.Scratch(t), "old.img")
	testimages.Mkfs(t, old, size, "-b", "1024", "-N", "64", "-O", "^has_journal")
	sb := make([]byte, 1024)
	o, err := os.Open(old)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.ReadAt(sb, 1024); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{1024, 8193 << 10, 24577 << 10, 32768 << 12} {
		if at+1024 > size {
			continue
		}
		if _, err := f.WriteAt(sb, at); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// onDevice is a Writer that can neither discard nor tell what is zero, as
// many block devices.
type onDevice struct{ device.Writer }

// TestProof_oldContent makes file systems over old content, which must not
// show through: in tables that were never written, in the journal, in
// directories.
func TestProof_oldContent(t *testing.T) {
	testimages.RequireLoop(t)
	src := proofSource(t)
	tr := src.load(t, tree.Options{})
	no := false
	const size = 48 << 20
	tests := []struct {
		name string
		o    format.Options
	}{
		{"defaults", format.Options{}},
		{"tables written", format.Options{Extended: format.Extended{LazyItable: &no}}},
		{"no checksums", format.Options{Features: []string{"^metadata_csum", "^uninit_bg"}}},
		{"uninit_bg, 1k", format.Options{BlockSize: 1024, Features: []string{"^metadata_csum", "uninit_bg"}}},
		{"ext2", format.Options{Type: "ext2"}},
		{"inline, quota, orphan file", format.Options{Features: []string{"inline_data", "quota", "orphan_file", "ea_inode"}}},
		{"bigalloc", format.Options{BlockSize: 1024, Features: []string{"bigalloc"}}},
	}
	if testing.Short() {
		tests = tests[:2]
	}
	for _, tt := range tests {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, plain %v", tt.name, plain), func(t *testing.T) {
				t.Parallel()
				o := tt.o
				o.Size = size
				img := junk(t, size)
				overwrite(t, img, o, tr, plain)
				testimages.Fsck(t, img)
				want := src.in(t, img)
				sameTree(t, img, want)
				written(t, img)
				kernelUse(t, img, want, mountsToWrite(o))
			})
		}
	}
}

func overwrite(t *testing.T, img string, o format.Options, tr *tree.Tree, plain bool) {
	t.Helper()
	w, err := device.Open(img, device.Options{Write: true, NoContainers: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var dev device.Writer = w
	if plain {
		dev = onDevice{w}
	}
	j, err := format.Plan(t.Context(), o, tr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Write(t.Context(), dev); err != nil {
		t.Fatal(err)
	}
}

// failing is a device whose nth write fails, and all after it.
type failing struct {
	device.Writer
	left   int
	cancel context.CancelFunc // instead, if it is set
}

var errBroken = errors.New("broken")

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		if f.cancel == nil {
			return 0, errBroken
		}
		f.cancel()
	}
	return f.Writer.WriteAt(p, off)
}

// TestProof_brokenOff breaks off at every write: what is there then is the old
// file system, from which only copies of the superblock were taken, or none.
func TestProof_brokenOff(t *testing.T) {
	src := tree.New()
	for i := range 200 {
		addPattern(t, src, fmt.Sprintf("file-%03d", i), pattern{size: int64(i) * 100})
	}
	o := format.Options{Size: 16 << 20, BlockSize: 1024, UUID: &[16]byte{1}}
	whole := device.NewRAM(o.Size)
	if err := format.Format(t.Context(), whole, o); err != nil {
		t.Fatal(err)
	}
	before := make([]byte, o.Size)
	if _, err := whole.ReadAt(before, 0); err != nil {
		t.Fatal(err)
	}
	o.UUID = &[16]byte{2}
	for _, cancel := range []bool{false, true} {
		for n := 0; ; n++ {
			ram, err := device.LoadRAM(device.NewMemory(before))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			f := &failing{Writer: ram, left: n}
			if cancel {
				f.cancel = stop
			}
			j, err := format.Plan(t.Context(), o, src)
			if err != nil {
				t.Fatal(err)
			}
			_, err = j.Write(ctx, f)
			stop()
			if err == nil {
				t.Logf("%d writes", n)
				break
			}
			if !cancel && !errors.Is(err, errBroken) || cancel && !errors.Is(err, context.Canceled) {
				t.Fatalf("write %d: %v", n, err)
			}
			if fsys, err := ext4fs.Open(ram, nil); err == nil {
				if fsys.UUID() != [16]byte{1} || n > 3 {
					t.Fatalf("broken off at write %d there is file system %x", n, fsys.UUID())
				}
				fsys.Close()
			}
		}
	}
}
