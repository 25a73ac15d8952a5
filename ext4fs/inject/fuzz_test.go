package inject_test

import (
	"archive/tar"
	"bytes"
	"context"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/inject"
	"github.com/e4kit/e4kit/testimages"
	"os"
	"path/filepath"
)

// FuzzUntar unpacks anything into a small image in memory: no panic, no hang,
// and nothing outside of the target changes.
func FuzzUntar(f *testing.F) {
	testimages.RequireTool(f, "mke2fs")
	img := filepath.Join(f.TempDir(), "img")
	testimages.Mkfs(f, img, 4<<20)
	data, err := os.ReadFile(img)
	if err != nil {
		f.Fatal(err)
	}
	base := device.NewRAM(int64(len(data)))
	if _, err := base.WriteAt(data, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(archive(f, tar.Header{Name: "a"}, dirOf("d"), linkOf("d/l", "../.."), tar.Header{Name: "d/l/x"}, hardOf("h", "a")))
	f.Add(archive(f, tar.Header{Name: "a", PAXRecords: map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "SCHILY.xattr.user.a": "b"}, Format: tar.FormatPAX}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		fsys, err := ext4fs.Open(base.Clone(), &ext4fs.Options{Write: true, CommitInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		o := inject.TarOptions{}
		o.Mode, o.Owner, o.Times, o.Xattrs, o.ACLs, o.Devices = true, true, true, true, true, true
		inject.Untar(context.Background(), bytes.NewReader(stream), mkdir(t, fsys, "in"), o)
		list, err := fsys.ReadDir(".")
		if err != nil || len(list) != 2 {
			t.Errorf("the root has %v, %v", list, err)
		}
		if err := fsys.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
