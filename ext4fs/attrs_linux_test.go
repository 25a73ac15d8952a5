package ext4fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// attrTwin makes the same changes of attributes in a tree of the kernel and in
// one of this package.
type attrTwin struct {
	t   *testing.T
	top string
	f   *FS
	rng *rand.Rand
	n   int
}

var attrTwinNames = []string{"d0", "d1", "d0/f", "d1/f", "f0", "f1", "f2", "link", "fifo", "d0/d", "d0/d/f"}

func attrErrno(err error) syscall.Errno {
	for _, e := range []syscall.Errno{unix.EACCES, unix.EDQUOT, unix.ENOTTY} {
		if errors.Is(err, e) {
			return e
		}
	}
	return errnoOf(err)
}

func (w *attrTwin) both(kernel, ours error, format string, args ...any) bool {
	w.t.Helper()
	w.n++
	if a, b := attrErrno(kernel), attrErrno(ours); a != b {
		w.t.Fatalf("operation %d, %.300s: the kernel says %v, e4kit %v", w.n, fmt.Sprintf(format, args...), kernel, ours)
	}
	return ours == nil
}

func (w *attrTwin) inode(name string) *Inode {
	root, err := w.f.Root()
	if err != nil {
		w.t.Fatal(err)
	}
	i := root
	for part := range strings.SplitSeq(name, "/") {
		n, err := i.Lookup(part)
		if err != nil {
			return nil
		}
		if i, err = w.f.Inode(n); err != nil {
			w.t.Fatal(err)
		}
	}
	return i
}

func (w *attrTwin) step() {
	name := attrTwinNames[w.rng.IntN(len(attrTwinNames))]
	path := filepath.Join(w.top, name)
	i := w.inode(name)
	if i == nil {
		w.create(name)
		return
	}
	switch r := w.rng.IntN(40); {
	case r < 15:
		w.setXattr(name, i)
	case r < 20:
		key := w.key()
		w.both(unix.Lremovexattr(path, key), i.RemoveXattr(key), "removexattr %s %q", name, key)
	case r < 27:
		key := []string{"system.posix_acl_access", "system.posix_acl_default"}[w.rng.IntN(2)]
		value := w.acl()
		w.both(unix.Lsetxattr(path, key, value, 0), i.SetXattr(key, value, 0), "acl %s %s %x", name, key, value)
	case r < 30 && !i.IsSymlink():
		mode := uint32(w.rng.IntN(010000))
		w.both(unix.Chmod(path, mode), i.SetAttr(&SetAttr{Valid: AttrMode, Mode: uint16(mode)}), "chmod %s %o", name, mode)
	case r < 32:
		uid, gid := w.rng.IntN(3), w.rng.IntN(100000)
		w.both(unix.Lchown(path, uid, gid),
			i.SetAttr(&SetAttr{Valid: AttrUID | AttrGID, UID: uint32(uid), GID: uint32(gid), KillPriv: true}), "chown %s %d:%d", name, uid, gid)
	case r < 35:
		w.flags(name, i)
	case r < 37:
		w.remove(name, i)
	case r < 39 && i.IsRegular():
		w.setSize(path, i)
	}
}

func (w *attrTwin) setSize(path string, i *Inode) {
	size := int64(w.rng.IntN(200))
	if !w.both(unix.Truncate(path, size), i.SetAttr(&SetAttr{Valid: AttrSize, Size: size}), "truncate %s %d", path, size) {
		return
	}
	// For root the kernel keeps the set-id bits here, and takes capabilities.
	if err := i.RemoveXattr("security.capability"); err != nil && !errors.Is(err, ErrNoAttr) {
		w.t.Fatal(err)
	}
}

func (w *attrTwin) remove(name string, i *Inode) {
	dir := w.inode(filepath.Dir(name))
	if !strings.Contains(name, "/") {
		dir, _ = w.f.Root()
	}
	base := filepath.Base(name)
	if i.IsDir() {
		w.both(unix.Rmdir(filepath.Join(w.top, name)), dir.Rmdir(base), "rmdir %s", name)
		return
	}
	w.both(unix.Unlink(filepath.Join(w.top, name)), dir.Unlink(base), "unlink %s", name)
}

