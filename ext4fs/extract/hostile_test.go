package extract_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/extract"
)

// prison is a destination with a place outside that must stay as it is.
type prison struct {
	dest, outside string
}

func newPrison(t *testing.T) *prison {
	t.Helper()
	top := t.TempDir()
	p := &prison{filepath.Join(top, "a", "b", "dest"), filepath.Join(top, "outside")}
	must(t, os.MkdirAll(p.dest, 0o755))
	must(t, os.Mkdir(p.outside, 0o755))
	write(t, filepath.Join(p.outside, "file"), "untouched")
	return p
}

func (p *prison) check(t *testing.T) {
	t.Helper()
	if got := names(t, p.outside); len(got) != 1 || got[0] != "file" {
		t.Errorf("outside holds %q now", got)
	}
	if got := read(t, filepath.Join(p.outside, "file")); got != "untouched" {
		t.Errorf("outside/file is %q now", got)
	}
	// Nothing beside dest either.
	for _, dir := range []string{filepath.Dir(p.dest), filepath.Dir(filepath.Dir(p.dest))} {
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("%s holds %q now", dir, got)
		}
	}
}

// TestJob_linkThenDirectory: one name is a symbolic link to outside and a
// directory with a file in it.
func TestJob_linkThenDirectory(t *testing.T) {
	p := newPrison(t)
	for _, first := range []string{"link", "dir"} {
		t.Run(first+" first", func(t *testing.T) {
			img := mkfsTree(t, func(dir string) {
				link := func() { must(t, os.Symlink(p.outside, filepath.Join(dir, "evil-one"))) }
				if first == "link" {
					link()
				}
				must(t, os.Mkdir(filepath.Join(dir, "evil-two"), 0o755))
				write(t, filepath.Join(dir, "evil-two", "file"), "gotcha")
				if first == "dir" {
					link()
				}
			})
			patch(t, img, "evil-two", "evil-one")
			dest := filepath.Join(p.dest, first)
			must(t, os.Mkdir(dest, 0o755))
			fsys := openImage(t, img)
			out := copyTree(t, context.Background(), fsys, "/", dest, "new", extract.Options{})
			if err := out.errors["/evil-one"]; err == nil {
				t.Errorf("no error: %v", out.errors)
			}
			// And once more over what is there now.
			copyTree(t, context.Background(), fsys, "/", dest, "new", extract.Options{})
			p.check(t)
		})
	}
}

// TestJob_linkThenFile: one name is a symbolic link to a file outside and a
// regular file.
func TestJob_linkThenFile(t *testing.T) {
	p := newPrison(t)
	img := mkfsTree(t, func(dir string) {
		must(t, os.Symlink(filepath.Join(p.outside, "file"), filepath.Join(dir, "evil-one")))
		write(t, filepath.Join(dir, "evil-two"), "gotcha")
	})
	patch(t, img, "evil-two", "evil-one")
	fsys := openImage(t, img)
	out := copyTree(t, context.Background(), fsys, "/", p.dest, "new", extract.Options{})
	if err := out.errors["/evil-one"]; !errors.Is(err, extract.ErrTwice) {
		t.Errorf("error %v, want %v", err, extract.ErrTwice)
	}
	p.check(t)
	// In a directory that was there before, the last one wins, by renaming.
	copyTree(t, context.Background(), fsys, "/", p.dest, "", extract.Options{})
	p.check(t)
}

