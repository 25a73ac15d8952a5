//go:build linux && !386

package mount

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

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
			c := startQuiet(b)
			for n := 0; b.Loop(); n++ {
				do(n % files)
				c.tick()
			}
			c.report()
		})
	}
	root := on(1, 0)
	round := 0
	b.Run("create", func(b *testing.B) {
		c := startQuiet(b)
		for n := 0; b.Loop(); n++ {
			if n%files == 0 {
				b.StopTimer()
				round++
				dir := fuse.EntryOut{}
				ok(h.Mkdir(nil, &fuse.MkdirIn{InHeader: root, Mode: 0o755}, fmt.Sprint("d", round), &dir))
				ids[0] = dir.NodeId
				c.start()
			}
			in := fuse.CreateIn{InHeader: on(ids[0], 0), Mode: 0o644, Flags: syscall.O_WRONLY}
			var out fuse.CreateOut
			ok(h.Create(nil, &in, names[n%files], &out))
			h.Release(nil, &fuse.ReleaseIn{InHeader: on(out.NodeId, 0), Flags: syscall.O_WRONLY, Fh: out.Fh})
			c.tick()
		}
		c.report()
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
	benchAttrs(each, ok, h, ids, names)
	each("rename", func(i int) {
		ok(h.Rename(nil, &fuse.RenameIn{InHeader: in, Newdir: dir.NodeId}, names[i], names[i]+"'"))
		ok(h.Rename(nil, &fuse.RenameIn{InHeader: in, Newdir: dir.NodeId}, names[i]+"'", names[i]))
	})
	benchMaking(b, h, names)
	b.Run("readdirplus", func(b *testing.B) {
		b.ReportAllocs()
		buf, n, best := make([]byte, 32<<10), 0, time.Duration(math.MaxInt64)
		for b.Loop() { // all names of the directory
			began := time.Now()
			n = listAll(b, h, dir.NodeId, buf)
			best = min(best, time.Since(began))
		}
		b.ReportMetric(float64(best)/float64(n), "quiet-ns/name")
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

// benchAttrs measures what needs no name.
func benchAttrs(each func(name string, do func(i int)), ok func(fuse.Status), h *handler, ids []uint64, names []string) {
	each("open+release", func(i int) {
		var out fuse.OpenOut
		h.Open(nil, &fuse.OpenIn{InHeader: on(ids[i], 0), Flags: syscall.O_RDWR}, &out)
		h.Release(nil, &fuse.ReleaseIn{InHeader: on(ids[i], 0), Flags: syscall.O_RDWR, Fh: out.Fh})
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
	each("chmod", func(i int) {
		var out fuse.AttrOut
		ok(h.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: on(ids[i], 0),
			Valid: fuse.FATTR_MODE, Mode: uint32(0o600 + i%8)}}, &out))
	})
	each("chown", func(i int) {
		var out fuse.AttrOut
		ok(h.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: on(ids[i], 0),
			Valid: fuse.FATTR_UID | fuse.FATTR_GID, Owner: fuse.Owner{Uid: uint32(i % 8), Gid: 1}}}, &out))
	})
	each("getxattr-none", func(i int) {
		h := h
		hdr := on(ids[i], 0)
		_, _ = h.GetXAttr(nil, &hdr, capability, nil)
	})
	each("setxattr", func(i int) {
		ok(h.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: on(ids[i], 0)}, "user.some", []byte(names[i][:8])))
	})
}

