package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/testimages"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// served is a handler without a kernel.
type direct struct {
	*handler
	t    *testing.T
	fsys *ext4fs.FS
	img  string
}

// serve makes a file system and a handler of it.
func serveDirect(t *testing.T, o Options, mkfs ...string) *direct {
	t.Helper()
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	d := &direct{t: t, img: filepath.Join(t.TempDir(), "img")}
	testimages.Mkfs(t, d.img, 16<<20, mkfs...)
	d.open(o)
	return d
}

func (d *direct) open(o Options) {
	d.t.Helper()
	f, err := ext4fs.OpenFile(d.img, &ext4fs.Options{Write: !o.ReadOnly, EnforceQuotas: o.Quota, Clock: Clock})
	if err != nil {
		d.t.Fatal(err)
	}
	d.fsys, d.handler = f, newHandler(f, &o)
	d.t.Cleanup(func() {
		if err := f.Close(); err != nil && d.Err() == nil && !errors.Is(err, os.ErrClosed) {
			d.t.Error(err)
		}
		if d.Err() == nil {
			testimages.Fsck(d.t, d.img)
		}
	})
}

// on is the header of a request of uid for a node.
func on(id uint64, uid uint32) fuse.InHeader {
	return fuse.InHeader{NodeId: id, Caller: fuse.Caller{Owner: fuse.Owner{Uid: uid, Gid: uid}}}
}

// is fails unless the status is want.
func (d *direct) is(got fuse.Status, want syscall.Errno, what string, args ...any) {
	d.t.Helper()
	if got != fuse.Status(want) {
		d.t.Errorf("%s: %v, want %v", fmt.Sprintf(what, args...), syscall.Errno(got), want)
	}
}

func (d *direct) lookup(dir uint64, name string) (fuse.EntryOut, fuse.Status) {
	h := on(dir, 0)
	var out fuse.EntryOut
	s := d.Lookup(nil, &h, name, &out)
	return out, s
}

// create makes and opens a file.
func (d *direct) create(dir uint64, name string, mode uint32) fuse.CreateOut {
	d.t.Helper()
	in := fuse.CreateIn{InHeader: on(dir, 0), Mode: mode, Flags: syscall.O_RDWR}
	var out fuse.CreateOut
	d.is(d.Create(nil, &in, name, &out), 0, "create %s", name)
	return out
}

func (d *direct) mkdir(dir uint64, name string) uint64 {
	d.t.Helper()
	in := fuse.MkdirIn{InHeader: on(dir, 0), Mode: 0o755}
	var out fuse.EntryOut
	d.is(d.Mkdir(nil, &in, name, &out), 0, "mkdir %s", name)
	return out.NodeId
}

func (d *direct) write(id uint64, off uint64, data string, flags uint32) fuse.Status {
	in := fuse.WriteIn{InHeader: on(id, 0), Offset: off, Size: uint32(len(data)), WriteFlags: flags}
	n, s := d.Write(nil, &in, []byte(data))
	if s == fuse.OK && int(n) != len(data) {
		d.t.Errorf("wrote %d of %d", n, len(data))
	}
	return s
}

func (d *direct) read(id uint64, off uint64, n int) (string, fuse.Status) {
	in := fuse.ReadIn{InHeader: on(id, 0), Offset: off, Size: uint32(n)}
	b := make([]byte, n)
	n, s := d.ReadInto(&in, b)
	return string(b[:n]), s
}

func (d *direct) stat(id uint64) fuse.Attr {
	d.t.Helper()
	var out fuse.AttrOut
	in := fuse.GetAttrIn{InHeader: on(id, 0)}
	d.is(d.GetAttr(nil, &in, &out), 0, "getattr %d", id)
	return out.Attr
}

func (d *direct) unlink(dir uint64, name string) fuse.Status {
	h := on(dir, 0)
	return d.Unlink(nil, &h, name)
}

func (d *direct) release(id uint64) {
	d.Release(nil, &fuse.ReleaseIn{InHeader: on(id, 0), Flags: syscall.O_RDWR, Fh: fhWrites | fhPrivileged})
}

func TestLookup_negativeAnswersAreKept(t *testing.T) {
	d := serveDirect(t, Options{})
	out, s := d.lookup(1, "none")
	if s != fuse.OK || out.NodeId != 0 || out.EntryValid == 0 {
		t.Errorf("%+v, %v", out, s)
	}
	if _, s := d.lookup(1, strings.Repeat("x", 256)); s != fuse.Status(syscall.ENAMETOOLONG) {
		t.Errorf("a long name: %v", s)
	}
	if _, s := d.lookup(777, "a"); s != fuse.Status(syscall.ESTALE) {
		t.Errorf("an unknown node: %v", s)
	}
	file := d.create(1, "f", 0o644)
	if _, s := d.lookup(file.NodeId, "a"); s != fuse.ENOTDIR {
		t.Errorf("below a file: %v", s)
	}
	if d.stat(1).Ino != 2 || nodeID(2) != 1 || nodeID(1) != 2 {
		t.Error("the roots are not exchanged")
	}
}

