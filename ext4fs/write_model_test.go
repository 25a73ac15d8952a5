package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// writeImage is an image in memory that is open for writing, with some files
// that were empty.
type writeImage struct {
	t     *testing.T
	path  string // of the image before, and again at the end
	dev   *device.RAM
	fs    *FS
	files []string
}

// newWriteImage makes an image with mke2fs.
func newWriteImage(t *testing.T, o *Options, size int64, files int, mkfs ...string) *writeImage {
	t.Helper()
	w := &writeImage{t: t, path: filepath.Join(testimages.Scratch(t), "img")}
	testimages.Mkfs(t, w.path, size, mkfs...)
	empty := filepath.Join(testimages.Scratch(t), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var script []string
	for n := range files {
		w.files = append(w.files, fmt.Sprintf("f%d", n))
		script = append(script, "write "+empty+" "+w.files[n])
	}
	testimages.DebugfsWrite(t, w.path, script...)
	if slices.ContainsFunc(mkfs, func(s string) bool { return strings.Contains(s, "quota") }) {
		// debugfs does not charge.
		testimages.Run(t, "tune2fs", "-O", "^quota", w.path)
		testimages.Run(t, "tune2fs", "-O", "quota", w.path)
	}
	w.open(o)
	return w
}

func (w *writeImage) open(o *Options) {
	w.t.Helper()
	img, err := device.Open(w.path, device.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer img.Close()
	if w.dev, err = device.LoadRAM(img); err != nil {
		w.t.Fatal(err)
	}
	w.reopen(o)
}

// reopen opens what is in memory.
func (w *writeImage) reopen(o *Options) {
	w.t.Helper()
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.Write, opts.CommitInterval = true, -1
	var err error
	if w.fs, err = Open(w.dev, &opts); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writeImage) inode(name string) *Inode {
	w.t.Helper()
	root, err := w.fs.Root()
	if err != nil {
		w.t.Fatal(err)
	}
	n, err := root.Lookup(name)
	if err != nil {
		w.t.Fatal(err)
	}
	i, err := w.fs.Inode(n)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// close closes the file system, and has e2fsck and the kernel look at it: the
// files must have the content of want.
func (w *writeImage) close(want map[string][]byte) {
	w.t.Helper()
	if err := w.fs.Close(); err != nil {
		w.t.Fatalf("close: %v", err)
	}
	w.judge(want)
}

func (w *writeImage) judge(want map[string][]byte) {
	w.t.Helper()
	w.dump()
	testimages.Fsck(w.t, w.path)
	ro, err := Open(w.dev, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, content := range want {
		got, err := ro.ReadFile(name)
		w.same("read again", name, got, content, err)
	}
	if len(want) == 0 || os.Geteuid() != 0 {
		return
	}
	testimages.WithMount(w.t, w.path, "ro,noload", func(dir string) {
		for name, content := range want {
			got, err := os.ReadFile(filepath.Join(dir, name))
			w.same("the kernel reads", name, got, content, err)
		}
	})
}

func (w *writeImage) dump() {
	w.t.Helper()
	out, err := os.Create(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	if err := out.Truncate(w.dev.Size()); err != nil {
		w.t.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	zero := make([]byte, 1<<20)
	for off := int64(0); off < w.dev.Size(); off += int64(len(buf)) {
		n, err := w.dev.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			w.t.Fatal(err)
		}
		if !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *writeImage) same(what, name string, got, want []byte, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %s: %v", what, name, err)
	}
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	w.t.Fatalf("%s: %s has %d bytes, want %d; they differ from %d on", what, name, len(got), len(want), at)
}

// model is a file and what it should be.
type model struct {
	w    *writeImage
	i    *Inode
	name string
	want []byte
	rng  *rand.Rand
	max  int // bytes
	seq  byte
}

// grow makes want at least n bytes long.
func (m *model) grow(n int) {
	if n > len(m.want) {
		m.want = append(m.want, make([]byte, n-len(m.want))...)
	}
}

// data is n bytes that occur nowhere else, nearly.
func (m *model) data(n int) []byte {
	p := make([]byte, n)
	m.seq++
	for k := range p {
		p[k] = m.seq ^ byte(k*7>>3) | 1
	}
	return p
}

// place is an offset and a length, often round ones.
func (m *model) place() (off, n int) {
	off, n = m.rng.IntN(m.max), 1+m.rng.IntN(m.max/4)
	bs := m.w.fs.BlockSize()
	switch m.rng.IntN(4) {
	case 0:
		off, n = off/bs*bs, (n+bs-1)/bs*bs
	case 1:
		off = len(m.want)
		n = 1 + m.rng.IntN(3*bs)
	case 2:
		n = 1 + m.rng.IntN(200)
	}
	off = min(off, m.max-1)
	return off, max(min(n, m.max-off), 1)
}

// step does something at random, and says what.
func (m *model) step(other *model) (string, error) {
	off, n := m.place()
	at := fmt.Sprintf("%d bytes at %d of %d in %s", n, off, len(m.want), m.name)
	keep := FallocateMode(m.rng.IntN(2))
	switch m.rng.IntN(14) {
	case 0, 1, 2, 3:
		return "write " + at, m.write(off, n)
	case 4:
		p := m.data(n / 4)
		off, k, err := m.i.Append(p)
		if err == nil && (off != int64(len(m.want)) || k != len(p)) {
			err = fmt.Errorf("appended %d at %d", k, off)
		}
		m.want = append(m.want, p...)
		return "append " + at, err
	case 5:
		m.grow(off)
		m.want = m.want[:off]
		return fmt.Sprintf("truncate %s to %d", m.name, off), m.i.Truncate(int64(off))
	case 6, 7:
		err := m.i.Fallocate(FallocatePunch|FallocateKeepSize, int64(off), int64(n))
		m.zero(off, n)
		return "punch " + at, err
	case 8:
		err := m.i.Fallocate(FallocateZero|keep, int64(off), int64(n))
		if m.refused(err) {
			return "", nil
		}
		if keep == 0 {
			m.grow(off + n)
		}
		m.zero(off, n)
		return fmt.Sprintf("zero (%d) %s", keep, at), err
	case 9:
		err := m.i.Fallocate(keep, int64(off), int64(n))
		if m.refused(err) {
			return "", nil
		}
		if keep == 0 {
			m.grow(off + n)
		}
		return fmt.Sprintf("allocate (%d) %s", keep, at), err
	case 10:
		return m.collapse(off, n)
	case 11:
		return m.insert(off, n)
	case 12:
		return "map and write " + at, m.direct(off, n)
	}
	return "copy " + at, m.copyFrom(other, off, n)
}

// refused reports whether the kind of file cannot do that.
func (m *model) refused(err error) bool {
	return errors.Is(err, syscall.EOPNOTSUPP) && !m.i.Flags().Has(0x80000)
}

func (m *model) write(off, n int) error {
	p := m.data(n)
	m.grow(off + n)
	copy(m.want[off:], p)
	if m.rng.IntN(4) == 0 {
		k, err := m.i.WriteFrom(context.Background(), bytes.NewReader(p), int64(off), int64(n))
		if err == nil && k != int64(n) {
			err = fmt.Errorf("wrote %d of %d", k, n)
		}
		return err
	}
	_, err := m.i.WriteAt(p, int64(off))
	return err
}

func (m *model) zero(off, n int) {
	if off < len(m.want) {
		clear(m.want[off:min(off+n, len(m.want))])
	}
}

func (m *model) align(off, n int) (int, int) {
	c := int(m.w.fs.super.ClusterSize())
	return off / c * c, max(n/c*c, c)
}

func (m *model) collapse(off, n int) (string, error) {
	off, n = m.align(off, n)
	err := m.i.Fallocate(FallocateCollapse, int64(off), int64(n))
	if m.refused(err) {
		return "", nil
	}
	what := fmt.Sprintf("collapse %d bytes at %d of %d in %s", n, off, len(m.want), m.name)
	if off+n >= len(m.want) {
		if !errors.Is(err, syscall.EINVAL) {
			return what, fmt.Errorf("got %v, want EINVAL", err)
		}
		return "", nil
	}
	m.want = append(m.want[:off:off], m.want[off+n:]...)
	return what, err
}

func (m *model) insert(off, n int) (string, error) {
	off, n = m.align(off, n)
	if len(m.want)+n > 2*m.max {
		return "", nil
	}
	err := m.i.Fallocate(FallocateInsert, int64(off), int64(n))
	if m.refused(err) {
		return "", nil
	}
	what := fmt.Sprintf("insert %d bytes at %d of %d in %s", n, off, len(m.want), m.name)
	if off >= len(m.want) {
		if !errors.Is(err, syscall.EINVAL) {
			return what, fmt.Errorf("got %v, want EINVAL", err)
		}
		return "", nil
	}
	tail := bytes.Clone(m.want[off:])
	m.want = append(append(m.want[:off], make([]byte, n)...), tail...)
	return what, err
}

// direct writes whole blocks past the file system, as the kernel does with
// iomap.
func (m *model) direct(off, n int) error {
	bs := m.w.fs.BlockSize()
	off, n = off/bs*bs, (n+bs-1)/bs*bs
	runs, err := m.i.MapForWrite(int64(off), int64(n))
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil // journaled data
	}
	if err != nil {
		return err
	}
	p := m.data(n)
	at := off
	for _, e := range runs {
		if int(e.Logical)*bs != at || e.Flags&ExtentHole != 0 {
			return fmt.Errorf("run %+v, want one at byte %d", e, at)
		}
		k := int(e.Len) * bs
		if _, err := m.w.fs.live.dev.WriteAt(p[at-off:at-off+k], int64(e.Physical)*int64(bs)); err != nil {
			return err
		}
		at += k
	}
	if at != off+n {
		return fmt.Errorf("mapped up to %d of %d", at, off+n)
	}
	m.grow(off + n)
	copy(m.want[off:], p)
	return m.i.EndWrite(int64(off), int64(n))
}

func (m *model) copyFrom(o *model, off, n int) error {
	if o == m || len(o.want) == 0 {
		return nil
	}
	from := m.rng.IntN(len(o.want))
	n = min(n, len(o.want)-from)
	k, err := m.i.CopyFrom(context.Background(), o.i, int64(from), int64(off), int64(n))
	if err == nil && k != int64(n) {
		err = fmt.Errorf("copied %d of %d", k, n)
	}
	m.grow(off + n)
	copy(m.want[off:], o.want[from:from+n])
	return err
}

// check reads the whole file.
func (m *model) check(what string) {
	m.w.t.Helper()
	got := make([]byte, len(m.want)+1)
	n, err := m.i.ReadAt(got, 0)
	if err == io.EOF {
		err = nil
	}
	m.w.same("after "+what, m.name, got[:n], m.want, err)
	if m.i.Size() != int64(len(m.want)) {
		m.w.t.Fatalf("after %s: size %d, want %d", what, m.i.Size(), len(m.want))
	}
}

var writeModelCases = []struct {
	name string
	opts Options
	size int64
	max  int
	mkfs []string
}{
	{"4k", Options{}, 32 << 20, 400 << 10, nil},
	{"1k", Options{}, 16 << 20, 200 << 10, []string{"-b", "1024"}},
	{"bigalloc", Options{}, 64 << 20, 600 << 10, []string{"-O", "bigalloc", "-C", "65536"}},
	{"bigalloc1k", Options{}, 32 << 20, 100 << 10, []string{"-O", "bigalloc", "-b", "1024", "-C", "8192"}},
	{"ext2", Options{}, 16 << 20, 400 << 10, []string{"-t", "ext2", "-b", "1024"}},
	{"ext3", Options{}, 32 << 20, 400 << 10, []string{"-t", "ext3"}},
	{"inline", Options{}, 32 << 20, 300, []string{"-O", "inline_data"}},
	{"inline1k", Options{}, 16 << 20, 40 << 10, []string{"-O", "inline_data", "-b", "1024", "-I", "512"}},
	{"32bit", Options{}, 32 << 20, 300 << 10, []string{"-O", "^64bit"}},
	{"nocsum", Options{}, 32 << 20, 300 << 10, []string{"-O", "^metadata_csum"}},
	{"nojournal", Options{}, 32 << 20, 300 << 10, []string{"-O", "^has_journal"}},
	{"journal", Options{DataMode: DataJournal}, 32 << 20, 200 << 10, nil},
	{"journal1k", Options{DataMode: DataJournal}, 32 << 20, 200 << 10, []string{"-b", "1024"}},
	{"small log", Options{DataMode: DataJournal}, 16 << 20, 200 << 10, []string{"-b", "1024", "-J", "size=1"}},
	{"journal ext3", Options{DataMode: DataJournal}, 32 << 20, 200 << 10, []string{"-t", "ext3", "-b", "1024"}},
	{"quota", Options{}, 32 << 20, 300 << 10, []string{"-O", "quota"}},
	{"quota bigalloc", Options{}, 64 << 20, 300 << 10, []string{"-O", "quota,bigalloc", "-C", "16384"}},
	{"quota ext3", Options{}, 32 << 20, 300 << 10, []string{"-t", "ext3", "-b", "1024", "-O", "quota"}},
	{"writeback", Options{DataMode: DataWriteback}, 32 << 20, 300 << 10, nil},
}

var writeSeeds = flag.Int("write-seeds", 2, "sequences of random writes for every kind of image")

// TestWrite_model does random things to files and to slices of bytes.
func TestWrite_model(t *testing.T) {
	for _, c := range writeModelCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(*writeSeeds) {
				runWriteModel(t, newWriteImage(t, &c.opts, c.size, 3, c.mkfs...), seed, 150, c.max)
			}
		})
	}
}

func runWriteModel(t *testing.T, w *writeImage, seed uint64, steps, max int) {
	rng := rand.New(rand.NewPCG(seed, 11))
	models := make([]*model, len(w.files))
	for n, name := range w.files {
		models[n] = &model{w: w, i: w.inode(name), name: name, rng: rng, max: max, seq: byte(n * 80)}
	}
	for n := range steps {
		m := models[rng.IntN(len(models))]
		what, err := m.step(models[rng.IntN(len(models))])
		if err != nil {
			t.Fatalf("seed %d, step %d: %s: %v", seed, n, what, err)
		}
		m.check(fmt.Sprintf("seed %d, step %d: %s", seed, n, what))
		if rng.IntN(20) == 0 {
			if err := w.fs.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := make(map[string][]byte)
	for _, m := range models {
		want[m.name] = m.want
	}
	w.close(want)
}
