package inject_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/inject"
	"github.com/e4kit/e4kit/testimages"
)

// kernelTree is what the kernel shows of a path in an image.
func kernelTree(t testing.TB, img, path string) testimages.Manifest {
	t.Helper()
	var m testimages.Manifest
	testimages.WithMount(t, img, "ro", func(dir string) {
		var err error
		if m, err = testimages.ManifestDir(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	})
	return m
}

// source is an image whose folder "tree" has one of everything, and what the
// kernel says of that.
func source(t testing.TB) (string, testimages.Manifest) {
	t.Helper()
	testimages.RequireLoop(t)
	img := filepath.Join(testimages.Scratch(t), "source.img")
	testimages.Mkfs(t, img, 256<<20)
	testimages.WithMount(t, img, "", func(dir string) {
		src := filepath.Join(dir, "tree")
		if err := os.Mkdir(src, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := testimages.FillTree(src, testimages.Fill{}); err != nil {
			t.Fatal(err)
		}
	})
	return img, kernelTree(t, img, "tree")
}

var targets = []struct {
	name string
	args []string
	// less: the target cannot hold all of the tree; what cp makes of it is
	// the judge.
	less bool
}{
	{"default", nil, false},
	{"inline", []string{"-O", "inline_data,ea_inode"}, false},
	{"bigalloc", []string{"-O", "bigalloc", "-C", "16384"}, false},
	{"nojournal", []string{"-O", "^has_journal,ea_inode"}, false},
	{"1k", []string{"-b", "1024"}, true},
	{"ext3", []string{"-t", "ext3"}, true},
}

// cannot are the files of the tree that do not fit everywhere.
var cannot = []string{"/holes/far ", "/links/sym1024 ", "/links/sym4094 ", "/xattr/many ", "/xattr/value2048 "}

func without(m testimages.Manifest) testimages.Manifest {
	return slices.DeleteFunc(slices.Clone(m), func(line string) bool {
		return slices.ContainsFunc(cannot, func(name string) bool { return strings.HasPrefix(line, name) })
	})
}

// TestHost_kernel copies a tree into images of several kinds and compares what
// the kernel shows with the tree.
func TestHost_kernel(t *testing.T) {
	src, want := source(t)
	testimages.WithMount(t, src, "ro", func(dir string) {
		tree := filepath.Join(dir, "tree")
		for _, target := range targets {
			t.Run(target.name, func(t *testing.T) {
				img := filepath.Join(testimages.Scratch(t), "target.img")
				testimages.Mkfs(t, img, 512<<20, target.args...)
				want := want
				if target.less {
					other := testimages.Copy(t, img)
					testimages.WithMount(t, other, "", func(dir string) {
						_ = exec.Command("cp", "-a", tree, filepath.Join(dir, "copy")).Run()
					})
					want = without(kernelTree(t, other, "copy"))
				}
				edit(t, img, func(fsys *ext4fs.FS) {
					o := everything(t)
					if target.less {
						o.Error = func(path string, _ error) {
							if len(without(testimages.Manifest{strings.TrimPrefix(path, tree) + " "})) > 0 {
								t.Errorf("%s failed", path)
							}
						}
					}
					job := inject.New(fsys, o)
					job.AddHost(tree, false, inject.Place{Dir: root(t, fsys), Name: "copy", Path: "/copy"})
					r, err := job.Run(context.Background())
					if err != nil || r.Failed != 0 && !target.less {
						t.Errorf("%+v, %v", r, err)
					}
				})
				got := kernelTree(t, img, "copy")
				if target.less {
					got = without(got)
				}
				if diff := testimages.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

// TestImage_kernel copies from image to image, and within one.
func TestImage_kernel(t *testing.T) {
	src, want := source(t)
	img := filepath.Join(testimages.Scratch(t), "target.img")
	testimages.Mkfs(t, img, 512<<20)
	from, err := ext4fs.OpenFile(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	edit(t, img, func(fsys *ext4fs.FS) {
		copyTree := func(in *ext4fs.FS, path, name string) {
			i, err := in.Lookup(path)
			if err != nil {
				t.Fatal(err)
			}
			job := inject.New(fsys, everything(t))
			job.AddImage(i, "", path, inject.Place{Dir: root(t, fsys), Name: name, Path: "/" + name})
			if r, err := job.Run(context.Background()); err != nil || r.Failed != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		}
		copyTree(from, "/tree", "one")
		copyTree(fsys, "/one", "two")
	})
	for _, name := range []string{"one", "two"} {
		if diff := testimages.Diff(want, kernelTree(t, img, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestParallel_extents: files that are written at the same time do not
// interleave more than in the kernel.
func TestParallel_extents(t *testing.T) {
	testimages.RequireLoop(t)
	const files, pieces, size = 16, 32, 64 << 10
	count := func(img string) int {
		fsys, err := ext4fs.OpenFile(img, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer fsys.Close()
		n := 0
		for k := range files {
			i, err := fsys.Lookup(fmt.Sprintf("file%d", k))
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range i.Extents() {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		return n
	}
	parallel := func(open func(name string) (io.WriteCloser, error)) {
		var group sync.WaitGroup
		for k := range files {
			group.Go(func() {
				f, err := open(fmt.Sprintf("file%d", k))
				for range pieces {
					if err == nil {
						_, err = f.Write(testimages.Content(uint64(k), size))
					}
				}
				if err == nil {
					err = f.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	theirs := filepath.Join(testimages.Scratch(t), "theirs.img")
	testimages.Mkfs(t, theirs, 256<<20)
	img := testimages.Copy(t, theirs)
	testimages.WithMount(t, theirs, "", func(dir string) {
		parallel(func(name string) (io.WriteCloser, error) { return os.Create(filepath.Join(dir, name)) })
	})
	edit(t, img, func(fsys *ext4fs.FS) {
		parallel(func(name string) (io.WriteCloser, error) { return fsys.Create(name) })
	})
	// The kernel allocates late, and so has each file in one piece.
	k, n := count(theirs), count(img)
	t.Logf("extents of %d files: kernel %d, e4kit %d", files, k, n)
	if n > k {
		t.Errorf("%d extents, the kernel has %d", n, k)
	}
}

// What is named to be left is no part of a copy, wherever in the tree it lies.
func TestJob_leaves(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "image", "z"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	leave, err := os.Stat(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(testimages.Scratch(t), "img")
	testimages.Mkfs(t, img, 16<<20)
	edit(t, img, func(fsys *ext4fs.FS) {
		o := everything(t)
		o.Leave = []os.FileInfo{leave}
		var failed []string
		o.Error = func(path string, err error) {
			if !errors.Is(err, inject.ErrSelf) {
				t.Errorf("%s: %v", path, err)
			}
			failed = append(failed, filepath.Base(path))
		}
		job := inject.New(fsys, o)
		job.AddHost(dir, false, inject.Place{Dir: root(t, fsys), Name: "copy", Path: "copy"})
		if _, err := job.Run(context.Background()); err != nil {
			t.Error(err)
		}
		if !slices.Equal(failed, []string{"image"}) {
			t.Errorf("left: %v", failed)
		}
		for _, name := range []string{"a", "z"} {
			if b, err := fsys.ReadFile("copy/" + name); err != nil || string(b) != "content of "+name {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
	})
}
