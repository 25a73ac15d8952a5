package inject_test

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/inject"
	"github.com/e4kit/e4kit/testimages"
)

// everything is what -a asks for.
func everything(t testing.TB) inject.Options {
	return inject.Options{
		Mode: true, Owner: true, Times: true, Links: true, Xattrs: true, ACLs: true, Devices: true,
		Error: func(path string, err error) { t.Errorf("%s: %v", path, err) },
		Warn:  func(path string, err error) { t.Errorf("warning: %s: %v", path, err) },
	}
}

// edit opens an image for writing, and judges it after.
func edit(t testing.TB, img string, f func(fsys *ext4fs.FS)) {
	t.Helper()
	fsys, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	f(fsys)
	if err := fsys.Close(); err != nil {
		t.Fatal(err)
	}
	testimages.Fsck(t, img)
}

func root(t testing.TB, fsys *ext4fs.FS) *ext4fs.Inode {
	t.Helper()
	i, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// mkdir makes a directory to copy into.
func mkdir(t testing.TB, fsys *ext4fs.FS, path string) inject.Place {
	t.Helper()
	if err := fsys.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	i, err := fsys.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	return inject.Place{Dir: i, Path: path}
}
