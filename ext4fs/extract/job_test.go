package extract_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/extract"
)

func TestJob_existing(t *testing.T) {
	img := mkfsTree(t, func(dir string) {
		write(t, filepath.Join(dir, "old"), "from the image")
		write(t, filepath.Join(dir, "new"), "from the image")
		must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
		write(t, filepath.Join(dir, "isdir"), "x")
	})
	fsys := openImage(t, img)
	for _, existing := range []extract.Existing{extract.Replace, extract.Skip} {
		dest := t.TempDir()
		write(t, filepath.Join(dest, "old"), "from before")
		write(t, filepath.Join(dest, "dir"), "no directory")
		must(t, os.Mkdir(filepath.Join(dest, "isdir"), 0o755))
		out := copyTree(t, context.Background(), fsys, "/", dest, "", extract.Options{Existing: existing})
		want := map[extract.Existing]string{extract.Replace: "from the image", extract.Skip: "from before"}[existing]
		if got := read(t, filepath.Join(dest, "old")); got != want {
			t.Errorf("Existing %d: old is %q", existing, got)
		}
		if got := read(t, filepath.Join(dest, "new")); got != "from the image" {
			t.Errorf("Existing %d: new is %q", existing, got)
		}
		if !errors.Is(out.errors["/dir"], extract.ErrOverwriteFile) {
			t.Errorf("Existing %d: /dir: %v", existing, out.errors["/dir"])
		}
		if err := out.errors["/isdir"]; existing == extract.Replace && !errors.Is(err, extract.ErrOverwriteDir) {
			t.Errorf("Existing %d: /isdir: %v", existing, err)
		}
		if got := names(t, dest); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, ".e4kit") }) {
			t.Errorf("Existing %d: left over: %q", existing, got)
		}
	}
}

func TestJob_links(t *testing.T) {
	img := mkfsTree(t, func(dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
		write(t, filepath.Join(dir, "a", "one"), "shared")
		for _, name := range []string{"a/two", "a/b/three", "four"} {
			must(t, os.Link(filepath.Join(dir, "a", "one"), filepath.Join(dir, name)))
		}
	})
	fsys := openImage(t, img)
	for _, keep := range []bool{true, false} {
		for _, into := range []string{"", "new"} {
			dest := t.TempDir()
			// Twice: over nothing, and over the copy itself.
			for range 2 {
				copyTree(t, context.Background(), fsys, "/", dest, into, extract.Options{Links: keep}).good(t)
			}
			first, err := os.Stat(filepath.Join(dest, into, "a", "one"))
			must(t, err)
			for _, name := range []string{"a/two", "a/b/three", "four"} {
				other, err := os.Stat(filepath.Join(dest, into, name))
				must(t, err)
				if os.SameFile(first, other) != keep {
					t.Errorf("Links %v: %s is the same file: %v", keep, name, !keep)
				}
				if got := read(t, filepath.Join(dest, into, name)); got != "shared" {
					t.Errorf("%s is %q", name, got)
				}
			}
		}
	}
}

func TestJob_follow(t *testing.T) {
	img := mkfsTree(t, func(dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "d", "e"), 0o755))
		write(t, filepath.Join(dir, "d", "file"), "content")
		must(t, os.Symlink("/d/file", filepath.Join(dir, "tofile")))
		must(t, os.Symlink("d", filepath.Join(dir, "todir")))
		must(t, os.Symlink("..", filepath.Join(dir, "d", "e", "up")))
		must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	})
	dest := t.TempDir()
	out := copyTree(t, context.Background(), openImage(t, img), "/", dest, "", extract.Options{Follow: true})
	for _, name := range []string{"tofile", "todir/file"} {
		if info, err := os.Lstat(filepath.Join(dest, name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v %v", name, info, err)
		} else if got := read(t, filepath.Join(dest, name)); got != "content" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if err := out.errors["/dangling"]; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/dangling: %v", err)
	}
	if err := out.errors["/d/e/up"]; !errors.Is(err, extract.ErrLoop) {
		t.Errorf("/d/e/up: %v", err)
	}
}

