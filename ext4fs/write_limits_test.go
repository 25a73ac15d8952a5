package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/testimages"
)

// TestWriteAt_limits writes a byte at the largest offset, and one beyond, and
// has the kernel say where that is.
func TestWriteAt_limits(t *testing.T) {
	for _, c := range []struct {
		name string
		mkfs []string
	}{
		{"4k", nil},
		{"1k", []string{"-b", "1024"}},
		{"no huge_file", []string{"-O", "^huge_file"}},
		{"ext2 1k", []string{"-t", "ext2", "-b", "1024"}},
		{"ext2 2k", []string{"-t", "ext2", "-b", "2048"}},
		{"ext3 4k", []string{"-t", "ext3"}},
		{"indirect huge", []string{"-O", "^extents,^64bit,^metadata_csum"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWriteImage(t, nil, 16<<20, 1, append(c.mkfs, "-O", "^large_file")...)
			i := w.inode("f0")
			limit := i.maxBytes()
			n, err := i.WriteAt([]byte("ab"), limit-1)
			if n != 1 || !errors.Is(err, syscall.EFBIG) {
				t.Fatalf("write over the limit: %d, %v", n, err)
			}
			if n, err := i.WriteAt([]byte("a"), limit); n != 0 || !errors.Is(err, ErrFileTooBig) {
				t.Fatalf("write at the limit: %d, %v", n, err)
			}
			if err := i.Truncate(limit + 1); !errors.Is(err, ErrFileTooBig) {
				t.Fatalf("truncate over the limit: %v", err)
			}
			got := make([]byte, 2)
			if n, err := i.ReadAt(got, limit-1); n != 1 || got[0] != 'a' || err != io.EOF {
				t.Fatalf("read %d %q: %v", n, got, err)
			}
			w.close(nil)
			if !w.reads().super.Features.ROCompat.Has(disk.ROCompatLargeFile) {
				t.Error("large_file is not set")
			}
			checkLimit(t, w.path, limit)
		})
	}
}

// reads opens the image as it is now for reading.
func (w *writeImage) reads() *FS {
	w.t.Helper()
	f, err := Open(w.dev, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// checkLimit lets the kernel set the size of the file to the limit, and beyond.
func checkLimit(t *testing.T, img string, limit int64) {
	testimages.WithMount(t, img, "", func(dir string) {
		name := filepath.Join(dir, "f0")
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got := make([]byte, 1)
		if _, err := f.ReadAt(got, limit-1); err != nil || got[0] != 'a' {
			t.Errorf("the kernel reads %q: %v", got, err)
		}
		if _, err := f.WriteAt([]byte("b"), limit-1); err != nil {
			t.Errorf("the kernel writes below the limit: %v", err)
		}
		if _, err := f.WriteAt([]byte("b"), limit); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("the kernel writes at the limit %d: %v", limit, err)
		}
	})
}

// TestTruncate_fragmented takes away a file of many runs in parts, with a
// journal so small that it takes many transactions.
func TestTruncate_fragmented(t *testing.T) {
	for _, c := range []struct {
		name string
		mkfs []string
	}{
		{"extents", []string{"-b", "1024", "-J", "size=1"}},
		{"indirect", []string{"-b", "1024", "-J", "size=1", "-t", "ext3"}},
		{"bigalloc", []string{"-b", "1024", "-J", "size=2", "-O", "bigalloc", "-C", "4096"}},
		{"no journal", []string{"-b", "1024", "-O", "^has_journal"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWriteImage(t, nil, 32<<20, 1, c.mkfs...)
			i := w.inode("f0")
			const step = 2048 + 1024
			rng := rand.New(rand.NewPCG(5, 5))
			var want []byte
			for n := range 3000 {
				p := bytes.Repeat([]byte{byte(rng.IntN(255) + 1)}, 1024+rng.IntN(500))
				want = append(append(want, make([]byte, n*step-len(want))...), p...)
				if _, err := i.WriteAt(p, int64(n*step)); err != nil {
					t.Fatal(err)
				}
			}
			for _, size := range []int{len(want) - 1, 2000 * step, 100*step + 17, 100*step + 17, 5} {
				if err := i.Truncate(int64(size)); err != nil {
					t.Fatalf("truncate to %d: %v", size, err)
				}
				want = want[:size]
				got := make([]byte, size)
				if _, err := i.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("at size %d: other content, %v", size, err)
				}
			}
			if err := i.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if i.Sectors() != 0 {
				t.Errorf("%d sectors are left", i.Sectors())
			}
			w.close(map[string][]byte{"f0": {}})
		})
	}
}

