package mount_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"

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
