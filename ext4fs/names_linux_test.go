package ext4fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// twin applies the same operations to a tree of the kernel and to one of this
// package.
type twin struct {
	t   testing.TB
	top string // where the kernel has its own
	f   *FS
	rng *rand.Rand
	ops int
	// paths that were tried: most of what there is.
	pool []string
}

// twinErrnos are what operations on names fail with.
var twinErrnos = []syscall.Errno{
	unix.EEXIST, unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY, unix.EINVAL, unix.EPERM, unix.EBUSY, unix.EXDEV,
	unix.EMLINK, unix.ELOOP, unix.ENAMETOOLONG, unix.ENOSPC, unix.EROFS, unix.ENODATA, unix.EOPNOTSUPP, unix.ERANGE, unix.E2BIG, unix.EACCES,
}

func errnoOf(err error) syscall.Errno {
	for _, e := range twinErrnos {
		if errors.Is(err, e) {
			return e
		}
	}
	switch {
	case errors.Is(err, ErrNoAttr):
		return unix.ENODATA
	case err != nil:
		return unix.EIO
	}
	return 0
}

func (w *twin) both(kernel, ours error, format string, args ...any) bool {
	w.t.Helper()
	w.ops++
	if a, b := errnoOf(kernel), errnoOf(ours); a != b {
		w.t.Fatalf("operation %d, %.300s: the kernel says %v, e4kit %v", w.ops, fmt.Sprintf(format, args...), kernel, ours)
	}
	return ours == nil
}

// path makes one up out of few names, so that many exist.
func (w *twin) path() string {
	if len(w.pool) > 0 && w.rng.IntN(3) > 0 {
		p := w.pool[w.rng.IntN(len(w.pool))]
		switch w.rng.IntN(30) {
		case 0:
			return p + "/."
		case 1:
			return p + "/.."
		case 2:
			return p + "/" + w.name()
		case 3:
			return strings.ToUpper(p)
		}
		return p
	}
	p := w.name()
	for w.rng.IntN(2) == 0 {
		p += "/" + w.name()
	}
	if len(w.pool) < 400 {
		w.pool = append(w.pool, p)
	} else {
		w.pool[w.rng.IntN(len(w.pool))] = p
	}
	return p
}

func (w *twin) name() string {
	switch r := w.rng.IntN(60); {
	case r < 50:
		return string(rune('a' + w.rng.IntN(10)))
	case r < 58:
		return strings.Repeat(string(rune('a'+w.rng.IntN(10))), 100+w.rng.IntN(156))
	case r < 59:
		return strings.Repeat("x", 256)
	}
	return "ÄÖ"
}

func (w *twin) at(p string) string { return w.top + "/" + p }

// node calls op with the directory and name that a path leads to.
func (w *twin) node(p string, op func(d *Inode, name string) error) error {
	at, err := w.f.locate(p)
	if err != nil {
		return err
	}
	return op(at.dir, at.name)
}

func (w *twin) step() {
	p, q := w.path(), w.path()
	mode := uint32(w.rng.IntN(0o1000))
	perm := os.FileMode(mode)
	switch r := w.rng.IntN(112); {
	case r >= 100:
		w.attributes(p)
	case r < 18:
		w.both(unix.Mkdir(w.at(p), mode), w.f.Mkdir(p, perm), "mkdir %s", p)
	case r < 36:
		w.open(p, mode)
	case r < 42:
		target := q
		if w.rng.IntN(3) == 0 {
			target = strings.Repeat("./", w.rng.IntN(200)) + q
		}
		w.both(unix.Symlink(target, w.at(p)), w.f.Symlink(target, p), "symlink %s %s", target, p)
	case r < 46:
		major, minor := w.rng.Uint32N(300), w.rng.Uint32N(300)
		kind := []uint16{disk.ModeChar, disk.ModeBlock, disk.ModeFIFO, disk.ModeSocket}[w.rng.IntN(4)]
		w.both(unix.Mknod(w.at(p), mode|uint32(kind), int(unix.Mkdev(major, minor))),
			w.f.Mknod(p, disk.FileMode(kind|uint16(mode)), major, minor), "mknod %s", p)
	case r < 52:
		w.both(unix.Link(w.at(p), w.at(q)), w.f.Link(p, q), "link %s %s", p, q)
	case r < 64:
		w.both(unix.Unlink(w.at(p)), w.node(p, (*Inode).Unlink), "unlink %s", p)
	case r < 72:
		w.both(unix.Rmdir(w.at(p)), w.node(p, (*Inode).Rmdir), "rmdir %s", p)
	case r < 96:
		w.rename(p, q)
	case r < 97 && !strings.Contains(p, ".."):
		// Package os opens what is above, whatever it is.
		if st, err := os.Stat(filepath.Dir(w.at(p))); err == nil && st.IsDir() {
			w.both(os.RemoveAll(w.at(p)), w.f.RemoveAll(p), "removeall %s", p)
		}
	default:
		w.flags(p)
	}
}

