package host_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/host"
	"golang.org/x/sys/unix"
)

func TestPeek(t *testing.T) {
	path := t.TempDir()
	content := bytes.Repeat([]byte("text "), 2000)
	name := filepath.Join(path, "file")
	if err := errors.Join(os.WriteFile(name, content, 0o640), os.Symlink("file", filepath.Join(path, "link")),
		os.Mkdir(filepath.Join(path, "dir"), 0o700), unix.Mkfifo(filepath.Join(path, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	noAttr := unix.Setxattr(name, "user.a", []byte("value"), 0)
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, n := range []string{"link", "dir", "fifo", "absent"} {
		if p, err := host.Peek(dir, n); err == nil {
			p.Close()
			t.Errorf("%s was opened", n)
		}
	}
	p, err := host.Peek(dir, "file")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := host.StatOf(info)
	if p.Stat != want || p.Size != info.Size() || p.Mode != unix.S_IFREG|0o640 {
		t.Errorf("%+v, want %+v", p, want)
	}
	buf := make([]byte, len(content)+1)
	if n, err := p.Read(buf); err != nil || !bytes.Equal(buf[:n], content) {
		t.Errorf("%d bytes, %v", n, err)
	}
	list, err := p.Xattrs(func(name string) bool { return name == "user.a" })
	if err != nil || noAttr == nil && (len(list) != 1 || string(list[0].Value) != "value") {
		t.Errorf("%v, %v", list, err)
	}
}

// Where a file is not as long as it was, reading says so.
func TestPeek_changed(t *testing.T) {
	path := t.TempDir()
	for _, c := range []struct {
		name   string
		now, n int
	}{{"grown", 300, 101}, {"shrunk", 40, 40}} {
		name := filepath.Join(path, c.name)
		if err := os.WriteFile(name, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		p, err := host.Peek(dir, c.name)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := os.Truncate(name, int64(c.now)); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Read(make([]byte, p.Size+1)); n != c.n || err != nil {
			t.Errorf("%s: %d bytes, %v", c.name, n, err)
		}
	}
}
