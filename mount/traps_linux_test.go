package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// is tells whether err is want.
func is(err error, want syscall.Errno) bool { return errors.Is(err, want) }

func name(i int) string { return fmt.Sprintf("name-%06d", i) }

// check fails t unless err is want, nil for none.
func check(t *testing.T, what string, err error, want error) {
	t.Helper()
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// must fails t for good on an error.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// write makes a file of a few bytes.
func write(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	must(t, "write", os.WriteFile(path, []byte("content"), mode))
	must(t, "chmod", syscall.Chmod(path, uint32(mode)))
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, "lstat", unix.Lstat(path, &st))
	return st
}

// as runs a shell script as an ordinary user and returns what it says.
func as(t *testing.T, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// traps are what other servers fell into.
var traps = []struct {
	name string
	f    func(t *testing.T, dir string)
}{
	{"long names", trapNames}, {"unlinked open file", trapUnlinked}, {"replaced open file", trapReplaced},
	{"setuid", trapSetuid}, {"open descriptor", trapDescriptor}, {"size limit", trapLimit},
	{"nanoseconds", trapTimes}, {"sticky", trapSticky}, {"setgid directory", trapSetgid},
	{"flags", trapFlags}, {"handles", trapHandles}, {"rename", trapRename}, {"tmpfile", trapTmpfile},
	{"fallocate", trapFallocate}, {"seek", trapSeek}, {"append", trapAppend}, {"direct", trapDirect},
	{"attributes", trapXattrs}, {"acl", trapACL}, {"statx", trapStatx}, {"statfs", trapStatfs},
	{"link count", trapLinks}, {"copy range", trapCopyRange}, {"locks", trapLocks}, {"odd names", trapOddNames},
}

func TestTraps(t *testing.T) {
	s := start(t, fresh(t, 128<<20), "allow_other,default_permissions")
	setTraps(t, s.dir)
	s.stop()
}

// The kernel's own driver falls into none, which shows that they are right.
func TestTrapsKernel(t *testing.T) {
	img := fresh(t, 128<<20)
	testimages.WithMount(t, img, "", func(dir string) { setTraps(t, dir) })
	testimages.Fsck(t, img)
}

// setTraps tries every one in a directory of its own.
func setTraps(t *testing.T, top string) {
	must(t, "chmod", os.Chmod(top, 0o755))
	for _, trap := range traps {
		t.Run(trap.name, func(t *testing.T) {
			dir := top + "/" + strings.ReplaceAll(trap.name, " ", "-")
			must(t, "mkdir", os.Mkdir(dir, 0o777))
			must(t, "chmod", os.Chmod(dir, 0o777))
			trap.f(t, dir)
		})
	}
}

func trapNames(t *testing.T, dir string) {
	long, longer := strings.Repeat("n", 255), strings.Repeat("n", 256)
	write(t, dir+"/"+long, 0o644)
	write(t, dir+"/short", 0o644)
	for what, err := range map[string]error{
		"create":   os.WriteFile(dir+"/"+longer, nil, 0o644),
		"mkdir":    os.Mkdir(dir+"/"+longer, 0o755),
		"symlink":  os.Symlink("x", dir+"/"+longer),
		"link":     os.Link(dir+"/short", dir+"/"+longer),
		"rename":   os.Rename(dir+"/short", dir+"/"+longer),
		"from":     os.Rename(dir+"/"+longer, dir+"/other"),
		"unlink":   syscall.Unlink(dir + "/" + longer),
		"rmdir":    syscall.Rmdir(dir + "/" + longer),
		"mknod":    syscall.Mknod(dir+"/"+longer, syscall.S_IFIFO|0o644, 0),
		"truncate": os.Truncate(dir+"/"+longer, 0),
	} {
		check(t, what, err, unix.ENAMETOOLONG)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Errorf("%d names, %v", len(list), err)
	}
	check(t, "unlink", os.Remove(dir+"/"+long), nil)
}

func trapUnlinked(t *testing.T, dir string) {
	f, err := os.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o644)
	must(t, "open", err)
	defer f.Close()
	must(t, "unlink", os.Remove(dir+"/f"))
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 0 {
		t.Errorf("left after the unlink: %v, %v", list, err)
	}
	check(t, "rmdir", os.Remove(dir), nil)
	data := bytes.Repeat([]byte("unlinked"), 1<<15)
	_, err = f.WriteAt(data, 0)
	check(t, "write", err, nil)
	check(t, "fsync", f.Sync(), nil)
	got := make([]byte, len(data))
	_, err = f.ReadAt(got, 0)
	check(t, "read", err, nil)
	var st unix.Stat_t
	check(t, "fstat", unix.Fstat(int(f.Fd()), &st), nil)
	if !bytes.Equal(got, data) || st.Nlink != 0 || st.Size != int64(len(data)) {
		t.Errorf("nlink %d, size %d, same content %v", st.Nlink, st.Size, bytes.Equal(got, data))
	}
	check(t, "fchmod", f.Chmod(0o600), nil)
	check(t, "truncate", f.Truncate(10), nil)
	check(t, "mkdir", os.Mkdir(dir, 0o755), nil)
}

