package mount_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

var sameSeeds = flag.Int("same-seeds", 1, "sequences of TestSameAsKernel for every kind of image")

// The same random operations on the kernel's mount of an image and on ours of
// a copy give the same results and errors, and the same tree.
func TestSameAsKernel(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireFUSE(t)
	steps := 6000
	if testing.Short() {
		steps = 1500
	}
	kinds := []struct {
		opts string
		mkfs []string
	}{
		{opts: "allow_other,default_permissions"},
		{opts: "allow_other,default_permissions", mkfs: []string{"-O", "inline_data"}},
		{opts: "allow_other,default_permissions", mkfs: []string{"-t", "ext3", "-b", "1024"}},
		{opts: "private"},
	}
	for seed := range len(kinds) * *sameSeeds {
		k := kinds[seed%len(kinds)]
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			img := fresh(t, 64<<20, k.mkfs...)
			s := start(t, testimages.Copy(t, img), k.opts)
			s.timer.Reset(5 * patience)
			var kernels testimages.Manifest
			testimages.WithMount(t, img, "", func(dir string) {
				runtime.LockOSThread() // for the user that the file system sees
				defer runtime.UnlockOSThread()
				play(t, uint64(seed), steps, k.opts != "private", dir, s.dir)
				kernels = tree(t, dir)
				if d := testimages.Diff(kernels, tree(t, s.dir)); d != "" {
					t.Errorf("the kernel and then ours:\n%s", d)
				}
			})
			s.stop()
			if d := testimages.Diff(kernels, oldTimes(manifest(t, s.img))); d != "" {
				t.Errorf("the kernel and then the image:\n%s", d)
			}
		})
	}
}

func tree(t *testing.T, dir string) testimages.Manifest {
	t.Helper()
	m, err := testimages.ManifestDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return oldTimes(m)
}

// oldTimes returns m less the times that say when something was done, which is
// not at once in two places. Those that were given are older than all of them.
func oldTimes(m testimages.Manifest) testimages.Manifest {
	const mtime = 7 // the column
	m = slices.Clone(m)
	for i, line := range m {
		f := strings.Split(line, " ")
		if second, _, _ := strings.Cut(f[mtime], "."); len(second) > 9 {
			f[mtime] = "now"
			m[i] = strings.Join(f, " ")
		}
	}
	return m
}

// play does the steps on every directory and compares what they say. Without
// users all are root's.
func play(t *testing.T, seed uint64, steps int, users bool, kernel, ours string) {
	t.Helper()
	defer syscall.Umask(syscall.Umask(0o022))
	sides := []*player{{dir: kernel}, {dir: ours}}
	for _, p := range sides {
		must(t, "chmod", syscall.Chmod(p.dir, 0o777))
		defer p.close()
	}
	var history []string
	for i := range steps {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		o := pick(rng)
		if !users {
			// Without the kernel's checks fs.protected_* do not look at sticky
			// directories.
			o.user, o.x = 0, o.x&^unix.S_ISVTX
		}
		var said [2]string
		for k, p := range sides {
			said[k] = p.do(o)
		}
		history = append(history, fmt.Sprintf("%d %v: %s", i, o, said[0]))
		if said[0] != said[1] {
			if len(history) > 12 {
				history = history[len(history)-12:]
			}
			t.Fatalf("step %d, %v: the kernel says %s, we %s; before:\n%s", i, o, said[0], said[1], strings.Join(history, "\n"))
		}
	}
}

// op is one operation; what its numbers mean is its kind's business.
type op struct {
	kind    string
	a, b    string
	x, y, z int
	user    int
}

var opKinds = strings.Fields(`create create create open open close write write write read read truncate ftruncate
	unlink unlink rmdir mkdir mkdir mknod symlink readlink link rename rename exchange noreplace chmod chmod chown
	times setxattr getxattr listxattr removexattr fallocate fallocate stat stat fstat list access tmpfile fsync
	opendel append copyrange umask setacl setacl getacl removeacl`)

func pick(rng *rand.Rand) op {
	path := func() string {
		p := "/" + string(rune('a'+rng.IntN(6)))
		for rng.IntN(3) == 0 {
			p += "/" + string(rune('a'+rng.IntN(6)))
		}
		if rng.IntN(60) == 0 {
			p += strings.Repeat("n", []int{253, 254, 255, 256, 300}[rng.IntN(5)])
		}
		return p
	}
	o := op{kind: opKinds[rng.IntN(len(opKinds))], a: path(), b: path(), x: rng.IntN(1 << 16), y: rng.IntN(1 << 16), z: rng.IntN(8)}
	// Who may see trusted attributes is a matter of capabilities, of which
	// FUSE tells nothing and which stay with a thread's file system user.
	if rng.IntN(3) == 0 && o.kind != "listxattr" {
		o.user = 1000
	}
	return o
}

