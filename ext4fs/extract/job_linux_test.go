package extract_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/extract"
	"github.com/e4kit/e4kit/testimages"
)

func chmod(name string, mode uint32) error { return unix.Chmod(name, mode) }

func umask(t *testing.T) uint32 {
	t.Helper()
	old := unix.Umask(0)
	unix.Umask(old)
	return uint32(old)
}

func modeOf(t *testing.T, name string) uint32 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(name, &st))
	return st.Mode & 0o7777
}

func spaceOf(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// TestJob_inheritance: neither a setgid directory nor a default ACL above the
// copy changes what an exact copy is.
func TestJob_inheritance(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "setfacl", "getfacl")
	img := mkfsTree(t, func(dir string) {
		must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		write(t, filepath.Join(dir, "d", "f"), "x")
		must(t, os.Mkdir(filepath.Join(dir, "d", "e"), 0o700))
	})
	fsys := openImage(t, img)
	plain, special := testimages.Scratch(t), testimages.Scratch(t)
	must(t, unix.Chown(special, 0, 4242))
	must(t, unix.Chmod(special, 0o2775))
	testimages.Run(t, "setfacl", "-d", "-m", "u:4343:rwx,g:4343:rx", special)
	for _, dest := range []string{plain, special} {
		copyTree(t, context.Background(), fsys, "/d", dest, "d", archive).good(t)
	}
	want, err := testimages.ManifestDir(filepath.Join(plain, "d"))
	must(t, err)
	got, err := testimages.ManifestDir(filepath.Join(special, "d"))
	must(t, err)
	if diff := testimages.Diff(want, got); diff != "" {
		t.Errorf("copies differ (-plain +inherited):\n%s", diff)
	}
}

// TestJob_devices: device nodes are made only when they are asked for.
func TestJob_devices(t *testing.T) {
	testimages.RequireLoop(t)
	img := testimages.BuildFull(t, testimages.Find(t, "ext2-4k"))
	fsys := open(t, img)
	var device string
	root, err := fsys.Root()
	must(t, err)
	must(t, fsys.Walk(context.Background(), root, "/", func(e *ext4fs.WalkEntry) error {
		if e.Inode != nil && e.Inode.Mode()&os.ModeDevice != 0 {
			device = e.Path()
		}
		return nil
	}))
	if device == "" {
		t.Fatal("the image has no device node")
	}
	dest := t.TempDir()
	out := copyTree(t, context.Background(), fsys, device, dest, "node", extract.Options{})
	if out.errors[device] != extract.ErrDevice || len(names(t, dest)) != 0 {
		t.Errorf("without Devices: %v, made %q", out.errors, names(t, dest))
	}
	copyTree(t, context.Background(), fsys, device, dest, "node", extract.Options{Devices: true}).good(t)
	if len(names(t, dest)) != 1 {
		t.Error("with Devices: not made")
	}
}

// TestJob_unprivileged: without privileges everything but owners and devices
// is copied, and setuid is dropped from what is not the caller's.
func TestJob_unprivileged(t *testing.T) {
	testimages.RequireRoot(t)
	if os.Getenv("E4KIT_TEST_CHILD") == "" {
		runChild(t)
		return
	}
	must(t, unix.Setgid(65534))
	must(t, unix.Setuid(65534))
	img, err := os.ReadFile(os.Getenv("E4KIT_TEST_CHILD"))
	must(t, err)
	dest := os.Getenv("E4KIT_TEST_DEST")
	o := archive
	o.StrictXattrs = false
	copyTree(t, context.Background(), openImage(t, img), "/", dest, "new", o).good(t)
	if got := modeOf(t, filepath.Join(dest, "new", "suid")); got != 0o755 {
		t.Errorf("mode of suid is %04o", got)
	}
	if got := modeOf(t, filepath.Join(dest, "new", "ro")); got != 0o555 {
		t.Errorf("mode of ro is %04o", got)
	}
	if got := read(t, filepath.Join(dest, "new", "ro", "f")); got != "x" {
		t.Errorf("ro/f is %q", got)
	}
}

// TestJob_deep: a chain of directories far deeper than a path can name is
// copied with few open files.
func TestJob_deep(t *testing.T) {
	testimages.RequireLoop(t)
	const depth = 3000
	img := filepath.Join(testimages.Scratch(t), "img")
	testimages.Mkfs(t, img, 16<<20, "-b", "1024", "-N", "4000")
	testimages.WithMount(t, img, "", func(dir string) {
		at, err := os.OpenRoot(dir)
		must(t, err)
		for range depth {
			must(t, at.Mkdir("d", 0o755))
			at = enter(t, at)
		}
		at.Close()
	})
	fsys, err := ext4fs.OpenFile(img, nil)
	must(t, err)
	defer fsys.Close()

	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: old.Max}))
	dest := testimages.Scratch(t)
	out := copyTree(t, context.Background(), fsys, "/", dest, "", extract.Options{})
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	out.good(t)
	at, err := os.OpenRoot(dest)
	must(t, err)
	for range depth {
		at = enter(t, at)
	}
	at.Close()
}