func trapReplaced(t *testing.T, dir string) {
	write(t, dir+"/a", 0o600)
	must(t, "write", os.WriteFile(dir+"/b", []byte("the new one"), 0o644))
	f, err := os.Open(dir + "/a")
	must(t, "open", err)
	defer f.Close()
	must(t, "rename", os.Rename(dir+"/b", dir+"/a"))
	var st unix.Stat_t
	check(t, "fstat", unix.Fstat(int(f.Fd()), &st), nil)
	if st.Nlink != 0 || st.Size != int64(len("content")) || st.Mode&0o777 != 0o600 {
		t.Errorf("the replaced file: nlink %d, size %d, mode %o", st.Nlink, st.Size, st.Mode)
	}
	b := make([]byte, 20)
	n, _ := f.Read(b)
	if string(b[:n]) != "content" {
		t.Errorf("read %q", b[:n])
	}
	if got, err := os.ReadFile(dir + "/a"); string(got) != "the new one" {
		t.Errorf("read %q, %v by name", got, err)
	}
}

func trapSetuid(t *testing.T, dir string) {
	for _, way := range []struct{ what, script string }{
		{"write", "echo more >>%s"}, {"truncate", ": >%s"}, {"falloc", "fallocate -l 8192 %s"},
	} {
		for _, mode := range []uint32{0o6777, 0o4777, 0o2777} {
			f := fmt.Sprintf("%s/%s-%o", dir, way.what, mode)
			write(t, f, 0o777)
			must(t, "chmod", syscall.Chmod(f, mode))
			out, err := as(t, fmt.Sprintf(way.script, f))
			if got := stat(t, f).Mode & 0o7777; err != nil || got != 0o777 {
				t.Errorf("%s by another: mode %o became %o, %v %s", way.what, mode, got, err, out)
			}
		}
	}
	write(t, dir+"/mine", 0o777)
	must(t, "chmod", syscall.Chmod(dir+"/mine", 0o6777))
	must(t, "write", os.WriteFile(dir+"/mine", []byte("by root"), 0))
	if got := stat(t, dir+"/mine").Mode & 0o7777; got != 0o6777 {
		t.Errorf("write by root: %o", got)
	}
	must(t, "chown", os.Chown(dir+"/mine", 1000, 1000))
	if got := stat(t, dir+"/mine").Mode & 0o7777; got != 0o777 {
		t.Errorf("chown: %o", got)
	}
	write(t, dir+"/no-exec", 0o2644)
	must(t, "chmod", syscall.Chmod(dir+"/no-exec", 0o6644))
	must(t, "chown", os.Chown(dir+"/no-exec", 1000, 1000))
	if got := stat(t, dir+"/no-exec").Mode & 0o7777; got != 0o2644 {
		t.Errorf("chown without group execute: %o", got)
	}
	must(t, "mkdir", os.Mkdir(dir+"/d", 0o755))
	must(t, "chmod", syscall.Chmod(dir+"/d", 0o6755))
	must(t, "chown", os.Chown(dir+"/d", 1000, 1000))
	if got := stat(t, dir+"/d").Mode & 0o7777; got != 0o6755 {
		t.Errorf("chown of a directory: %o", got)
	}
	write(t, dir+"/capable", 0o777)
	capability := make([]byte, 20)
	capability[3] = 2 // version 2, no bits
	must(t, "setxattr", unix.Setxattr(dir+"/capable", "security.capability", capability, 0))
	out, err := as(t, "echo more >>"+dir+"/capable")
	if _, gerr := unix.Getxattr(dir+"/capable", "security.capability", nil); err != nil || gerr != unix.ENODATA {
		t.Errorf("the capability after a write: %v (%v %s)", gerr, err, out)
	}
}

// What an open descriptor may do was decided at its open.
func trapDescriptor(t *testing.T, dir string) {
	write(t, dir+"/f", 0o666)
	script := `exec 3<>` + dir + `/f && cat <&3 && mv ` + dir + `/f ` + dir + `/g && chmod 0 ` + dir + `/x; echo again >&3 && cat /dev/null <&3`
	if out, err := as(t, script); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	f, err := os.OpenFile(dir+"/own", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0)
	must(t, "create without any permission", err)
	_, err = f.WriteString("written all the same")
	check(t, "write", err, nil)
	f.Close()
	if out, err := as(t, "umask 0; set -C; cd "+dir+" && (echo a >&3; chmod 0 theirs; echo b >&3) 3>theirs"); err != nil {
		t.Errorf("write after chmod 0: %v: %s", err, out)
	}
	if out, err := as(t, "cat "+dir+"/theirs"); err == nil {
		t.Errorf("read by path after chmod 0 is allowed: %s", out)
	}
}

