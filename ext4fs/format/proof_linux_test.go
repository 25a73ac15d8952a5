package format_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
	"github.com/e4kit/e4kit/testimages/imagetree"
)

// source is a tree of the host and what an image made of it must hold.
type source struct {
	dir  string
	want testimages.Manifest
	data map[string]dataMap // of regular files, by path
}

// dataMap is where a file has data.
type dataMap struct {
	size int64
	list []blockRange
}

// blockRange is in bytes.
type blockRange struct{ from, to int64 }

// proofSource makes a tree of everything that fits into all images of the
// matrix: block maps, blocks of 1 KiB, inodes of 128 bytes.
func proofSource(t *testing.T) *source {
	t.Helper()
	dir := filepath.Join(testimages.Scratch(t), "source")
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = testimages.FillTree(dir, testimages.Fill{BlockSize: 1024, BigXattr: 500, Names: 250, Portable: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	// A size beyond block maps, and more than a block of 1 KiB holds.
	for _, name := range []string{"holes/far", "xattr/many", "links/sym1024", "links/sym4094"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return newSource(t, dir)
}

func newSource(t *testing.T, dir string) *source {
	t.Helper()
	want, err := testimages.ManifestDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{dir: dir, want: want, data: map[string]dataMap{}}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			s.data[strings.TrimPrefix(path, dir)], err = hostData(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hostData asks the host where a file has data.
func hostData(path string) (m dataMap, err error) {
	f, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer f.Close()
	if m.size, err = f.Seek(0, io.SeekEnd); err != nil {
		return m, err
	}
	for off := int64(0); ; {
		from, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		if off, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE); err != nil {
			return m, err
		}
		m.list = append(m.list, blockRange{from, off})
	}
}

func (s *source) load(t *testing.T, o tree.Options) *tree.Tree {
	t.Helper()
	tr, err := tree.Load(t.Context(), o, tree.Dir(s.dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// build makes an image of the tree, nil for an empty one, in a new file.
func build(t *testing.T, o format.Options, tr *tree.Tree) string {
	t.Helper()
	img := filepath.Join(testimages.Scratch(t), "image.img")
	if err := buildAt(t.Context(), img, o, tr); err != nil {
		t.Fatal(err)
	}
	return img
}

func buildAt(ctx context.Context, img string, o format.Options, tr *tree.Tree) error {
	j, err := format.Plan(ctx, o, tr)
	if err != nil {
		return err
	}
	f, err := os.Create(img)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(j.Size()), f.Close()); err != nil {
		return err
	}
	w, err := device.Open(img, device.Options{Write: true, NoContainers: true, Partition: "@0"})
	if err != nil {
		return err
	}
	_, err = j.Write(ctx, w)
	return errors.Join(err, w.Close())
}

// sameTree compares an image with its source as e4kit reads it.
func sameTree(t *testing.T, img string, want testimages.Manifest) {
	t.Helper()
	got, err := imagetree.Manifest(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if d := testimages.Diff(want, got); d != "" {
		t.Fatalf("the tree differs:\n%s", d)
	}
}

// in is what the image can keep of the source's manifest: inodes of 128 bytes
// have no more than seconds.
func (s *source) in(t *testing.T, img string) testimages.Manifest {
	t.Helper()
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	if fsys.Super().InodeSize() > 128 {
		return s.want
	}
	out := slices.Clone(s.want)
	for i, line := range out {
		f := strings.Split(line, " ")
		sec, _, _ := strings.Cut(f[7], ".")
		f[7] = sec + ".000000000"
		out[i] = strings.Join(f, " ")
	}
	return out
}

// sameLayout holds that each file lies in as few extents as its holes allow,
// and that nothing is allocated but what has data. Files may be inline.
func (s *source) sameLayout(t *testing.T, img string, few bool) {
	t.Helper()
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	for path, data := range s.data {
		i, err := fsys.LookupNoFollow(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fileRuns(i)
		if err != nil {
			t.Fatal(err)
		}
		if got.inline {
			continue
		}
		want := data.runs(int64(fsys.BlockSize()), int64(fsys.Super().ClusterRatio()))
		if got.blocks != want.blocks {
			t.Errorf("%s: %d blocks, the source has data in %d", path, got.blocks, want.blocks)
		}
		if few && got.runs > want.runs {
			t.Errorf("%s: %d extents, %d would do", path, got.runs, want.runs)
		}
	}
}

type runs struct {
	runs, blocks int64
	inline       bool
}

func fileRuns(i *ext4fs.Inode) (r runs, err error) {
	for e, err := range i.Extents() {
		if err != nil {
			return r, err
		}
		switch {
		case e.Flags&extent.FlagInline != 0:
			r.inline = true
		case e.Flags&extent.FlagHole == 0:
			r.runs++
			r.blocks += int64(e.Len)
		}
	}
	return r, nil
}

// runs is the least that the data takes in a file system of such blocks and
// clusters. Clusters are written whole.
func (m dataMap) runs(blockSize, ratio int64) (r runs) {
	blocks := (m.size + blockSize - 1) / blockSize
	cluster := blockSize * ratio
	var n, end int64
	flush := func() {
		const most = 32768 // blocks of an extent
		r.runs += (n + most - 1) / most
		r.blocks += n
		n = 0
	}
	for _, d := range m.list {
		from, to := d.from/cluster*ratio, min((d.to+cluster-1)/cluster*ratio, blocks)
		if from > end {
			flush()
		}
		from = max(from, end)
		n += max(to-from, 0)
		end = max(end, to)
	}
	flush()
	return r
}

// kernelUse lets the kernel read the tree and write to it.
func kernelUse(t *testing.T, img string, want testimages.Manifest, write bool) {
	t.Helper()
	opts := "ro"
	if write {
		opts = ""
	}
	err := testimages.Mounted(img, opts, func(dir string) error {
		got, err := testimages.ManifestDir(dir)
		if err != nil {
			return err
		}
		if d := testimages.Diff(want, got.Without("/lost+found")); d != "" {
			return fmt.Errorf("the tree differs for the kernel:\n%s", d)
		}
		if !write {
			return nil
		}
		return useTree(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	testimages.Fsck(t, img)
}

// useTree makes, grows, renames and removes files in a tree.
func useTree(dir string) error {
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	do(os.MkdirAll(dir+"/new/deep", 0o755))
	for i := range 40 {
		do(os.WriteFile(fmt.Sprintf("%s/new/file-%02d", dir, i), testimages.Content(uint64(i), i*500), 0o644))
		do(os.WriteFile(fmt.Sprintf("%s/many/late-%02d", dir, i), nil, 0o644))
	}
	do(os.Rename(dir+"/new/file-07", dir+"/lost+found/moved"))
	do(os.Rename(dir+"/many/entry-0011"+strings.Repeat("x", 11), dir+"/new/deep/moved"))
	for i := 20; i < 60; i++ {
		do(os.Remove(fmt.Sprintf("%s/many/entry-%04d%s", dir, i, strings.Repeat("x", i%40))))
	}
	do(os.RemoveAll(dir + "/deep"))
	do(os.Truncate(dir+"/sizes/300000", 1000))
	do(os.Truncate(dir+"/holes/maps", 5000))
	f, err := os.OpenFile(dir+"/sizes/60", os.O_WRONLY|os.O_APPEND, 0)
	do(err)
	if err == nil {
		_, err = f.Write(testimages.Content(9, 100_000))
		do(errors.Join(err, f.Sync(), f.Close()))
	}
	do(unix.Setxattr(dir+"/xattr/shared1", "user.more", []byte("value"), 0))
	do(os.Symlink(strings.Repeat("s", 200), dir+"/new/symlink"))
	return errors.Join(errs...)
}
