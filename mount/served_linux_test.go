package mount_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/mount"
	"github.com/e4kit/e4kit/testimages"
)

// The server under test runs in a process of its own, a second copy of the test
// program: it can be killed, and whoever hangs in its mount comes free with its
// death. The parent speaks to it in lines: a word in, a line out.

const (
	envServe = "E4KIT_TEST_SERVE" // the image: this process is a server
	envDir   = "E4KIT_TEST_DIR"   // its mount point
	envOpts  = "E4KIT_TEST_OPTS"  // its mount options

	envForbid = "E4KIT_TEST_FORBID" // the number of a system call that it cannot make
)

// patience is how long one mount of a test may live before its server is
// killed, so that no test hangs.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if img := os.Getenv(envServe); img != "" {
		if err := forbid(os.Getenv(envForbid)); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		if err := serve(img, os.Getenv(envDir), os.Getenv(envOpts)); err != nil {
			fmt.Println("error:", strings.ReplaceAll(err.Error(), "\n", "; "))
			os.Exit(1)
		}
		fmt.Println("closed")
		return
	}
	os.Exit(m.Run())
}

// serve mounts img until its standard input ends or somebody unmounts it.
func serve(img, dir, opts string) (err error) {
	o, err := mount.ParseOptions(opts)
	if err != nil {
		return err
	}
	direct := device.DirectStreams
	if o.DirectIO {
		direct = device.DirectAlways
	}
	fsys, err := openServed(img, &ext4fs.Options{Write: !o.ReadOnly, Clock: mount.Clock, Device: device.Options{Direct: direct}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fsys.Close()) }()
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := mount.New(fsys, o)
	if err := s.Mount(context.Background(), dir); err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			if in.Text() == "count" {
				fmt.Println(census(s, fsys))
			}
		}
		if err := s.Unmount(); err != nil {
			fmt.Fprintln(os.Stderr, "unmount:", err)
			os.Exit(1)
		}
	}()
	return s.Wait()
}

// possessions is what a server may leak.
type possessions struct {
	goroutines, files, devices int // without readers; files are descriptors but for those of /dev/fuse
	heap                       int // bytes, without the cache of metadata, which has a bound
	resident                   int // bytes, at most so far
	nodes, handles             int // that the kernel has
	requests                   int // answered so far
}

// census counts what a server has.
func census(s *mount.Server, fsys *ext4fs.FS) (p possessions) {
	for range 3 {
		runtime.GC() // what a collection finds can set other things free
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	st := s.Stats()
	p.goroutines, p.heap = runtime.NumGoroutine()-st.Readers, int(m.HeapAlloc)-int(fsys.CacheStats().Bytes)
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == "/dev/fuse" {
			p.devices++
		} else {
			p.files++
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
		fmt.Sscan(rest, &p.resident)
		p.resident <<= 10
	}
	p.nodes, p.handles = st.Nodes, st.OpenFiles
	for _, op := range st.Ops {
		p.requests += int(op.Count)
	}
	return p
}

// served is a mount with its server.
type served struct {
	t     testing.TB
	img   string
	dir   string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	errs  lockedBuffer
	timer *time.Timer
	over  bool
}

// lockedBuffer takes what the server complains about.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start serves img, for root. The mount and the server go with t.
func start(t testing.TB, img, opts string) *served {
	t.Helper()
	testimages.RequireRoot(t)
	testimages.RequireFUSE(t)
	s, line := launch(t, img, opts)
	if line != "ready" {
		t.Fatalf("mount %s: %s\n%s", img, line, &s.errs)
	}
	return s
}

// launch has a server mount img for whoever runs t, and returns what it said
// then.
func launch(t testing.TB, img, opts string) (*served, string) {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(testimages.Scratch(t)), "served-")
	if err != nil {
		t.Fatal(err)
	}
	return launchAt(t, img, dir, opts)
}

// launchAt is launch with a directory to mount on.
func launchAt(t testing.TB, img, dir, opts string) (*served, string) {
	t.Helper()
	s := spawnAt(t, img, dir, opts)
	return s, s.line()
}