func trapLimit(t *testing.T, dir string) {
	write(t, dir+"/f", 0o644)
	limit := int64(1<<32-1) << 12
	check(t, "truncate to the limit", os.Truncate(dir+"/f", limit), nil)
	check(t, "truncate beyond", os.Truncate(dir+"/f", limit+1), unix.EFBIG)
	f, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer f.Close()
	check(t, "ftruncate beyond", f.Truncate(limit+4096), unix.EFBIG)
	check(t, "fallocate beyond", unix.Fallocate(int(f.Fd()), 0, limit, 4096), unix.EFBIG)
	check(t, "negative", syscall.Truncate(dir+"/f", -1), unix.EINVAL)
	if got := stat(t, dir+"/f").Size; got != limit {
		t.Errorf("size %d", got)
	}
	// With the write-back cache FUSE learns of it when the data is written.
	if _, err = f.WriteAt([]byte("x"), limit); err == nil {
		err = f.Sync()
	}
	check(t, "write at the limit", err, unix.EFBIG)
	check(t, "shrink", f.Truncate(3), nil)
}

func trapTimes(t *testing.T, dir string) {
	write(t, dir+"/f", 0o644)
	for _, ts := range [][2]unix.Timespec{
		{{Sec: 1700000000, Nsec: 123456789}, {Sec: 1600000001, Nsec: 987654321}},
		{{Sec: -1, Nsec: 1}, {Sec: -2147483647, Nsec: 999999999}},
		{{Sec: 1<<33 - 1, Nsec: 5}, {Sec: 1 << 32, Nsec: 7}},
	} {
		must(t, "utimensat", unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/f", ts[:], 0))
		st := stat(t, dir+"/f")
		if st.Atim != ts[0] || st.Mtim != ts[1] {
			t.Errorf("set %v, got %v %v", ts, st.Atim, st.Mtim)
		}
	}
	omit := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 77, Nsec: 7}}
	before := stat(t, dir+"/f")
	time.Sleep(20 * time.Millisecond) // the kernel counts in jiffies
	must(t, "utimensat", unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/f", omit, 0))
	after := stat(t, dir+"/f")
	if after.Atim != before.Atim || after.Mtim != omit[1] || after.Ctim == before.Ctim {
		t.Errorf("before %v, after %v", before, after)
	}
	must(t, "symlink", os.Symlink("f", dir+"/l"))
	link := []unix.Timespec{{Sec: 5, Nsec: 6}, {Sec: 7, Nsec: 8}}
	must(t, "utimensat", unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/l", link, unix.AT_SYMLINK_NOFOLLOW))
	if st := stat(t, dir+"/l"); st.Mtim != link[1] {
		t.Errorf("the link's time: %v", st.Mtim)
	}
	must(t, "write", os.WriteFile(dir+"/f", []byte("now"), 0))
	written := stat(t, dir+"/f").Mtim
	if got := time.Since(time.Unix(written.Unix())); got < -time.Second || got > time.Minute {
		t.Errorf("written %v ago", got)
	}
}

func trapSticky(t *testing.T, dir string) {
	must(t, "chmod", syscall.Chmod(dir, 0o1777))
	write(t, dir+"/roots", 0o666)
	write(t, dir+"/theirs", 0o666)
	must(t, "chown", os.Chown(dir+"/theirs", 65534, 65534))
	for script, fine := range map[string]bool{
		"rm -f %s/roots": false, "mv %s/roots %[1]s/moved": false, "mv -f %s/theirs %[1]s/roots": false,
		"mv %s/theirs %[1]s/other && rm %[1]s/other": true,
	} {
		if out, err := as(t, fmt.Sprintf(script, dir)); (err == nil) != fine {
			t.Errorf("%s: %v %s", script, err, out)
		}
	}
	if got := stat(t, dir).Mode & 0o7777; got != 0o1777 {
		t.Errorf("mode %o", got)
	}
}

func trapSetgid(t *testing.T, dir string) {
	must(t, "chown", os.Chown(dir, 0, 1234))
	must(t, "chmod", syscall.Chmod(dir, 0o2777))
	out, err := as(t, "cd "+dir+" && mkdir d && touch f && ln -s f l && mkfifo p")
	must(t, out, err)
	for _, n := range []string{"d", "f", "l", "p"} {
		if st := stat(t, dir+"/"+n); st.Gid != 1234 || st.Uid != 65534 {
			t.Errorf("%s: owner %d:%d", n, st.Uid, st.Gid)
		}
	}
	if got := stat(t, dir+"/d").Mode & 0o7777; got != 0o2755 {
		t.Errorf("the subdirectory has mode %o", got)
	}
}

// Flags of FS_IOC_SETFLAGS.
const (
	flagImmutable = 0x10
	flagAppend    = 0x20
)

func ioctlFlags(t *testing.T, path string, add, clear uint32) (uint32, error) {
	t.Helper()
	f, err := os.Open(path)
	must(t, "open", err)
	defer f.Close()
	v, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return 0, err
	}
	if add|clear != 0 {
		v = v&^clear | add
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(v))
	}
	return v, err
}

