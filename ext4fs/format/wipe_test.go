package format

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// plainWriter is a device in memory that cannot discard or zero: what is not
// written keeps its content.
type plainWriter struct {
	b    []byte
	fail int // the write that fails, counted from 1; 0 is none
	n    int
	hook func(off int64)
}

var errTest = errors.New("test")

func (w *plainWriter) Size() int64 { return int64(len(w.b)) }

func (w *plainWriter) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(w.b).ReadAt(p, off)
}

func (w *plainWriter) WriteAt(p []byte, off int64) (int, error) {
	if w.n++; w.n == w.fail {
		return 0, errTest
	}
	if w.hook != nil {
		w.hook(off)
	}
	return copy(w.b[off:], p), nil
}

func (w *plainWriter) Sync() error { return nil }

// dirty is a device full of what it must not keep.
func dirty(size int64) *plainWriter {
	w := &plainWriter{b: make([]byte, size)}
	for i := range w.b {
		w.b[i] = byte(0xA5 ^ i>>9)
	}
	return w
}

// save writes the device to a file for other programs.
func (w *plainWriter) save(t testing.TB) string {
	t.Helper()
	img := filepath.Join(testimages.Scratch(t), "img")
	if err := os.WriteFile(img, w.b, 0o600); err != nil {
		t.Fatal(err)
	}
	return img
}

func TestFormat_dirtyDevice(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	for _, c := range []mkfsCase{
		"20M", "-t ext2 20M", "-t ext3 20M", "-E lazy_itable_init=0 20M", "-b 4096 -O bigalloc 20M", "-b 1024 -O quota,project,orphan_file,mmp 20M",
		"-b 4096 -O meta_bg,^resize_inode 20M", "-b 2048 -O sparse_super2 -N 64 80M", "-O uninit_bg,^metadata_csum 20M",
	} {
		t.Run(string(c), func(t *testing.T) {
			w := dirty(c.size(t))
			if err := Format(context.Background(), w, *c.options(t)); err != nil {
				t.Fatal(err)
			}
			fsck(t, w.save(t))
			sb := readSuper(t, w)
			if d := groupFlags(t, w, &sb, 0); sb.HasGroupCsum() && (d&disk.GroupInodeZeroed != 0) != (c == "-E lazy_itable_init=0 20M") {
				t.Errorf("flags of group 0: %d", d)
			}
			checkJournalZero(t, w, &sb)
		})
	}
}

func groupFlags(t testing.TB, w *plainWriter, sb *disk.Superblock, g uint32) uint16 {
	t.Helper()
	off := int64(sb.DescBlock(0))*int64(sb.BlockSize()) + int64(g)*int64(sb.DescSize())
	return disk.GroupDesc(w.b[off : off+int64(sb.DescSize())]).Flags()
}

// checkJournalZero looks for old content in the log of a journal that lies in
// one run.
func checkJournalZero(t testing.TB, w *plainWriter, sb *disk.Superblock) {
	t.Helper()
	if sb.JournalInode == 0 || !sb.Features.Incompat.Has(disk.IncompatExtents) {
		return
	}
	j := sb.JournalBlocks
	first, blocks := int64(j[5]), int64(j[4]&0xffff)
	log := w.b[(first+1)*int64(sb.BlockSize()) : (first+blocks)*int64(sb.BlockSize())]
	if len(bytes.TrimLeft(log, "\x00")) != 0 {
		t.Error("the journal has old content")
	}
}

func TestFormat_wipesWhatWasThere(t *testing.T) {
	t.Parallel()
	w := dirty(100 << 20)
	c := mkfsCase("-b 1024 100M")
	if err := Format(context.Background(), w, *c.options(t)); err != nil {
		t.Fatal(err)
	}
	var old []int64
	sb := readSuper(t, w)
	for g := range sb.Groups() {
		if sb.HasSuper(g) && g > 0 {
			old = append(old, int64(sb.GroupFirstBlock(g))*1024)
		}
	}
	magic := func(off int64) bool { return w.b[off+0x38] == 0x53 && w.b[off+0x39] == 0xef }
	if len(old) < 5 || !magic(old[2]) {
		t.Fatalf("copies at %v", old)
	}
	copy(w.b, "XFSB")
	copy(w.b[0x10040:], "_BHRfS_M")
	copy(w.b[len(w.b)-4096:], "RAID")
	c = "-b 4096 100M"
	if err := Format(context.Background(), w, *c.options(t)); err != nil {
		t.Fatal(err)
	}
	for _, off := range old {
		if magic(off) {
			t.Errorf("there is an old superblock copy at %d", off)
		}
	}
	if string(w.b[:4]) == "XFSB" || string(w.b[0x10040:0x10048]) == "_BHRfS_M" || string(w.b[len(w.b)-4096:][:4]) == "RAID" {
		t.Error("signatures of others are left")
	}
}

// TestFormat_interrupted stops at every write: there is no file system before
// the last one.
func TestFormat_interrupted(t *testing.T) {
	w := dirty(20 << 20)
	c := mkfsCase("-b 1024 -O quota 20M")
	if err := Format(context.Background(), w, *c.options(t)); err != nil {
		t.Fatal(err)
	}
	full := bytes.Clone(w.b)
	w.n = 0
	if err := Format(context.Background(), w, *c.options(t)); err != nil {
		t.Fatal(err)
	}
	writes := w.n
	for n := 1; n <= writes; n++ {
		copy(w.b, full)
		w.n, w.fail = 0, n
		err := Format(context.Background(), w, *c.options(t))
		if !errors.Is(err, errTest) {
			t.Fatalf("write %d of %d: %v", n, writes, err)
		}
		var sb disk.Superblock
		valid := sb.Decode(w.b[disk.SuperblockOffset:]) == nil
		// What is wiped before the old superblock are its copies.
		if valid && !bytes.Equal(w.b[disk.SuperblockOffset:][:1024], full[disk.SuperblockOffset:][:1024]) {
			t.Errorf("write %d of %d failed and there is a new superblock", n, writes)
		}
		if valid && n > 6 {
			t.Errorf("write %d of %d failed and the old superblock is there", n, writes)
		}
	}
	w.fail, w.n = 0, 0
	ctx, cancel := context.WithCancel(context.Background())
	w.hook = func(off int64) {
		if w.n == writes/2 {
			cancel()
		}
	}
	if err := Format(ctx, w, *c.options(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var sb disk.Superblock
	if sb.Decode(w.b[disk.SuperblockOffset:]) == nil {
		t.Error("cancelled, and there is a superblock")
	}
}

// TestFormat_discardedFile formats a file full of old content: the host makes
// it a hole, so that nothing else is to be zeroed.
func TestFormat_discardedFile(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	w := dirty(40 << 20)
	img := w.save(t)
	d, err := device.Open(img, device.Options{Write: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := Format(context.Background(), d, Options{}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	fsck(t, img)
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	m := &plainWriter{b: b}
	sb := readSuper(t, m)
	if groupFlags(t, m, &sb, 0)&disk.GroupInodeZeroed == 0 {
		t.Error("the inode table is not known to be zeroed")
	}
	checkJournalZero(t, m, &sb)
}

func TestFormat_tooSmallDevice(t *testing.T) {
	err := Format(context.Background(), dirty(1<<20), Options{Size: 2 << 20})
	if !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v", err)
	}
	for _, size := range []int64{1, 1024, 4096, 16 << 10, 40 << 10} {
		if err := Format(context.Background(), dirty(1<<20), Options{Size: size}); !errors.Is(err, ErrOption) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
