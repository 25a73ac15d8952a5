package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// envProgram names the program for who cannot build it.
const envProgram = "E4KIT_TEST_PROGRAM"

// TestMountUser: an ordinary user mounts with fusermount3, in the background,
// and asks and ends the mount himself.
func TestMountUser(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "e2fsck", "fusermount3")
	bin := os.Getenv(envProgram)
	if bin == "" {
		bin = program(t)
	}
	if os.Geteuid() == 0 {
		bin = forAll(t, bin)
	}
	if !testimages.AsUser(t, envProgram+"="+bin) {
		return
	}
	for _, tt := range []struct {
		name string
		test func(*testing.T, *mountLab)
	}{
		{"background", testUserBackground},
		{"noRuntime", testUserNoRuntime},
		{"again", testUserAgain},
		{"errors", testUserErrors},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, newMountLab(t, bin)) })
	}
}

// forAll copies a program to where everybody can run it.
func forAll(t *testing.T, bin string) string {
	t.Helper()
	dir := testimages.Scratch(t)
	name := filepath.Join(dir, "e4kit")
	if err := testimages.CopyFile(name, bin); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, name} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

func testUserAgain(t *testing.T, l *mountLab) {
	testimages.Mkfs(t, l.img, 64<<20, "-E", "root_owner")
	l.again(l.img)
}

func testUserBackground(t *testing.T, l *mountLab) {
	testimages.Mkfs(t, l.img, 64<<20, "-E", "root_owner")
	l.must("mount", l.img, l.dir)
	l.write("a", "content")
	var st mountStatus
	if err := json.Unmarshal([]byte(l.must("status", "--json", l.dir)), &st); err != nil || st.Image != l.img || st.ReadOnly {
		t.Errorf("%+v, %v", st, err)
	}
	held, err := os.Open(filepath.Join(l.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if r := l.run("umount", l.dir); r.code != exitFailed || !strings.Contains(r.stderr, "in use by process "+itoa(int64(os.Getpid()))) {
		t.Errorf("unmounted while it is in use: %v", r)
	}
	held.Close()
	l.must("umount", l.dir)
	testimages.Fsck(t, l.img) // nothing to wait for
	l.must("mount", l.img, l.dir)
	if b, err := os.ReadFile(filepath.Join(l.dir, "a")); string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	if out, err := exec.Command("fusermount3", "-u", l.dir).CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// testUserNoRuntime: who has no session is told all the same.
func testUserNoRuntime(t *testing.T, l *mountLab) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	l.must("mount", l.img, l.dir)
	if out := l.must("status", l.dir); !strings.Contains(out, l.img+", read-write") {
		t.Error(out)
	}
	l.must("umount", l.dir)
	testimages.Fsck(t, l.img)
}

func testUserErrors(t *testing.T, l *mountLab) {
	conf, _ := os.ReadFile("/etc/fuse.conf")
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o555); err != nil {
		t.Fatal(err)
	}
	fixed := filepath.Join(t.TempDir(), "fixed")
	if err := testimages.CopyFile(fixed, l.img); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(fixed, 0o444); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
		skip bool
	}{
		{[]string{"-o", "allow_other", l.img, l.dir}, "/etc/fuse.conf", strings.Contains("\n"+string(conf), "\nuser_allow_other")},
		{[]string{l.img, closed}, "no write access to mountpoint", false},
		{[]string{"-o", "rw", fixed, l.dir}, "permission denied; with -o ro it can be read, and with --overlay FILE changed", false},
	} {
		if tt.skip {
			continue
		}
		if r := l.run(append([]string{"mount"}, tt.args...)...); r.code != exitFailed || !strings.Contains(r.stderr, tt.want) || r.stdout != "" {
			t.Errorf("%q: %v", tt.args, r)
		}
		if r := l.run("status", l.dir); !strings.Contains(r.stderr, "nothing is mounted there") {
			t.Errorf("after %q: %v", tt.args, r)
		}
	}
	l.must("mount", "-r", fixed, l.dir)
	l.must("umount", l.dir)
	if r := l.run("mount", fixed, l.dir); r.code != 0 || !strings.Contains(r.stderr, "write-protected") {
		t.Error(r)
	}
	l.must("umount", l.dir)
	l.must("mount", "--overlay", fixed+".ovl", fixed, l.dir)
	l.must("umount", l.dir)
	testimages.Fsck(t, fixed)
}