func TestLookup_folding(t *testing.T) {
	d := serveDirect(t, Options{}, "-O", "casefold")
	dir := d.mkdir(1, "c")
	in := fuse.IoctlIn{InHeader: on(dir, 0), Cmd: 0x40086602}
	var arg [8]byte
	binary.NativeEndian.PutUint32(arg[:], uint32(disk.FlagCasefold|disk.FlagExtents))
	d.is(d.Ioctl(nil, &in, arg[:], &fuse.IoctlOut{}, nil), 0, "chattr +F")
	if out, s := d.lookup(dir, "Name"); s != fuse.ENOENT || out.EntryValid != 0 {
		t.Errorf("a negative answer is kept: %+v %v", out, s)
	}
	f := d.create(dir, "Name", 0o644)
	if f.EntryValid != 0 {
		t.Error("an entry is kept")
	}
	if out, s := d.lookup(dir, "nAME"); s != fuse.OK || out.NodeId != f.NodeId || out.EntryValid != 0 {
		t.Errorf("%+v %v", out, s)
	}
	d.release(f.NodeId)
}

func TestForget_countsLookups(t *testing.T) {
	d := serveDirect(t, Options{})
	a := d.create(1, "a", 0o644)
	for range 2 {
		d.lookup(1, "a")
	}
	d.release(a.NodeId)
	d.unlinkForGood("a")
	d.Forget(a.NodeId, 2)
	if d.stat(a.NodeId).Nlink != 0 {
		t.Error("it has links")
	}
	b := d.create(1, "b", 0o644)
	if b.NodeId == a.NodeId {
		t.Fatal("two files that are known have one number")
	}
	d.Forget(a.NodeId, 1)
	if d.nodes.get(a.NodeId) != nil {
		t.Error("it was not forgotten")
	}
	if err := d.fsys.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := d.create(1, "c", 0o644) // takes the number that is free
	if c.NodeId != a.NodeId {
		t.Fatal("the number was not used again")
	}
	if c.Generation == a.Generation {
		t.Error("the generations are the same")
	}
	for _, f := range []uint64{b.NodeId, c.NodeId} {
		d.release(f)
		d.Forget(f, 1)
	}
	if d.nodes.get(c.NodeId) != nil || d.nodes.count.Load() != 0 {
		t.Error("not all was forgotten")
	}
	d.Forget(b.NodeId, 1)
	d.Forget(1, 100)
	d.stat(1)
}

func TestOpen_livesOnWithoutName(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o644)
	d.is(d.write(f.NodeId, 0, "hello", 0), 0, "write")
	d.is(d.unlink(1, "f"), 0, "unlink")
	if s, _ := d.read(f.NodeId, 1, 10); s != "ello" {
		t.Errorf("read %q", s)
	}
	d.release(f.NodeId)
	// All that the kernel knows lives until it forgets.
	var out fuse.OpenOut
	d.is(d.Open(nil, &fuse.OpenIn{InHeader: on(f.NodeId, 0)}, &out), 0, "open what is known")
	d.release(f.NodeId)
	d.Forget(f.NodeId, 1)
	d.is(d.Open(nil, &fuse.OpenIn{InHeader: on(f.NodeId, 0)}, &out), syscall.ESTALE, "open what is gone")
	dir := d.mkdir(1, "d")
	h := on(1, 0)
	d.is(d.Rmdir(nil, &h, "d"), 0, "rmdir")
	if a := d.stat(dir); a.Nlink != 0 {
		t.Errorf("removed directory: %+v", a)
	}
	list := fuse.NewDirEntryList(make([]byte, 4096), 0)
	d.is(d.ReadDir(nil, &fuse.ReadIn{InHeader: on(dir, 0)}, list), 0, "readdir")
	if len(list.Bytes()) != 0 {
		t.Error("a removed directory has names")
	}
	d.Forget(dir, 1)
}

func TestTmpfile(t *testing.T) {
	d := serveDirect(t, Options{})
	var out fuse.CreateOut
	d.is(d.Tmpfile(nil, &fuse.CreateIn{InHeader: on(1, 5), Mode: 0o600, Flags: syscall.O_RDWR}, &out), 0, "tmpfile")
	if out.Nlink != 0 || out.Uid != 5 {
		t.Errorf("%+v", out.Attr)
	}
	var e fuse.EntryOut
	d.is(d.Link(nil, &fuse.LinkIn{InHeader: on(1, 0), Oldnodeid: out.NodeId}, "t", &e), 0, "link")
	if e.NodeId != out.NodeId || e.Nlink != 1 {
		t.Errorf("%+v", e)
	}
	d.release(out.NodeId)
}

