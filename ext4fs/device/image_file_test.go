package device_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
)

func TestFromFile_truncate(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := device.FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Size() != 0 || !m.Writable() || m.BlockDevice() {
		t.Errorf("size %d, writable %v", m.Size(), m.Writable())
	}
	if err := m.Truncate(1 << 20); err != nil || m.Size() != 1<<20 {
		t.Fatalf("%v, size %d", err, m.Size())
	}
	if _, err := m.WriteAt([]byte("end"), 1<<20-3); err != nil {
		t.Fatal(err)
	}
	if err := m.Truncate(1 << 10); err != nil || m.Size() != 1<<10 {
		t.Fatalf("%v, size %d", err, m.Size())
	}
	if _, err := m.WriteAt([]byte("end"), 1<<20-3); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a write beyond the new end: %v", err)
	}
	if f, off, n := m.HostRange(0, 1); f == nil || off != 0 || n != 1 {
		t.Errorf("no host range: %v %d %d", f, off, n)
	}
	ro, err := device.Open(f.Name(), device.Options{Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if err := ro.Truncate(5); !errors.Is(err, device.ErrReadOnly) {
		t.Errorf("an image open for reading: %v", err)
	}
}

// What is written early is the same, whatever way it comes, and there is still
// no durability to wait for.
func TestFromFile_writeEarly(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := device.FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.WriteEarly()
	const piece, pieces = 1 << 20, 12
	if err := m.Truncate(piece * pieces); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, piece*pieces)
	for i := range want {
		want[i] = byte(i>>12 + i)
	}
	source, err := os.Create(filepath.Join(dir, "source"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if _, err := source.Write(want); err != nil {
		t.Fatal(err)
	}
	for i := range pieces {
		off := int64(i) * piece
		p := want[off : off+piece]
		n := 0
		switch i % 3 {
		case 0:
			n, err = m.WriteAt(p, off)
		case 1:
			n, err = piece, device.WriteV(m, [][]byte{p[:5], p[5:]}, off)
		default:
			var copied int64
			if copied, err = device.CopyHost(m, source, off, off, piece); err == nil {
				n, err = m.WriteAt(p[copied:], off+copied)
				n += int(copied)
			}
		}
		if n != piece || err != nil {
			t.Fatalf("piece %d: %d bytes, %v", i, n, err)
		}
	}
	if _, err := m.WriteAt([]byte("end"), piece*pieces-1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a write beyond the end: %v", err)
	}
	if err := m.Sync(); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file holds something else: %v", err)
	}
}
