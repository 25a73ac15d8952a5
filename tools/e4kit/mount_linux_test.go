package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// mountLab is an image, a directory to mount it on, and the program. Whatever a
// test leaves mounted is taken away.
type mountLab struct {
	t             *testing.T
	bin, img, dir string
}

// TestMount runs the program as people do, which is built once for it.
func TestMount(t *testing.T) {
	testimages.RequireFUSE(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	bin := program(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *mountLab)
	}{
		{"background", testMountBackground},
		{"errors", testMountErrors},
		{"signals", testMountSignals},
		{"overlay", testMountOverlay},
		{"readOnly", testMountReadOnly},
		{"protected", testMountProtected},
		{"direct", testMountDirect},
		{"device", testMountDevice},
		{"again", testMountAgain},
		{"deviceAgain", testMountDeviceAgain},
		{"syncfs", testMountSyncFS},
		{"bmap", testMountBmap},
		{"metrics", testMountMetrics},
		{"helper", testMountHelper},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, newMountLab(t, bin)) })
	}
}

func newMountLab(t *testing.T, bin string) *mountLab {
	t.Helper()
	l := &mountLab{t, bin, filepath.Join(t.TempDir(), "img"), filepath.Join(t.TempDir(), "mnt")}
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	testimages.Mkfs(t, l.img, 64<<20)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Cleanup(func() {
		for range 3 {
			if unix.Unmount(l.dir, unix.MNT_DETACH) != nil && exec.Command("fusermount3", "-u", "-z", l.dir).Run() != nil {
				break
			}
		}
	})
	return l
}