func TestNames_errors(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o644)
	dir := d.mkdir(1, "d")
	d.mkdir(dir, "sub")
	long := strings.Repeat("n", 256)
	var e fuse.EntryOut
	var c fuse.CreateOut
	head, below := on(1, 0), on(dir, 0)
	d.is(d.Create(nil, &fuse.CreateIn{InHeader: head}, long, &c), syscall.ENAMETOOLONG, "create")
	d.is(d.Create(nil, &fuse.CreateIn{InHeader: head}, "f", &c), syscall.EEXIST, "create")
	d.is(d.Mkdir(nil, &fuse.MkdirIn{InHeader: head}, long, &e), syscall.ENAMETOOLONG, "mkdir")
	d.is(d.Mknod(nil, &fuse.MknodIn{InHeader: head}, long, &e), syscall.ENAMETOOLONG, "mknod")
	d.is(d.Symlink(nil, &head, "to", long, &e), syscall.ENAMETOOLONG, "symlink")
	d.is(d.Symlink(nil, &head, strings.Repeat("t", 4096), "s", &e), syscall.ENAMETOOLONG, "symlink")
	d.is(d.Link(nil, &fuse.LinkIn{InHeader: head, Oldnodeid: f.NodeId}, long, &e), syscall.ENAMETOOLONG, "link")
	d.is(d.Link(nil, &fuse.LinkIn{InHeader: head, Oldnodeid: dir}, "x", &e), syscall.EPERM, "link")
	d.is(d.Unlink(nil, &head, long), syscall.ENAMETOOLONG, "unlink")
	d.is(d.Unlink(nil, &head, "d"), syscall.EISDIR, "unlink")
	d.is(d.Rmdir(nil, &head, "f"), syscall.ENOTDIR, "rmdir")
	d.is(d.Rmdir(nil, &head, "d"), syscall.ENOTEMPTY, "rmdir")
	d.is(d.Rmdir(nil, &below, "."), syscall.EINVAL, "rmdir .")
	d.is(d.Mkdir(nil, &fuse.MkdirIn{InHeader: head}, ".", &e), syscall.EEXIST, "mkdir .")
	d.is(d.Rename(nil, &fuse.RenameIn{InHeader: head, Newdir: 1}, "f", long), syscall.ENAMETOOLONG, "rename")
	d.is(d.Rename(nil, &fuse.RenameIn{InHeader: head, Newdir: 1, Flags: 8}, "f", "g"), syscall.EINVAL, "rename")
	d.is(d.Rename(nil, &fuse.RenameIn{InHeader: head, Newdir: 1, Flags: 1}, "f", "d"), syscall.EEXIST, "rename")
	d.is(d.Rename(nil, &fuse.RenameIn{InHeader: head, Newdir: 1, Flags: 2}, "f", "d"), 0, "exchange")
	d.release(f.NodeId)
}

func TestReadDir_cookies(t *testing.T) {
	d := serveDirect(t, Options{})
	dir := d.mkdir(1, "d")
	want := map[string]bool{".": true, "..": true}
	for n := range 900 {
		name := fmt.Sprintf("file-%04d", n)
		f := d.create(dir, name, 0o644)
		d.release(f.NodeId)
		d.Forget(f.NodeId, 1)
		want[name] = true
	}
	for _, plus := range []bool{false, true} {
		got := map[string]bool{}
		lookups := map[uint64]uint64{}
		off := uint64(0)
		for {
			list := fuse.NewDirEntryList(make([]byte, 4096), off)
			in := fuse.ReadIn{InHeader: on(dir, 0), Offset: off, Size: 4096}
			var entries []fuse.DirEntry
			var outs []fuse.EntryOut
			var err error
			if plus {
				d.is(d.ReadDirPlus(nil, &in, list), 0, "readdirplus")
				entries, outs, err = fuse.ParseDirLookupEntries(list.Bytes())
			} else {
				d.is(d.ReadDir(nil, &in, list), 0, "readdir")
				entries, err = fuse.ParseDirEntries(list.Bytes())
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				break
			}
			for k, e := range entries {
				if got[e.Name] || !want[e.Name] || int64(e.Off) <= 0 {
					t.Fatalf("%q again, or never, at %#x", e.Name, e.Off)
				}
				got[e.Name] = true
				if plus && outs[k].NodeId != 0 {
					lookups[outs[k].NodeId]++
				}
			}
			off = entries[len(entries)-1].Off
			// What happens elsewhere in the directory moves nothing.
			f := d.create(dir, "zz", 0o644)
			d.release(f.NodeId)
			d.Forget(f.NodeId, 1)
			d.is(d.unlink(dir, "zz"), 0, "unlink")
		}
		if len(got) != len(want) {
			t.Errorf("plus %v: %d names of %d", plus, len(got), len(want))
		}
		if plus && len(lookups) != 900 {
			t.Errorf("%d lookups", len(lookups))
		}
		for id, n := range lookups {
			d.Forget(id, n)
		}
	}
	if n := d.nodes.count.Load(); n != 1 {
		t.Errorf("%d nodes are left", n)
	}
}

