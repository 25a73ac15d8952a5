package extract_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/extract"
	"github.com/e4kit/e4kit/testimages"
)

// matrixCases are those in which something matters to a copy; that every image
// can be read is tested in ext4fs.
var matrixCases = []string{
	"ext2-1k", "ext3-256", "ext4-4k", "ext4-64k", "bigalloc-4k", "inode-128", "inline-data", "ea-inode", "encrypt",
	"casefold", "verity", "fragmented", "100k-names", "dir-nlink", "dirty",
}

// TestJob_matrix copies images of the matrix out and compares the copies with
// what the kernel showed of the images.
func TestJob_matrix(t *testing.T) {
	testimages.RequireLoop(t)
	for _, name := range matrixCases {
		t.Run(name, func(t *testing.T) {
			c := testimages.Find(t, name)
			if c.Slow && testing.Short() {
				t.Skip("slow")
			}
			image := testimages.BuildFull(t, c)
			fsys := open(t, image)
			dir := testimages.Scratch(t)
			copyAll(t, fsys, dir, archive)
			got, err := testimages.ManifestDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := image.Tree
			if !c.Kernel {
				got = got.Without("/", "/lost+found")
			}
			// What is encrypted is left out, but for empty files.
			secret := noKey(want)
			if diff := testimages.Diff(want.Without(secret...), got.Without(secret...)); diff != "" {
				t.Errorf("copy differs from the image (-want +got):\n%s", diff)
			}
		})
	}
}

// noKey has the paths whose content cannot be read.
func noKey(m testimages.Manifest) (paths []string) {
	for _, line := range m {
		if fields := strings.Split(line, " "); fields[8] == "!nokey" {
			paths = append(paths, fields[0])
		}
	}
	return paths
}

func open(t *testing.T, image testimages.Image) *ext4fs.FS {
	t.Helper()
	o := &ext4fs.Options{}
	if image.ExternalJournal {
		j, err := device.Open(testimages.JournalOf(image.Path), device.Options{Partition: "@0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { j.Close() })
		o.Journal = j
	}
	fsys, err := ext4fs.OpenFile(image.Path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	return fsys
}

// copyAll copies the whole image into dir. Any failure is one of the test, but
// that of encrypted files.
func copyAll(t *testing.T, fsys *ext4fs.FS, dir string, o extract.Options) {
	t.Helper()
	o.Error = func(path string, err error) {
		if !errors.Is(err, ext4fs.ErrNoKey) {
			t.Errorf("%s: %v", path, err)
		}
	}
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	j := extract.New(fsys, o)
	j.Add(extract.Item{Inode: root, Path: "/", Dir: dir})
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
}
