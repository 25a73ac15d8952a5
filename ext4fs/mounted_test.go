package ext4fs_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// mounted opens a small image as a server of a mount does.
func mounted(t *testing.T) (*ext4fs.FS, string) {
	t.Helper()
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 16<<20)
	f, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, img
}

func TestLeaveTimes(t *testing.T) {
	f, _ := mounted(t)
	if err := f.WriteFile("a", []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	i, err := f.Lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1000, 5)
	times := &ext4fs.SetAttr{Valid: ext4fs.AttrMtime | ext4fs.AttrCtime, Mtime: old, Ctime: old}
	if err := i.SetAttr(times); err != nil {
		t.Fatal(err)
	}
	f.LeaveTimes(true)
	for _, change := range []func() error{
		func() error { _, err := i.WriteAt(bytes.Repeat([]byte("x"), 10000), 0); return err },
		func() error { return i.Truncate(5000) },
		func() error { return i.Truncate(9000) },
		func() error { return i.Fallocate(0, 0, 20000) },
		func() error { return i.Fallocate(ext4fs.FallocatePunch|ext4fs.FallocateKeepSize, 0, 4096) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if st := i.Stat(); !st.Mtime.Equal(old) || !st.Ctime.Equal(old) {
			t.Errorf("times %v, %v", st.Mtime, st.Ctime)
		}
	}
	f.LeaveTimes(false)
	if err := i.Truncate(1); err != nil {
		t.Fatal(err)
	}
	if st := i.Stat(); st.Mtime.Equal(old) {
		t.Error("the time stands still")
	}
}

func TestWriteBack_flagsDoNotCount(t *testing.T) {
	f, _ := mounted(t)
	if err := f.WriteFile("a", []byte("0123"), 0o644); err != nil {
		t.Fatal(err)
	}
	i, err := f.Lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []disk.InodeFlags{disk.FlagAppend, disk.FlagImmutable} {
		was := i.Flags()
		if err := i.SetFlags(was | flag); err != nil {
			t.Fatal(err)
		}
		if _, err := i.WriteAt([]byte("x"), 1); !errors.Is(err, ext4fs.ErrNotPermitted) {
			t.Errorf("%s: WriteAt: %v", flag, err)
		}
		if _, err := i.WriteBack([]byte("abcdef"), 0); err != nil {
			t.Errorf("%s: %v", flag, err)
		}
		if err := i.SetFlags(was); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, err := i.ReadAt(b, 0); err != io.EOF || string(b[:n]) != "abcdef" {
			t.Errorf("%s: %q, %v", flag, b[:n], err)
		}
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.WriteBack([]byte("x"), 0); !errors.Is(err, ext4fs.ErrIsDir) {
		t.Errorf("a directory: %v", err)
	}
}

func TestShutdown(t *testing.T) {
	for mode, want := range map[ext4fs.ShutdownMode]bool{ext4fs.ShutdownSync: true, ext4fs.ShutdownLog: true, ext4fs.ShutdownNow: false} {
		f, img := mounted(t)
		if err := f.WriteFile("a", []byte("a"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := f.Shutdown(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
		if err := f.WriteFile("b", nil, 0o644); !errors.Is(err, ext4fs.ErrReadOnly) {
			t.Errorf("mode %d: a write after it: %v", mode, err)
		}
		if err := f.Close(); !errors.Is(err, ext4fs.ErrReadOnly) {
			t.Errorf("mode %d: close: %v", mode, err)
		}
		again, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: true})
		if err != nil {
			t.Fatal(err)
		}
		if n := again.Recovered().JournalError; n != 0 {
			t.Errorf("mode %d: the journal notes error %d", mode, n)
		}
		if _, err := again.Lookup("a"); (err == nil) != want {
			t.Errorf("mode %d: %v", mode, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		testimages.Fsck(t, img)
	}
}

func TestTrim(t *testing.T) {
	f, _ := mounted(t)
	sp, err := f.Space()
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Trim(t.Context(), 0, 1<<62, 0)
	if err != nil || n != sp.Free*uint64(sp.BlockSize) {
		t.Errorf("trimmed %d of %d: %v", n, sp.Free*uint64(sp.BlockSize), err)
	}
	if n, err = f.Trim(t.Context(), 0, 1<<62, 0); err != nil || n != 0 {
		t.Errorf("trimmed %d again: %v", n, err)
	}
	if _, err = f.Trim(t.Context(), 1<<62, 1<<20, 0); !errors.Is(err, ext4fs.ErrInvalid) {
		t.Errorf("beyond the end: %v", err)
	}
}

// A write over what is there leaves the metadata alone where times are the
// caller's; whatever maps blocks does not.
func TestLeaveTimes_plainWrites(t *testing.T) {
	f, _ := mounted(t)
	if err := f.WriteFile("a", bytes.Repeat([]byte("a"), 40000), 0o644); err != nil {
		t.Fatal(err)
	}
	i, err := f.Lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	i.Hold()
	defer i.Release()
	f.LeaveTimes(true)
	for _, w := range []struct {
		prepare func() error
		off     int64
		changes bool
	}{
		{func() error { return nil }, 100, false},
		{func() error { return i.Fallocate(ext4fs.FallocateZero, 8192, 8192) }, 8192, true},
		{func() error { return nil }, 8192, false},
		{func() error { return i.Fallocate(ext4fs.FallocatePunch|ext4fs.FallocateKeepSize, 8192, 8192) }, 10000, true},
		{func() error { return nil }, 39000, true}, // beyond the end
	} {
		if err := w.prepare(); err != nil {
			t.Fatal(err)
		}
		before := i.Stat().Version
		if n, err := i.WriteAt(bytes.Repeat([]byte("b"), 2000), w.off); n != 2000 || err != nil {
			t.Fatal(n, err)
		}
		if changed := i.Stat().Version != before; changed != w.changes {
			t.Errorf("at %d: changed %v", w.off, changed)
		}
		if err := i.Fsync(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2000)
		if _, err := i.ReadAt(b, w.off); err != nil && err != io.EOF || !bytes.Equal(b, bytes.Repeat([]byte("b"), 2000)) {
			t.Errorf("at %d: %v", w.off, err)
		}
	}
}
