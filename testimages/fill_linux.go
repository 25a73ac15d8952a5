package testimages

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// FillTree fills the empty folder dir with one of everything a tree can hold:
// files around every size boundary, holes, unwritten extents, hard links, all
// kinds of symlinks, devices, fifos and sockets, extended attributes and ACLs,
// odd names, odd times, large owners, a deep path and a folder of many names.
// What the file system below cannot store (attributes, huge offsets) is left
// out. It needs root.
func FillTree(dir string, o Fill) error {
	f := &filler{top: dir, o: o.withDefaults()}
	f.sizes()
	f.holes()
	f.preallocated()
	f.fragmented()
	f.names()
	f.manyNames()
	f.deep()
	f.links()
	f.special()
	if !f.o.Plain {
		f.attributes()
		f.acls()
	}
	f.owners()
	f.deleted()
	f.times()
	f.flags() // last: some forbid changes
	return f.err
}

// filler makes a tree; its first error stops everything after it.
type filler struct {
	top  string
	o    Fill
	seed uint64
	err  error
}

func (f *filler) path(name string) string { return f.top + "/" + name }

// fail notes the error of a step on name.
func (f *filler) fail(name string, err error) {
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("fill %s: %w", escape(name), err)
	}
}

// lacks tells whether err only says that the file system cannot hold this.
func lacks(err error) bool {
	for _, e := range []error{unix.EOPNOTSUPP, unix.EFBIG, unix.EINVAL, unix.ENOSPC, unix.ERANGE, unix.E2BIG, unix.ENAMETOOLONG, unix.ENOTTY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// may is fail for what a file system may lack.
func (f *filler) may(name string, err error) {
	if !lacks(err) {
		f.fail(name, err)
	}
}

func (f *filler) mkdir(name string) {
	if f.err == nil {
		f.fail(name, os.MkdirAll(f.path(name), 0o755))
	}
}

// file writes n bytes of its own content.
func (f *filler) file(name string, n int64) {
	f.seed++
	f.pieces(name, n, []int64{0}, n)
}

// pieces writes piece bytes at each offset and sets the size, so that the rest
// stays a hole.
func (f *filler) pieces(name string, size int64, at []int64, piece int64) {
	if f.err != nil {
		return
	}
	h, err := os.OpenFile(f.path(name), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		f.fail(name, err)
		return
	}
	defer h.Close()
	for i, off := range at {
		if _, err := h.WriteAt(Content(f.seed<<20+uint64(i), int(piece)), off); err != nil {
			f.may(name, err)
			return
		}
	}
	f.may(name, h.Truncate(size))
}

// with opens a file made before.
func (f *filler) with(name string, fn func(h *os.File) error) {
	if f.err != nil {
		return
	}
	h, err := os.OpenFile(f.path(name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		f.fail(name, err)
		return
	}
	defer h.Close()
	f.may(name, fn(h))
}

func (f *filler) sizes() {
	f.mkdir("sizes")
	bs := f.o.BlockSize
	for _, n := range []int64{0, 1, 59, 60, 61, 128, 150, 160, 500, 1000, bs - 1, bs, bs + 1, 3*bs + 7, 12 * bs, 12*bs + 1, 300_000} {
		f.file(fmt.Sprintf("sizes/%d", n), n)
	}
}

// holes makes sparse files whose data straddles the borders of the indirect
// map (12 direct blocks, then single, double and triple) and the far end.
func (f *filler) holes() {
	f.mkdir("holes")
	bs := f.o.BlockSize
	apb := bs / 4
	f.pieces("holes/none", 5*bs+3, nil, 0)
	f.pieces("holes/front", 9*bs, []int64{8 * bs}, bs)
	f.pieces("holes/back", 9*bs+100, []int64{0}, bs)
	f.pieces("holes/middle", 9*bs, []int64{bs, 5*bs + 11, 8 * bs}, bs/2)
	f.pieces("holes/maps", (12+apb+apb*apb+5)*bs, []int64{
		11*bs + bs/2, (11+apb)*bs + bs/2, (11+apb+apb*apb)*bs + bs/2, (12+apb+apb*apb+3)*bs + 1}, bs)
	if f.o.Plain {
		return
	}
	f.pieces("holes/4g", 5<<30, []int64{1<<32 - 512}, 1024)
	// The last block but one that 32-bit logical numbers reach.
	f.pieces("holes/far", (1<<32-2)*bs, []int64{(1<<32 - 3) * bs}, bs)
}

// preallocated makes unwritten extents of every kind.
func (f *filler) preallocated() {
	if f.o.Portable {
		return
	}
	f.mkdir("prealloc")
	bs := f.o.BlockSize
	f.with("prealloc/plain", func(h *os.File) error { return unix.Fallocate(int(h.Fd()), 0, 0, 20*bs) })
	f.with("prealloc/beyond", func(h *os.File) error {
		if _, err := h.Write(Content(71, int(bs+5))); err != nil {
			return err
		}
		return unix.Fallocate(int(h.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 12*bs)
	})
	f.with("prealloc/mixed", func(h *os.File) error {
		err := unix.Fallocate(int(h.Fd()), 0, 0, 30*bs)
		for i := int64(0); i < 30 && err == nil; i += 3 {
			_, err = h.WriteAt(Content(uint64(72+i), int(bs)), i*bs)
		}
		return err
	})
	for name, mode := range map[string]uint32{
		"punched": unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, "zeroed": unix.FALLOC_FL_ZERO_RANGE,
		"collapsed": unix.FALLOC_FL_COLLAPSE_RANGE, "inserted": unix.FALLOC_FL_INSERT_RANGE,
	} {
		// Collapse and insert work on clusters; 16 blocks are one at most here.
		f.with("prealloc/"+name, func(h *os.File) error {
			if _, err := h.Write(Content(90, int(64*bs))); err != nil {
				return err
			}
			return unix.Fallocate(int(h.Fd()), mode, 16*bs, 16*bs)
		})
	}
}

// fragmented makes files of more extents than the inode's root holds.
func (f *filler) fragmented() {
	f.mkdir("frag")
	bs := f.o.BlockSize
	if bs > 4096 {
		return // would need a large image
	}
	for _, n := range []int64{5, 100} {
		var at []int64
		for i := range n {
			at = append(at, 2*i*bs)
		}
		f.seed++
		f.pieces(fmt.Sprintf("frag/%d", n), 2*n*bs, at, bs-1)
	}
}

func (f *filler) names() {
	f.mkdir("names")
	for i, n := range []string{
		" ", "-", "--help", "a b", "tab\there", "line\nfeed", `back\slash`, `quote"'`, "*?[x]", "\x01\x7f", "Ärger-für-über",
		"日本語", "🙂", "e\u0301", "\xff\xfe", "caf\xc3\xa9", "...", ".hidden", "CaSe", "cAsE", ":<12>", "a:b", "$HOME", "CON",
		strings.Repeat("n", 255), strings.Repeat("é", 127) + "x",
	} {
		f.file("names/"+n, int64(i))
	}
}

func (f *filler) manyNames() {
	f.mkdir("many")
	for i := range f.o.Names {
		// Different lengths, so that records of many sizes share a block.
		size := int64(i % 3)
		if i >= 300 {
			size = 0 // a byte costs a block
		}
		f.file(fmt.Sprintf("many/entry-%04d%s", i, strings.Repeat("x", i%40)), size)
	}
}

func (f *filler) deep() {
	p := "deep"
	for i := range 60 {
		p += fmt.Sprintf("/level%02d", i)
	}
	f.mkdir(p)
	f.file(p+"/bottom", 10)
}

func (f *filler) links() {
	f.mkdir("links/a")
	f.mkdir("links/b")
	f.file("links/a/file", 5000)
	for i := range 9 {
		f.link("links/a/file", fmt.Sprintf("links/b/hard%d", i))
	}
	for _, n := range []int{1, 10, 58, 59, 60, 61, 100, 144, 255, 1000, 1023, 1024, 4094} {
		f.symlink(strings.Repeat("t", n), fmt.Sprintf("links/sym%d", n))
	}
	f.symlink("../sizes/1000", "links/relative")
	f.symlink("/sizes/1000", "links/absolute")
	f.symlink("nowhere", "links/dangling")
	f.symlink("loop", "links/loop")
	f.symlink("sp ace\n\xff", "links/odd")
	if !f.o.Portable { // mke2fs -d forgets that
		f.link("links/relative", "links/relative-too")
	}
}

func (f *filler) link(old, name string) {
	if f.err == nil {
		f.fail(name, os.Link(f.path(old), f.path(name)))
	}
}

func (f *filler) symlink(target, name string) {
	if f.err == nil {
		f.may(name, os.Symlink(target, f.path(name)))
	}
}

func (f *filler) special() {
	f.mkdir("special")
	for _, d := range []struct {
		name  string
		mode  uint32
		major uint32
		minor uint32
	}{
		{"null", unix.S_IFCHR | 0o666, 1, 3}, {"loop", unix.S_IFBLK | 0o660, 7, 255}, {"old-max", unix.S_IFCHR | 0o600, 255, 255},
		{"new-minor", unix.S_IFBLK | 0o600, 8, 256}, {"new-major", unix.S_IFCHR | 0o600, 256, 0},
		{"new-max", unix.S_IFBLK | 0o600, 4095, 1048575}, {"zero", unix.S_IFCHR | 0o600, 0, 0},
		{"fifo", unix.S_IFIFO | 0o644, 0, 0}, {"socket", unix.S_IFSOCK | 0o755, 0, 0},
	} {
		if f.err == nil {
			f.fail(d.name, unix.Mknod(f.path("special/"+d.name), d.mode, int(unix.Mkdev(d.major, d.minor))))
		}
	}
	f.link("special/null", "special/null-too")
}

// deleted leaves gaps in folders and freed inodes, as use does.
func (f *filler) deleted() {
	f.mkdir("gone")
	for i := range 40 {
		f.file(fmt.Sprintf("gone/temp%02d", i), 100)
	}
	for i := range 40 {
		if i%4 != 1 && f.err == nil {
			f.fail("gone", os.Remove(f.path(fmt.Sprintf("gone/temp%02d", i))))
		}
	}
}

// Inode flags as FS_IOC_SETFLAGS takes them.
const (
	flagSecrm       = 0x1
	flagUnrm        = 0x2
	flagSync        = 0x8
	flagImmutable   = 0x10
	flagAppend      = 0x20
	flagNodump      = 0x40
	flagNoatime     = 0x80
	flagJournalData = 0x4000
)

// flags sets inode flags as chattr does.
func (f *filler) flags() {
	if f.o.Portable {
		return
	}
	f.mkdir("flags")
	for _, c := range []struct {
		name string
		bits uint32
	}{
		{"secure-undelete", flagSecrm | flagUnrm}, {"sync", flagSync}, {"nodump-noatime", flagNodump | flagNoatime},
		{"journal-data", flagJournalData}, {"append", flagAppend}, {"immutable", flagImmutable},
	} {
		name := "flags/" + c.name
		f.file(name, 100)
		f.with(name, func(h *os.File) error {
			if f.o.Project {
				a, err := getFsxattr(h)
				if err != nil {
					return err
				}
				a.Project = 4_000_000_000
				if err := setFsxattr(h, a); err != nil {
					return err
				}
			}
			if err := orFlags(h, c.bits); !errors.Is(err, unix.EPERM) { // some need a capability of their own
				return err
			}
			return nil
		})
	}
}

// owners sets owners beyond 16 bits and every permission bit.
func (f *filler) owners() {
	f.mkdir("owners")
	for i, c := range []struct {
		uid, gid uint32
		mode     uint32
	}{
		{0, 0, 0o4755}, {1000, 100, 0o2755}, {65535, 65536, 0o1777}, {70000, 4_000_000_000, 0}, {4_294_967_294, 1, 0o7777}, {65534, 65534, 0o600},
	} {
		name := fmt.Sprintf("owners/%d", i)
		f.file(name, 10)
		if f.err == nil {
			f.fail(name, os.Lchown(f.path(name), int(c.uid), int(c.gid)))
			f.fail(name, unix.Chmod(f.path(name), c.mode))
		}
	}
	f.mkdir("owners/dir")
	if f.err == nil {
		f.fail("owners/dir", os.Lchown(f.path("owners/dir"), 123456, 654321))
		f.fail("owners/dir", unix.Chmod(f.path("owners/dir"), 0o3775))
	}
	f.symlink("target", "owners/symlink")
	if f.err == nil {
		f.fail("owners/symlink", os.Lchown(f.path("owners/symlink"), 77777, 88888))
	}
}

// times sets times at the borders of what the inode can express, also on one
// folder and one symlink.
func (f *filler) times() {
	f.mkdir("times")
	odd := []time.Time{
		time.Unix(0, 0), time.Unix(1, 1), time.Unix(1_000_000_000, 999_999_999),
		time.Unix(1<<31-1, 123_456_789), time.Unix(946_684_800, 0),
	}
	if !f.o.Portable {
		odd = append(odd, time.Unix(-1, 999_999_999), time.Unix(-1<<31, 0), time.Unix(1<<31, 0),
			time.Unix(1<<32-1, 5), time.Unix(1<<32, 0), time.Unix(1<<33+77, 77),
			time.Unix(15_032_385_535, 999_999_999)) // the last second of 2446-05-10
	}
	for i := range odd {
		name := fmt.Sprintf("times/%02d", i)
		f.file(name, int64(i))
		f.setTimes(name, odd[i], odd[(i+1)%len(odd)])
	}
	f.mkdir("times/dir")
	f.setTimes("times/dir", odd[2], odd[3])
	f.symlink("target", "times/symlink")
	f.setTimes("times/symlink", odd[4], odd[2])
}

func (f *filler) setTimes(name string, atime, mtime time.Time) {
	if f.err == nil {
		if f.o.Portable {
			atime, mtime = time.Unix(atime.Unix(), 0), time.Unix(mtime.Unix(), 0)
		}
		f.fail(name, setTimes(filepath.Clean(f.path(name)), atime, mtime))
	}
}

// setTimes sets the times of a file or link. Where a long has 32 bits those
// beyond 2038 are an error.
func setTimes(path string, atime, mtime time.Time) error {
	var ts [2]unix.Timespec
	for i, t := range [2]time.Time{atime, mtime} {
		var err error
		if ts[i], err = unix.TimeToTimespec(t); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}
