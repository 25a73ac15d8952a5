package extract_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/extract"
	"github.com/e4kit/e4kit/testimages"
)

// mkfsTree makes an image of the tree that fill makes, without checksums, so
// that it can be patched.
func mkfsTree(t *testing.T, fill func(dir string)) []byte {
	t.Helper()
	dir := t.TempDir()
	fill(dir)
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 16<<20, "-d", dir, "-b", "1024", "-N", "6000", "-O", "^metadata_csum,^has_journal")
	data, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// patch replaces each occurrence of a string by another of the same length.
func patch(t *testing.T, img []byte, old, new string) {
	t.Helper()
	if len(old) != len(new) {
		t.Fatalf("patch %q by %q", old, new)
	}
	if !bytes.Contains(img, []byte(old)) {
		t.Fatalf("no %q in the image", old)
	}
	copy(img, bytes.ReplaceAll(img, []byte(old), []byte(new)))
}

func openImage(t *testing.T, img []byte) *ext4fs.FS {
	t.Helper()
	return openDevice(t, device.NewMemory(img))
}

func openDevice(t *testing.T, dev device.Device) *ext4fs.FS {
	t.Helper()
	fsys, err := ext4fs.Open(dev, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// outcome is what a job told.
type outcome struct {
	extract.Result
	errors map[string]error
	done   map[string]string
	err    error
}

// copyTree copies path to dir/name, or its content into dir if name is empty.
func copyTree(t *testing.T, ctx context.Context, fsys *ext4fs.FS, path, dir, name string, o extract.Options) *outcome {
	t.Helper()
	inode, err := fsys.LookupNoFollow(path)
	if err != nil {
		t.Fatal(err)
	}
	out := &outcome{errors: map[string]error{}, done: map[string]string{}}
	o.Error = func(path string, err error) { out.errors[path] = err }
	o.Done = func(path, dest string) { out.done[path] = dest }
	j := extract.New(fsys, o)
	j.Add(extract.Item{Inode: inode, Path: path, Dir: dir, Name: name})
	out.Result, out.err = j.Run(ctx)
	return out
}

// good fails the test if anything went wrong.
func (o *outcome) good(t *testing.T) {
	t.Helper()
	if o.err != nil {
		t.Error(o.err)
	}
	for path, err := range o.errors {
		t.Errorf("%s: %v", path, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names lists a directory.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// archive is what cp -a asks for.
var archive = extract.Options{
	Mode: true, Owner: true, Times: true, Links: true, Xattrs: true, ACLs: true, StrictXattrs: true, Devices: true,
}

func readImage(t *testing.T, fsys *ext4fs.FS, path string) string {
	t.Helper()
	inode, err := fsys.Lookup(path)
	must(t, err)
	data, err := io.ReadAll(io.NewSectionReader(inode, 0, inode.Size()))
	must(t, err)
	return string(data)
}
