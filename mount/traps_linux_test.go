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
func must(t testing.TB, what string, err error) {
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
	{"setuid", trapSetuid}, {"setuid direct", trapSetuidDirect}, {"open descriptor", trapDescriptor}, {"size limit", trapLimit},
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

// Flags of FS_IOC_SETFLAGS.
const (
	flagImmutable = 0x10
	flagAppend    = 0x20
)

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
		// The kernel knows the inode until the server has answered its close,
		// for which nobody waits.
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			fd, err := unix.OpenByHandleAt(int(top.Fd()), h, unix.O_RDONLY)
			if err == nil {
				unix.Close(fd)
			}
			if err == unix.ESTALE {
				break
			}
			if err != nil || time.Now().After(end) {
				t.Errorf("%s: open_by_handle_at after its end: %v", n, err)
				break
			}
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