// run runs the program, for a minute at most.
func (l *mountLab) run(args ...string) result {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.bin, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs what has to go well.
func (l *mountLab) must(args ...string) string {
	l.t.Helper()
	r := l.run(args...)
	if r.code != 0 || r.stderr != "" {
		l.t.Fatalf("%q: %v", args, r)
	}
	return r.stdout
}

// write makes a file in the mount.
func (l *mountLab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// testMountBackground: the command returns when the mount is there, umount when
// the image is closed.
func testMountBackground(t *testing.T, l *mountLab) {
	l.must("mount", "-o", "noatime,nofail,x-systemd.automount", l.img, l.dir)
	l.write("a", "content")
	var st mountStatus
	if err := json.Unmarshal([]byte(l.must("status", "--json", l.dir)), &st); err != nil {
		t.Fatal(err)
	}
	if st.Image != l.img || st.Mountpoint != l.dir || st.ReadOnly || st.Journal == nil || st.Space == nil || len(st.Operations) == 0 {
		t.Errorf("%+v", st)
	}
	for name, want := range map[string]string{"cwd": "/", "fd/0": os.DevNull, "fd/1": os.DevNull, "fd/2": os.DevNull} {
		if got, err := os.Readlink(filepath.Join("/proc", itoa(int64(st.PID)), name)); err != nil || got != want {
			t.Errorf("%s of the server is %s (%v)", name, got, err)
		}
	}
	held, err := os.Open(filepath.Join(l.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if out := l.must("status", l.dir); !strings.Contains(out, "WRITE") || !strings.Contains(out, l.img+", read-write") ||
		!strings.Contains(out, "1 open file, 2 inodes known") {
		t.Error(out)
	}
	held.Close()
	if r := l.run("mount", l.img, t.TempDir()); r.code != exitFailed || !strings.Contains(r.stderr, "is locked by process "+itoa(int64(st.PID))) {
		t.Errorf("mounted twice: %v", r)
	}
	l.must("umount", l.dir)
	// Nothing to wait for: the image is free.
	if r := e4kit("cat", l.img+":/a"); r.stdout != "content" {
		t.Error(r)
	}
	testimages.Fsck(t, l.img)
	if r := e4kit("rm", l.img+":/a"); r.code != 0 {
		t.Error(r)
	}
	if r := l.run("umount", l.dir); r.code != exitFailed || !strings.Contains(r.stderr, "nothing is mounted there") {
		t.Error(r)
	}
	if r := l.run("status", l.dir); r.code != exitFailed {
		t.Error(r)
	}
}

// testMountErrors: what is wrong is said by the command that waits, with its
// status.
func testMountErrors(t *testing.T, l *mountLab) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("text\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{text, l.dir}, exitFailed, "not an ext2"},
		{[]string{l.img + "x", l.dir}, exitFailed, "no such file"},
		{[]string{l.img, l.dir + "x"}, exitFailed, "no such file"},
		{[]string{l.img, text}, exitFailed, "is not a directory"},
		{[]string{l.img}, exitUsage, "missing argument"},
		{[]string{"-o", "what", l.img, l.dir}, exitUsage, `"what"`},
		{[]string{"--metrics", "0.0.0.0:9400", l.img, l.dir}, exitUsage, "loopback"},
		{[]string{"-o", "lockfile=" + text, l.img, l.dir}, exitFailed, "lock file"},
		{[]string{"--log-file", l.dir, l.img, l.dir}, exitFailed, "is a directory"},
	} {
		r := l.run(append([]string{"mount"}, tt.args...)...)
		if r.code != tt.code || !strings.Contains(r.stderr, tt.want) || r.stdout != "" {
			t.Errorf("%q: %v", tt.args, r)
		}
	}
	if r := l.run("mount", "--json", l.img+"x", l.dir); !strings.Contains(r.stdout, `"kind":"not-found"`) {
		t.Error(r)
	}
	testimages.Fsck(t, l.img)
}

// testMountSignals: SIGTERM, SIGINT and SIGHUP end a mount in good order, with
// status 0; when it is in use the second one takes the directory away.
func testMountSignals(t *testing.T, l *mountLab) {
	start := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		t.Helper()
		cmd := exec.Command(l.bin, append([]string{"mount", "-f"}, args...)...)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Env = append(os.Environ(), mountChild+"=3")
		cmd.ExtraFiles = []*os.File{w}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		t.Cleanup(func() { cmd.Process.Kill() })
		if _, err := io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		return cmd, &stderr
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		cmd, stderr := start(l.img, l.dir)
		l.write(sig.String(), "content")
		cmd.Process.Signal(sig)
		if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "unmounted") {
			t.Errorf("%v: %v\n%s", sig, err, stderr)
		}
		testimages.Fsck(t, l.img)
		if r := e4kit("cat", l.img+":/"+sig.String()); r.stdout != "content" {
			t.Error(r)
		}
	}

	cmd, stderr := start(l.img, l.dir)
	held, err := os.Create(filepath.Join(l.dir, "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if r := l.run("umount", l.dir); r.code != exitFailed || !strings.Contains(r.stderr, "in use by process "+itoa(int64(os.Getpid()))) {
		t.Errorf("unmounted while it is in use: %v", r)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(300 * time.Millisecond) // two that come together would be one
	if _, err := held.WriteString("still there"); err != nil {
		t.Errorf("the first signal has ended a mount in use: %v", err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	for range 100 {
		if _, err := findMount(l.dir); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, err := held.WriteString(", still"); err != nil {
		t.Errorf("the second signal has ended an open file: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
	testimages.Fsck(t, l.img)
	if r := e4kit("cat", l.img+":/held"); r.stdout != "still there, still" {
		t.Error(r)
	}
}

// testMountOverlay: changes stay in the overlay, over a death of the server
// too, until they are committed.
func testMountOverlay(t *testing.T, l *mountLab) {
	ovl := filepath.Join(t.TempDir(), "ovl")
	before, err := os.ReadFile(l.img)
	if err != nil {
		t.Fatal(err)
	}
	l.must("mount", "--overlay", ovl, l.img, l.dir)
	l.write("a", "first")
	l.must("umount", l.dir)

	l.must("mount", "-o", "overlay="+ovl, l.img, l.dir)
	f, err := os.Create(filepath.Join(l.dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("second")
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	var st mountStatus
	if err := json.Unmarshal([]byte(l.must("status", "--json", l.dir)), &st); err != nil || st.Overlay == nil || st.Overlay.Written == 0 {
		t.Fatalf("%+v %v", st, err)
	}
	if r := l.run("commit-overlay", ovl, l.img); r.code != exitFailed || !strings.Contains(r.stderr, "locked by") {
		t.Errorf("committed while it is mounted: %v", r)
	}
	syscall.Kill(st.PID, syscall.SIGKILL)
	// The kernel lets go of the server's files when it is gone.
	for range 500 {
		if syscall.Kill(st.PID, 0) != nil || zombie(st.PID) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := unix.Unmount(l.dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(l.img)
	if err != nil || !bytes.Equal(before, now) {
		t.Errorf("the image was changed (%v)", err)
	}
	if r := l.run("mount", "--overlay", ovl, l.img, l.dir); r.code != 0 {
		t.Fatal(r)
	}
	if got, err := os.ReadFile(filepath.Join(l.dir, "b")); string(got) != "second" {
		t.Errorf("%q %v", got, err)
	}
	l.must("umount", l.dir)
	l.must("commit-overlay", ovl, l.img)
	testimages.Fsck(t, l.img)
	if r := e4kit("cat", l.img+":/a", l.img+":/b"); r.stdout != "firstsecond" {
		t.Error(r)
	}
}

// zombie reports whether a process has ended, though nobody has asked for its
// status yet.
func zombie(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", itoa(int64(pid)), "stat"))
	return err != nil || strings.Contains(string(b), ") Z ")
}

// testMountReadOnly: a journal is recovered in memory, compressed images can
// be mounted, and nothing is changed.
func testMountReadOnly(t *testing.T, l *mountLab) {
	l.must("mount", l.img, l.dir)
	l.write("a", "content")
	l.must("umount", l.dir)
	testimages.RequireTool(t, "gzip")
	if out, err := exec.Command("gzip", "-k", l.img).CombinedOutput(); err != nil {
		t.Fatalf("gzip: %v %s", err, out)
	}
	for _, img := range []string{l.img, l.img + ".gz"} {
		l.must("mount", "-r", img, l.dir)
		if got, err := os.ReadFile(filepath.Join(l.dir, "a")); string(got) != "content" {
			t.Errorf("%q %v", got, err)
		}
		if err := os.WriteFile(filepath.Join(l.dir, "b"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
			t.Errorf("written to: %v", err)
		}
		l.must("umount", l.dir)
	}
	if r := l.run("mount", l.img+".gz", l.dir); r.code != exitUnsupported || !strings.Contains(r.stderr, "--overlay") {
		t.Error(r)
	}
}

// testMountProtected: what is write-protected can be read, unless more is asked for.
func testMountProtected(t *testing.T, l *mountLab) {
	loop := l.loop("-r")
	for _, opts := range []string{"noatime", "ro"} {
		r := l.run("mount", "-o", opts, loop, l.dir)
		if r.code != 0 || strings.Contains(r.stderr, "write-protected") != (opts != "ro") {
			t.Fatalf("-o %s: %v", opts, r)
		}
		if err := os.WriteFile(filepath.Join(l.dir, "b"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
			t.Errorf("-o %s: written to: %v", opts, err)
		}
		l.must("umount", l.dir)
	}
	for _, opts := range []string{"rw", "ro,rw"} {
		if r := l.run("mount", "-o", opts, loop, l.dir); r.code != exitFailed || !strings.Contains(r.stderr, "with -o ro") {
			t.Errorf("-o %s: %v", opts, r)
		}
	}
}

// testMountMetrics: counters for Prometheus.
func testMountMetrics(t *testing.T, l *mountLab) {
	const address = "127.0.0.1:19407"
	l.must("mount", "--metrics", address, l.img, l.dir)
	l.write("a", "content")
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(text), `op="WRITE"`) || !strings.Contains(string(text), "e4kit_journal_log_blocks{") {
		t.Errorf("%v\n%s", err, text)
	}
	l.must("umount", l.dir)
}

// testMountHelper: mount(8) and mount.fuse(8) call the program by other names.
func testMountHelper(t *testing.T, l *mountLab) {
	bin := l.bin
	l.must(l.img, l.dir, "-o", "rw,nosuid")
	l.must("umount", l.dir)
	l.bin = filepath.Join(t.TempDir(), "mount.e4kit")
	if err := os.Symlink(bin, l.bin); err != nil {
		t.Fatal(err)
	}
	l.must(l.img, l.dir, "-n", "-o", "ro")
	var st unix.Statfs_t
	if err := unix.Statfs(l.dir, &st); err != nil || st.Flags&unix.ST_RDONLY == 0 {
		t.Errorf("%v %x", err, st.Flags)
	}
	l.bin = bin
	l.must("umount", l.dir)
}
