package device

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Small writes stay away from the file until they are many, end, or are asked
// for, and then get there in the order in which they came.
func TestBehind(t *testing.T) {
	const size = 4 << 20
	path := writeFile(t, make([]byte, size))
	m, err := Open(path, Options{Write: true, WriteBehind: true, NoContainers: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	put := func(c byte, off, n int) {
		t.Helper()
		if _, err := m.WriteAt(bytes.Repeat([]byte{c}, n), int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	inFile := func() []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	put(1, 5000, 3000)
	put(2, 8000, 3000)
	if b := inFile(); b[5000] != 0 || b[8000] != 0 {
		t.Error("small writes were not gathered")
	}
	put(3, 6000, 10) // over what waits
	got := make([]byte, 20)
	if _, err := m.ReadAt(got, 5995); err != nil || !bytes.Equal(got, append(append(
		bytes.Repeat([]byte{1}, 5), bytes.Repeat([]byte{3}, 10)...), bytes.Repeat([]byte{1}, 5)...)) {
		t.Errorf("%v, %v", got, err)
	}
	put(4, 1<<20, 100)
	put(5, 1<<20-10, behindDirect) // goes past the queue, and comes after
	put(6, 3<<20, 7)
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	b := inFile()
	for at, want := range map[int]byte{4999: 0, 5000: 1, 6000: 3, 6010: 1, 7999: 1, 8000: 2, 10999: 2, 11000: 0, 1 << 20: 5, 3 << 20: 6, 3<<20 + 7: 0} {
		if b[at] != want {
			t.Errorf("byte %d is %d, want %d", at, b[at], want)
		}
	}
	put(7, 100, 7)
	if f, off, n := m.HostRange(100, 7); f == nil || off != 100 || n != 7 || inFile()[106] != 7 {
		t.Error("a range of the file does not have what was written")
	}
}

// Sync ends although others go on writing, and has all that was written before.
func TestBehind_syncWhileWriting(t *testing.T) {
	path := writeFile(t, make([]byte, 16<<20))
	m, err := Open(path, Options{Write: true, WriteBehind: true, NoContainers: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var others sync.WaitGroup
	stop := make(chan struct{})
	for k := range 2 {
		others.Go(func() {
			p := bytes.Repeat([]byte{9}, 64<<10)
			for at := int64(8 << 20 >> k); ; at = (at + 128<<10) % (16<<20 - 64<<10) {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := m.WriteAt(p, max(at, 1<<20)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range byte(20) {
		if _, err := m.WriteAt([]byte{i}, int64(i)); err != nil {
			t.Error(err)
		}
		if err := m.Sync(); err != nil {
			t.Error(err)
		}
		b := make([]byte, 20)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(b, 0); err != nil || b[i] != i {
			t.Errorf("byte %d is %d, %v", i, b[i], err)
		}
		f.Close()
	}
	close(stop)
	others.Wait()
}

// What fails behind the back of its writer fails for ever.
func TestBehind_failure(t *testing.T) {
	path := writeFile(t, make([]byte, 1<<20))
	f, err := os.Open(path) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := newBehind(newHostWriter(f, 1<<20, 0))
	if _, err := b.WriteAt([]byte("taken"), 4096); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Sync(); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Sync: %v", err)
		}
	}
	if _, err := b.WriteAt([]byte("more"), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a write: %v", err)
	}
	if _, err := b.WriteAt(make([]byte, behindDirect), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a long write: %v", err)
	}
	if _, err := b.ReadAt(make([]byte, 5), 4096); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a read of what was lost: %v", err)
	}
}

// Where there is little room, the write that has none says so.
func TestBehind_hostFull(t *testing.T) {
	RequireRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "img")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 8<<20)); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path, Options{Write: true, WriteBehind: true, NoContainers: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for at := int64(0); err == nil && at < 8<<20; at += 64 << 10 {
		_, err = m.WriteAt(bytes.Repeat([]byte{1}, 64<<10), at)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if err := m.Sync(); err != nil {
		t.Errorf("what was written before cannot be synced: %v", err)
	}
}