// player does operations in a directory and holds open files between them.
type player struct {
	dir  string
	open [8]int // descriptors, 0 for none
}

func (p *player) close() {
	for _, fd := range p.open {
		if fd > 0 {
			unix.Close(fd)
		}
	}
}

// do does o as its user and says what came of it.
func (p *player) do(o op) string {
	if o.user != 0 {
		unix.Setfsgid(o.user)
		unix.Setfsuid(o.user)
		defer unix.Setfsgid(0)
		defer unix.Setfsuid(0)
	}
	out, err := p.step(o)
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Sprintf("%s %s", unix.ErrnoName(errno), out)
	}
	return fmt.Sprintf("%v %s", err, out)
}

func (p *player) step(o op) (string, error) {
	a, b := p.dir+o.a, p.dir+o.b
	mode := uint32(o.x & 0o7777)
	if mode&unix.S_ISGID != 0 {
		mode |= unix.S_IXGRP // without, FUSE says that it stays at a write by others
	}
	switch o.kind {
	case "create":
		return p.keep(o, a, unix.O_RDWR|unix.O_CREAT|[]int{0, unix.O_EXCL, unix.O_TRUNC, unix.O_APPEND}[o.y%4], mode|0o600)
	case "open":
		return p.keep(o, a, []int{unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC, unix.O_RDONLY | unix.O_DIRECTORY, unix.O_RDWR | unix.O_APPEND}[o.y%5]|unix.O_NONBLOCK, 0)
	case "opendel":
		out, err := p.keep(o, a, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, mode)
		if err != nil {
			return out, err
		}
		return out, unix.Unlink(a)
	case "tmpfile":
		return p.keep(o, a, unix.O_TMPFILE|unix.O_RDWR, mode)
	case "unlink":
		return "", unix.Unlink(a)
	case "rmdir":
		return "", unix.Rmdir(a)
	case "mkdir":
		return "", unix.Mkdir(a, mode|0o700)
	case "mknod":
		return "", unix.Mknod(a, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFREG}[o.y%4]|mode, int(unix.Mkdev(uint32(o.y%300), 5)))
	case "symlink":
		return "", unix.Symlink([]string{o.b[1:], strings.Repeat("x", 1+o.y%300), "../" + o.b[1:]}[o.x%3], a)
	case "readlink":
		buf := make([]byte, 500)
		n, err := unix.Readlink(a, buf)
		return string(buf[:max(n, 0)]), err
	case "link":
		return "", unix.Link(a, b)
	case "rename":
		return "", unix.Rename(a, b)
	case "exchange":
		return "", unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	case "noreplace":
		return "", unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_NOREPLACE)
	case "chmod":
		return "", unix.Chmod(a, mode)
	case "chown":
		return "", unix.Lchown(a, []int{0, 1000, -1, 2000}[o.x%4], []int{0, 1000, 2000}[o.y%3])
	case "truncate":
		return "", unix.Truncate(a, int64(o.x)*int64(1+o.z*3))
	case "umask":
		syscall.Umask([]int{0o022, 0, 0o027, 0o777}[o.x%4])
		return "", nil
	case "access":
		return "", unix.Faccessat(unix.AT_FDCWD, a, uint32(o.x%8), unix.AT_EACCESS)
	case "times":
		ts := []unix.Timespec{{Sec: int64(o.x), Nsec: int64(o.y)}, {Sec: int64(o.y), Nsec: int64(o.x)}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, a, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return "", err
		}
		var st unix.Stat_t
		err := unix.Lstat(a, &st)
		return fmt.Sprint(st.Atim, st.Mtim), err
	case "stat":
		var st unix.Stat_t
		err := unix.Lstat(a, &st)
		return shown(&st), err
	case "list":
		list, err := os.ReadDir(a)
		names := make([]string, len(list))
		for i, e := range list {
			names[i] = e.Name() + e.Type().String()[:1]
		}
		return strings.Join(names, " "), err // sorted by ReadDir
	}
	if strings.HasSuffix(o.kind, "xattr") {
		return xattrStep(o, a)
	}
	if strings.HasSuffix(o.kind, "acl") {
		return aclStep(o, a)
	}
	return p.onOpen(o)
}

func shown(st *unix.Stat_t) string {
	size := st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0 // a matter of layout
	}
	return fmt.Sprintf("%o %d:%d links %d size %d rdev %x", st.Mode, st.Uid, st.Gid, st.Nlink, size, st.Rdev)
}