// TestWrite_noSpace fills tiny images up, several times: what a write says that
// it wrote is there, and space freed can be used again.
func TestWrite_noSpace(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		mkfs []string
	}{
		{"4k", Options{}, nil},
		{"1k", Options{}, []string{"-b", "1024"}},
		{"ext2", Options{}, []string{"-b", "1024", "-t", "ext2"}},
		{"bigalloc", Options{}, []string{"-O", "bigalloc", "-C", "16384"}},
		{"journal", Options{DataMode: DataJournal}, []string{"-b", "1024"}},
		{"reserved", Options{KeepReserved: true}, []string{"-m", "20"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWriteImage(t, &c.opts, 8<<20, 4, c.mkfs...)
			rng := rand.New(rand.NewPCG(7, 7))
			want := make(map[string][]byte)
			for range 4 {
				for _, name := range w.files {
					want[name] = fillUp(t, w.inode(name), want[name], rng)
				}
				for _, name := range w.files[:2] {
					i := w.inode(name)
					size := rng.IntN(len(want[name]) + 1)
					if err := i.Truncate(int64(size)); err != nil {
						t.Fatal(err)
					}
					want[name] = want[name][:size]
				}
			}
			w.close(want)
		})
	}
}

func fillUp(t *testing.T, i *Inode, have []byte, rng *rand.Rand) []byte {
	t.Helper()
	for {
		p := make([]byte, 1+rng.IntN(300<<10))
		for k := range p {
			p[k] = byte(rng.Uint32())
		}
		n, err := i.WriteAt(p, int64(len(have)))
		have = append(have, p[:n]...)
		if err == nil {
			if n < len(p) {
				t.Fatalf("wrote %d of %d without an error", n, len(p))
			}
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
		got := make([]byte, len(have))
		if _, err := i.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, have) {
			t.Fatalf("other content when full: %v", err)
		}
		if err := i.Fallocate(0, int64(len(have)), 4<<20); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EOPNOTSUPP) {
			t.Fatalf("fallocate when full: %v", err)
		}
		if i.Size() != int64(len(have)) {
			t.Fatalf("size %d, want %d", i.Size(), len(have))
		}
		return have
	}
}

// TestWrite_inline follows a file from inline data to a block.
func TestWrite_inline(t *testing.T) {
	w := newWriteImage(t, nil, 16<<20, 1, "-O", "inline_data")
	i := w.inode("f0")
	var want []byte
	for n := range 40 {
		p := bytes.Repeat([]byte{byte('a' + n%26)}, 7)
		want = append(want, p...)
		if _, _, err := i.Append(p); err != nil {
			t.Fatal(err)
		}
		if inline := i.Flags().Has(disk.FlagInlineData); inline != (len(want) <= 128) {
			t.Fatalf("%d bytes: inline %v", len(want), inline)
		}
		got := make([]byte, len(want))
		if _, err := i.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %q, %v", len(want), got, err)
		}
	}
	w.close(map[string][]byte{"f0": want})
}