// spawnAt is launchAt that does not wait for what the server says.
func spawnAt(t testing.TB, img, dir, opts string) *served {
	t.Helper()
	s := &served{t: t, img: img, dir: dir}
	var err error
	s.cmd = exec.Command("/proc/self/exe")
	s.cmd.Env = append(os.Environ(), envServe+"="+img, envDir+"="+s.dir, envOpts+"="+opts)
	s.cmd.Stderr = &s.errs
	s.cmd.Dir = "/"
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.timer = time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	t.Cleanup(s.drop)
	return s
}

// line reads what the server says next.
func (s *served) line() string {
	line, err := s.out.ReadString('\n')
	if err != nil {
		return line + " (" + err.Error() + ")"
	}
	return strings.TrimSuffix(line, "\n")
}

// path is that of a name in the mount.
func (s *served) path(name string) string { return s.dir + "/" + name }

// drop ends what a test has left: it cannot hang, since the kernel ends a FUSE
// connection with its server.
func (s *served) drop() {
	s.kill()
	os.Remove(s.dir)
}

// kill ends the server as a crash would, and takes the dead mount away.
func (s *served) kill() {
	if s.over {
		return
	}
	s.over = true
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.timer.Stop()
	s.unmount(unix.MNT_DETACH)
}

// unmount is umount2(2), for everybody.
func (s *served) unmount(flags int) error {
	err := unix.Unmount(s.dir, flags)
	if err != unix.EPERM {
		return err
	}
	args := []string{"-u", s.dir}
	if flags == unix.MNT_DETACH {
		args = []string{"-u", "-z", s.dir}
	}
	out, err := exec.Command("fusermount3", args...).CombinedOutput()
	switch {
	case err == nil:
		return nil
	case strings.Contains(string(out), "busy"):
		return unix.EBUSY
	}
	return fmt.Errorf("%w: %s", err, out)
}

// stop unmounts and has the image judged.
func (s *served) stop() {
	s.t.Helper()
	if s.over {
		return
	}
	err := s.unmount(0)
	for end := time.Now().Add(5 * time.Second); err == unix.EBUSY && time.Now().Before(end); err = s.unmount(0) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		s.t.Errorf("unmount: %v", err)
	}
	s.ended()
}

// ended waits for the server to end well and for a clean image.
func (s *served) ended() {
	s.t.Helper()
	line := s.line()
	s.over = true
	err := s.cmd.Wait()
	s.timer.Stop()
	s.unmount(unix.MNT_DETACH)
	if line != "closed" || err != nil {
		s.t.Fatalf("the server ended with %q, %v\n%s", line, err, &s.errs)
	}
	if dirty, err := testimages.NeedsRecovery(s.img); err != nil || dirty {
		s.t.Errorf("after the unmount: needs recovery %v, %v", dirty, err)
	}
	testimages.Fsck(s.t, s.img)
}

// count asks the server what it has.
func (s *served) count() (p possessions) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, "count\n"); err != nil {
		s.t.Fatal(err)
	}
	line := s.line()
	_, err := fmt.Sscanf(line, "{%d %d %d %d %d %d %d %d}",
		&p.goroutines, &p.files, &p.devices, &p.heap, &p.resident, &p.nodes, &p.handles, &p.requests)
	if err != nil {
		s.t.Fatalf("count: %q: %v", line, err)
	}
	return p
}

// fresh makes an empty file system. It needs no privileges but those of start.
func fresh(t testing.TB, size int64, mkfs ...string) string {
	t.Helper()
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	img := filepath.Join(testimages.Scratch(t), "fresh.img")
	testimages.Mkfs(t, img, size, mkfs...)
	return img
}

// manifest is what ext4fs says of an image that nobody has mounted.
func manifest(t testing.TB, img string) testimages.Manifest {
	t.Helper()
	return manifestAt(t, img, "/")
}

// manifestAt is the manifest of a part of the tree.
func manifestAt(t testing.TB, img, path string) testimages.Manifest {
	t.Helper()
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	top, err := fsys.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := fsys.Manifest(t.Context(), top)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&text, l)
	}
	return testimages.ParseManifest(text.String())
}