// attributes changes what is not a name.
func (w *twin) attributes(p string) {
	perm := os.FileMode(w.rng.IntN(0o1000))
	switch w.rng.IntN(8) {
	case 6, 7:
		acl := []disk.ACLEntry{
			{Tag: disk.ACLUserObj, Perm: uint16(w.rng.IntN(8))}, {Tag: disk.ACLUser, Perm: uint16(w.rng.IntN(8)), ID: 1000},
			{Tag: disk.ACLGroupObj, Perm: uint16(w.rng.IntN(8))}, {Tag: disk.ACLMask, Perm: uint16(w.rng.IntN(8))},
			{Tag: disk.ACLOther, Perm: uint16(w.rng.IntN(8))},
		}
		name := []string{"system.posix_acl_default", "system.posix_acl_access"}[w.rng.IntN(2)]
		value := disk.EncodeCallACL(acl)
		w.both(unix.Setxattr(w.at(p), name, value, 0), w.f.SetXattr(p, name, value, 0), "%s %s", name, p)
	case 0:
		w.both(os.Chmod(w.at(p), perm|os.ModeSetgid), w.f.Chmod(p, perm|os.ModeSetgid), "chmod %s", p)
	case 1:
		uid, gid := w.rng.IntN(100_000)-1, w.rng.IntN(100_000)-1
		w.both(os.Chown(w.at(p), uid, gid), w.f.Chown(p, uid, gid), "chown %s %d %d", p, uid, gid)
	case 2:
		uid := w.rng.IntN(100_000)
		w.both(os.Lchown(w.at(p), uid, -1), w.f.Lchown(p, uid, -1), "lchown %s %d", p, uid)
	case 3:
		at := time.Unix(w.rng.Int64N(1<<32), int64(w.rng.IntN(1e9)))
		w.both(os.Chtimes(w.at(p), at, at), w.f.Chtimes(p, at, at), "chtimes %s", p)
	case 4:
		value := []byte(strings.Repeat("v", w.rng.IntN(200)))
		w.both(unix.Setxattr(w.at(p), "user.a", value, 0), w.f.SetXattr(p, "user.a", value, 0), "setxattr %s", p)
	case 5:
		w.both(unix.Removexattr(w.at(p), "user.a"), w.f.RemoveXattr(p, "user.a"), "removexattr %s", p)
	}
}

func (w *twin) open(p string, mode uint32) {
	flags := []int{os.O_CREATE | os.O_WRONLY, os.O_CREATE | os.O_EXCL | os.O_RDWR, os.O_RDWR, os.O_CREATE | os.O_TRUNC | os.O_WRONLY,
		os.O_RDONLY, os.O_WRONLY | os.O_APPEND}[w.rng.IntN(6)]
	if st, err := os.Stat(w.at(p)); err == nil && !st.Mode().IsRegular() && !st.IsDir() {
		return // a device that is not there, or a fifo that blocks
	}
	a, kerr := os.OpenFile(w.at(p), flags, os.FileMode(mode))
	b, err := w.f.OpenFile(p, flags, os.FileMode(mode))
	if !w.both(kerr, err, "open %s %x", p, flags) {
		return
	}
	if flags&(os.O_WRONLY|os.O_RDWR) != 0 {
		text := strings.Repeat(p, w.rng.IntN(4))
		_, kerr = a.Write([]byte(text))
		_, err = b.Write([]byte(text))
		w.both(kerr, err, "write %s", p)
	}
	if w.rng.IntN(3) == 0 {
		w.both(unix.Unlink(w.at(p)), w.node(p, (*Inode).Unlink), "unlink open %s", p)
	}
	w.both(a.Close(), b.Close(), "close %s", p)
}

