package device

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// plainWriter is a Writer without optional interfaces.
type plainWriter struct{ r *RAM }

func (p plainWriter) Size() int64                              { return p.r.Size() }
func (p plainWriter) ReadAt(b []byte, off int64) (int, error)  { return p.r.ReadAt(b, off) }
func (p plainWriter) WriteAt(b []byte, off int64) (int, error) { return p.r.WriteAt(b, off) }
func (p plainWriter) Sync() error                              { return nil }

// rawFile takes whole units only, as raw devices of other systems do.
type rawFile struct {
	r *RAM
	t *testing.T
}

func (f rawFile) check(n int, off int64) {
	if off%alignment != 0 || n%alignment != 0 && off+int64(n) != f.r.Size() {
		f.t.Errorf("%d bytes at %d are not aligned", n, off)
	}
}

func (f rawFile) ReadAt(b []byte, off int64) (int, error) {
	if off%alignment != 0 {
		f.t.Errorf("read at %d is not aligned", off)
	}
	return f.r.ReadAt(b, off)
}

func (f rawFile) WriteAt(b []byte, off int64) (int, error) {
	f.check(len(b), off)
	return f.r.WriteAt(b, off)
}

// writers makes devices of every kind with that content.
func writers(t *testing.T, content []byte) map[string]Writer {
	t.Helper()
	size := int64(len(content))
	ram := func(b []byte) *RAM {
		r, err := LoadRAM(NewMemory(b))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	host := func(behind bool) *Image {
		m, err := Open(writeFile(t, content), Options{Write: true, WriteBehind: behind, NoContainers: true, Partition: "@0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	framed := append(append(bytes.Repeat([]byte{0xee}, 1000), content...), bytes.Repeat([]byte{0xee}, 5000)...)
	window, err := NewWriterWindow(ram(framed), 1000, size)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := NewWriterWindow(plainWriter{ram(framed)}, 1000, size)
	if err != nil {
		t.Fatal(err)
	}
	disk := newHostWriter(host(false).file, size, 512) // a block device for arithmetic
	disk.noPunch.Store(true)
	return map[string]Writer{
		"ram":     ram(content),
		"clone":   ram(content).Clone(),
		"overlay": NewOverlay(NewMemory(content)),
		"host":    host(false),
		"behind":  host(true),
		"disk":    disk,
		"window":  window,
		"plain":   plain,
		"aligned": newAlignedWriter(rawFile{ram(content), t}, size),
	}
}

// Random writes of every kind leave what they leave in a slice.
func TestWriter_model(t *testing.T) {
	const size = 700_001 // no multiple of anything
	rng := rand.New(rand.NewPCG(1, 2))
	first := make([]byte, size)
	for i := range first[:size/2] {
		first[i] = byte(rng.Uint32())
	}
	for name, w := range writers(t, first) {
		t.Run(name, func(t *testing.T) {
			model := bytes.Clone(first)
			for step := range 400 {
				off := rng.Int64N(size)
				n := rng.Int64N(min(size-off, []int64{10, 600, 5000, 200_000}[rng.IntN(4)]) + 1)
				if rng.IntN(3) == 0 {
					off &^= 4095
				}
				if err := mutate(rng, w, model, off, n); err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				compareAt(t, w, model, rng)
			}
			got := make([]byte, size)
			if n, err := w.ReadAt(got, 0); n != size || err != nil && err != io.EOF {
				t.Fatal(n, err)
			}
			if !bytes.Equal(got, model) {
				t.Error("content differs at the end")
			}
			if err := w.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
}

// mutate does one change to both.
func mutate(rng *rand.Rand, w Writer, model []byte, off, n int64) error {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	switch rng.IntN(5) {
	case 0:
		clear(model[off : off+n])
		return Zero(w, off, n)
	case 2:
		copy(model[off:], b)
		if err := Refresh(w, off, n); err != nil {
			return err
		}
		return WriteSync(w, b, off)
	case 1:
		copy(model[off:], b)
		return WriteV(w, cut(rng, b), off)
	}
	copy(model[off:], b)
	k, err := w.WriteAt(b, off)
	if err == nil && int64(k) != n {
		err = fmt.Errorf("wrote %d of %d", k, n)
	}
	return err
}

// cut is b in pieces, some of them empty.
func cut(rng *rand.Rand, b []byte) [][]byte {
	var bufs [][]byte
	most := []int{20, 3000, 100_000}[rng.IntN(3)]
	for len(b) > 0 {
		n := min(len(b), rng.IntN(most))
		bufs = append(bufs, b[:n:n])
		b = b[n:]
	}
	return bufs
}

func compareAt(t *testing.T, d Device, model []byte, rng *rand.Rand) {
	t.Helper()
	off := rng.IntN(len(model))
	got := make([]byte, rng.IntN(20_000))
	n, err := d.ReadAt(got, int64(off))
	want := model[off:min(off+len(got), len(model))]
	if n != len(want) || (err != nil) != (n < len(got)) && err != io.EOF {
		t.Fatalf("%d bytes of %d at %d, %v", n, len(want), off, err)
	}
	if !bytes.Equal(got[:n], want) {
		t.Fatalf("%d bytes at %d differ", n, off)
	}
}

// What does not fit changes nothing.
func TestWriter_range(t *testing.T) {
	content := bytes.Repeat([]byte{7}, 10_000)
	for name, w := range writers(t, content) {
		for _, c := range []struct{ off, n int64 }{{-1, 1}, {9_999, 2}, {10_000, 1}, {math.MaxInt64, 1}, {-1, 0}, {0, 10_001}} {
			b := make([]byte, c.n)
			_, errs := w.WriteAt(b, c.off)
			checkRange(t, name, errs)
			checkRange(t, name, WriteV(w, [][]byte{b[:c.n/2], b[c.n/2:]}, c.off))
			checkRange(t, name, Zero(w, c.off, c.n))
			checkRange(t, name, WriteSync(w, b, c.off))
			if d, ok := w.(Discarder); ok && name != "plain" {
				checkRange(t, name, d.Discard(c.off, c.n))
			}
			checkRange(t, name, Zero(w, 5, -1))
			if _, err := NewWriterWindow(w, c.off, c.n); err == nil {
				t.Errorf("%s: window of %d at %d", name, c.n, c.off)
			}
		}
		if n, err := w.WriteAt(nil, 10_000); n != 0 || err != nil {
			t.Errorf("%s: nothing at the end: %v", name, err)
		}
		got := make([]byte, 10_000)
		if _, err := w.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, content) {
			t.Errorf("%s: content changed, %v", name, err)
		}
	}
}

func checkRange(t *testing.T, name string, err error) {
	t.Helper()
	var re *RangeError
	if !errors.As(err, &re) || !errors.Is(err, syscall.EINVAL) || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%s: %v", name, err)
	}
}

// More buffers than one call of the system takes.
func TestWriteV_manyBuffers(t *testing.T) {
	b := make([]byte, 5000)
	for i := range b {
		b[i] = byte(i * 7)
	}
	var bufs [][]byte
	for i := range b {
		bufs = append(bufs, b[i:i+1], nil)
	}
	for name, w := range writers(t, make([]byte, 6000)) {
		if err := WriteV(w, bufs, 500); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := make([]byte, 5000)
		if _, err := w.ReadAt(got, 500); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: wrong content, %v", name, err)
		}
	}
}

// A window of a window of a disk keeps within itself.
func TestWriterWindow_nested(t *testing.T) {
	r := NewRAM(10_000)
	outer, err := NewWriterWindow(r, 1000, 5000)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := NewWriterWindow(outer, 500, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inner.WriteAt(bytes.Repeat([]byte{1}, 100), 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10_000)
	if _, err := r.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 10_000)
	copy(want[1500:], bytes.Repeat([]byte{1}, 100))
	if !bytes.Equal(got, want) {
		t.Error("written elsewhere")
	}
}

// Copies of copies are independent, and Diff finds what differs.
func TestRAM_clones(t *testing.T) {
	const size = 6<<20 + 77
	rng := rand.New(rand.NewPCG(3, 4))
	type pair struct {
		r     *RAM
		model []byte
	}
	all := []pair{{NewRAM(size), make([]byte, size)}}
	for range 12 {
		p := all[rng.IntN(len(all))]
		c := pair{p.r.Clone(), bytes.Clone(p.model)}
		all = append(all, c)
		for range 30 {
			q := all[rng.IntN(len(all))]
			off := rng.Int64N(size)
			if err := mutate(rng, q.r, q.model, off, rng.Int64N(min(size-off, 9000))); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := make([]byte, size)
	for i, p := range all {
		if _, err := p.r.ReadAt(got, 0); err != nil || !bytes.Equal(got, p.model) {
			t.Fatalf("clone %d differs from its model, %v", i, err)
		}
		other := all[rng.IntN(len(all))]
		patched := bytes.Clone(other.model)
		if err := p.r.Diff(other.r, func(off, n int64) error {
			copy(patched[off:off+n], p.model[off:])
			return nil
		}); err != nil || !bytes.Equal(patched, p.model) {
			t.Errorf("clone %d: the differences are not complete, %v", i, err)
		}
	}
	if err := all[0].r.Diff(NewRAM(5), nil); err == nil {
		t.Error("devices of different sizes compared")
	}
}

func TestOverlay_clones(t *testing.T) {
	base := make([]byte, 1<<20+100)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range base {
		base[i] = byte(rng.Uint32()) | 1
	}
	was := bytes.Clone(base)
	o := NewOverlay(NewMemory(base))
	c := o.Clone()
	mo, mc := bytes.Clone(base), bytes.Clone(base)
	for range 200 {
		off := rng.Int64N(int64(len(base)))
		n := rng.Int64N(min(int64(len(base))-off, 50_000))
		w, m := o, mo
		if rng.IntN(2) == 0 {
			w, m = c, mc
		}
		if err := mutate(rng, w, m, off, n); err != nil {
			t.Fatal(err)
		}
		compareAt(t, o, mo, rng)
		compareAt(t, c, mc, rng)
	}
	if !bytes.Equal(base, was) {
		t.Error("the base was written to")
	}
	all := NewOverlay(NewMemory(base))
	if err := all.Zero(0, all.Size()); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(base))
	if _, err := all.ReadAt(got, 0); err != nil || !allZero(got) {
		t.Error("not zero")
	}
}

// What an overlay did not change is still in the host's file.
func TestOverlay_hostRange(t *testing.T) {
	m, err := Open(writeFile(t, testImage()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	o := NewOverlay(m)
	if _, err := o.WriteAt([]byte{1}, 3*pageSize+5); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ off, n, want int64 }{
		{0, 100, 100}, {100, 5 * pageSize, 3*pageSize - 100}, {3 * pageSize, 10, 0}, {4*pageSize - 1, 10, 0},
		{4 * pageSize, 10, 10}, {m.Size() - 5, 100, 5}, {m.Size(), 1, 0}, {-1, 1, 0},
	} {
		f, at, n := o.HostRange(c.off, c.n)
		if n != c.want || (f == nil) != (n == 0) || n > 0 && at != c.off {
			t.Errorf("%d bytes at %d: %d at %d", c.n, c.off, n, at)
		}
	}
	if f, _, _ := NewOverlay(NewMemory(make([]byte, 10))).HostRange(0, 1); f != nil {
		t.Error("memory in a file")
	}
}

// A base that cannot be read fails what needs it, and nothing else.
func TestOverlay_baseFails(t *testing.T) {
	o := NewOverlay(NewReaderAt(badReader{}, 3*pageSize))
	b := make([]byte, pageSize)
	if _, err := o.WriteAt(b[:10], 20); !errors.Is(err, syscall.EIO) {
		t.Errorf("part of a page: %v", err)
	}
	if _, err := o.WriteAt(b, pageSize); err != nil {
		t.Errorf("a whole page: %v", err)
	}
	if err := o.Zero(pageSize-1, 10); !errors.Is(err, syscall.EIO) {
		t.Errorf("zero: %v", err)
	}
	if _, err := o.ReadAt(b, pageSize); err != nil {
		t.Errorf("read what was written: %v", err)
	}
	if n, err := o.ReadAt(b, pageSize+1); !errors.Is(err, syscall.EIO) || n != pageSize-1 {
		t.Errorf("read on: %d, %v", n, err)
	}
	if _, err := LoadRAM(NewReaderAt(badReader{}, 10)); !errors.Is(err, syscall.EIO) {
		t.Errorf("load: %v", err)
	}
}

type badReader struct{}

func (badReader) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// A huge device takes what is written to it.
func TestRAM_huge(t *testing.T) {
	for _, size := range []int64{0, 1, pageSize, pageSize + 1, fan * pageSize, fan*pageSize + 1, 1 << 50, math.MaxInt64} {
		r := NewRAM(size)
		off := max(size-3, 0)
		b := []byte("abc")[:min(size, 3)]
		if _, err := r.WriteAt(b, off); err != nil {
			t.Fatal(size, err)
		}
		got := make([]byte, 3)
		if n, err := r.ReadAt(got, off); n != len(b) || err != nil && err != io.EOF || !bytes.Equal(got[:n], b) {
			t.Errorf("%d: %q, %v", size, got, err)
		}
		if err := r.Discard(0, size); err != nil {
			t.Error(err)
		}
		if n, err := r.ReadAt(got, off); n != len(b) || err != nil && err != io.EOF || !allZero(got[:n]) {
			t.Errorf("%d: after discard %q, %v", size, got, err)
		}
		if r.p.root != nil {
			t.Errorf("%d: something is left", size)
		}
	}
}

// Readers, writers and copiers do not get in each other's way.
func TestRAM_concurrent(t *testing.T) {
	r := NewRAM(1 << 20)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			b := bytes.Repeat([]byte{byte(g + 1)}, 3000)
			got := make([]byte, 3000)
			for i := range 300 {
				off := int64(g*250_000 + i*800)
				if _, err := r.WriteAt(b, off); err != nil {
					t.Error(err)
				}
				c := r.Clone()
				if _, err := c.ReadAt(got, off); err != nil || !bytes.Equal(got, b) {
					t.Errorf("clone is not what was written, %v", err)
				}
				if _, err := c.WriteAt(got, int64(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// A host file that failed to become durable stays so, without being asked.
func TestHostWriter_failsForEver(t *testing.T) {
	m, err := Open(writeFile(t, testImage()), Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	h := newHostWriter(m.file, m.Size(), 0)
	if err := errors.Join(h.Sync(), h.durable(syscall.EIO)); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	_, werr := h.WriteSyncAt([]byte{1}, 0)
	for _, err := range []error{h.Sync(), werr, h.Sync()} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%v", err)
		}
	}
}

// failing is a raw device whose Sync fails once.
type failing struct {
	rawFile
	left *int
}

func (f failing) Sync() error {
	if *f.left--; *f.left == 0 {
		return syscall.EIO
	}
	return nil
}

// A device that failed to sync has lost what was written: it does not recover.
func TestSync_failsForEver(t *testing.T) {
	left := 2
	a := newAlignedWriter(failing{rawFile{NewRAM(8192), t}, &left}, 8192)
	for i, want := range []error{nil, syscall.EIO, syscall.EIO} {
		if err := a.Sync(); !errors.Is(err, want) {
			t.Errorf("sync %d: %v", i, err)
		}
	}
	m, err := Open(writeFile(t, testImage()), Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if err := m.Sync(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("sync after close: %v", err)
	}
	if err := WriteV(m, [][]byte{{1}, {2}}, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

func TestOpen_write(t *testing.T) {
	disk := gptDisk(512)
	path := writeFile(t, disk)
	m, err := Open(path, Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if w, ok := AsWriter(m); !ok || w == nil || !m.Writable() || !m.Locked() {
		t.Error("not a writer")
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrBusy) || !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a reader beside a writer: %v", err)
	}
	if _, err := m.WriteAt([]byte("hello"), 3*mib); err != nil {
		t.Fatal(err)
	}
	if f, at, n := m.HostRange(3*mib, 5); f == nil || at != 5*mib || n != 5 {
		t.Errorf("host range of %d at %d", n, at)
	}
	if _, err := m.WriteAt([]byte("hello"), m.Size()-4); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("beyond the partition: %v", err)
	}
	if err := m.Zero(mib, 10_000); err != nil {
		t.Error(err)
	}
	if err := errors.Join(m.Discard(2*mib, mib/2), m.Sync(), m.Close()); err != nil {
		t.Error(err)
	}
	copy(disk[5*mib:], "hello")
	clear(disk[3*mib : 3*mib+10_000])
	got, err := os.ReadFile(path)
	if err != nil || len(got) != len(disk) {
		t.Fatal(err)
	}
	clear(disk[4*mib : 4*mib+mib/2])
	clear(got[4*mib : 4*mib+mib/2])
	if !bytes.Equal(got, disk) {
		t.Error("wrong content")
	}
}

// An image that was opened for reading refuses to be written to.
func TestOpen_notForWriting(t *testing.T) {
	path := writeFile(t, testImage())
	m, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, ok := AsWriter(m); ok || m.Writable() {
		t.Error("a writer")
	}
	if _, ok := AsWriter(NewMemory(nil)); ok {
		t.Error("plain memory is a writer")
	}
	_, werr := m.WriteAt([]byte{1}, 0)
	_, verr := m.WriteVAt([][]byte{{1}}, 0)
	_, derr := m.WriteSyncAt([]byte{1}, 0)
	for _, err := range []error{werr, verr, derr, m.Sync(), m.Zero(0, 1), m.Discard(0, 1)} {
		if !errors.Is(err, ErrReadOnly) || !errors.Is(err, syscall.EROFS) {
			t.Errorf("%v", err)
		}
	}
	if _, err := Open(path, Options{Write: true}); !errors.Is(err, ErrBusy) {
		t.Errorf("a writer beside a reader: %v", err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		if _, err := Open(path, Options{Write: true, NoLock: true}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a read-only file: %v", err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{Write: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// Containers are refused by name, before they are undone.
func TestOpen_writeIntoContainer(t *testing.T) {
	for _, format := range []string{"gzip", "zstd", "xz", androidFormat} {
		path := writeFile(t, compress(t, format, testImage()))
		_, err := Open(path, Options{Write: true, Progress: func(ProgressInfo) { t.Error("decompressed") }})
		var ue *UnsupportedError
		if !errors.As(err, &ue) || ue.Format != format || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", format, err)
		}
	}
}
