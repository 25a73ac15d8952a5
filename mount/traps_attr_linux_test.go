package mount_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

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
	for _, mode := range []uint32{0o6666, 0o2666, 0o6766} { // by who is not in the group
		f := fmt.Sprintf("%s/group-%o", dir, mode)
		write(t, f, 0o777)
		must(t, "chmod", syscall.Chmod(f, mode))
		out, err := as(t, "fallocate -l 8192 "+f)
		if got := stat(t, f).Mode & 0o7777; err != nil || got != mode&0o777 {
			t.Errorf("fallocate by another: mode %o became %o, %v %s", mode, got, err, out)
		}
		must(t, "chown", os.Chown(f, 0, 65534))
		must(t, "chmod", syscall.Chmod(f, mode))
		out, err = as(t, "fallocate -l 16384 "+f)
		if got := stat(t, f).Mode & 0o7777; err != nil || got != mode&0o2777 {
			t.Errorf("fallocate by one of the group: mode %o became %o, %v %s", mode, got, err, out)
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
