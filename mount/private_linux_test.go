package mount_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// requireMachine skips t where a private mount keeps the kernel's checks.
func requireMachine(t *testing.T) {
	t.Helper()
	testimages.RequireRoot(t)
	if space, err := os.Readlink("/proc/self/ns/pid"); err != nil || space != "pid:[4026531836]" {
		testimages.Absent(t, "needs the machine's first namespace of processes")
	}
}

// A mount that root has for himself is not asked for the directory's attributes
// at each change, and is where the options say so.
func TestPrivate_asksLess(t *testing.T) {
	requireMachine(t)
	const links = 40
	img := fresh(t, 16<<20)
	requests := func(opts string) int {
		s := start(t, img, opts)
		before := s.count().requests
		for i := range links {
			must(t, "symlink", os.Symlink("x", s.path(opts+fmt.Sprint(i))))
		}
		n := s.count().requests - before
		s.stop()
		return n
	}
	private := requests("private")
	for opts, less := range map[string]bool{
		"allow_other": true, "private,default_permissions": true, "private,no_open": true, "private,kernel": true,
		"allow_other,private": false,
	} {
		if n := requests(opts); (n-private > links/2) != less {
			t.Errorf("%d requests with %s, %d with private", n, opts, private)
		}
	}
}

// Nobody but root gets into his mount, but where the options let him.
func TestPrivate_othersStayOut(t *testing.T) {
	img := fresh(t, 16<<20)
	for opts, open := range map[string]bool{
		"": true, "private": false, "private,default_permissions": false, "private,fakeroot": false, "private,allow_other": true,
	} {
		s := start(t, img, opts)
		must(t, "chmod", os.Chmod(s.dir, 0o777))
		if out, err := as(t, "ls "+s.dir); (err == nil) != open {
			t.Errorf("%q: another user: %v %s", opts, err, out)
		}
		s.stop()
	}
}

// Whoever has root's ids and not his rights, or acts for somebody, can do no more
// than he can with a file that is open.
func TestPrivate_rightsCount(t *testing.T) {
	requireMachine(t)
	s := start(t, fresh(t, 16<<20), "private")
	dir := s.path("d")
	must(t, "mkdir", os.Mkdir(dir, 0o777))
	f := dir + "/f"
	write(t, f, 0o666)
	write(t, dir+"/g", 0o666)
	must(t, "setxattr", unix.Setxattr(f, "user.a", []byte("v"), 0))
	fd, err := unix.Open(f, unix.O_RDWR, 0)
	must(t, "open", err)
	tries := func() map[string]error {
		buf := make([]byte, 100)
		got := map[string]error{
			"create":      try(unix.Open(dir+"/new", unix.O_CREAT|unix.O_WRONLY, 0o644)),
			"tmpfile":     try(unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY, 0o644)),
			"open":        try(unix.Open(f, unix.O_RDONLY, 0)),
			"open unseen": try(unix.Open(dir+"/nothing", unix.O_RDONLY, 0)),
			"access":      unix.Faccessat(unix.AT_FDCWD, f, unix.R_OK, unix.AT_EACCESS),
			"mkdir":       unix.Mkdir(dir+"/sub", 0o755),
			"mknod":       unix.Mknod(dir+"/fifo", unix.S_IFIFO|0o644, 0),
			"symlink":     unix.Symlink("x", dir+"/symlink"),
			"link":        unix.Link(f, dir+"/link"),
			"rename":      unix.Rename(f, dir+"/moved"),
			"unlink":      unix.Unlink(f),
			"rmdir":       unix.Rmdir(dir),
			"truncate":    unix.Truncate(f, 1),
			"getxattr":    try(unix.Getxattr(f, "user.a", buf)),
		}
		if d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
			got["list"] = try(unix.ReadDirent(d, make([]byte, 4096)))
			unix.Close(d)
		}
		for what, err := range map[string]error{
			"chmod": unix.Chmod(f, 0o600), "chown": unix.Chown(f, 7, 7), "setxattr": unix.Setxattr(f, "user.b", nil, 0),
			"removexattr": unix.Removexattr(f, "user.a"), "times": unix.Utimes(f, make([]unix.Timeval, 2)),
			"flags": unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, unix.STATX_ATTR_NODUMP),
		} {
			if err == unix.EPERM {
				err = unix.EACCES
			}
			got[what] = err
		}
		return got
	}
	for who, lose := range map[string]func(){
		"for another": func() { unix.Setfsuid(1000) },
		"fewer rights": func() {
			h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var sets [2]unix.CapUserData
			must(t, "capget", unix.Capget(&h, &sets[0]))
			sets[0].Effective &^= 1 << unix.CAP_DAC_OVERRIDE
			must(t, "capset", unix.Capset(&h, &sets[0]))
		},
	} {
		onThread(func() {
			lose()
			for what, err := range tries() {
				if err != unix.EACCES {
					t.Errorf("%s: %s: %v", who, what, err)
				}
			}
			if _, err := unix.Pwrite(fd, []byte("more"), 0); err != nil {
				t.Errorf("%s: write to an open file: %v", who, err)
			}
			if err := unix.Fsync(fd); err != nil {
				t.Errorf("%s: fsync: %v", who, err)
			}
			if _, err := unix.Pread(fd, make([]byte, 4), 0); err != nil {
				t.Errorf("%s: read an open file: %v", who, err)
			}
			if err := unix.Ftruncate(fd, 4096); err != nil {
				t.Errorf("%s: truncate an open file: %v", who, err)
			}
		})
	}
	unix.Close(fd)
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if got := stat(t, f); got.Mode&0o7777 != 0o666 || got.Uid != 0 || got.Size != 4096 {
		t.Errorf("%+v", got)
	}
	s.stop()
}

