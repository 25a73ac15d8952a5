//go:build linux && !386

package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// BenchmarkHandler measures the server's part of the commonest requests that
// name files, without a kernel: what a round trip costs comes on top.
func BenchmarkHandler(b *testing.B) {
	img := filepath.Join(b.TempDir(), "img")
	testimages.Mkfs(b, img, 1<<30, "-N", "400000")
	f, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: true, Clock: Clock})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	h := newHandler(f, &Options{})
	const files = 50_000
	names := make([]string, files)
	ids := make([]uint64, files)
	for i := range names {
		names[i] = fmt.Sprintf("file-%06d", i)
	}
	ok := func(s fuse.Status) {
		if s != fuse.OK {
			b.Helper()
			b.Fatal(syscall.Errno(s))
		}
	}
	each := func(name string, do func(i int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				do(n % files)
			}
		})
	}
	root := on(1, 0)
	round := 0
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%files == 0 {
				b.StopTimer()
				round++
				dir := fuse.EntryOut{}
				ok(h.Mkdir(nil, &fuse.MkdirIn{InHeader: root, Mode: 0o755}, fmt.Sprint("d", round), &dir))
				ids[0] = dir.NodeId
				b.StartTimer()
			}
			in := fuse.CreateIn{InHeader: on(ids[0], 0), Mode: 0o644, Flags: syscall.O_WRONLY}
			var out fuse.CreateOut
			ok(h.Create(nil, &in, names[n%files], &out))
			h.Release(nil, &fuse.ReleaseIn{InHeader: on(out.NodeId, 0), Flags: syscall.O_WRONLY, Fh: out.Fh})
		}
	})
	dir := fuse.EntryOut{}
	ok(h.Mkdir(nil, &fuse.MkdirIn{InHeader: root, Mode: 0o755}, "all", &dir))
	in := on(dir.NodeId, 0)
	for i, name := range names {
		var out fuse.CreateOut
		ok(h.Create(nil, &fuse.CreateIn{InHeader: in, Mode: 0o644}, name, &out))
		ids[i] = out.NodeId
	}
	each("lookup", func(i int) {
		var out fuse.EntryOut
		ok(h.Lookup(nil, &in, names[i], &out))
	})
	each("lookup-none", func(i int) {
		var out fuse.EntryOut
		ok(h.Lookup(nil, &in, "none"+names[i], &out))
	})
	each("getattr", func(i int) {
		var out fuse.AttrOut
		ok(h.GetAttr(nil, &fuse.GetAttrIn{InHeader: on(ids[i], 0)}, &out))
	})
	each("setattr-times", func(i int) {
		var out fuse.AttrOut
		ok(h.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: on(ids[i], 0),
			Valid: fuse.FATTR_MTIME | fuse.FATTR_CTIME, Mtime: 1_700_000_000, Ctime: 1_700_000_000}}, &out))
	})
	each("getxattr-none", func(i int) {
		h := h
		hdr := on(ids[i], 0)
		_, _ = h.GetXAttr(nil, &hdr, capability, nil)
	})
	each("rename", func(i int) {
		ok(h.Rename(nil, &fuse.RenameIn{InHeader: in, Newdir: dir.NodeId}, names[i], names[i]+"'"))
		ok(h.Rename(nil, &fuse.RenameIn{InHeader: in, Newdir: dir.NodeId}, names[i]+"'", names[i]))
	})
	data := make([]byte, 4096)
	each("write-4k", func(i int) {
		_, s := h.Write(nil, &fuse.WriteIn{InHeader: on(ids[i%100], 0), Offset: uint64(i/100) * 4096, Size: 4096}, data)
		ok(s)
	})
	each("read-4k", func(i int) {
		_, s := h.ReadInto(&fuse.ReadIn{InHeader: on(ids[i%100], 0), Offset: uint64(i/100) * 4096, Size: 4096}, data)
		ok(s)
	})
	_ = os.Remove(img)
}