// enter goes down one directory and closes the one above.
func enter(t *testing.T, at *os.Root) *os.Root {
	t.Helper()
	next, err := at.OpenRoot("d")
	must(t, err)
	must(t, at.Close())
	return next
}

// TestJob_full: a full host ends the job with one error, and nothing
// half-written is left.
func TestJob_full(t *testing.T) {
	testimages.RequireRoot(t)
	img := mkfsTree(t, func(dir string) {
		for n := range 50 {
			write(t, filepath.Join(dir, "f"+string(rune('A'+n))), string(make([]byte, 64<<10)))
		}
	})
	dest := t.TempDir()
	must(t, unix.Mount("tmpfs", dest, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(dest, 0)) })
	out := copyTree(t, context.Background(), openImage(t, img), "/", dest, "new", extract.Options{Sparse: extract.SparseNever})
	if !errors.Is(out.err, unix.ENOSPC) || len(out.errors) != 0 {
		t.Errorf("error %v, of files %v", out.err, out.errors)
	}
	for _, name := range names(t, filepath.Join(dest, "new")) {
		info, err := os.Stat(filepath.Join(dest, "new", name))
		must(t, err)
		if !info.IsDir() && info.Size() != 64<<10 {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
}

func TestJob_modes(t *testing.T) {
	img := mkfsTree(t, func(dir string) {
		for _, mode := range []uint32{0o644, 0o666, 0o600, 0o444, 0o000, 0o4755, 0o2711} {
			name := filepath.Join(dir, fmt.Sprintf("%04o", mode))
			write(t, name, "x")
			must(t, chmod(name, mode))
		}
		must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o755))
		write(t, filepath.Join(dir, "closed", "file"), "x")
		must(t, os.Chmod(filepath.Join(dir, "closed"), 0o555))
		t.Cleanup(func() { os.Chmod(filepath.Join(dir, "closed"), 0o755) })
	})
	fsys := openImage(t, img)
	mask := umask(t)
	for _, keep := range []bool{true, false} {
		dest := t.TempDir()
		copyTree(t, context.Background(), fsys, "/", dest, "new", extract.Options{Mode: keep}).good(t)
		t.Cleanup(func() { os.Chmod(filepath.Join(dest, "new", "closed"), 0o755) })
		for _, mode := range []uint32{0o644, 0o666, 0o600, 0o444, 0o000, 0o4755, 0o2711} {
			want := mode
			if !keep {
				want = mode & 0o777 &^ mask
			}
			if got := modeOf(t, filepath.Join(dest, "new", fmt.Sprintf("%04o", mode))); got != want {
				t.Errorf("Mode %v: %04o became %04o, want %04o", keep, mode, got, want)
			}
		}
		if got, want := modeOf(t, filepath.Join(dest, "new", "closed")), uint32(0o555); got != want {
			t.Errorf("Mode %v: directory became %04o, want %04o", keep, got, want)
		}
		if got := read(t, filepath.Join(dest, "new", "closed", "file")); got != "x" {
			t.Errorf("closed/file is %q", got)
		}
	}
}

func TestJob_sparse(t *testing.T) {
	const size = 3 << 20
	img := mkfsTree(t, func(dir string) {
		f, err := os.Create(filepath.Join(dir, "holes"))
		must(t, err)
		_, err = f.WriteAt([]byte("start"), 0)
		must(t, err)
		_, err = f.WriteAt([]byte("middle"), 1<<20+100)
		must(t, err)
		must(t, f.Truncate(size))
		must(t, f.Close())
		zeros := make([]byte, 1<<20)
		copy(zeros[1<<19:], "data")
		must(t, os.WriteFile(filepath.Join(dir, "zeros"), zeros, 0o644))
	})
	fsys := openImage(t, img)
	want := readImage(t, fsys, "/holes")
	for _, tt := range []struct {
		sparse extract.Sparse
		most   int64 // bytes on disk
		least  int64
	}{{extract.SparseKeep, 128 << 10, 0}, {extract.SparseNever, 1 << 30, size}, {extract.SparseAlways, 128 << 10, 0}} {
		dest := t.TempDir()
		copyTree(t, context.Background(), fsys, "/", dest, "", extract.Options{Sparse: tt.sparse}).good(t)
		if got := read(t, filepath.Join(dest, "holes")); got != want {
			t.Errorf("Sparse %d: content differs (%d bytes, want %d)", tt.sparse, len(got), len(want))
		}
		if space := spaceOf(t, filepath.Join(dest, "holes")); space > tt.most || space < tt.least {
			t.Errorf("Sparse %d: %d bytes on disk", tt.sparse, space)
		}
		if got, want := read(t, filepath.Join(dest, "zeros")), readImage(t, fsys, "/zeros"); got != want {
			t.Errorf("Sparse %d: zeros differ", tt.sparse)
		}
	}
}