// The kernel's first question about a directory of many names costs no reading of
// what they lead to; who has looked some up gets the rest with the names.
func TestReadDirPlus_manyNames(t *testing.T) {
	d := serveDirect(t, Options{}, "-N", "4096")
	dir := d.mkdir(1, "d")
	for n := range 2500 {
		f := d.create(dir, fmt.Sprintf("file-%04d", n), 0o644)
		d.release(f.NodeId)
		d.Forget(f.NodeId, 1)
	}
	if err := d.fsys.Close(); err != nil {
		t.Fatal(err)
	}
	d.open(Options{})
	if _, st := d.lookup(1, "d"); st != fuse.OK {
		t.Fatal(st)
	}
	reads := d.fsys.CacheStats().Reads
	ask := func(off uint64) (names, found int, last uint64) {
		list := fuse.NewDirEntryList(make([]byte, 16384), off)
		in := fuse.ReadIn{InHeader: on(dir, 0), Offset: off, Size: 16384}
		d.is(d.ReadDirPlus(nil, &in, list), 0, "readdirplus")
		entries, outs, err := fuse.ParseDirLookupEntries(list.Bytes())
		if err != nil || len(entries) == 0 {
			t.Fatal(len(entries), err)
		}
		for k, e := range entries {
			if e.Name == "." || e.Name == ".." {
				continue
			}
			names++
			if outs[k].NodeId != 0 {
				found++
			}
		}
		return names, found, entries[len(entries)-1].Off
	}
	names, found, next := ask(0)
	first := d.fsys.CacheStats().Reads - reads
	if found == names || first > 8 {
		t.Errorf("%d of %d names found, %d reads", found, names, first)
	}
	if names, found, _ := ask(next); found != names {
		t.Errorf("%d of %d names found", found, names)
	}
}

func (d *direct) setattr(id uint64, edit func(in *fuse.SetAttrIn)) (fuse.Attr, fuse.Status) {
	var in fuse.SetAttrIn
	in.InHeader = on(id, 0)
	edit(&in)
	var out fuse.AttrOut
	s := d.SetAttr(nil, &in, &out)
	return out.Attr, s
}

func TestSetAttr(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o6755)
	id := f.NodeId
	a, s := d.setattr(id, func(in *fuse.SetAttrIn) {
		in.Valid = fuse.FATTR_MTIME | fuse.FATTR_ATIME | fuse.FATTR_CTIME
		before := int64(-5)
		in.Atime, in.Atimensec, in.Mtime, in.Mtimensec, in.Ctime, in.Ctimensec = uint64(before), 1, 7, 999999999, 9, 3
	})
	if s != fuse.OK || int64(a.Atime) != -5 || a.Atimensec != 1 || a.Mtime != 7 || a.Mtimensec != 999999999 || a.Ctime != 9 || a.Ctimensec != 3 {
		t.Errorf("times: %+v, %v", a, s)
	}
	a, s = d.setattr(id, func(in *fuse.SetAttrIn) {
		in.Valid = fuse.FATTR_ATIME | fuse.FATTR_ATIME_NOW | fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW
	})
	if now := uint64(time.Now().Unix()); s != fuse.OK || now-a.Atime > 2 || now-a.Mtime > 2 || now-a.Ctime > 2 {
		t.Errorf("now: %+v, %v", a, s)
	}
	if a, s = d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Size = fuse.FATTR_SIZE, 12345 }); s != fuse.OK || a.Size != 12345 || a.Mode&0o7777 != 0o6755 {
		t.Errorf("size: %+v, %v", a, s)
	}
	if _, s = d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Size = fuse.FATTR_SIZE, 1<<62 }); s != fuse.Status(syscall.EFBIG) {
		t.Errorf("a huge size: %v", s)
	}
	if _, s = d.setattr(1, func(in *fuse.SetAttrIn) { in.Valid = fuse.FATTR_SIZE }); s != fuse.EISDIR {
		t.Errorf("size of a directory: %v", s)
	}
	a, s = d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Size = fuse.FATTR_SIZE|fuse.FATTR_KILL_SUIDGID, 1 })
	if s != fuse.OK || a.Mode&0o7777 != 0o755 {
		t.Errorf("truncated by another: %o, %v", a.Mode, s)
	}
	d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Mode = fuse.FATTR_MODE, 0o6711 })
	a, s = d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Uid, in.Gid = fuse.FATTR_UID|fuse.FATTR_GID, 1<<20, 3 })
	if s != fuse.OK || a.Uid != 1<<20 || a.Gid != 3 || a.Mode&0o7777 != 0o711 {
		t.Errorf("owner: %+v, %v", a, s)
	}
	d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Mode = fuse.FATTR_MODE, 0o4711 })
	if a, _ = d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Ctime = fuse.FATTR_CTIME, 5 }); a.Mode&0o7777 != 0o711 {
		t.Errorf("chown(-1, -1): %o", a.Mode)
	}
	d.setattr(id, func(in *fuse.SetAttrIn) { in.Valid, in.Mode = fuse.FATTR_MODE, 0o4711 })
	// What the kernel asks before a write: root's may keep them.
	if a, _ = d.setattr(id, func(in *fuse.SetAttrIn) {}); a.Mode&0o7777 != 0o4711 {
		t.Errorf("before a write of root: %o", a.Mode)
	}
	if a, _ = d.setattr(id, func(in *fuse.SetAttrIn) { in.Caller.Uid = 5 }); a.Mode&0o7777 != 0o711 {
		t.Errorf("before a write of another: %o", a.Mode)
	}
	d.release(id)
}

