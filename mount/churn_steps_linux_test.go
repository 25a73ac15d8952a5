package mount

import (
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What the users of a churned mount do beside making and removing names.

func (u *churner) writeOne() {
	n := u.someFile()
	if n == nil {
		return
	}
	flags := uint32([]int{0, fuse.WRITE_CACHE, fuse.WRITE_KILL_SUIDGID}[u.rng.IntN(3)])
	s := u.write(n.id, uint64(u.rng.IntN(1<<16)), string(make([]byte, 1+u.rng.IntN(9000))), flags)
	u.is(s, 0, "write")
}

func (u *churner) readOne() {
	if n := u.someFile(); n != nil {
		_, s := u.read(n.id, uint64(u.rng.IntN(1<<16)), 4096)
		u.is(s, 0, "read")
	}
}

func (u *churner) resize() {
	n := u.someFile()
	if n == nil {
		return
	}
	_, s := u.setattr(n.id, func(in *fuse.SetAttrIn) {
		in.Valid, in.Size, in.Mode = fuse.FATTR_SIZE|fuse.FATTR_MODE, uint64(u.rng.IntN(1<<16)), 0o600
	})
	u.is(s, 0, "truncate")
}

// reserve changes the map of a file.
func (u *churner) reserve() {
	n := u.someFile()
	if n == nil {
		return
	}
	modes := []uint32{0, 1, 3, 0x10, 0x11}
	in := fuse.FallocateIn{InHeader: on(n.id, 0), Offset: uint64(u.rng.IntN(1 << 16)), Length: 1 + uint64(u.rng.IntN(1<<15)), Mode: modes[u.rng.IntN(len(modes))]}
	u.is(u.Fallocate(nil, &in), 0, "fallocate %d", in.Mode)
	if u.rng.IntN(3) == 0 {
		var out fuse.LseekOut
		s := u.Lseek(nil, &fuse.LseekIn{InHeader: on(n.id, 0), Whence: 3}, &out)
		if s != fuse.OK && s != fuse.Status(syscall.ENXIO) {
			u.t.Errorf("lseek: %v", s)
		}
	}
	if to := u.someFile(); to != nil && to != n {
		_, s := u.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: on(n.id, 0), NodeIdOut: to.id, Len: 5000})
		u.is(s, 0, "copy_file_range")
	}
}

func (u *churner) xattrs() {
	_, _, n := u.some()
	if n == nil || !n.file && !n.dir {
		return
	}
	in := fuse.SetXAttrIn{InHeader: on(n.id, 0)}
	name := fmt.Sprint("user.", u.rng.IntN(3))
	buf := make([]byte, 4096)
	switch u.rng.IntN(4) {
	case 0, 1:
		u.is(u.SetXAttr(nil, &in, name, buf[:u.rng.IntN(500)]), 0, "setxattr")
	case 2:
		if s := u.RemoveXAttr(nil, &in.InHeader, name); s != fuse.OK && s != fuse.ENODATA {
			u.t.Errorf("removexattr: %v", s)
		}
	}
	if _, s := u.GetXAttr(nil, &in.InHeader, name, buf); s != fuse.OK && s != fuse.ENODATA {
		u.t.Errorf("getxattr: %v", s)
	}
	_, s := u.ListXAttr(nil, &in.InHeader, buf)
	u.is(s, 0, "listxattr")
}

// list reads a directory in small pieces while it changes.
func (u *churner) list() {
	dir := u.someDir()
	u.readAll(dir.id, u.rng.IntN(2) == 0, func() {
		if len(dir.names) > 0 && len(dir.names) < churnNames && !dir.names[0].to.dir {
			u.linkTo(dir, u.known(dir.names[0].to))
			u.drop(dir, len(dir.names)-1)
		}
	})
}

// readAll lists a directory, and forgets at once what it hears of.
func (u *churner) readAll(id uint64, plus bool, between func()) {
	for off := uint64(0); ; between() {
		list := fuse.NewDirEntryList(make([]byte, 1024), off)
		in := fuse.ReadIn{InHeader: on(id, 0), Offset: off, Size: 1024}
		var entries []fuse.DirEntry
		var outs []fuse.EntryOut
		var err error
		if plus {
			u.is(u.ReadDirPlus(nil, &in, list), 0, "readdirplus")
			entries, outs, err = fuse.ParseDirLookupEntries(list.Bytes())
		} else {
			u.is(u.ReadDir(nil, &in, list), 0, "readdir")
			entries, err = fuse.ParseDirEntries(list.Bytes())
		}
		if err != nil {
			u.t.Error(err)
			return
		}
		for _, o := range outs {
			if o.NodeId != 0 {
				u.Forget(o.NodeId, 1)
			}
		}
		if len(entries) == 0 {
			return
		}
		off = entries[len(entries)-1].Off
	}
}

