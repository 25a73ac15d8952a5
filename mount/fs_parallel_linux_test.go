//go:build !386

package mount

import (
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// forgetful is a kernel that is told to forget nodes.
type forgetful struct {
	told
	forgotten chan uint64
}

func (f *forgetful) PruneNotify(node uint64) fuse.Status {
	f.forgotten <- node
	return fuse.OK
}

// Who opens a file to write to it past the cache gets the flag that Linux wants,
// where that was asked for.
func TestParallelDirect_openFlags(t *testing.T) {
	for _, on := range []bool{false, true} {
		d := serveDirect(t, Options{ParallelDirect: on})
		f := d.create(1, "f", 0o644).NodeId
		for flags, want := range map[uint32]bool{
			syscall.O_WRONLY: false, syscall.O_RDONLY | syscall.O_DIRECT: false,
			syscall.O_WRONLY | syscall.O_DIRECT: on, syscall.O_RDWR | syscall.O_DIRECT: on,
		} {
			var out fuse.OpenOut
			d.is(d.Open(nil, &fuse.OpenIn{InHeader: onNode(f), Flags: flags}, &out), 0, "open %#x", flags)
			if got := out.OpenFlags&fuse.FOPEN_DIRECT_IO != 0; got != want {
				t.Errorf("option %v, open %#x: %v", on, flags, got)
			}
			d.Release(nil, &fuse.ReleaseIn{InHeader: onNode(f), Flags: flags, Fh: out.Fh})
		}
		var out fuse.CreateOut
		d.is(d.Create(nil, &fuse.CreateIn{InHeader: onNode(1), Flags: syscall.O_RDWR | syscall.O_DIRECT, Mode: 0o644}, "g", &out), 0, "create")
		if got := out.OpenOut.OpenFlags&fuse.FOPEN_DIRECT_IO != 0; got != on {
			t.Errorf("option %v, create: %v", on, got)
		}
		d.Release(nil, &fuse.ReleaseIn{InHeader: onNode(out.NodeId), Fh: out.Fh})
		d.release(f)
	}
}

func onNode(id uint64) fuse.InHeader { return on(id, 0) }

// The server keeps the times of such writes, and of no others, and has the kernel
// forget the file when nobody has it open for writing any more.
func TestParallelDirect_times(t *testing.T) {
	d := serveDirect(t, Options{ParallelDirect: true})
	g := d.create(1, "g", 0o644).NodeId
	kernel := &forgetful{forgotten: make(chan uint64, 10)}
	d.Bound(kernel)
	d.fsys.LeaveTimes(true)
	f := d.create(1, "f", 0o644).NodeId
	n, err := d.node(f)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1e9, 0)
	wrote := func(fh uint64, flags uint32) bool {
		t.Helper()
		if err := n.ino.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrMtime | ext4fs.AttrCtime, Mtime: old, Ctime: old}); err != nil {
			t.Fatal(err)
		}
		in := fuse.WriteIn{InHeader: onNode(f), Fh: fh, Size: 4, WriteFlags: flags}
		if _, s := d.Write(nil, &in, []byte("data")); s != fuse.OK {
			t.Fatal(s)
		}
		r := n.ino.Raw()
		if r.Mtime().Equal(old) != r.Ctime().Equal(old) {
			t.Errorf("one of the times only: %v, %v", r.Mtime(), r.Ctime())
		}
		return !r.Mtime().Equal(old) && time.Since(r.Mtime()) < time.Minute
	}
	open := func(flags uint32) uint64 {
		var out fuse.OpenOut
		d.is(d.Open(nil, &fuse.OpenIn{InHeader: onNode(f), Flags: flags}, &out), 0, "open")
		return out.Fh
	}
	release := func(fh uint64) { d.Release(nil, &fuse.ReleaseIn{InHeader: onNode(f), Fh: fh}) }
	direct, cached := open(syscall.O_WRONLY|syscall.O_DIRECT), open(syscall.O_WRONLY)
	for _, c := range []struct {
		fh    uint64
		flags uint32
		want  bool
	}{
		{direct, fuse.WRITE_LOCKOWNER, true}, {cached, fuse.WRITE_LOCKOWNER, false},
		{direct, fuse.WRITE_CACHE, false}, // of a mapping
	} {
		if got := wrote(c.fh, c.flags); got != c.want {
			t.Errorf("handle %d, flags %d: the time has changed: %v", c.fh, c.flags, got)
		}
	}
	release(direct)
	d.drops.behind.Wait()
	if len(kernel.forgotten) > 0 {
		t.Error("to be forgotten while somebody writes")
	}
	release(cached)
	d.drops.behind.Wait()
	if len(kernel.forgotten) > 0 {
		t.Error("to be forgotten while somebody writes")
	}
	d.release(f)
	d.drops.behind.Wait()
	if got := len(kernel.forgotten); got != len(forgetAfter) || <-kernel.forgotten != f {
		t.Errorf("told to forget %d times", got)
	}
	d.is(d.write(g, 0, "data", fuse.WRITE_LOCKOWNER), 0, "write")
	d.release(g)
	d.drops.behind.Wait()
	if got := len(kernel.forgotten); got != len(forgetAfter)-1 {
		t.Error("to be forgotten after a write that the kernel has stamped")
	}
}
