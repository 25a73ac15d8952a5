//go:build !386

package mount

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What the kernel could not store is told once to who writes, and not to who has
// heard of it otherwise, or has opened the file since.
func TestLose_toldOnce(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o644)
	id, fh := f.NodeId, f.Fh
	fail := func() {
		t.Helper()
		for off := int64(0); ; off += 1 << 20 {
			if off == 32<<20 {
				t.Fatal("the image does not become full")
			}
			data := make([]byte, 1<<20)
			in := fuse.WriteIn{InHeader: on(id, 0), Offset: uint64(off), Size: uint32(len(data)), WriteFlags: fuse.WRITE_CACHE}
			if _, s := d.Write(nil, &in, data); s != fuse.OK {
				d.is(s, syscall.ENOSPC, "write")
				return
			}
		}
	}
	asks := func(fh uint64, want syscall.Errno, what string) {
		t.Helper()
		in := fuse.GetAttrIn{InHeader: on(id, 0), Flags_: fuse.FUSE_GETATTR_FH, Fh_: fh}
		d.is(d.GetAttr(nil, &in, new(fuse.AttrOut)), want, "%s", what)
	}
	open := func() uint64 {
		t.Helper()
		in := fuse.OpenIn{InHeader: on(id, 0), Flags: syscall.O_WRONLY}
		var out fuse.OpenOut
		d.is(d.Open(nil, &in, &out), 0, "open")
		return out.Fh
	}
	release := func(fh uint64) { d.Release(nil, &fuse.ReleaseIn{InHeader: on(id, 0), Fh: fh}) }
	fsync := func(fh uint64) { d.is(d.Fsync(nil, &fuse.FsyncIn{InHeader: on(id, 0), Fh: fh}), 0, "fsync") }

	fail()
	asks(fh, syscall.ENOSPC, "first question")
	asks(fh, 0, "second question")
	fail()
	fsync(0)
	asks(fh, syscall.ENOSPC, "question after a reader's fsync")
	fail()
	fsync(fh)
	asks(fh, 0, "question after the writer's fsync")
	fail()
	other := open()
	fsync(fh)
	asks(other, syscall.ENOSPC, "question of another writer")
	fail()
	release(fh)
	asks(other, syscall.ENOSPC, "question of another writer after a close")
	fail()
	release(other)
	other = open()
	asks(other, 0, "question of who has come later")
	release(other)
}