func trapFlags(t *testing.T, dir string) {
	write(t, dir+"/i", 0o666)
	write(t, dir+"/a", 0o666)
	_, err := ioctlFlags(t, dir+"/i", flagImmutable, 0)
	must(t, "set immutable", err)
	_, err = ioctlFlags(t, dir+"/a", flagAppend, 0)
	must(t, "set append", err)
	defer func() {
		for _, n := range []string{"i", "a"} {
			_, err := ioctlFlags(t, dir+"/"+n, 0, flagImmutable|flagAppend)
			check(t, "clear flags", err, nil)
			check(t, "remove", os.Remove(dir+"/"+n), nil)
		}
	}()
	if v, err := ioctlFlags(t, dir+"/i", 0, 0); err != nil || v&flagImmutable == 0 {
		t.Errorf("flags %#x, %v", v, err)
	}
	for what, got := range map[string]error{
		"immutable: open":     os.WriteFile(dir+"/i", nil, 0),
		"immutable: truncate": os.Truncate(dir+"/i", 0),
		"immutable: chmod":    os.Chmod(dir+"/i", 0o600),
		"immutable: chown":    os.Chown(dir+"/i", 1, 1),
		"immutable: unlink":   syscall.Unlink(dir + "/i"),
		"immutable: rename":   os.Rename(dir+"/i", dir+"/j"),
		"immutable: link":     os.Link(dir+"/i", dir+"/j"),
		"immutable: times":    os.Chtimes(dir+"/i", time.Now(), time.Unix(1, 0)),
		"immutable: setxattr": unix.Setxattr(dir+"/i", "user.a", []byte("v"), 0),
		"append: open":        os.WriteFile(dir+"/a", nil, 0),
		"append: truncate":    os.Truncate(dir+"/a", 0),
		"append: unlink":      syscall.Unlink(dir + "/a"),
		"append: rename":      os.Rename(dir+"/a", dir+"/b"),
		"append: link":        os.Link(dir+"/a", dir+"/b"),
	} {
		check(t, what, got, unix.EPERM)
	}
	f, err := os.OpenFile(dir+"/a", os.O_WRONLY|os.O_APPEND, 0)
	must(t, "open to append", err)
	_, err = f.WriteString(" and more")
	check(t, "append", err, nil)
	f.Close()
	if got, _ := os.ReadFile(dir + "/a"); string(got) != "content and more" {
		t.Errorf("appended: %q", got)
	}
}

func trapHandles(t *testing.T, dir string) {
	write(t, dir+"/f", 0o644)
	must(t, "mkdir", os.Mkdir(dir+"/d", 0o755))
	top, err := os.Open(dir)
	must(t, "open", err)
	defer top.Close()
	for _, n := range []string{"f", "d"} {
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir+"/"+n, 0)
		if err != nil {
			t.Errorf("%s: name_to_handle_at: %v", n, err)
			continue
		}
		fd, err := unix.OpenByHandleAt(int(top.Fd()), h, unix.O_RDONLY)
		if err != nil {
			t.Errorf("%s: open_by_handle_at: %v", n, err)
			continue
		}
		var st unix.Stat_t
		check(t, "fstat", unix.Fstat(fd, &st), nil)
		if want := stat(t, dir+"/"+n); st.Ino != want.Ino {
			t.Errorf("%s: inode %d, not %d", n, st.Ino, want.Ino)
		}
		unix.Close(fd)
		must(t, "remove", os.Remove(dir+"/"+n))
		if fd, err := unix.OpenByHandleAt(int(top.Fd()), h, unix.O_RDONLY); err != unix.ESTALE {
			t.Errorf("%s: open_by_handle_at after its end: %d, %v", n, fd, err)
		}
	}
}