func xattrStep(o op, a string) (string, error) {
	attr := []string{"user.one", "user.two", "trusted.three", "user." + strings.Repeat("n", 100), "user.", "odd.x"}[o.x%6]
	buf := make([]byte, []int{4096, 0, 10}[o.z%3])
	switch o.kind {
	case "setxattr":
		return "", unix.Lsetxattr(a, attr, []byte(strings.Repeat("v", o.y%700)), []int{0, unix.XATTR_CREATE, unix.XATTR_REPLACE}[o.z%3])
	case "removexattr":
		return "", unix.Lremovexattr(a, attr)
	case "getxattr":
		n, err := unix.Lgetxattr(a, attr, buf)
		return fmt.Sprint(n, len(strings.TrimRight(string(buf), "\x00"))), err
	}
	n, err := unix.Llistxattr(a, buf)
	if n <= 0 || len(buf) == 0 {
		return fmt.Sprint(n), err
	}
	names := strings.Split(string(buf[:n]), "\x00")
	slices.Sort(names)
	return strings.Join(names, " "), err
}

// aclStep is a step on the ACL that says who may do what, or on the one that a
// directory hands on.
func aclStep(o op, a string) (string, error) {
	attr := "system.posix_acl_" + []string{"access", "access", "default"}[o.z%3]
	switch o.kind {
	case "setacl":
		return "", unix.Setxattr(a, attr, randomACL(o.x, o.y), 0)
	case "removeacl":
		return "", unix.Removexattr(a, attr)
	}
	buf := make([]byte, 1024)
	n, err := unix.Getxattr(a, attr, buf)
	return fmt.Sprintf("%x", buf[:max(n, 0)]), err
}

// randomACL makes an ACL of numbers: mostly one with named users, in a few cases
// none that is valid.
func randomACL(x, y int) []byte {
	const owner, user, group, namedGroup, mask, others = 1, 2, 4, 8, 0x10, 0x20
	acl := []byte{2, 0, 0, 0}
	entry := func(tag, perm, id int) {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(tag))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(perm&7))
		acl = binary.LittleEndian.AppendUint32(acl, uint32(id))
	}
	entry(owner, x|6, -1) // so that owners can go on
	if y&1 != 0 {
		entry(user, x>>3, 1000)
	}
	entry(group, x>>6, -1)
	if y&2 != 0 {
		entry(namedGroup, x>>9, 1000)
	}
	if y&3 != 0 && y&0x700 != 0 { // else an entry is missing
		entry(mask, x>>12, -1)
	}
	entry(others, y>>3, -1)
	return acl
}

// keep opens a file for later steps.
func (p *player) keep(o op, path string, flags int, mode uint32) (string, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOFOLLOW, mode)
	if err != nil {
		return "", err
	}
	if old := p.open[o.z]; old > 0 {
		unix.Close(old)
	}
	p.open[o.z] = fd
	return "", nil
}

// onOpen is a step on an open file.
func (p *player) onOpen(o op) (string, error) {
	fd := p.open[o.z]
	if fd == 0 {
		return "nothing open", nil
	}
	switch o.kind {
	case "close":
		p.open[o.z] = 0
		return "", unix.Close(fd)
	case "write", "append":
		data := testimages.Content(uint64(o.x), o.y%20000)
		n, err := unix.Pwrite(fd, data, int64(o.x)*int64(1+o.y%4))
		return fmt.Sprint(n), err
	case "read":
		buf := make([]byte, o.y)
		n, err := unix.Pread(fd, buf, int64(o.x))
		return fmt.Sprintf("%d %x", n, sha256.Sum256(buf[:max(n, 0)])), err
	case "ftruncate":
		return "", unix.Ftruncate(fd, int64(o.x)*2)
	case "fsync":
		return "", unix.Fsync(fd)
	case "fstat":
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		return shown(&st), err
	case "fallocate":
		// Not those that move data: FUSE's kernel side refuses them by itself.
		modes := []uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE,
			unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE}
		off, n := int64(o.x), int64(o.y)
		if o.x&1 == 0 {
			off, n = off&^4095, n&^4095
		}
		return "", unix.Fallocate(fd, modes[(o.x>>1)%len(modes)], off, n)
	case "copyrange":
		to := p.open[o.x%len(p.open)]
		if to == 0 || to == fd {
			return "nothing open", nil
		}
		from, at := int64(o.x), int64(o.y)
		n, err := unix.CopyFileRange(fd, &from, to, &at, 5000, 0)
		return fmt.Sprint(n), err
	}
	return "", fmt.Errorf("no operation %q", o.kind)
}
