package mount

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The blocks reserved for root are not for others, whatever way they take.
func TestReserved(t *testing.T) {
	const user, group, friend = 1000, 50, 7
	d := serveDirect(t, Options{ReservedUID: ptr(uint32(friend)), ReservedGID: ptr(uint32(group))}, "-m", "20")
	f := d.createAs(user, "f")
	d.full(f.NodeId, 0)
	if s := d.writeSome(f.NodeId, 32<<20, fuse.WRITE_CACHE); s != fuse.Status(syscall.ENOSPC) {
		t.Errorf("from the cache: %v", s)
	}
	d.is(d.write(f.NodeId, 0, "over what is there", 0), 0, "write over")
	d.is(d.Fallocate(nil, &fuse.FallocateIn{InHeader: on(f.NodeId, user), Offset: 64 << 20, Length: 1 << 20}), syscall.ENOSPC, "fallocate")
	head := on(1, user)
	d.is(d.Mkdir(nil, &fuse.MkdirIn{InHeader: head, Mode: 0o755}, "d", new(fuse.EntryOut)), syscall.ENOSPC, "mkdir")
	d.is(d.Symlink(nil, &head, longName, "s", new(fuse.EntryOut)), syscall.ENOSPC, "symlink")
	d.createAs(user, "empty") // takes no block

	// They are for root, and for whom the options name.
	d.mkdir(1, "of-root")
	for _, id := range []fuse.Owner{{}, {Uid: friend, Gid: user}, {Uid: user, Gid: group}} {
		in := fuse.OpenIn{InHeader: on(f.NodeId, 0), Flags: syscall.O_WRONLY}
		in.Owner = id
		var out fuse.OpenOut
		d.is(d.Open(nil, &in, &out), 0, "open")
		d.is(d.writeSome(f.NodeId, uint64(48+id.Uid)<<20, fuse.WRITE_CACHE), 0, "write of %v", id)
		d.Release(nil, &fuse.ReleaseIn{InHeader: on(f.NodeId, 0), Fh: out.Fh})
	}
	if s := d.writeSome(f.NodeId, 2000<<20, 0); s != fuse.Status(syscall.ENOSPC) {
		t.Errorf("when root has closed it: %v", s)
	}
	d.Release(nil, &fuse.ReleaseIn{InHeader: on(f.NodeId, 0), Fh: f.Fh})
	if n := d.nodes.get(f.NodeId); n.writers.Load() != 0 || n.privileged.Load() != 0 {
		t.Errorf("%d writers are left, %d of them privileged", n.writers.Load(), n.privileged.Load())
	}
}

const longName = "a target that is too long for the inode itself, which takes fifty-nine bytes, and so has a block of its own"

func (d *direct) createAs(uid uint32, name string) fuse.CreateOut {
	d.t.Helper()
	in := fuse.CreateIn{InHeader: on(1, uid), Mode: 0o644, Flags: syscall.O_RDWR}
	var out fuse.CreateOut
	d.is(d.Create(nil, &in, name, &out), 0, "create %s", name)
	return out
}

// writeSome writes a block.
func (d *direct) writeSome(id, off uint64, flags uint32) fuse.Status {
	in := fuse.WriteIn{InHeader: on(id, 0), Offset: off, Size: 4096, WriteFlags: flags}
	_, s := d.Write(nil, &in, make([]byte, 4096))
	return s
}

// full writes a file until there is no space, and looks whether some is left.
func (d *direct) full(id, off uint64) {
	d.t.Helper()
	for n := range uint64(16 << 20 / 4096) {
		if s := d.writeSome(id, off+n*4096, 0); s != fuse.OK {
			d.is(s, syscall.ENOSPC, "block %d", n)
			sp, err := d.fsys.Space()
			if err != nil || sp.Free < 800 || sp.Available != 0 {
				d.t.Errorf("full with %+v, %v", sp, err)
			}
			return
		}
	}
	d.t.Error("all of it was for everybody")
}