func (w *attrTwin) create(name string) {
	dir := w.inode(filepath.Dir(name))
	if !strings.Contains(name, "/") {
		dir, _ = w.f.Root()
	}
	if dir == nil {
		return
	}
	path, base := filepath.Join(w.top, name), filepath.Base(name)
	mode, umask := uint32(w.rng.IntN(01000)), w.rng.IntN(0100)
	old := unix.Umask(umask)
	defer unix.Umask(old)
	n := &NewNode{Umask: uint16(umask)}
	var kerr error
	switch {
	case base[0] == 'd':
		n.Mode = disk.ModeDir | uint16(mode)
		kerr = unix.Mkdir(path, mode)
	case base == "link":
		n.Mode, n.Target = disk.ModeSymlink, "f0"
		kerr = unix.Symlink("f0", path)
	case base == "fifo":
		n.Mode = disk.ModeFIFO | uint16(mode)
		kerr = unix.Mkfifo(path, mode)
	default:
		n.Mode = disk.ModeRegular | uint16(mode)
		kerr = unix.Mknod(path, unix.S_IFREG|mode, 0)
	}
	_, err := dir.Create(base, n)
	w.both(kerr, err, "create %s %o", name, mode)
}

func (w *attrTwin) key() string {
	if w.rng.IntN(12) == 0 {
		return []string{"", "user.", "user", "foo.a", "system.data", "system.x", "trusted.", strings.Repeat("u", 256),
			"user." + strings.Repeat("n", 250), "user." + strings.Repeat("n", 251), "security.x",
			"system.posix_acl_access", "system.posix_acl_default"}[w.rng.IntN(13)]
	}
	return []string{"user.", "trusted.", "security."}[w.rng.IntN(3)] + []string{"a", "bb", "caf\xe9", "some_long_name"}[w.rng.IntN(4)]
}

func (w *attrTwin) setXattr(name string, i *Inode) {
	key, flags := w.key(), []int{0, 0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE}[w.rng.IntN(5)]
	size := []int{0, 1, 4, 20, 60, 100, 400, 1000, 1500, 3000, 3990, 4100, 20000, 65536, 65537}[w.rng.IntN(15)]
	if name == "link" {
		// e2fsck takes a short target for a block map if i_blocks counts
		// values in inodes and there is no attribute block.
		size = min(size, 60)
	}
	value := testimages.Content(uint64(size+w.rng.IntN(2)), size)
	if strings.HasPrefix(key, "system.posix_acl") {
		value = w.acl()
	}
	if w.rng.IntN(8) == 0 {
		key, value = "security.capability", xattr.Capability{Revision: 2, Permitted: w.rng.Uint64N(1 << 30), Effective: true}.Encode()
	}
	w.both(unix.Lsetxattr(filepath.Join(w.top, name), key, value, flags),
		i.SetXattr(key, value, XattrFlags(flags)), "setxattr %s %q %d bytes, flags %d", name, key, size, flags)
}

// acl makes an ACL, sometimes an impossible one.
func (w *attrTwin) acl() []byte {
	perm := func() uint16 { return uint16(w.rng.IntN(8)) }
	list := []disk.ACLEntry{{Tag: disk.ACLUserObj, Perm: perm(), ID: disk.ACLNoID}}
	for n := range w.rng.IntN(3) {
		list = append(list, disk.ACLEntry{Tag: disk.ACLUser, Perm: perm(), ID: uint32(n)})
	}
	list = append(list, disk.ACLEntry{Tag: disk.ACLGroupObj, Perm: perm(), ID: disk.ACLNoID})
	for n := range w.rng.IntN(2) {
		list = append(list, disk.ACLEntry{Tag: disk.ACLGroup, Perm: perm(), ID: uint32(n)})
	}
	if len(list) > 2 || w.rng.IntN(3) == 0 {
		list = append(list, disk.ACLEntry{Tag: disk.ACLMask, Perm: perm(), ID: disk.ACLNoID})
	}
	list = append(list, disk.ACLEntry{Tag: disk.ACLOther, Perm: perm(), ID: disk.ACLNoID})
	switch w.rng.IntN(14) {
	case 0:
		list = nil
	case 1:
		n := w.rng.IntN(len(list))
		list = slices.Delete(list, n, n+1)
	case 2:
		list[w.rng.IntN(len(list))].Perm = 9
	case 3:
		b := disk.EncodeCallACL(list)
		return b[:w.rng.IntN(len(b))]
	}
	return disk.EncodeCallACL(list)
}