func trapRename(t *testing.T, dir string) {
	rename := func(a, b string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, dir+"/"+a, unix.AT_FDCWD, dir+"/"+b, flags)
	}
	write(t, dir+"/a", 0o600)
	write(t, dir+"/b", 0o644)
	must(t, "mkdir", os.MkdirAll(dir+"/d/e", 0o755))
	a, b, d := stat(t, dir+"/a").Ino, stat(t, dir+"/b").Ino, stat(t, dir+"/d").Ino
	check(t, "noreplace", rename("a", "b", unix.RENAME_NOREPLACE), unix.EEXIST)
	check(t, "exchange", rename("a", "b", unix.RENAME_EXCHANGE), nil)
	if stat(t, dir+"/a").Ino != b || stat(t, dir+"/b").Ino != a {
		t.Error("not exchanged")
	}
	check(t, "exchange with a directory", rename("a", "d", unix.RENAME_EXCHANGE), nil)
	if stat(t, dir+"/a").Ino != d || stat(t, dir+"/a/e").Mode&unix.S_IFDIR == 0 {
		t.Error("the directory did not move")
	}
	check(t, "exchange with nothing", rename("a", "none", unix.RENAME_EXCHANGE), unix.ENOENT)
	check(t, "into itself", rename("a", "a/e/x", 0), unix.EINVAL)
	check(t, "whiteout", rename("b", "c", unix.RENAME_WHITEOUT), nil)
	if st := stat(t, dir+"/b"); st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("whiteout: mode %o, device %d", st.Mode, st.Rdev)
	}
	check(t, "noreplace to a new name", rename("c", "n", unix.RENAME_NOREPLACE), nil)
	check(t, "both", rename("n", "d", unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE), unix.EINVAL)
	check(t, "over a full directory", func() error {
		must(t, "mkdir", os.Mkdir(dir+"/empty", 0o755))
		return rename("empty", "a", 0)
	}(), unix.ENOTEMPTY)
	check(t, "a file over a directory", rename("n", "empty", 0), unix.EISDIR)
	check(t, "a directory over a file", rename("empty", "n", 0), unix.ENOTDIR)
	must(t, "link", os.Link(dir+"/n", dir+"/n2"))
	check(t, "to another name of the same", rename("n", "n2", 0), nil)
	if stat(t, dir+"/n").Nlink != 2 {
		t.Error("a name of the same file is gone")
	}
}

func trapTmpfile(t *testing.T, dir string) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o640)
	must(t, "O_TMPFILE", err)
	defer unix.Close(fd)
	_, err = unix.Pwrite(fd, []byte("no name yet"), 0)
	check(t, "write", err, nil)
	var st unix.Stat_t
	check(t, "fstat", unix.Fstat(fd, &st), nil)
	if st.Nlink != 0 {
		t.Errorf("nlink %d", st.Nlink)
	}
	check(t, "link", unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, dir+"/named", unix.AT_SYMLINK_FOLLOW), nil)
	if got, err := os.ReadFile(dir + "/named"); string(got) != "no name yet" {
		t.Errorf("%q, %v", got, err)
	}
	excl, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL, 0o640)
	must(t, "O_TMPFILE|O_EXCL", err)
	defer unix.Close(excl)
	check(t, "link of an exclusive one", unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", excl), unix.AT_FDCWD, dir+"/other", unix.AT_SYMLINK_FOLLOW), unix.ENOENT)
}

func trapFallocate(t *testing.T, dir string) {
	const block = 4096
	shadow := testimages.Content(3, 64*block)
	f, err := os.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o644)
	must(t, "create", err)
	defer f.Close()
	_, err = f.Write(shadow)
	must(t, "write", err)
	fd := int(f.Fd())
	zero := func(from, to int) { clear(shadow[from:to]) }
	for _, step := range []struct {
		what     string
		mode     uint32
		off, len int64
		want     error
		model    func()
	}{
		{"allocate", 0, 60 * block, 8 * block, nil, func() { shadow = append(shadow, make([]byte, 4*block)...) }},
		{"keep size", unix.FALLOC_FL_KEEP_SIZE, 100 * block, 8 * block, nil, func() {}},
		{"punch", unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, 3*block + 100, 5*block + 50, nil, func() { zero(3*block+100, 8*block+150) }},
		{"punch without keep size", unix.FALLOC_FL_PUNCH_HOLE, 0, block, unix.EOPNOTSUPP, func() {}},
		{"zero", unix.FALLOC_FL_ZERO_RANGE, 20*block + 1, 2 * block, nil, func() { zero(20*block+1, 22*block+1) }},
		{"zero beyond the end", unix.FALLOC_FL_ZERO_RANGE, 67 * block, 4 * block, nil, func() { zero(67*block, 68*block); shadow = append(shadow, make([]byte, 3*block)...) }},
		{"collapse", unix.FALLOC_FL_COLLAPSE_RANGE, 2 * block, 4 * block, nil, func() { shadow = append(shadow[:2*block:2*block], shadow[6*block:]...) }},
		{"insert", unix.FALLOC_FL_INSERT_RANGE, 10 * block, 3 * block, nil, func() {
			shadow = append(append(append([]byte{}, shadow[:10*block]...), make([]byte, 3*block)...), shadow[10*block:]...)
		}},
		{"collapse off a block", unix.FALLOC_FL_COLLAPSE_RANGE, 100, block, unix.EINVAL, func() {}},
		{"insert beyond the end", unix.FALLOC_FL_INSERT_RANGE, 1000 * block, block, unix.EINVAL, func() {}},
		{"no length", 0, 0, 0, unix.EINVAL, func() {}},
		{"two modes", unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_INSERT_RANGE, 0, block, unix.EOPNOTSUPP, func() {}},
		{"more than there is", 0, 0, 1 << 40, unix.ENOSPC, func() {}},
	} {
		err := unix.Fallocate(fd, step.mode, step.off, step.len)
		if moves := uint32(unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_INSERT_RANGE); step.mode&moves != 0 && err == unix.EOPNOTSUPP {
			continue // FUSE's kernel side refuses what moves data, before the server hears of it
		}
		check(t, step.what, err, step.want)
		step.model()
		got, err := os.ReadFile(dir + "/f")
		if step.what == "more than there is" { // what was allocated may stay, and only that
			must(t, "truncate", f.Truncate(int64(len(shadow))))
			got, err = os.ReadFile(dir + "/f")
		}
		if err != nil || !bytes.Equal(got, shadow) {
			t.Fatalf("after %s: %d bytes, want %d; differ first at %d; %v", step.what, len(got), len(shadow), differ(got, shadow), err)
		}
	}
}