func TestWrite_takesPrivilegesAway(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o6777)
	h := fuse.SetXAttrIn{InHeader: on(f.NodeId, 0)}
	caps := []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, kill := range []uint32{0, fuse.WRITE_KILL_SUIDGID} {
		d.is(d.write(f.NodeId, 0, "x", 0), 0, "write") // there are none
		d.is(d.SetXAttr(nil, &h, capability, caps), 0, "setxattr")
		d.is(d.write(f.NodeId, 0, "x", kill), 0, "write")
		if _, s := d.GetXAttr(nil, &h.InHeader, capability, nil); s != fuse.ENODATA {
			t.Errorf("capabilities are left: %v", s)
		}
		if bits := d.stat(f.NodeId).Mode&0o6000 != 0; bits == (kill != 0) {
			t.Errorf("kill %d: set-id bits: %v", kill, bits)
		}
	}
	d.release(f.NodeId)
}

func TestXattrs(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o640)
	in := fuse.SetXAttrIn{InHeader: on(f.NodeId, 0)}
	h := &in.InHeader
	d.is(d.SetXAttr(nil, &in, "user.a", []byte("value")), 0, "set")
	d.is(d.SetXAttr(nil, &in, "trusted.b", nil), 0, "set")
	in.Flags = 1
	d.is(d.SetXAttr(nil, &in, "user.a", nil), syscall.EEXIST, "create")
	in.Flags = 2
	d.is(d.SetXAttr(nil, &in, "user.none", nil), syscall.ENODATA, "replace")
	in.Flags = 0
	for name, want := range map[string]syscall.Errno{
		"user.": syscall.EINVAL, "odd.x": syscall.EOPNOTSUPP, "plain": syscall.EOPNOTSUPP, "system.data": syscall.EOPNOTSUPP,
		"user.none": syscall.ENODATA, "system.posix_acl_access": syscall.ENODATA,
	} {
		_, s := d.GetXAttr(nil, h, name, nil)
		d.is(s, want, "get %s", name)
	}
	d.is(d.SetXAttr(nil, &in, "user."+strings.Repeat("n", 256), nil), syscall.ERANGE, "a long name")
	d.is(d.SetXAttr(nil, &in, "user.big", make([]byte, 1<<16+1)), syscall.E2BIG, "a long value")
	b := make([]byte, 100)
	if n, s := d.GetXAttr(nil, h, "user.a", b); s != fuse.OK || string(b[:n]) != "value" {
		t.Errorf("%q, %v", b[:n], s)
	}
	if n, s := d.GetXAttr(nil, h, "user.a", b[:2]); s != fuse.ERANGE || n != 5 {
		t.Errorf("%d, %v", n, s)
	}
	if n, s := d.ListXAttr(nil, h, b); s != fuse.OK || string(b[:n]) != "trusted.b\x00user.a\x00" {
		t.Errorf("%q, %v", b[:n], s)
	}
	h.Uid = 5
	if n, s := d.ListXAttr(nil, h, b); s != fuse.OK || string(b[:n]) != "user.a\x00" {
		t.Errorf("others see %q, %v", b[:n], s)
	}
	acl := []byte("\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\x05\x00\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")
	d.is(d.SetXAttr(nil, &in, aclAccess, acl), 0, "set an ACL")
	if m := d.stat(f.NodeId).Mode & 0o777; m != 0o670 {
		t.Errorf("the ACL's mode is %o", m)
	}
	d.is(d.SetXAttr(nil, &in, aclDefault, acl), syscall.EACCES, "default ACL of a file")
	d.is(d.RemoveXAttr(nil, h, "user.a"), 0, "remove")
	d.is(d.RemoveXAttr(nil, h, "user.a"), syscall.ENODATA, "remove again")
	d.release(f.NodeId)
}