func (w *twin) rename(p, q string) {
	var kflags uint
	var flags RenameFlags
	switch w.rng.IntN(6) {
	case 0:
		kflags, flags = unix.RENAME_NOREPLACE, RenameNoReplace
	case 1:
		kflags, flags = unix.RENAME_EXCHANGE, RenameExchange
	case 2:
		kflags, flags = unix.RENAME_WHITEOUT, RenameWhiteout
	}
	w.both(unix.Renameat2(unix.AT_FDCWD, w.at(p), unix.AT_FDCWD, w.at(q), kflags),
		w.f.RenameWith(p, q, flags), "rename %s %s %d", p, q, flags)
}

// flags makes something immutable or append-only, or takes that away.
func (w *twin) flags(p string) {
	i, err := w.f.resolve(p, true)
	if err != nil || !i.IsRegular() && !i.IsDir() {
		return
	}
	fd, err := unix.Open(w.at(p), unix.O_RDONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer unix.Close(fd)
	old, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		w.t.Fatal(err)
	}
	bit := []disk.InodeFlags{disk.FlagImmutable, disk.FlagAppend, disk.FlagNoDump, disk.FlagNoAtime, disk.FlagDirSync}[w.rng.IntN(5)]
	switch {
	case bit == disk.FlagDirSync && !i.IsDir():
		return
	case i.Flags().Has(disk.FlagImmutable): // nothing else can be changed
		bit = disk.FlagImmutable
	case i.Flags().Has(disk.FlagAppend):
		bit = disk.FlagAppend
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(old^uint32(bit))); err != nil {
		w.t.Fatalf("flags %x of %s: %v", old^uint32(bit), p, err)
	}
	w.ours(i, bit)
}

// ours changes a flag in the tree of this package.
func (w *twin) ours(i *Inode, bit disk.InodeFlags) {
	err := i.change(func(h *txn) error {
		return i.update(h, func(r disk.Inode) { r.SetFlags(r.Flags() ^ bit) })
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// shape reduces a list of StatDir to what must be the same: PATH NLINK FLAGS
// PROJECT. Directories may be smaller than the kernel's, which splits full
// blocks where this package closes gaps.
func shape(m testimages.Manifest) testimages.Manifest {
	var out testimages.Manifest
	for _, line := range m {
		f := strings.Fields(line)
		out = append(out, strings.Join([]string{f[0], f[2], f[9], f[10]}, " "))
	}
	return out
}

// tree takes both manifests of what is mounted at dir.
func (w *twin) tree(dir string) (testimages.Manifest, testimages.Manifest) {
	tree, err := testimages.ManifestDir(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	stat, err := testimages.StatDir(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	return tree.Drop("MTIME"), shape(stat)
}

func TestNamesTwin(t *testing.T) {
	testimages.RequireLoop(t)
	ops := 3000
	if testing.Short() {
		ops = 500
	}
	for _, format := range []struct {
		name string
		args []string
	}{
		{"4k", []string{"-N", "4096"}},
		{"ext3", []string{"-t", "ext3", "-b", "1024", "-N", "4096"}},
		{"orphan_file", []string{"-b", "1024", "-O", "orphan_file", "-N", "4096"}},
		{"inline", []string{"-O", "inline_data", "-N", "4096"}},
		{"bigalloc", []string{"-b", "1024", "-C", "8192", "-O", "bigalloc", "-N", "4096"}},
	} {
		t.Run(format.name, func(t *testing.T) {
			path := formatFile(t, 48<<20, format.args...)
			dev := loadRAM(t, path)
			w := &twin{t: t, rng: rand.New(rand.NewPCG(11, 5))}
			w.f = openWrite(t, dev)
			var want, wantStat testimages.Manifest
			testimages.WithMount(t, path, "", func(dir string) {
				w.top = dir
				for range ops {
					w.step()
				}
			})
			// What is delayed until the writeback shows only now.
			testimages.WithMount(t, path, "ro", func(dir string) { want, wantStat = w.tree(dir) })
			closeWrite(t, w.f)
			saved := saveRAM(t, dev)
			testimages.Fsck(t, saved)
			testimages.WithMount(t, saved, "ro", func(dir string) {
				got, gotStat := w.tree(dir)
				if d := testimages.Diff(want, got); d != "" {
					t.Errorf("- kernel, + e4kit:\n%.3000s", d)
				}
				if d := testimages.Diff(wantStat, gotStat); d != "" {
					t.Errorf("- kernel, + e4kit (path, links, flags, project):\n%.3000s", d)
				}
			})
		})
	}
}