// look asks for attributes, and for names again.
func (u *churner) look() {
	dir, k, n := u.some()
	if n == nil {
		u.stat(dir.id)
		return
	}
	if a := u.stat(n.id); !n.dir && int(a.Nlink) != n.links {
		u.t.Errorf("node %d has %d links, not %d", n.id, a.Nlink, n.links)
	}
	out, s := u.lookup(dir.id, dir.names[k].name)
	u.is(s, 0, "lookup")
	if out.NodeId != n.id {
		u.t.Errorf("%s leads to %d, not %d", dir.names[k].name, out.NodeId, n.id)
	}
	n.lookups++
}

// forgetOne is what the kernel does when it wants memory.
func (u *churner) forgetOne() {
	if _, _, n := u.some(); n != nil && n.opens == 0 && !n.dir {
		u.forget(n)
	}
}

// missing is what fails, after which nothing may be left.
func (u *churner) missing() {
	dir, k, n := u.some()
	h := on(dir.id, 0)
	u.is(u.Unlink(nil, &h, "none"), syscall.ENOENT, "unlink")
	if out, s := u.lookup(dir.id, "none"); s != fuse.OK || out.NodeId != 0 {
		u.t.Errorf("lookup of nothing: %+v, %v", out, s)
	}
	if n == nil {
		return
	}
	name := dir.names[k].name
	in := fuse.CreateIn{InHeader: h, Mode: 0o644, Flags: syscall.O_RDWR}
	u.is(u.Create(nil, &in, name, new(fuse.CreateOut)), syscall.EEXIST, "create")
	u.is(u.Mkdir(nil, &fuse.MkdirIn{InHeader: h}, name, new(fuse.EntryOut)), syscall.EEXIST, "mkdir")
	u.is(u.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: dir.id}, "x", new(fuse.EntryOut)), syscall.EPERM, "link of a directory")
	if !n.dir {
		_, s := u.lookup(n.id, "below")
		u.is(s, syscall.ENOTDIR, "lookup below a file")
	}
}

// others are the rarer requests.
func (u *churner) others() {
	dir := u.someDir()
	h := on(dir.id, 0)
	u.is(u.StatFs(nil, &h, new(fuse.StatfsOut)), 0, "statfs")
	u.is(u.Statx(nil, &fuse.StatxIn{InHeader: h}, new(fuse.StatxOut)), 0, "statx")
	n := u.someFile()
	if n == nil {
		return
	}
	in := fuse.IoctlIn{InHeader: on(n.id, 0), Cmd: 0x80086601}
	u.is(u.Ioctl(nil, &in, nil, new(fuse.IoctlOut), make([]byte, 4)), 0, "ioctl")
	if u.rng.IntN(20) == 0 {
		u.is(u.Fsync(nil, &fuse.FsyncIn{InHeader: on(n.id, 0)}), 0, "fsync")
	}
}

const sharedNames = 40 // of the directory that all change

// sharedChange changes the directory that all change. Who else does is kept out
// by the kernel.
func (u *churner) sharedChange() {
	u.c.lock.Lock()
	defer u.c.lock.Unlock()
	name, other := fmt.Sprint("s", u.rng.IntN(sharedNames)), fmt.Sprint("s", u.rng.IntN(sharedNames))
	h := on(u.c.shared, 0)
	var s fuse.Status
	switch u.rng.IntN(3) {
	case 0:
		var out fuse.EntryOut
		if s = u.Mknod(nil, &fuse.MknodIn{InHeader: h, Mode: 0o100644}, name, &out); s == fuse.OK {
			u.Forget(out.NodeId, 1)
		}
	case 1:
		s = u.Unlink(nil, &h, name)
	case 2:
		s = u.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: u.c.shared}, name, other)
	}
	if s != fuse.OK && s != fuse.ENOENT && s != fuse.Status(syscall.EEXIST) {
		u.t.Errorf("shared directory: %v", s)
	}
}

func (u *churner) sharedList() {
	u.c.lock.RLock()
	defer u.c.lock.RUnlock()
	u.readAll(u.c.shared, true, func() {})
	if out, s := u.lookup(u.c.shared, fmt.Sprint("s", u.rng.IntN(sharedNames))); s == fuse.OK && out.NodeId != 0 {
		u.Forget(out.NodeId, 1)
	}
}