// benchMaking measures what makes and removes names, each in pairs or in
// directories of the round.
func benchMaking(b *testing.B, h *handler, names []string) {
	ok := func(s fuse.Status) {
		if s != fuse.OK {
			b.Helper()
			b.Fatal(syscall.Errno(s))
		}
	}
	var dir fuse.EntryOut
	ok(h.Mkdir(nil, &fuse.MkdirIn{InHeader: on(1, 0), Mode: 0o755}, "making", &dir))
	in := on(dir.NodeId, 0)
	// Steps of half of the names: made and removed, in turn.
	batch := len(names) / 2
	pairs := func(name string, before, do, after func(name string) fuse.Status) {
		b.Run(name, func(b *testing.B) {
			c := startQuiet(b)
			for n := 0; b.Loop(); n++ {
				if n%batch == 0 {
					b.StopTimer()
					for _, name := range names[:batch] {
						if n > 0 && after != nil {
							ok(after(name))
						}
					}
					for _, name := range names[:batch] {
						if before != nil {
							ok(before(name))
						}
					}
					_ = h.fsys.Sync(b.Context())
					c.start()
				}
				ok(do(names[n%batch]))
				c.tick()
			}
			c.report()
			for _, name := range names[:batch] {
				h.Unlink(nil, &in, name)
				h.Rmdir(nil, &in, name)
			}
			_ = h.fsys.Sync(b.Context())
		})
	}
	known := map[string]uint64{}
	create := func(name string) fuse.Status {
		var out fuse.CreateOut
		st := h.Create(nil, &fuse.CreateIn{InHeader: in, Mode: 0o644}, name, &out)
		h.Release(nil, &fuse.ReleaseIn{InHeader: on(out.NodeId, 0), Fh: out.Fh})
		known[name] = out.NodeId
		return st
	}
	pairs("unlink+forget", create, func(name string) fuse.Status {
		st := h.Unlink(nil, &in, name)
		h.Forget(known[name], 1)
		return st
	}, nil)
	pairs("mkdir", nil, func(name string) fuse.Status {
		var out fuse.EntryOut
		st := h.Mkdir(nil, &fuse.MkdirIn{InHeader: in, Mode: 0o755}, name, &out)
		h.Forget(out.NodeId, 1)
		return st
	}, func(name string) fuse.Status { return h.Rmdir(nil, &in, name) })
	pairs("symlink", nil, func(name string) fuse.Status {
		var out fuse.EntryOut
		st := h.Symlink(nil, &in, "to/somewhere", name, &out)
		h.Forget(out.NodeId, 1)
		return st
	}, func(name string) fuse.Status { return h.Unlink(nil, &in, name) })
	var target fuse.EntryOut
	ok(h.Mknod(nil, &fuse.MknodIn{InHeader: on(1, 0), Mode: syscall.S_IFREG | 0o644}, "target", &target))
	pairs("link", nil, func(name string) fuse.Status {
		var out fuse.EntryOut
		st := h.Link(nil, &fuse.LinkIn{InHeader: in, Oldnodeid: target.NodeId}, name, &out)
		h.Forget(out.NodeId, 1)
		return st
	}, func(name string) fuse.Status { return h.Unlink(nil, &in, name) })
}

// listAll reads a directory as the kernel does, which then forgets all of it,
// and returns how many names there were.
func listAll(b *testing.B, h *handler, id uint64, buf []byte) (names int) {
	off := uint64(0)
	for {
		clear(buf)
		list := fuse.NewDirEntryList(buf, off)
		if st := h.ReadDirPlus(nil, &fuse.ReadIn{InHeader: on(id, 0), Offset: off, Size: uint32(len(buf))}, list); st != fuse.OK {
			b.Fatal(syscall.Errno(st))
		}
		const entry, head = 128, 24 // fuse_entry_out, fuse_dirent
		n := 0
		for at := 0; ; {
			d := buf[at:]
			if len(d) < entry+head || binary.LittleEndian.Uint64(d[entry+8:]) <= off {
				break
			}
			off = binary.LittleEndian.Uint64(d[entry+8:])
			if node := binary.LittleEndian.Uint64(d); node != 0 {
				h.Forget(node, 1)
			}
			at += (entry + head + int(binary.LittleEndian.Uint32(d[entry+16:])) + 7) &^ 7
			n++
		}
		if n == 0 {
			return names
		}
		names += n
	}
}

// quietTimer tells what an operation takes where nothing else happens on the
// machine: a low percentile of the times of some operations at once. Commits and
// the garbage collector come on top.
type quietTimer struct {
	b     *testing.B
	from  time.Time
	n     int
	times []time.Duration
}

const quietBatch = 50

func startQuiet(b *testing.B) *quietTimer {
	b.ReportAllocs()
	return &quietTimer{b: b, from: time.Now()}
}

// tick comes after each operation.
func (c *quietTimer) tick() {
	if c.n++; c.n == quietBatch {
		now := time.Now()
		c.times = append(c.times, now.Sub(c.from))
		c.from, c.n = now, 0
	}
}

func (c *quietTimer) start() {
	c.b.StartTimer()
	c.from, c.n = time.Now(), 0
}

func (c *quietTimer) report() {
	c.b.StopTimer()
	if slices.Sort(c.times); len(c.times) > 0 {
		c.b.ReportMetric(float64(c.times[len(c.times)/10])/quietBatch, "quiet-ns/op")
	}
}