// TestJob_plantedLinks: the destination has symbolic links to outside where
// the image has files and directories.
func TestJob_plantedLinks(t *testing.T) {
	p := newPrison(t)
	img := mkfsTree(t, func(dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "d", "e"), 0o755))
		write(t, filepath.Join(dir, "d", "file"), "gotcha")
		write(t, filepath.Join(dir, "d", "e", "file"), "gotcha")
		write(t, filepath.Join(dir, "f"), "gotcha")
		must(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "g")))
		must(t, os.Symlink("x", filepath.Join(dir, "s")))
	})
	must(t, os.Symlink(p.outside, filepath.Join(p.dest, "d")))
	for _, name := range []string{"f", "g", "s"} {
		must(t, os.Symlink(filepath.Join(p.outside, "file"), filepath.Join(p.dest, name)))
	}
	o := archive
	o.Owner = false
	out := copyTree(t, context.Background(), openImage(t, img), "/", p.dest, "", o)
	p.check(t)
	if err := out.errors["/d"]; !errors.Is(err, extract.ErrOverwriteFile) {
		t.Errorf("/d: error %v, want %v", err, extract.ErrOverwriteFile)
	}
	if got := read(t, filepath.Join(p.dest, "f")); got != "gotcha" {
		t.Errorf("f is %q", got)
	}
	if target, err := os.Readlink(filepath.Join(p.dest, "s")); target != "x" {
		t.Errorf("s leads to %q: %v", target, err)
	}
}

// TestJob_linksAreNotFollowed: symbolic links to outside are copied as they
// are, and times and owners are set on the links.
func TestJob_linksAreNotFollowed(t *testing.T) {
	p := newPrison(t)
	before, err := os.Stat(filepath.Join(p.outside, "file"))
	must(t, err)
	targets := map[string]string{
		"absolute": filepath.Join(p.outside, "file"), "up": "../../../outside/file", "dir": p.outside, "root": "/",
	}
	img := mkfsTree(t, func(dir string) {
		for name, target := range targets {
			must(t, os.Symlink(target, filepath.Join(dir, name)))
		}
	})
	patch(t, img, "absolute", "absolutf") // another order in the directory
	o := archive
	o.Owner = false
	out := copyTree(t, context.Background(), openImage(t, img), "/", p.dest, "new", o)
	out.good(t)
	p.check(t)
	after, err := os.Stat(filepath.Join(p.outside, "file"))
	must(t, err)
	if before.ModTime() != after.ModTime() || before.Mode() != after.Mode() {
		t.Errorf("outside/file changed: %v %v -> %v %v", before.Mode(), before.ModTime(), after.Mode(), after.ModTime())
	}
	if target, _ := os.Readlink(filepath.Join(p.dest, "new", "up")); target != targets["up"] {
		t.Errorf("up leads to %q", target)
	}
}

// TestJob_badNames: names with slashes, "..", and the like, written into the
// directory's block.
func TestJob_badNames(t *testing.T) {
	for _, name := range []string{"../escape", "/tmp/evil", "..\x00aaaaaa", "a/b/c/d/e", "././././e"} {
		t.Run(strings.ReplaceAll(name, "/", "|"), func(t *testing.T) {
			p := newPrison(t)
			img := mkfsTree(t, func(dir string) {
				write(t, filepath.Join(dir, "aaaaaaaaa"), "gotcha")
				write(t, filepath.Join(dir, "good"), "good")
			})
			patch(t, img, "aaaaaaaaa", name)
			out := copyTree(t, context.Background(), openImage(t, img), "/", p.dest, "", extract.Options{})
			if len(out.errors) == 0 {
				t.Error("no error")
			}
			p.check(t)
			for _, got := range names(t, p.dest) {
				if got != "good" && got != "lost+found" {
					t.Errorf("made %q", got)
				}
			}
		})
	}
}

// dotdot patches the length of a name, so that ".." stands where it must not.
func TestJob_secondDotDot(t *testing.T) {
	p := newPrison(t)
	img := mkfsTree(t, func(dir string) {
		must(t, os.Mkdir(filepath.Join(dir, "zz-a-dir"), 0o755))
		write(t, filepath.Join(dir, "zz-a-dir", "escaped"), "gotcha")
	})
	at := bytes.Index(img, []byte("zz-a-dir"))
	copy(img[at:], "..")
	img[at-2] = 2 // name_len
	out := copyTree(t, context.Background(), openImage(t, img), "/", p.dest, "", extract.Options{})
	if len(out.errors) == 0 {
		t.Error("no error")
	}
	p.check(t)
}