func TestIoctl(t *testing.T) {
	d := serveDirect(t, Options{}, "-L", "name")
	f := d.create(1, "f", 0o644)
	call := func(uid, cmd uint32, arg []byte, out int) ([]byte, fuse.Status) {
		b := bytes.Repeat([]byte{0xee}, out)
		in := fuse.IoctlIn{InHeader: on(f.NodeId, uid), Cmd: cmd}
		return b, d.Ioctl(nil, &in, arg, &fuse.IoctlOut{}, b)
	}
	u32 := func(v disk.InodeFlags) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }
	if b, s := call(1, 0x80086601, nil, 4); s != fuse.OK || !bytes.Equal(b, u32(disk.FlagExtents)) {
		t.Errorf("GETFLAGS %x, %v", b, s)
	}
	_, s := call(1, 0x40086602, u32(disk.FlagExtents|disk.FlagNoDump), 0)
	d.is(s, syscall.EPERM, "SETFLAGS of another")
	_, s = call(0, 0x40086602, u32(disk.FlagExtents|disk.FlagImmutable), 0)
	d.is(s, 0, "SETFLAGS")
	d.is(d.Open(nil, &fuse.OpenIn{InHeader: on(f.NodeId, 0), Flags: syscall.O_WRONLY}, &fuse.OpenOut{}), syscall.EPERM, "open immutable")
	d.is(d.write(f.NodeId, 0, "cached", fuse.WRITE_CACHE), 0, "write back")
	d.is(d.write(f.NodeId, 0, "new", 0), syscall.EPERM, "write")
	if _, s := d.setattr(f.NodeId, func(in *fuse.SetAttrIn) { in.Valid, in.Mtime = fuse.FATTR_MTIME|fuse.FATTR_CTIME|fuse.FATTR_FH, 4 }); s != fuse.OK {
		t.Errorf("the kernel's times: %v", s)
	}
	if _, s := d.setattr(f.NodeId, func(in *fuse.SetAttrIn) { in.Valid, in.Mtime = fuse.FATTR_MTIME|fuse.FATTR_CTIME, 4 }); s != fuse.EPERM {
		t.Errorf("a user's time: %v", s)
	}
	_, s = call(0, 0x40086602, u32(disk.FlagExtents|disk.FlagAppend), 0)
	d.is(s, 0, "SETFLAGS")
	for flags, want := range map[uint32]syscall.Errno{
		syscall.O_WRONLY: syscall.EPERM, syscall.O_WRONLY | syscall.O_APPEND: 0, syscall.O_RDONLY: 0,
		syscall.O_WRONLY | syscall.O_APPEND | syscall.O_TRUNC: syscall.EPERM,
	} {
		in := fuse.OpenIn{InHeader: on(f.NodeId, 0), Flags: flags}
		var out fuse.OpenOut
		s := d.Open(nil, &in, &out)
		d.is(s, want, "open append-only with %#x", flags)
		if s == fuse.OK {
			d.Release(nil, &fuse.ReleaseIn{InHeader: in.InHeader, Flags: flags, Fh: out.Fh})
		}
	}
	if b, s := call(0, 0x801c581f, nil, 28); s != fuse.OK || binary.NativeEndian.Uint32(b) != 0x10 {
		t.Errorf("FSGETXATTR %x, %v", b, s)
	}
	fsx := make([]byte, 28)
	binary.NativeEndian.PutUint32(fsx, 0x80)
	_, s = call(0, 0x401c5820, fsx, 0)
	d.is(s, 0, "FSSETXATTR")
	if got := d.nodes.get(f.NodeId).ino.Flags(); got != disk.FlagExtents|disk.FlagNoDump {
		t.Errorf("flags %s", got)
	}
	if b, s := call(1, 0x80087601, nil, 8); s != fuse.OK || uint64(binary.NativeEndian.Uint32(b)) != f.Generation {
		t.Errorf("GETVERSION %x, %v", b, s)
	}
	if b, s := call(1, 0x81009431, nil, 256); s != fuse.OK || string(bytes.TrimRight(b, "\x00")) != "name" {
		t.Errorf("GETFSLABEL %q, %v", b, s)
	}
	_, s = call(1, 0x41009432, make([]byte, 256), 0)
	d.is(s, syscall.EPERM, "SETFSLABEL of another")
	_, s = call(0, 0x41009432, append([]byte("other"), make([]byte, 251)...), 0)
	d.is(s, 0, "SETFSLABEL")
	u := d.fsys.UUID()
	if b, s := call(1, 0x80111500, nil, 17); s != fuse.OK || b[0] != 16 || !bytes.Equal(b[1:], u[:]) {
		t.Errorf("GETFSUUID %x, %v", b, s)
	}
	_, s = call(0, 0x1234, nil, 0)
	d.is(s, syscall.ENOTTY, "an unknown ioctl")
	for cmd, n := range map[uint32]int{0x80086601: 0, 0x801c581f: 27, 0xc0185879: 23, 0x80111500: 3} {
		if _, s := call(0, cmd, make([]byte, n), n); s != fuse.EINVAL {
			t.Errorf("%#x with %d bytes: %v", cmd, n, s)
		}
	}
	d.release(f.NodeId)
}

