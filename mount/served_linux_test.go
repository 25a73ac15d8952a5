package mount_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
)

// patience is how long one mount of a test may live before its server is
// killed, so that no test hangs.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if img := os.Getenv(envServe); img != "" {
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
	fsys, err := ext4fs.OpenFile(img, &ext4fs.Options{Write: !o.ReadOnly, Clock: mount.Clock})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fsys.Close()) }()
	s := mount.New(fsys, o)
	if err := s.Mount(context.Background(), dir); err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			if in.Text() == "count" {
				fmt.Println(census())
			}
		}
		if err := s.Unmount(); err != nil {
			fmt.Fprintln(os.Stderr, "unmount:", err)
			os.Exit(1)
		}
	}()
	return s.Wait()
}

// census counts what a server may leak.
func census() string {
	runtime.GC()
	fds, _ := os.ReadDir("/proc/self/fd")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprint(runtime.NumGoroutine(), len(fds), m.HeapAlloc)
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

// start serves img. The mount and the server go with t.
func start(t testing.TB, img, opts string) *served {
	t.Helper()
	testimages.RequireRoot(t)
	testimages.RequireFUSE(t)
	s := &served{t: t, img: img}
	var err error
	if s.dir, err = os.MkdirTemp(filepath.Dir(testimages.Scratch(t)), "served-"); err != nil {
		t.Fatal(err)
	}
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
	if line := s.line(); line != "ready" {
		t.Fatalf("mount %s: %s\n%s", img, line, &s.errs)
	}
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
	unix.Unmount(s.dir, unix.MNT_DETACH)
}

// stop unmounts and has the image judged.
func (s *served) stop() {
	s.t.Helper()
	if s.over {
		return
	}
	err := unix.Unmount(s.dir, 0)
	for end := time.Now().Add(5 * time.Second); err == unix.EBUSY && time.Now().Before(end); err = unix.Unmount(s.dir, 0) {
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
	unix.Unmount(s.dir, unix.MNT_DETACH)
	if line != "closed" || err != nil {
		s.t.Fatalf("the server ended with %q, %v\n%s", line, err, &s.errs)
	}
	if dirty, err := testimages.NeedsRecovery(s.img); err != nil || dirty {
		s.t.Errorf("after the unmount: needs recovery %v, %v", dirty, err)
	}
	testimages.Fsck(s.t, s.img)
}

// count asks the server for its goroutines, descriptors and heap.
func (s *served) count() (goroutines, fds, heap int) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, "count\n"); err != nil {
		s.t.Fatal(err)
	}
	line := s.line()
	if _, err := fmt.Sscan(line, &goroutines, &fds, &heap); err != nil {
		s.t.Fatalf("count: %q: %v", line, err)
	}
	return goroutines, fds, heap
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
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := fsys.Manifest(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&text, l)
	}
	return testimages.ParseManifest(text.String())
}
