package mount_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"golang.org/x/sys/unix"
)

// The kernel need not ask to open a file that nobody can write to.
func TestNoOpen_readOnlyAsksNothing(t *testing.T) {
	img := fresh(t, 16<<20)
	s := start(t, img, "")
	if err := os.WriteFile(s.path("f"), []byte("what is there"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s = start(t, img, "ro")
	read := func() {
		got, err := os.ReadFile(s.path("f"))
		if err != nil || string(got) != "what is there" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	read()
	before := s.count()
	const times = 50
	for range times {
		read()
	}
	after := s.count()
	if n := after.requests - before.requests; n >= times {
		t.Errorf("%d requests of %d openings", n, times)
	}
	if after.handles != 0 {
		t.Errorf("%d open files", after.handles)
	}
	if f, err := os.OpenFile(s.path("f"), os.O_RDWR, 0); !errors.Is(err, unix.EROFS) {
		f.Close()
		t.Errorf("open to write: %v", err)
	}
	s.stop()
}

// With no_open, too, a file without a name lives on while it is open, and its
// space is free after that.
func TestNoOpen_unlinkedFileLivesOn(t *testing.T) {
	s := start(t, fresh(t, 16<<20), "no_open")
	if err := os.WriteFile(s.path("other"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("f"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(s.path("other"), s.path("f")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path("f")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("still here"), 2<<20); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 2<<20); err != nil && err != io.EOF || string(got) != "still here" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(s.path("f")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	s.stop() // e2fsck finds no orphan
}

// With no_open files are protected by their flags, too: what was written before
// they had them is kept, and what is written after that fails when it is stored.
func TestNoOpen_flagsProtect(t *testing.T) {
	const immutable, appendOnly, extents = int(disk.FlagImmutable), int(disk.FlagAppend), int(disk.FlagExtents)
	s := start(t, fresh(t, 16<<20), "no_open")
	stored := map[string]string{}
	for _, c := range []struct {
		name  string
		flag  int
		flags int // of open(2)
		off   int64
		kept  bool
	}{
		{"immutable", immutable, unix.O_RDWR, 0, false},
		{"immutable, end", immutable, unix.O_RDWR, 5, false},
		{"immutable, direct", immutable, unix.O_RDWR | unix.O_DIRECT, 0, false},
		{"append-only, over", appendOnly, unix.O_RDWR, 0, false},
		{"append-only, over and on", appendOnly, unix.O_RDWR, 3, false},
		{"append-only, end", appendOnly, unix.O_RDWR | unix.O_APPEND, 0, true},
	} {
		path := s.path(c.name)
		f, err := os.OpenFile(path, os.O_CREATE|c.flags, 0o644)
		must(t, "create", err)
		before, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, "open", err)
		_, err = before.WriteString("first")
		must(t, "write", err)
		must(t, "set flags", unix.IoctlSetPointerInt(int(before.Fd()), unix.FS_IOC_SETFLAGS, c.flag|extents))
		must(t, "close", before.Close())
		want := "first"
		if c.kept {
			want = "firstSECOND"
		}
		stored[c.name] = want
		data := []byte("SECOND")
		if c.flags&unix.O_DIRECT != 0 {
			data = aligned(4096)
		}
		werr := try(unix.Pwrite(int(f.Fd()), data, c.off))
		if werr == nil {
			werr = f.Sync()
		}
		if (werr == nil) != c.kept {
			t.Errorf("%s: write and fsync: %v", c.name, werr)
		}
		f.Close()
		got := ""
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			b, err := os.ReadFile(path) // until the kernel has dropped what it had
			must(t, "read", err)
			if got = string(b); len(got) >= len(want) && got[:len(want)] == want {
				break
			}
		}
		if len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("%s: %q is read, not %q", c.name, got, want)
		}
		ro, err := os.Open(path)
		must(t, "open", err)
		must(t, "clear flags", unix.IoctlSetPointerInt(int(ro.Fd()), unix.FS_IOC_SETFLAGS, extents))
		ro.Close()
	}
	s.stop()
	fsys, err := ext4fs.OpenFile(s.img, nil)
	must(t, "open the image", err)
	defer fsys.Close()
	for name, want := range stored {
		if got, err := fs.ReadFile(fsys, name); err != nil || string(got) != want {
			t.Errorf("%s: %q in the image, not %q, %v", name, got, want, err)
		}
	}
}
