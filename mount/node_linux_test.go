package mount

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// What the kernel opens without a word lives on as well, or its number would be
// another's.
func TestOpen_specialLivesOnWithoutName(t *testing.T) {
	d := serveDirect(t, Options{})
	for _, mode := range []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR} {
		var out fuse.EntryOut
		d.is(d.Mknod(nil, &fuse.MknodIn{InHeader: on(1, 0), Mode: mode | 0o4600}, "special", &out), 0, "mknod")
		d.unlinkForGood("special")
		f := d.create(1, "f", 0o644)
		if a := d.stat(out.NodeId); f.NodeId == out.NodeId || a.Mode != mode|0o4600 || a.Nlink != 0 {
			t.Errorf("node %d, then a file with %d: %o, %d links", out.NodeId, f.NodeId, a.Mode, a.Nlink)
		}
		d.release(f.NodeId)
		d.is(d.unlink(1, "f"), 0, "unlink")
		d.Forget(f.NodeId, 1)
		d.Forget(out.NodeId, 1)
	}
	if nodes, _ := d.Census(); nodes != 1 {
		t.Errorf("%d nodes are left", nodes)
	}
}

// A removed file's number is nobody else's while the kernel still knows it.
func TestTmpfile_numberOfKnownStays(t *testing.T) {
	d := serveDirect(t, Options{})
	a := d.create(1, "a", 0o644)
	d.release(a.NodeId)
	d.unlinkForGood("a")
	tmpfile := func() uint64 {
		var out fuse.CreateOut
		d.is(d.Tmpfile(nil, &fuse.CreateIn{InHeader: on(1, 0), Mode: 0o600, Flags: syscall.O_RDWR}, &out), 0, "tmpfile")
		d.is(d.write(out.NodeId, 0, "content", 0), 0, "write")
		d.Release(nil, &fuse.ReleaseIn{InHeader: on(out.NodeId, 0), Fh: out.Fh})
		d.Forget(out.NodeId, 1)
		if err := d.fsys.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		return out.NodeId
	}
	if n := tmpfile(); n == a.NodeId {
		t.Errorf("two files have the number %d", n)
	}
	d.Forget(a.NodeId, 1)
	if err := d.fsys.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := tmpfile(); n != a.NodeId {
		t.Errorf("the number %d is not free again: %d", a.NodeId, n)
	}
	if nodes, files := d.Census(); nodes != 1 || files != 0 {
		t.Errorf("%d nodes and %d open files are left", nodes, files)
	}
}

// unlinkForGood removes a name, and commits: then the inode's number is free.
func (d *direct) unlinkForGood(name string) {
	d.t.Helper()
	d.is(d.unlink(1, name), 0, "unlink %s", name)
	if err := d.fsys.Sync(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}