func TestStatx(t *testing.T) {
	d := serveDirect(t, Options{})
	var out fuse.StatxOut
	d.is(d.Statx(nil, &fuse.StatxIn{InHeader: on(1, 0)}, &out), 0, "statx")
	if out.Mask&unix.STATX_BTIME == 0 || out.Btime.Sec == 0 || out.Ino != 2 || out.AttributesMask&unix.STATX_ATTR_APPEND == 0 {
		t.Errorf("%+v", out.Statx)
	}
}

func TestOwners_mapped(t *testing.T) {
	uid, gid := uint32(1000), uint32(1001)
	d := serveDirect(t, Options{UID: &uid, GID: &gid})
	if a := d.stat(1); a.Uid != uid || a.Gid != gid {
		t.Errorf("root is %d:%d", a.Uid, a.Gid)
	}
	f := d.create(1, "f", 0o644)
	if st := d.nodes.get(f.NodeId).ino.Stat(); st.UID != uid || st.GID != gid || f.Uid != uid {
		t.Errorf("a new file is %d:%d", st.UID, st.GID)
	}
	_, s := d.setattr(f.NodeId, func(in *fuse.SetAttrIn) { in.Valid, in.Uid = fuse.FATTR_UID, 5 })
	d.is(s, syscall.EPERM, "chown")
	_, s = d.setattr(1, func(in *fuse.SetAttrIn) { in.Valid, in.Uid, in.Gid = fuse.FATTR_UID|fuse.FATTR_GID, uid, gid })
	d.is(s, 0, "chown to who it is")
	if st := d.root.ino.Stat(); st.UID != 0 || st.GID != 0 {
		t.Errorf("the owner on disk is %d:%d", st.UID, st.GID)
	}
	d.release(f.NodeId)
}

func TestReadOnly(t *testing.T) {
	d := serveDirect(t, Options{})
	d.release(d.create(1, "f", 0o644).NodeId)
	if err := d.fsys.Close(); err != nil {
		t.Fatal(err)
	}
	d.open(Options{ReadOnly: true})
	f, _ := d.lookup(1, "f")
	var e fuse.EntryOut
	h := on(1, 0)
	d.is(d.write(f.NodeId, 0, "x", 0), syscall.EROFS, "write")
	d.is(d.unlink(1, "f"), syscall.EROFS, "unlink")
	d.is(d.Symlink(nil, &h, "a", "b", &e), syscall.EROFS, "symlink")
	d.is(d.Fallocate(nil, &fuse.FallocateIn{InHeader: on(f.NodeId, 0), Length: 1}), syscall.EROFS, "fallocate")
	d.is(d.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: h}, "user.a", nil), syscall.EROFS, "setxattr")
	_, s := d.setattr(f.NodeId, func(in *fuse.SetAttrIn) { in.Valid = fuse.FATTR_SIZE })
	d.is(s, syscall.EROFS, "truncate")
	if _, s := d.read(f.NodeId, 0, 1); s != fuse.OK {
		t.Errorf("read: %v", s)
	}
	d.is(d.Fsync(nil, &fuse.FsyncIn{InHeader: on(f.NodeId, 0)}), 0, "fsync")
}

func TestErrors_policy(t *testing.T) {
	damage := &ext4fs.CorruptError{What: "test"}
	for policy, want := range map[Errors][2]syscall.Errno{
		ErrorsContinue:  {0, 0},
		ErrorsRemountRO: {syscall.EROFS, 0},
		ErrorsPanic:     {syscall.EIO, syscall.EIO},
	} {
		d := serveDirect(t, Options{Errors: policy})
		f := d.create(1, "f", 0o644)
		d.is(d.fail(fmt.Errorf("wrapped: %w", damage)), syscall.EUCLEAN, "damage")
		d.is(d.write(f.NodeId, 0, "x", 0), want[0], "policy %d: write", policy)
		_, s := d.read(f.NodeId, 0, 1)
		d.is(s, want[1], "policy %d: read", policy)
		d.release(f.NodeId)
	}
}

func TestAbort_everythingThatWritesIsReadOnly(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o644)
	if err := d.fsys.Shutdown(t.Context(), ext4fs.ShutdownNow); err != nil {
		t.Fatal(err)
	}
	d.cause.CompareAndSwap(nil, ptr(errors.New("aborted by the test")))
	d.is(d.write(f.NodeId, 0, "x", 0), syscall.EROFS, "write")
	d.is(d.unlink(1, "f"), syscall.EROFS, "unlink")
	d.is(d.Mkdir(nil, &fuse.MkdirIn{InHeader: on(1, 0)}, "d", &fuse.EntryOut{}), syscall.EROFS, "mkdir")
	d.is(d.Fsync(nil, &fuse.FsyncIn{InHeader: on(f.NodeId, 0)}), syscall.EROFS, "fsync")
	d.stat(f.NodeId)
}

func ptr[T any](v T) *T { return &v }