// TestJob_circle: a directory holds itself under another name.
func TestJob_circle(t *testing.T) {
	p := newPrison(t)
	img := mkfsTree(t, func(dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "loop-top", "loop-low"), 0o755))
		write(t, filepath.Join(dir, "loop-top", "file"), "x")
	})
	top := bytes.Index(img, []byte("loop-top")) - 8
	low := bytes.Index(img, []byte("loop-low")) - 8
	copy(img[low:low+4], img[top:top+4])
	out := copyTree(t, context.Background(), openImage(t, img), "/", p.dest, "", extract.Options{})
	if len(out.errors) != 1 {
		t.Errorf("errors %v, want one", out.errors)
	}
	p.check(t)
}

// TestJob_wrongType: the directory entry's type is not the inode's.
func TestJob_wrongType(t *testing.T) {
	p := newPrison(t)
	img := mkfsTree(t, func(dir string) {
		write(t, filepath.Join(dir, "says-dir"), "x")
		must(t, os.Mkdir(filepath.Join(dir, "says-file"), 0o755))
		write(t, filepath.Join(dir, "says-file", "inside"), "y")
	})
	img[bytes.Index(img, []byte("says-dir"))-1] = 2
	img[bytes.Index(img, []byte("says-file"))-1] = 1
	out := copyTree(t, context.Background(), openImage(t, img), "/", p.dest, "", extract.Options{})
	if out.errors["/says-dir"] == nil {
		t.Errorf("no error for /says-dir: %v", out.errors)
	}
	if got := read(t, filepath.Join(p.dest, "says-file", "inside")); got != "y" {
		t.Errorf("says-file/inside is %q", got)
	}
	p.check(t)
}

// TestJob_mutations copies images with random damage: whatever comes out, it
// stays in the destination, and the job ends.
func TestJob_mutations(t *testing.T) {
	p := newPrison(t)
	img := mkfsTree(t, func(dir string) {
		must(t, os.MkdirAll(filepath.Join(dir, "a", "b", "c"), 0o755))
		for n := range 30 {
			write(t, filepath.Join(dir, "a", fmt.Sprintf("file-%02d", n)), strings.Repeat("text", n*50))
			must(t, os.Symlink(p.outside, filepath.Join(dir, "a", "b", fmt.Sprintf("link-%02d", n))))
		}
		must(t, os.Link(filepath.Join(dir, "a", "file-01"), filepath.Join(dir, "a", "b", "c", "hard")))
	})
	used := interesting(img)
	rng := rand.New(rand.NewPCG(4, 4))
	opened := 0
	for range 100 {
		bad := bytes.Clone(img)
		for range 1 + rng.IntN(20) {
			bad[used[rng.IntN(len(used))]] ^= byte(1 << rng.IntN(8))
		}
		fsys, err := ext4fs.Open(device.NewMemory(bad), nil)
		if err != nil {
			continue
		}
		root, err := fsys.LookupNoFollow("/")
		if err != nil {
			continue
		}
		opened++
		dest := filepath.Join(p.dest, "copy")
		must(t, os.Mkdir(dest, 0o755))
		o := archive
		o.Owner, o.Devices, o.StrictXattrs = false, false, false
		j := extract.New(fsys, o)
		j.Add(extract.Item{Inode: root, Path: "/", Dir: dest})
		if _, err := j.Run(context.Background()); err != nil {
			t.Error(err)
		}
		p.check(t)
		must(t, os.RemoveAll(dest))
	}
	if opened < 30 {
		t.Errorf("only %d images could be opened", opened)
	}
}

// interesting lists the bytes of an image that are not zero, beyond the
// superblock and the descriptors: damage there is met on the way.
func interesting(img []byte) (at []int) {
	for n := 16 << 10; n < len(img); n++ {
		if img[n] != 0 {
			at = append(at, n)
		}
	}
	return at
}