// flags switches one flag, or sets what cannot be set.
func (w *attrTwin) flags(name string, i *Inode) {
	if i.record().Mode()&disk.ModeType == disk.ModeFIFO || i.IsSymlink() {
		return
	}
	fd, err := unix.Open(filepath.Join(w.top, name), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer unix.Close(fd)
	old, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		w.t.Fatal(err)
	}
	bits := []disk.InodeFlags{disk.FlagImmutable, disk.FlagAppend, disk.FlagNoDump, disk.FlagNoAtime, disk.FlagDirSync,
		disk.FlagTopDir, disk.FlagCompr, disk.FlagNoCompr, disk.FlagCasefold, disk.FlagProjInherit, disk.FlagSecureRM,
		disk.FlagUnRM, disk.FlagNoTail, disk.FlagEncrypt, disk.FlagIndex, disk.FlagSnapFile, disk.FlagReserved}
	bit := bits[w.rng.IntN(len(bits))]
	if w.rng.IntN(2) == 0 { // back to where something can be changed
		bit = i.Flags() & (disk.FlagImmutable | disk.FlagAppend)
	}
	flags := disk.InodeFlags(old) ^ bit
	kerr := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags))
	w.both(kerr, i.SetFlags(flags), "flags of %s: %s, were %s", name, flags, disk.InodeFlags(old))
}

// TestAttrsTwin makes the same changes with the kernel, and compares errors,
// and in the end everything.
func TestAttrsTwin(t *testing.T) {
	testimages.RequireLoop(t)
	ops := 4000
	if testing.Short() {
		ops = 500
	}
	for n, c := range []struct {
		name string
		args []string
	}{
		{"4k", []string{"-b", "4096"}},
		{"old", []string{"-b", "1024", "-I", "128"}},
		{"values", []string{"-b", "1024", "-O", "ea_inode"}},
		{"large", []string{"-b", "4096", "-I", "1024", "-O", "ea_inode,orphan_file"}},
		{"bigalloc", []string{"-b", "1024", "-C", "8192", "-O", "bigalloc,ea_inode"}},
		{"inline", []string{"-b", "2048", "-O", "inline_data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := formatFile(t, 64<<20, c.args...)
			dev := loadRAM(t, path)
			w := &attrTwin{t: t, rng: rand.New(rand.NewPCG(uint64(n), 9)), f: openWrite(t, dev)}
			var want, wantStat testimages.Manifest
			testimages.WithMount(t, path, "", func(dir string) {
				w.top = dir
				defer thaw(dir)
				for range ops {
					w.step()
				}
				want, wantStat = w.tree(dir)
			})
			closeWrite(t, w.f)
			saved := saveRAM(t, dev)
			testimages.Fsck(t, saved)
			testimages.WithMount(t, saved, "ro", func(dir string) {
				got, stat := w.tree(dir)
				if d := testimages.Diff(want, got); d != "" {
					t.Errorf("other content:\n%s", d)
				}
				if d := testimages.Diff(wantStat, stat); d != "" {
					t.Errorf("other attributes:\n%s", d)
				}
			})
		})
	}
}

func (w *attrTwin) tree(dir string) (tree, stat testimages.Manifest) {
	tree, err := testimages.ManifestDir(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := testimages.StatDir(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	return tree.Drop("MTIME"), shape(list)
}

// thaw makes everything below dir changeable again.
func thaw(dir string) {
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			return nil
		}
		if fd, err := unix.Open(path, unix.O_RDONLY, 0); err == nil {
			if old, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && disk.InodeFlags(old)&(disk.FlagImmutable|disk.FlagAppend) != 0 {
				_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(disk.InodeFlags(old)&^(disk.FlagImmutable|disk.FlagAppend)))
			}
			unix.Close(fd)
		}
		return nil
	})
}
