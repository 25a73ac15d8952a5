package device_test

import (
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