// differ is where a and b first do.
func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func trapSeek(t *testing.T, dir string) {
	f, err := os.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o644)
	must(t, "create", err)
	defer f.Close()
	for _, at := range []int64{0, 1 << 20, 5 << 20} {
		_, err := f.WriteAt(make([]byte, 4096), at)
		must(t, "write", err)
	}
	must(t, "truncate", f.Truncate(8<<20))
	for _, c := range []struct {
		off    int64
		whence int
		want   int64
		err    error
	}{
		{0, unix.SEEK_DATA, 0, nil}, {0, unix.SEEK_HOLE, 4096, nil}, {4096, unix.SEEK_DATA, 1 << 20, nil},
		{1 << 20, unix.SEEK_HOLE, 1<<20 + 4096, nil}, {5<<20 + 4096, unix.SEEK_DATA, -1, unix.ENXIO},
		{6 << 20, unix.SEEK_HOLE, 6 << 20, nil}, {8 << 20, unix.SEEK_DATA, -1, unix.ENXIO}, {9 << 20, unix.SEEK_HOLE, -1, unix.ENXIO},
	} {
		got, err := unix.Seek(int(f.Fd()), c.off, c.whence)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("seek %d whence %d: %d, %v; want %d, %v", c.off, c.whence, got, err, c.want, c.err)
		}
	}
}

func trapAppend(t *testing.T, dir string) {
	const writers, times = 4, 50
	done := make(chan error, writers)
	for w := range writers {
		go func() {
			f, err := os.OpenFile(dir+"/f", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			for i := 0; i < times && err == nil; i++ {
				_, err = fmt.Fprintf(f, "%d %04d\n", w, i)
			}
			if f != nil {
				err = errors.Join(err, f.Close())
			}
			done <- err
		}()
	}
	for range writers {
		check(t, "append", <-done, nil)
	}
	got, err := os.ReadFile(dir + "/f")
	if err != nil || bytes.Count(got, []byte("\n")) != writers*times || len(got) != writers*times*7 {
		t.Errorf("%d bytes in %d lines, %v", len(got), bytes.Count(got, []byte("\n")), err)
	}
}

func trapDirect(t *testing.T, dir string) {
	data := aligned(1 << 20)
	copy(data, testimages.Content(9, len(data)))
	fd, err := unix.Open(dir+"/f", unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT, 0o644)
	must(t, "open", err)
	defer unix.Close(fd)
	n, err := unix.Pwrite(fd, data, 0)
	if n != len(data) || err != nil {
		t.Fatalf("direct write: %d, %v", n, err)
	}
	got, err := os.ReadFile(dir + "/f")
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("direct and then buffered: differ at %d, %v", differ(got, data), err)
	}
	f, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer f.Close()
	_, err = f.WriteAt([]byte("buffered"), 8192)
	must(t, "write", err)
	copy(data[8192:], "buffered")
	back := aligned(1 << 20)
	n, err = unix.Pread(fd, back, 0)
	if n != len(data) || err != nil || !bytes.Equal(back, data) {
		t.Errorf("buffered and then direct: %d, %v, differ at %d", n, err, differ(back, data))
	}
}

// aligned is memory for direct I/O.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 4095
	return b[skip : int(skip)+n]
}

