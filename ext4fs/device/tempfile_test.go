package device

import (
	"bytes"
	"io"
	"os"
	"testing"
)

func TestTempFile(t *testing.T) {
	dir := t.TempDir()
	f, err := CreateTemp(dir, "a test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("abc"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(2 << 20); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 5)
	if _, err := f.ReadAt(p, 1<<20-1); err != nil || !bytes.Equal(p, []byte("\x00abc\x00")) || f.Stored() != 3 {
		t.Errorf("%q, %v, %d stored", p, err, f.Stored())
	}
	if n, err := f.File().ReadAt(p, 2<<20-2); n != 2 || err != io.EOF {
		t.Error(n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(dir); len(list) > 0 || err != nil {
		t.Error(list, err)
	}
}
