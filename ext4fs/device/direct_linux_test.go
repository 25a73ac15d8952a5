package device_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// directFile makes a file of random content that is on the disk and not in the page
// cache, where direct I/O goes past that.
func directFile(t *testing.T, size int) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk.img")
	content = testimages.Content(7, size)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	forget(t, path)
	buf := pages(t, 64<<10)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err == nil {
		_, err = f.ReadAt(buf, 0)
		f.Close()
	}
	if err != nil || cachedPages(t, path, 0, size) != 0 {
		testimages.Absent(t, "needs a host file system with direct I/O")
	}
	return path, content
}

// forget brings a file to the disk and out of the page cache.
func forget(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// cachedPages counts those of a range.
func cachedPages(t *testing.T, path string, off, n int) int {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &st, 0); err != nil {
		testimages.Absent(t, "needs cachestat(2): "+err.Error())
	}
	return int(st.Cache)
}

// pages is memory that begins with a page.
func pages(t *testing.T, n int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

// Streams are not kept in the page cache; what is there already is taken from it.
func TestDirect_streams(t *testing.T) {
	const size = 4 << 20
	for _, write := range []bool{false, true} {
		path, content := directFile(t, size+1000)
		m, err := device.Open(path, device.Options{Write: write, Direct: device.DirectStreams})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		forget(t, path) // what opening has looked at
		mem := pages(t, 2<<20)
		read := func(off, n int) {
			t.Helper()
			if k, err := m.ReadAt(mem[:n], int64(off)); k != n || err != nil || !bytes.Equal(mem[:n], content[off:off+n]) {
				t.Errorf("%d bytes at %d: %d, %v, same content %v", n, off, k, err, bytes.Equal(mem[:n], content[off:off+n]))
			}
		}
		read(0, 1<<20)
		read(1<<20, 256<<10)
		if n := cachedPages(t, path, 0, size); n != 0 {
			t.Errorf("write %v: %d pages cached by streams", write, n)
		}
		read(2<<20, 4096)
		if n := cachedPages(t, path, 2<<20, 4096); n != 1 {
			t.Errorf("write %v: %d pages cached by a small read", write, n)
		}
		if k, err := m.ReadAt(mem, size-(1<<20)); k != 1<<20+1000 || err != io.EOF || !bytes.Equal(mem[:k], content[size-(1<<20):]) {
			t.Errorf("beyond the end: %d, %v", k, err)
		}
		if !write {
			continue
		}
		copy(content[1<<20:], testimages.Content(8, 200_000))
		if _, err := m.WriteAt(content[1<<20:1<<20+200_000], 1<<20); err != nil {
			t.Fatal(err)
		}
		read(1<<20-4096, 256<<10)
		if n := cachedPages(t, path, 1<<20, 196_608); n != 48 {
			t.Errorf("%d pages of what was just written", n)
		}
	}
}

// With everything direct nothing of it is cached, and nothing is lost.
func TestDirect_always(t *testing.T) {
	const size = 4 << 20
	path, content := directFile(t, size)
	m, err := device.Open(path, device.Options{Write: true, Direct: device.DirectAlways})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	forget(t, path) // what opening has looked at
	mem := pages(t, 1<<20)
	copy(mem, testimages.Content(9, 1<<20))
	copy(content[1<<20:], mem)
	if _, err := m.WriteAt(mem[:256<<10], 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := m.WriteVAt([][]byte{mem[256<<10 : 512<<10], mem[512<<10:]}, 1<<20+256<<10); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ReadAt(mem[:4096], 0); err != nil || !bytes.Equal(mem[:4096], content[:4096]) {
		t.Error(err)
	}
	if n := cachedPages(t, path, 0, size); n != 0 {
		t.Errorf("%d pages cached", n)
	}
	if err := m.Sync(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Error("the file is another one", err)
	}
}

// Reads and writes of every size and place, direct or not, are those of one file.
func TestDirect_model(t *testing.T) {
	const size = 2<<20 + 5000
	for _, mode := range []device.Direct{device.DirectStreams, device.DirectAlways} {
		path, content := directFile(t, size)
		m, err := device.Open(path, device.Options{Write: true, Direct: mode})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		rng := rand.New(rand.NewPCG(1, uint64(mode)))
		mem := pages(t, 1<<20)
		place := func() (off, n, at int) {
			unit := []int{1, 512, 4096, 65536}[rng.IntN(4)]
			off, n = rng.IntN(size)/unit*unit, (1+rng.IntN(400_000))/unit*unit
			return off, min(n, size-off), rng.IntN(2) * rng.IntN(600)
		}
		for range 1500 {
			off, n, at := place()
			b := mem[at : at+n]
			switch rng.IntN(5) {
			case 0, 1:
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				if k, err := m.WriteAt(b, int64(off)); k != n || err != nil {
					t.Fatal(k, n, err)
				}
				copy(content[off:], b)
			case 2:
				cut := rng.IntN(n + 1)
				if k, err := m.WriteVAt([][]byte{b[:cut], b[cut:]}, int64(off)); k != n || err != nil {
					t.Fatal(k, n, err)
				}
				copy(content[off:], b)
			case 3:
				forget(t, path)
			default:
				if k, err := m.ReadAt(b, int64(off)); k != n || err != nil || !bytes.Equal(b, content[off:off+n]) {
					t.Fatalf("mode %d: %d bytes at %d into %d: %d, %v", mode, n, off, at, k, err)
				}
			}
		}
		if err := m.Sync(); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
			t.Error("the file is another one", err)
		}
	}
}