func trapXattrs(t *testing.T, dir string) {
	f := dir + "/f"
	write(t, f, 0o644)
	check(t, "replace of none", unix.Setxattr(f, "user.a", []byte("1"), unix.XATTR_REPLACE), unix.ENODATA)
	check(t, "create", unix.Setxattr(f, "user.a", []byte("1"), unix.XATTR_CREATE), nil)
	check(t, "create again", unix.Setxattr(f, "user.a", []byte("2"), unix.XATTR_CREATE), unix.EEXIST)
	check(t, "replace", unix.Setxattr(f, "user.a", []byte("three"), unix.XATTR_REPLACE), nil)
	check(t, "trusted", unix.Setxattr(f, "trusted.t", []byte("t"), 0), nil)
	check(t, "empty value", unix.Setxattr(f, "user.empty", nil, 0), nil)
	check(t, "unknown space", unix.Setxattr(f, "strange.x", []byte("t"), 0), unix.EOPNOTSUPP)
	check(t, "too big", unix.Setxattr(f, "user.big", make([]byte, 8000), 0), unix.ENOSPC)
	b := make([]byte, 100)
	n, err := unix.Getxattr(f, "user.a", b)
	if err != nil || string(b[:n]) != "three" {
		t.Errorf("get: %q, %v", b[:max(n, 0)], err)
	}
	_, err = unix.Getxattr(f, "user.a", b[:2])
	check(t, "get into too little", err, unix.ERANGE)
	n, err = unix.Getxattr(f, "user.a", nil)
	if n != 5 || err != nil {
		t.Errorf("length: %d, %v", n, err)
	}
	n, err = unix.Listxattr(f, b)
	if list := string(b[:max(n, 0)]); err != nil || !strings.Contains(list, "user.a\x00") || !strings.Contains(list, "trusted.t\x00") {
		t.Errorf("list: %q, %v", list, err)
	}
	_, err = unix.Listxattr(f, b[:3])
	check(t, "list into too little", err, unix.ERANGE)
	check(t, "remove", unix.Removexattr(f, "user.a"), nil)
	check(t, "remove again", unix.Removexattr(f, "user.a"), unix.ENODATA)
	if out, err := as(t, "getfattr -d -m - "+f+" 2>&1 | grep trusted"); err == nil {
		t.Errorf("a user sees trusted attributes: %s", out)
	}
	must(t, "symlink", os.Symlink("f", dir+"/l"))
	check(t, "user attribute of a symlink", unix.Lsetxattr(dir+"/l", "user.a", []byte("v"), 0), unix.EPERM)
}

func trapACL(t *testing.T, dir string) {
	testimages.RequireTool(t, "setfacl", "getfacl")
	write(t, dir+"/f", 0o640)
	testimages.Run(t, "setfacl", "-m", "u:65534:r", dir+"/f")
	if out, err := as(t, "cat "+dir+"/f"); err != nil || out != "content" {
		t.Errorf("read by the ACL: %v %s", err, out)
	}
	if out, err := as(t, "echo no >>"+dir+"/f"); err == nil {
		t.Errorf("write against the ACL: %s", out)
	}
	must(t, "chmod", os.Chmod(dir+"/f", 0o600))
	if out, err := as(t, "cat "+dir+"/f"); err == nil {
		t.Errorf("read against the mask: %s", out)
	}
	must(t, "mkdir", os.Mkdir(dir+"/d", 0o755))
	testimages.Run(t, "setfacl", "-d", "-m", "u:65534:rwx,g::rx,o::-", dir+"/d")
	write(t, dir+"/d/child", 0o666)
	must(t, "mkdir", os.Mkdir(dir+"/d/sub", 0o777))
	if got := testimages.Run(t, "getfacl", "-cpE", dir+"/d/sub"); !strings.Contains(got, "default:user:nobody:rwx") && !strings.Contains(got, "default:user:65534:rwx") {
		t.Errorf("the default ACL was not inherited:\n%s", got)
	}
	f, err := os.OpenFile(dir+"/d/made", os.O_CREATE|os.O_WRONLY, 0o666)
	must(t, "create", err)
	f.Close()
	if got := stat(t, dir+"/d/made").Mode & 0o777; got != 0o660 {
		t.Errorf("mode under a default ACL: %o", got)
	}
}

func trapStatx(t *testing.T, dir string) {
	write(t, dir+"/f", 0o644)
	var st unix.Statx_t
	must(t, "statx", unix.Statx(unix.AT_FDCWD, dir+"/f", 0, unix.STATX_ALL|unix.STATX_BTIME, &st))
	if age := time.Since(time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))); st.Mask&unix.STATX_BTIME == 0 || age < -time.Second || age > time.Minute {
		t.Errorf("mask %#x, made %v ago", st.Mask, age)
	}
}