// slowDevice cancels the job at the n-th read after it was armed.
type slowDevice struct {
	device.Device
	left   atomic.Int64
	cancel func()
}

func (d *slowDevice) ReadAt(p []byte, off int64) (int, error) {
	if d.left.Add(-1) == 0 {
		d.cancel()
	}
	return d.Device.ReadAt(p, off)
}

// TestJob_cancel: whenever a job is cancelled, every file under its final name
// is whole, and no temporary ones are left.
func TestJob_cancel(t *testing.T) {
	const size = 6 << 20
	content := strings.Repeat("0123456789abcdef", size/16)
	img := mkfsTree(t, func(dir string) {
		write(t, filepath.Join(dir, "large"), content)
		must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		for n := range 40 {
			write(t, filepath.Join(dir, "d", fmt.Sprintf("f%02d", n)), content[:n*100])
		}
	})
	for at := int64(1); at < 60; at += 3 {
		for _, into := range []string{"", "new"} {
			ctx, cancel := context.WithCancel(context.Background())
			dev := &slowDevice{Device: device.NewMemory(img), cancel: cancel}
			fsys := openDevice(t, dev)
			dest := t.TempDir()
			dev.left.Store(at)
			out := copyTree(t, ctx, fsys, "/", dest, into, archive)
			cancel()
			if dev.left.Load() <= 0 && !errors.Is(out.err, context.Canceled) {
				t.Errorf("cancelled at read %d: %v", at, out.err)
			}
			must(t, filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				want := size
				if d.Name() != "large" {
					if _, err := fmt.Sscanf(d.Name(), "f%02d", &want); err != nil {
						t.Errorf("cancelled at read %d: left over %s", at, path)
					}
					want *= 100
				}
				if got := read(t, path); got != content[:want] {
					t.Errorf("cancelled at read %d: %s has %d bytes of %d", at, path, len(got), want)
				}
				return nil
			}))
		}
	}
}

func TestJob_callbacks(t *testing.T) {
	img := mkfsTree(t, func(dir string) {
		must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		write(t, filepath.Join(dir, "d", "f"), "12345")
	})
	fsys := openImage(t, img)
	inode, err := fsys.Lookup("/d")
	must(t, err)
	var last extract.ProgressInfo
	done := map[string]string{}
	dest := t.TempDir()
	j := extract.New(fsys, extract.Options{
		Done:     func(path, dest string) { done[path] = dest },
		Progress: func(p extract.ProgressInfo) { last = p },
	})
	j.Add(extract.Item{Inode: inode, Path: "/d", Dir: dest, Name: "called"})
	r, err := j.Run(context.Background())
	must(t, err)
	if r.Files != 2 || r.Bytes != 5 || r.Failed != 0 {
		t.Errorf("result %+v", r)
	}
	if last.Files != 2 || last.Bytes != 5 {
		t.Errorf("progress %+v", last)
	}
	want := map[string]string{"/d": filepath.Join(dest, "called"), "/d/f": filepath.Join(dest, "called", "f")}
	for path, to := range want {
		if done[path] != to {
			t.Errorf("done %s -> %s, want %s", path, done[path], to)
		}
	}
}

func TestJob_times(t *testing.T) {
	when := time.Date(1987, 6, 5, 4, 3, 2, 123456789, time.UTC)
	img := mkfsTree(t, func(dir string) {
		must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		write(t, filepath.Join(dir, "d", "f"), "x")
		must(t, os.Chtimes(filepath.Join(dir, "d", "f"), when, when))
		must(t, os.Chtimes(filepath.Join(dir, "d"), when, when))
	})
	fsys := openImage(t, img)
	dest := t.TempDir()
	copyTree(t, context.Background(), fsys, "/d", dest, "d", extract.Options{Times: true}).good(t)
	for _, name := range []string{"d", "d/f"} {
		inode, err := fsys.Lookup(name)
		must(t, err)
		info, err := os.Stat(filepath.Join(dest, name))
		must(t, err)
		if got, want := info.ModTime(), inode.Stat().Mtime; !got.Equal(want) {
			t.Errorf("%s: time %v, want %v", name, got, want)
		}
	}
}
