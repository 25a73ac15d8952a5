package device

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestCopyHost(t *testing.T) {
	dir := t.TempDir()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := errors.Join(os.WriteFile(from, data, 0o600), os.WriteFile(to, make([]byte, 40000), 0o600)); err != nil {
		t.Fatal(err)
	}
	m, err := Open(to, Options{Write: true, NoContainers: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriterWindow(m, 1000, 30000)
	if err != nil {
		t.Fatal(err)
	}
	n, err := CopyHost(w, f, 100, 8192, 12345)
	if err != nil || runtime.GOOS != "linux" && n != 0 {
		t.Fatal(n, err)
	}
	got := make([]byte, n)
	if _, err := w.ReadAt(got, 8192); err != nil || !bytes.Equal(got, data[100:100+n]) {
		t.Fatalf("%d bytes differ, %v", n, err)
	}
	if n, err := CopyHost(w, f, 15000, 0, 5000); err != nil || n > 1000 {
		t.Fatalf("%d bytes behind the end, %v", n, err)
	}
	if n, err := CopyHost(w, f, 0, 29000, 5000); err == nil {
		t.Fatalf("%d bytes beyond the window", n)
	}
	if n, err := CopyHost(NewRAM(10000), f, 0, 0, 5000); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	r, err := Open(to, Options{NoContainers: true, Partition: "@0", NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.CopyHostAt(f, 0, 0, 10); !errors.Is(err, ErrReadOnly) {
		t.Fatal(err)
	}
}