// TestWrite_refused has files that must not be changed.
func TestWrite_refused(t *testing.T) {
	w := newWriteImage(t, nil, 16<<20, 3)
	if err := w.fs.Close(); err != nil {
		t.Fatal(err)
	}
	testimages.DebugfsWrite(t, w.path, "set_inode_field f0 flags 0x80010", "set_inode_field f1 flags 0x80020")
	w.open(nil)
	for _, c := range []struct {
		name string
		do   func(i *Inode) error
		want syscall.Errno
	}{
		{"f0", func(i *Inode) error { _, err := i.WriteAt([]byte("x"), 0); return err }, syscall.EPERM},
		{"f0", func(i *Inode) error { return i.Truncate(0) }, syscall.EPERM},
		{"f0", func(i *Inode) error { return i.Fallocate(0, 0, 1) }, syscall.EPERM},
		{"f1", func(i *Inode) error { _, err := i.WriteAt([]byte("x"), 1); return err }, syscall.EPERM},
		{"f1", func(i *Inode) error { return i.Truncate(0) }, syscall.EPERM},
		{"f1", func(i *Inode) error { return i.Fallocate(FallocatePunch|FallocateKeepSize, 0, 1) }, syscall.EPERM},
		{"f1", func(i *Inode) error { _, _, err := i.Append([]byte("x")); return err }, 0},
		{"lost+found", func(i *Inode) error { _, err := i.WriteAt([]byte("x"), 0); return err }, syscall.EISDIR},
		{"f2", func(i *Inode) error { return i.Fallocate(FallocatePunch, 0, 1) }, syscall.EOPNOTSUPP},
		{"f2", func(i *Inode) error { return i.Fallocate(FallocateCollapse|FallocateKeepSize, 0, 4096) }, syscall.EOPNOTSUPP},
		{"f2", func(i *Inode) error { return i.Fallocate(0, 0, 0) }, syscall.EINVAL},
		{"f2", func(i *Inode) error { return i.Fallocate(0, 1<<62, 1<<62) }, syscall.EFBIG},
		{"f2", func(i *Inode) error { return i.Fallocate(FallocateInsert, 0, 4096) }, syscall.EINVAL},
	} {
		err := c.do(w.inode(c.name))
		if c.want == 0 && err != nil || c.want != 0 && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	w.close(map[string][]byte{"f1": []byte("x"), "f2": {}})
}

// TestWriteSpans_keepsHoles copies a sparse file.
func TestWriteSpans_keepsHoles(t *testing.T) {
	for _, mkfs := range [][]string{nil, {"-t", "ext3"}, {"-O", "inline_data"}} {
		w := newWriteImage(t, nil, 32<<20, 2, mkfs...)
		a, b := w.inode("f0"), w.inode("f1")
		want := make([]byte, 9<<20+5)
		for _, s := range []Span{{0, 100}, {1 << 20, 5 << 20}, {8 << 20, 4096}} {
			p := bytes.Repeat([]byte{7}, int(s.Len))
			copy(want[s.Off:], p)
			if _, err := a.WriteAt(p, s.Off); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Truncate(int64(len(want))); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteSpans(context.Background(), a, a.Size(), a.Data()); err != nil {
			t.Fatal(err)
		}
		if a.Sectors() != b.Sectors() {
			t.Errorf("%d sectors, the copy has %d", a.Sectors(), b.Sectors())
		}
		runs := 0
		for range b.Extents() {
			runs++
		}
		if runs > 5 {
			t.Errorf("%d runs", runs)
		}
		w.close(map[string][]byte{"f0": want, "f1": want})
	}
}

// TestAppend_allocates bounds what a small append allocates: the record and
// its holder, and nothing that grows.
func TestAppend_allocates(t *testing.T) {
	w := newWriteImage(t, nil, 64<<20, 1)
	i := w.inode("f0")
	p := make([]byte, 4096)
	n := testing.AllocsPerRun(500, func() {
		if _, _, err := i.Append(p); err != nil {
			t.Fatal(err)
		}
	})
	if n > 7 { // the device in memory takes some, too
		t.Errorf("%v allocations for an append of 4 KiB", n)
	}
	w.close(nil)
}

// TestFallocate_moreThanThereIs asks for far more than the image has, and gives
// it back.
func TestFallocate_moreThanThereIs(t *testing.T) {
	for _, mkfs := range [][]string{nil, {"-b", "1024", "-J", "size=1"}, {"-O", "bigalloc", "-C", "65536"}} {
		w := newWriteImage(t, nil, 32<<20, 1, mkfs...)
		i := w.inode("f0")
		for _, mode := range []FallocateMode{0, FallocateKeepSize, FallocateZero} {
			if err := i.Fallocate(mode, 5, 1<<41); !errors.Is(err, ErrNoSpace) {
				t.Fatalf("mode %d: %v", mode, err)
			}
			if i.Size() != 0 {
				t.Errorf("mode %d: size %d", mode, i.Size())
			}
		}
		if n, err := i.WriteFrom(context.Background(), bytes.NewReader(nil), 0, 1<<40); n != 0 || !errors.Is(err, ErrNoSpace) {
			t.Fatalf("write of 1 TiB: %d, %v", n, err)
		}
		if err := i.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if i.Sectors() != 0 {
			t.Errorf("%d sectors are left", i.Sectors())
		}
		w.close(map[string][]byte{"f0": {}})
	}
}

// TestWrite_overQuota runs into a limit of the owner.
func TestWrite_overQuota(t *testing.T) {
	for _, mkfs := range [][]string{{"-O", "quota"}, {"-O", "quota,bigalloc", "-C", "16384"}} {
		w := newWriteImage(t, &Options{EnforceQuotas: true}, 32<<20, 1, mkfs...)
		i := w.inode("f0")
		const limit = 1 << 20
		have, err := w.fs.Quota(disk.QuotaUser, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.fs.SetQuota(disk.QuotaUser, 0, quota.Limits{SpaceHard: (have.Space + limit) >> 10}); err != nil {
			t.Fatal(err)
		}
		p := bytes.Repeat([]byte{3}, 3<<20)
		n, err := i.WriteAt(p, 0)
		if !errors.Is(err, ErrQuota) || n > limit || n < limit/2 {
			t.Fatalf("wrote %d: %v", n, err)
		}
		if err := i.Fallocate(0, 0, 2<<20); !errors.Is(err, ErrQuota) {
			t.Fatalf("fallocate: %v", err)
		}
		if err := i.Truncate(100); err != nil {
			t.Fatal(err)
		}
		if n, err := i.WriteAt(p[:limit/2], 0); err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
		w.close(map[string][]byte{"f0": p[:limit/2]})
	}
}

// TestWriteAt_overMetadata has a file whose map, with good checksums, leads to
// the block bitmap: nothing may be written there.
func TestWriteAt_overMetadata(t *testing.T) {
	w := newWriteImage(t, nil, 16<<20, 1, "-t", "ext2", "-b", "1024")
	i := w.inode("f0")
	if _, err := i.WriteAt(make([]byte, 3000), 0); err != nil {
		t.Fatal(err)
	}
	g, err := w.fs.Group(0)
	if err != nil {
		t.Fatal(err)
	}
	bitmap := g.BlockBitmap()
	if err := w.fs.Close(); err != nil {
		t.Fatal(err)
	}
	w.dump()
	testimages.DebugfsWrite(t, w.path, fmt.Sprintf("set_inode_field f0 block[1] %d", bitmap))
	w.open(nil)
	i = w.inode("f0")
	for _, do := range []func() error{
		func() error { _, err := i.WriteAt(make([]byte, 2048), 0); return err },
		func() error { return i.Fallocate(FallocatePunch|FallocateKeepSize, 1100, 100) },
		func() error { _, err := i.MapForWrite(1024, 1024); return err },
		func() error { return i.Truncate(1500) },
	} {
		before := make([]byte, 1024)
		if _, err := w.dev.ReadAt(before, int64(bitmap)*1024); err != nil {
			t.Fatal(err)
		}
		if err := do(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v, want ErrCorrupt", err)
		}
		after := make([]byte, 1024)
		if _, err := w.dev.ReadAt(after, int64(bitmap)*1024); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the bitmap was written over: %v", err)
		}
	}
	if err := w.fs.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAddBlocks_units counts across the limits of i_blocks.
func TestAddBlocks_units(t *testing.T) {
	f := &FS{}
	f.super.LogBlockSize = 2
	f.super.Features.ROCompat = disk.ROCompatHugeFile
	r := disk.NewInode(256, 32)
	i := newInode(f, 12, r)
	sectors := func() uint64 { return newInode(f, 12, r).Sectors() }
	var want uint64
	for _, n := range []int64{1, 1 << 29, 1 << 44, 5, -1 << 44, -5, -1 << 29, -1, -7} {
		i.addBlocks(r, n)
		if n < 0 {
			want -= min(want, uint64(-n)*8)
		} else {
			want += uint64(n) * 8
		}
		if got := sectors(); got != want {
			t.Fatalf("after %d: %d sectors, want %d", n, got, want)
		}
		if huge := want >= 1<<48; r.Flags().Has(disk.FlagHugeFile) != huge {
			t.Errorf("%d sectors: flags %v", want, r.Flags())
		}
	}
}
