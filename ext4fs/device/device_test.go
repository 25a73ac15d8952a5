package device

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/dsnet/golib/memfile"
)

// testReads checks that d has exactly this content, at every kind of offset,
// and ends as io.ReaderAt says.
func testReads(t *testing.T, d Device, want []byte) {
	t.Helper()
	if d.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", d.Size(), len(want))
	}
	size := len(want)
	if size <= 64<<10 { // it reads byte by byte
		if err := iotest.TestReader(io.NewSectionReader(d, 0, d.Size()), want); err != nil {
			t.Error(err)
		}
	}
	for at := 0; at < size; at += size/7 + 1 {
		p := make([]byte, min(size-at, size/3+1))
		if n, err := d.ReadAt(p, int64(at)); n != len(p) || !bytes.Equal(p, want[at:at+n]) {
			t.Errorf("read of %d at %d gave %d bytes, or wrong ones: %v", len(p), at, n, err)
		}
	}
	for _, r := range [][2]int{
		{0, 0}, {0, 1}, {0, size}, {1, size - 1}, {size / 2, size / 3}, {max(size-5000, 0), min(size, 5000)},
		{0, size + 1}, {size - 1, 2}, {size, 1}, {size, 0}, {size + 1, 1}, {size + 100, 0}, {4095, 4098}, {12288, 4096},
	} {
		off, n := r[0], r[1]
		p := bytes.Repeat([]byte{0xa5}, n)
		k, err := d.ReadAt(p, int64(off))
		rest := want[min(off, size):]
		if k != min(n, len(rest)) || !bytes.Equal(p[:k], rest[:k]) {
			t.Errorf("read of %d at %d gave %d bytes, or wrong ones", n, off, k)
		}
		if (k < n && err != io.EOF) || (k == n && err != nil && err != io.EOF) {
			t.Errorf("read of %d at %d of %d: error %v", n, off, size, err)
		}
	}
	if n, err := d.ReadAt(make([]byte, 1), -1); n != 0 || err == nil || err == io.EOF {
		t.Errorf("read at -1: %d, %v", n, err)
	}
	if n, err := d.ReadAt(make([]byte, 1), math.MaxInt64); n != 0 || err != io.EOF {
		t.Errorf("read at the end of all numbers: %d, %v", n, err)
	}
}

func TestDevices_readAlike(t *testing.T) {
	content := noise(1, 40_000)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	window := func(d Device, off, n int64) Device {
		w, err := NewWindow(d, off, n)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	around := append(append(noise(2, 777), content...), noise(3, 99)...)
	for name, d := range map[string]Device{
		"memory":        NewMemory(content),
		"memfile":       NewReaderAt(memfile.New(content), int64(len(content))),
		"reader":        NewReaderAt(bytes.NewReader(around[777:]), int64(len(content))),
		"file":          &hostFile{f: f, size: int64(len(content))},
		"window":        window(NewMemory(around), 777, int64(len(content))),
		"double window": window(window(NewMemory(around), 700, 40_100), 77, int64(len(content))),
		"whole window":  window(NewMemory(content), 0, int64(len(content))),
		"aligned":       newAligned(onlySectors{content}, int64(len(content))),
	} {
		t.Run(name, func(t *testing.T) { testReads(t, d, content) })
	}
}

func TestNewReaderAt_sizes(t *testing.T) {
	mem := NewMemory(make([]byte, 100))
	if d := NewReaderAt(mem, 200); d.Size() != 100 {
		t.Errorf("a device cannot grow: %d", d.Size())
	}
	if d := NewReaderAt(mem, 50); d.Size() != 50 {
		t.Errorf("size %d", d.Size())
	}
	if d := NewReaderAt(bytes.NewReader(nil), -5); d.Size() != 0 {
		t.Errorf("size %d", d.Size())
	}
	// A reader that is shorter than said ends where it ends.
	d := NewReaderAt(bytes.NewReader(make([]byte, 10)), 100)
	if n, err := d.ReadAt(make([]byte, 20), 0); n != 10 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestNewWindow_bounds(t *testing.T) {
	d := NewMemory(make([]byte, 100))
	for _, w := range [][2]int64{{-1, 5}, {0, -1}, {0, 101}, {101, 0}, {50, 51}, {math.MaxInt64, math.MaxInt64}, {1, math.MaxInt64}} {
		if _, err := NewWindow(d, w[0], w[1]); err == nil {
			t.Errorf("window of %d at %d", w[1], w[0])
		}
	}
	if w, err := NewWindow(d, 100, 0); err != nil || w.Size() != 0 {
		t.Errorf("empty window at the end: %v", err)
	}
}

func TestHostRange(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file := &hostFile{f: f, size: 1000}
	w, _ := NewWindow(file, 100, 500)
	w2, _ := NewWindow(w, 50, 100)
	mem, _ := NewWindow(NewMemory(make([]byte, 10)), 1, 5)
	for _, tt := range []struct {
		d           Device
		off, n      int64
		want, count int64 // -1: none
	}{
		{file, 0, 1000, 0, 1000}, {file, 10, 5, 10, 5}, {file, 990, 50, 990, 10},
		{file, 1000, 1, -1, 0}, {file, -1, 5, -1, 0}, {file, 5, 0, -1, 0}, {file, math.MaxInt64, math.MaxInt64, -1, 0},
		{w, 0, 500, 100, 500}, {w, 499, 500, 599, 1}, {w, 500, 1, -1, 0}, {w, -1, 1, -1, 0},
		{w2, 0, math.MaxInt64, 150, 100}, {w2, 99, 9, 249, 1},
		{mem, 0, 1, -1, 0},
	} {
		got, off, n := tt.d.(HostRanger).HostRange(tt.off, tt.n)
		if tt.want < 0 {
			if got != nil || n != 0 {
				t.Errorf("%T: range at %d: %d bytes", tt.d, tt.off, n)
			}
			continue
		}
		if got != f || off != tt.want || n != tt.count {
			t.Errorf("%T: range of %d at %d is %d at %d", tt.d, tt.n, tt.off, n, off)
		}
	}
}

// onlySectors is a raw device: reads must be of whole sectors.
type onlySectors struct{ b []byte }

func (o onlySectors) ReadAt(p []byte, off int64) (int, error) {
	if off%512 != 0 || len(p)%512 != 0 {
		return 0, errors.New("invalid argument")
	}
	return bytes.NewReader(o.b).ReadAt(p, off)
}

func TestSearchSize(t *testing.T) {
	for _, size := range []int{512, 1024, 4096, 4608, 1 << 20, 1<<20 + 512, 123 * 512} {
		got, err := searchSize(onlySectors{make([]byte, size)})
		if err != nil || got != int64(size) {
			t.Errorf("%d: %d, %v", size, got, err)
		}
	}
	if _, err := searchSize(onlySectors{nil}); err == nil {
		t.Error("an empty device has a size")
	}
}
