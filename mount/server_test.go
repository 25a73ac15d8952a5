//go:build linux && !386

package mount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// newServer makes a server of a fresh image.
func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	testimages.RequireTool(t, "mke2fs")
	img := filepath.Join(testimages.Scratch(t), "image")
	testimages.Mkfs(t, img, 16<<20)
	fsys, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: !o.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(fsys, o)
}

func TestServer_beforeMount(t *testing.T) {
	s := newServer(t, Options{})
	if err := s.Wait(); !errors.Is(err, ErrNotMounted) {
		t.Errorf("Wait: %v", err)
	}
	if err := s.Unmount(); !errors.Is(err, ErrNotMounted) {
		t.Errorf("Unmount: %v", err)
	}
	if st := s.Stats(); len(st.Ops) != 0 || st.Mountpoint != "" {
		t.Errorf("%+v", st)
	}
}

func TestServer_badMountpoint(t *testing.T) {
	s := newServer(t, Options{})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Mount(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := s.Mount(t.Context(), file); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
}

// The life of a mount, with what Stats says about it.
func TestServer_life(t *testing.T) {
	testimages.RequireFUSE(t)
	testimages.RequireRoot(t)
	s := newServer(t, Options{FSName: "/an image, \\ and all"})
	dir := filepath.Join(t.TempDir(), "a b")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Mount(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	patience := time.AfterFunc(15*time.Second, func() { _ = s.current().(*linuxSession).abort() })
	defer patience.Stop()
	defer func() { _ = s.UnmountLazy() }()
	if err := s.Mount(t.Context(), dir); !errors.Is(err, ErrMounted) {
		t.Errorf("second mount: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("content"), 0o644); err != nil {
		t.Error(err)
	}
	held, err := os.Open(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Nodes != 2 || st.OpenFiles != 1 {
		t.Errorf("the root and an open file are %d inodes and %d files", st.Nodes, st.OpenFiles)
	}
	held.Close()
	if st.Mountpoint != dir || !strings.HasPrefix(st.Device, "0:") || st.Readers < 1 || !strings.HasPrefix(st.Protocol, "7.") || len(st.Ops) == 0 {
		t.Errorf("%+v", st)
	}
	err = s.Unmount()
	for i := 0; errors.Is(err, syscall.EBUSY) && i < 100; i++ {
		time.Sleep(10 * time.Millisecond)
		err = s.Unmount()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
	if err := s.Unmount(); err != nil {
		t.Errorf("unmount of what has ended: %v", err)
	}
	if b, err := s.fsys.ReadFile("x"); err != nil || string(b) != "content" {
		t.Errorf("on the image: %q, %v", b, err)
	}
}

// What the helper complains of becomes an error that a program can tell.
func TestFusermount_complaints(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for text, want := range map[string]error{
		"fusermount3: failed to unmount /x: Device or resource busy": syscall.EBUSY,
		"fusermount3: failed to open /dev/fuse: Permission denied":   syscall.EPERM,
	} {
		script := "#!/bin/sh\necho '" + text + "' >&2\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, "fusermount3"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := runFusermount(t.Context(), "-u", "/x"); !errors.Is(err, want) || err.Error() != text {
			t.Errorf("%v, want one that is %v", err, want)
		}
	}
	// A helper that mounts nothing and sends nothing.
	if err := os.WriteFile(filepath.Join(dir, "fusermount3"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := mountRequest{point: filepath.Join(dir, "none"), source: "x", subtype: "e4kit"}
	if fd, err := r.fusermount(t.Context()); err == nil {
		t.Errorf("got connection %d from nobody", fd)
	}
}