func TestQuota(t *testing.T) {
	d := serveDirect(t, Options{Quota: true}, "-O", "quota")
	if err := d.fsys.SetQuota(disk.QuotaUser, 1000, quota.Limits{SpaceHard: 64}); err != nil {
		t.Fatal(err)
	}
	var out fuse.CreateOut
	d.is(d.Create(nil, &fuse.CreateIn{InHeader: on(1, 1000), Mode: 0o644, Flags: syscall.O_RDWR}, "q", &out), 0, "create")
	d.is(d.Fallocate(nil, &fuse.FallocateIn{InHeader: on(out.NodeId, 1000), Length: 1 << 20}), syscall.EDQUOT, "fallocate")
	d.is(d.write(out.NodeId, 2<<20, "x", 0), syscall.EDQUOT, "write")
	d.release(out.NodeId)
}

func TestStatFs(t *testing.T) {
	d := serveDirect(t, Options{})
	var bsd, minix fuse.StatfsOut
	h := on(1, 0)
	d.is(d.StatFs(nil, &h, &bsd), 0, "statfs")
	d.o.MinixDF = true
	d.is(d.StatFs(nil, &h, &minix), 0, "statfs")
	sp, _ := d.fsys.Space()
	if minix.Blocks-bsd.Blocks != sp.Overhead || minix.Blocks*uint64(minix.Bsize) != 16<<20 || bsd.NameLen != 255 || bsd.Bavail > bsd.Bfree {
		t.Errorf("%+v, %+v", bsd, minix)
	}
}

func TestHandle_lookupByNumber(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o644)
	d.release(f.NodeId)
	d.Forget(f.NodeId, 1)
	if out, s := d.lookup(f.NodeId, "."); s != fuse.OK || out.NodeId != f.NodeId || out.Generation != f.Generation {
		t.Errorf("%+v, %v", out, s)
	}
	d.is(d.unlink(1, "f"), 0, "unlink")
	d.Forget(f.NodeId, 1)
	for _, id := range []uint64{f.NodeId, 2, 7, 8, 1 << 40} {
		_, s := d.lookup(id, ".")
		d.is(s, syscall.ESTALE, "node %d", id)
	}
	dir := d.mkdir(1, "d")
	if out, s := d.lookup(dir, ".."); s != fuse.OK || out.NodeId != 1 {
		t.Errorf("%+v, %v", out, s)
	}
}

// tick is longer than one of Clock.
const tick = 20 * time.Millisecond

func TestAtime(t *testing.T) {
	for rule, want := range map[Atime][2]bool{AtimeNever: {false, false}, AtimeRelative: {true, false}, AtimeStrict: {true, true}} {
		d := serveDirect(t, Options{Atime: rule})
		f := d.create(1, "f", 0o644)
		d.is(d.write(f.NodeId, 0, "x", 0), 0, "write")
		for k := range want {
			before := d.stat(f.NodeId)
			time.Sleep(tick)
			d.read(f.NodeId, 0, 1)
			after := d.stat(f.NodeId)
			if moved := before.Atime != after.Atime || before.Atimensec != after.Atimensec; moved != want[k] {
				t.Errorf("rule %d, read %d: %v", rule, k, moved)
			}
			if before.Ctimensec != after.Ctimensec {
				t.Error("a read changes the change time")
			}
		}
		d.release(f.NodeId)
	}
}

func TestHotPaths_allocateNothing(t *testing.T) {
	d := serveDirect(t, Options{})
	f := d.create(1, "f", 0o644)
	d.is(d.write(f.NodeId, 0, strings.Repeat("x", 8192), 0), 0, "write")
	in := fuse.GetAttrIn{InHeader: on(f.NodeId, 0)}
	read := fuse.ReadIn{InHeader: on(f.NodeId, 0), Size: 4096}
	var out fuse.AttrOut
	b := make([]byte, 4096)
	time.Sleep(tick)
	d.ReadInto(&read, b)
	if n := testing.AllocsPerRun(100, func() { d.GetAttr(nil, &in, &out) }); n != 0 {
		t.Errorf("GetAttr allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { d.ReadInto(&read, b) }); n != 0 {
		t.Errorf("ReadInto allocates %v times", n)
	}
	d.release(f.NodeId)
}

func TestLazytime(t *testing.T) {
	d := serveDirect(t, Options{LazyTime: true})
	f := d.create(1, "f", 0o644)
	d.is(d.write(f.NodeId, 0, "x", 0), 0, "write")
	on := d.nodes.get(f.NodeId).ino
	before := on.Stat().Atime
	time.Sleep(tick)
	d.read(f.NodeId, 0, 1)
	shown := d.stat(f.NodeId)
	if !on.Stat().Atime.Equal(before) || shown.Atimensec == uint32(before.Nanosecond()) {
		t.Errorf("shown .%09d, on disk %v, before %v", shown.Atimensec, on.Stat().Atime, before)
	}
	d.release(f.NodeId)
	d.Forget(f.NodeId, 1)
	if at := on.Stat().Atime; uint32(at.Nanosecond()) != shown.Atimensec {
		t.Errorf("on disk %v", at)
	}
}