// onThread runs f on a thread of its own, which ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// try keeps the error, and closes what should not have been opened.
func try(n int, err error) error { return err }

// Where the kernel checks nothing, modes, ACLs and what root may not do are as in
// the kernel's driver.
func TestUnchecked_asTheKernel(t *testing.T) {
	testimages.RequireTool(t, "setfacl", "getfacl", "sh")
	img := fresh(t, 32<<20)
	ours := map[string]string{}
	for _, opts := range []string{"private", "fakeroot"} {
		s := start(t, testimages.Copy(t, img), opts)
		ours[opts] = told(t, s.dir)
		s.stop()
	}
	testimages.WithMount(t, img, "", func(dir string) {
		kernels := told(t, dir)
		for opts, said := range ours {
			if said != kernels {
				t.Errorf("the kernel says\n%s\nand with %s:\n%s", kernels, opts, said)
			}
		}
	})
}

// told is what a script says of what it did in dir.
func told(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.ReplaceAll(string(out), dir, "")
}

const script = `
say() { stat -c "%n %a %u:%g %h" "$@"; }
umask 027
touch f; mkdir d; mkfifo p; say f d p
setfacl -m u:1000:rwx f; say f; setfacl -m g:50:w,m::r f; say f; getfacl -cnE f; chmod 604 f; getfacl -cnE f; say f
setfacl -b f; say f; setfacl -x u:1000 f; setfacl -m u:7:x f; setfacl -x u:7 f; say f; getfacl -cnE f
setfacl -d -m u:1000:rwx,g::rx,o::- d; say d; touch d/f; mkdir d/d; mkfifo d/p; ln -s x d/s; say d/f d/d d/p; getfacl -cnE d/d d/f
setfacl -k d; touch d/g; say d/g
touch x; chmod 600 x; for m in r w x; do test -$m x; echo $m $?; done; ./x 2>/dev/null; echo $?
chmod 610 x; test -x x; echo $?; ./x; echo $?; test -x d; echo $?; test -x p; echo $?; test -x d/s; echo $?
chmod 6755 x; say x; chown 7:7 x; say x; chmod 6745 x; chown 8 x; say x; chmod 4755 x; echo y >>x; say x; chmod 4755 x; : >x; say x
mkdir sticky; chmod 1777 sticky; say sticky; touch sticky/f; chown 9 sticky/f; mv sticky/f sticky/g; rm sticky/g; chmod 1644 f; say f
mkdir sg; chown 0:50 sg; chmod 2770 sg; touch sg/f; mkdir sg/d; say sg/f sg/d; chmod 2755 sg/f; say sg/f; setfacl -m u:7:r sg/f; say sg/f
chmod 000 sg d f; cat f; touch d/new; ls sg; cd sg && say f d
`

// exec of a file that nobody may execute is refused, and tells nothing else.
func TestUnchecked_exec(t *testing.T) {
	s := start(t, fresh(t, 16<<20), "private")
	must(t, "write", os.WriteFile(s.path("f"), []byte("#!/bin/sh\nexit 3\n"), 0o644))
	if err := exec.Command(s.path("f")).Run(); !errors.Is(err, syscall.EACCES) {
		t.Errorf("without x: %v", err)
	}
	must(t, "chmod", os.Chmod(s.path("f"), 0o601))
	var end *exec.ExitError
	if err := exec.Command(s.path("f")).Run(); !errors.As(err, &end) || end.ExitCode() != 3 {
		t.Errorf("with x for others: %v", err)
	}
	s.stop()
}
