package ext4fs_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// openCase opens the image of a case, with its external journal if it has
// one.
func openCase(t testing.TB, c testimages.Case, img string) *ext4fs.FS {
	t.Helper()
	opts := &ext4fs.Options{}
	if c.ExternalJournal {
		j, err := device.Open(testimages.JournalOf(img), device.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { j.Close() })
		opts.Journal = j
	}
	fsys, err := ext4fs.OpenFile(img, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	})
	return fsys
}

// manifest takes the tree as this package sees it.
func manifest(t testing.TB, fsys *ext4fs.FS) testimages.Manifest {
	t.Helper()
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := fsys.Manifest(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	var m testimages.Manifest
	for _, l := range lines {
		if l.Err() != nil && l.Data != "!nokey" {
			t.Errorf("%s: %v", l.Path, l.Err())
		}
		m = append(m, l.String())
	}
	return m
}

// TestMatrix_readsWhatTheKernelReads compares every image of the matrix with
// the tree that the kernel showed, or that was put in where it cannot mount.
func TestMatrix_readsWhatTheKernelReads(t *testing.T) {
	for _, c := range testimages.Matrix() {
		t.Run(c.Name, func(t *testing.T) {
			im := testimages.BuildFull(t, c)
			fsys := openCase(t, c, im.Path)
			got := manifest(t, fsys)
			if !c.Kernel {
				got = got.Without("/", "/lost+found")
			}
			if c.Name == "dirty-fast-commit" {
				// Replaying a name sets its folder's times to the time of the
				// replay, which no record tells.
				im.Tree, im.Stat = im.Tree.Drop("MTIME"), nil
				got = got.Drop("MTIME")
			}
			if d := testimages.Diff(im.Tree, got); d != "" {
				t.Errorf("the tree differs:\n%s", d)
			}
			if im.Stat != nil {
				compareStat(t, fsys, im.Stat)
			}
		})
	}
}

// compareStat compares what the manifest leaves out: inode numbers, blocks,
// all times, flags.
func compareStat(t *testing.T, fsys *ext4fs.FS, want testimages.Manifest) {
	t.Helper()
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	err = fsys.Walk(context.Background(), root, "/", func(e *ext4fs.WalkEntry) error {
		if e.Err != nil {
			return e.Err
		}
		st := e.Inode.Stat()
		lines[ext4fs.EscapePath(e.Path())] = fmt.Sprintf("%d %d %d %d %s %s %s %s",
			st.Inode, st.Links, st.Size, st.Sectors, nanos(st.Atime), nanos(st.Mtime), nanos(st.Ctime), nanos(st.Crtime))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, w := range want {
		f := strings.Fields(w)
		birth := f[8]
		got, ok := lines[f[0]]
		if !ok {
			t.Errorf("%s is missing", f[0])
			continue
		}
		g := strings.Fields(got)
		if birth == "0.000000000" {
			g[7] = birth // the kernel gives none for small inodes
		}
		if wantLine := strings.Join(f[1:9], " "); strings.Join(g, " ") != wantLine {
			if bad++; bad < 6 {
				t.Errorf("%s: inode links size blocks atime mtime ctime birth\n got %s\nwant %s", f[0], strings.Join(g, " "), wantLine)
			}
		}
	}
}

func nanos(t interface {
	Unix() int64
	Nanosecond() int
}) string {
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// TestFS_isAnFS runs the standard library's test of file systems over whole
// small images, and over those folders of the matrix that hold no huge sparse
// file: the test reads every file into memory.
func TestFS_isAnFS(t *testing.T) {
	for _, name := range []string{"ext4", "ext2", "bigalloc", "dirty"} {
		t.Run("seed-"+name, func(t *testing.T) {
			if err := fstest.TestFS(openSeed(t, name, nil), "data", "inline", "lost+found"); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"ext4-4k", "ext2-1k", "inline-data", "casefold", "bigalloc-4k", "ext4-64k"} {
		t.Run(name, func(t *testing.T) {
			c := testimages.Find(t, name)
			fsys := openCase(t, c, testimages.Build(t, c))
			list, err := fsys.ReadDir(".")
			if err != nil {
				t.Fatal(err)
			}
			tested := 0
			for _, e := range list {
				if !e.IsDir() || !suitsTestFS(t, fsys, e.Name()) {
					continue
				}
				sub, err := fsys.Sub(e.Name())
				if err != nil {
					t.Fatal(err)
				}
				inside, err := fs.ReadDir(sub, ".")
				if err != nil {
					t.Fatal(err)
				}
				if len(inside) == 0 {
					continue
				}
				if err := fstest.TestFS(sub, inside[0].Name()); err != nil {
					t.Errorf("%s: %v", e.Name(), err)
				}
				tested++
			}
			if tested == 0 {
				t.Error("no folder was tested")
			}
		})
	}
}

// suitsTestFS reports whether a folder holds nothing that the standard
// library's test cannot cope with: large files, links that lead nowhere,
// devices and the like, names with a backslash or without UTF-8.
func suitsTestFS(t *testing.T, fsys *ext4fs.FS, dir string) bool {
	t.Helper()
	start, err := fsys.Lookup(dir)
	if err != nil {
		t.Fatal(err)
	}
	suits, names := true, 0
	err = fsys.Walk(context.Background(), start, dir, func(e *ext4fs.WalkEntry) error {
		if e.Err != nil {
			return e.Err
		}
		if names++; names > 200 {
			suits = false // the test takes time quadratic in the names
		}
		switch i := e.Inode; {
		case strings.Contains(e.Name, `\`) || !utf8.ValidString(e.Name):
			suits = false
		case i.IsSymlink():
			_, err := fsys.Lookup(e.Path())
			suits = suits && err == nil
		case !i.IsDir() && (!i.IsRegular() || i.Size() > 8<<20):
			suits = false
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return suits
}