func trapStatfs(t *testing.T, dir string) {
	var a, b unix.Statfs_t
	must(t, "statfs", unix.Statfs(dir, &a))
	fd, err := unix.Open(dir+"/f", unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, "create", err)
	must(t, "fallocate", unix.Fallocate(fd, 0, 0, 1<<20))
	unix.Close(fd)
	must(t, "statfs", unix.Statfs(dir, &b))
	if a.Bsize != 4096 || a.Namelen != 255 || a.Bfree-b.Bfree != 256 || a.Ffree-b.Ffree != 1 || a.Bavail > a.Bfree {
		t.Errorf("before %+v, after %+v", a, b)
	}
}

func trapLinks(t *testing.T, dir string) {
	base := stat(t, dir).Nlink
	for i := range 5 {
		must(t, "mkdir", os.Mkdir(dir+"/"+name(i), 0o755))
	}
	if got := stat(t, dir).Nlink; got != base+5 {
		t.Errorf("%d links after %d", got, base)
	}
	must(t, "rmdir", os.Remove(dir+"/"+name(0)))
	must(t, "rename", os.Rename(dir+"/"+name(1), dir+"/"+name(2)+"/in"))
	if a, b := stat(t, dir).Nlink, stat(t, dir+"/"+name(2)).Nlink; a != base+3 || b != 3 {
		t.Errorf("%d and %d links", a, b)
	}
	write(t, dir+"/f", 0o644)
	ino := stat(t, dir+"/f").Ino
	for i := range 3 {
		must(t, "link", os.Link(dir+"/f", dir+"/link-"+name(i)))
	}
	if st := stat(t, dir+"/link-"+name(2)); st.Ino != ino || st.Nlink != 4 {
		t.Errorf("inode %d, %d links", st.Ino, st.Nlink)
	}
	must(t, "unlink", os.Remove(dir+"/f"))
	if st := stat(t, dir+"/link-"+name(0)); st.Nlink != 3 {
		t.Errorf("%d links after the unlink", st.Nlink)
	}
	check(t, "link of a directory", os.Link(dir+"/"+name(2), dir+"/x"), unix.EPERM)
}

func trapCopyRange(t *testing.T, dir string) {
	data := testimages.Content(4, 300_000)
	must(t, "write", os.WriteFile(dir+"/a", data, 0o644))
	a, err := os.Open(dir + "/a")
	must(t, "open", err)
	defer a.Close()
	b, err := os.Create(dir + "/b")
	must(t, "create", err)
	defer b.Close()
	from, to, left := int64(1000), int64(77), 250_000
	for left > 0 {
		n, err := unix.CopyFileRange(int(a.Fd()), &from, int(b.Fd()), &to, left, 0)
		if err != nil || n == 0 {
			t.Fatalf("copy_file_range: %d, %v", n, err)
		}
		left -= n
	}
	got, err := os.ReadFile(dir + "/b")
	if err != nil || !bytes.Equal(got, append(make([]byte, 77), data[1000:251_000]...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func trapLocks(t *testing.T, dir string) {
	write(t, dir+"/f", 0o644)
	a, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer a.Close()
	b, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer b.Close()
	check(t, "flock", unix.Flock(int(a.Fd()), unix.LOCK_EX|unix.LOCK_NB), nil)
	check(t, "flock of another", unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	check(t, "unlock", unix.Flock(int(a.Fd()), unix.LOCK_UN), nil)
	check(t, "flock of another", unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB), nil)
	lock := func(f *os.File, kind int16) error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: 2, Len: 3})
	}
	check(t, "lock", lock(a, unix.F_WRLCK), nil)
	check(t, "lock of another", lock(b, unix.F_RDLCK), unix.EAGAIN)
	check(t, "unlock", lock(a, unix.F_UNLCK), nil)
	check(t, "lock of another", lock(b, unix.F_RDLCK), nil)
}

func trapOddNames(t *testing.T, dir string) {
	for what, err := range map[string]error{
		"mkdir .":       os.Mkdir(dir+"/.", 0o755),
		"mkdir ..":      os.Mkdir(dir+"/..", 0o755),
		"rename onto .": os.Rename(dir, dir+"/."),
	} {
		if err == nil || !(is(err, unix.EEXIST) || is(err, unix.EBUSY) || is(err, unix.EINVAL)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, "rmdir .", syscall.Rmdir(dir+"/."), unix.EINVAL)
	check(t, "rmdir ..", syscall.Rmdir(dir+"/.."), unix.ENOTEMPTY)
	for _, n := range []string{"\xff\xfe", "a b", "new\nline", "ü", "\\", "-"} {
		write(t, dir+"/"+n, 0o644)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 6 {
		t.Errorf("%v, %v", list, err)
	}
}
