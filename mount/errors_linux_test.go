package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// envFaults is a directory: what has its name in there fails, in the server that
// the environment says it to.
const envFaults = "E4KIT_TEST_FAULTS"

// faults are by the names of files in that directory.
var faults = map[string]testimages.Fault{
	"read":  {Ops: testimages.FaultRead},
	"write": {Ops: testimages.FaultWrite | testimages.FaultZero | testimages.FaultDiscard},
	"sync":  {Ops: testimages.FaultSync},
	"full":  {Ops: testimages.FaultWrite | testimages.FaultZero, Err: unix.ENOSPC},
}

// openServed is how a server under test opens its image.
func openServed(img string, o *ext4fs.Options) (*ext4fs.FS, error) {
	o.OnAbort = func(err error) { fmt.Fprintln(os.Stderr, "gave up:", err) }
	dir := os.Getenv(envFaults)
	if dir == "" {
		return ext4fs.OpenFile(img, o)
	}
	dev, err := device.Open(img, device.Options{Write: true})
	if err != nil {
		return nil, err
	}
	faulty := testimages.NewFaultWriter(dev)
	for name, f := range faults {
		f.Count = -1
		f.Match = func(testimages.FaultOps, int64, int64) bool {
			_, err := os.Lstat(dir + "/" + name)
			return err == nil
		}
		faulty.Inject(f)
	}
	return ext4fs.Open(faulty, o)
}

// faulted is a mount of an image that can fail.
type faulted struct {
	*served
	faults string
}

func startFaulty(t *testing.T, img, opts string) *faulted {
	t.Helper()
	f := &faulted{faults: t.TempDir()}
	t.Setenv(envFaults, f.faults)
	f.served = start(t, img, opts)
	return f
}

// fail makes something fail from now on.
func (f *faulted) fail(name string) {
	f.t.Helper()
	if _, known := faults[name]; !known {
		f.t.Fatalf("no fault %q", name)
	}
	must(f.t, "fault", os.WriteFile(f.faults+"/"+name, nil, 0o600))
}

// heal ends it.
func (f *faulted) heal(name string) {
	f.t.Helper()
	must(f.t, "heal", os.Remove(f.faults+"/"+name))
}

// fallen unmounts a server that cannot keep what it has. It has to end by
// itself, to say so, and to leave an image that its journal makes whole.
func (s *served) fallen() {
	s.t.Helper()
	must(s.t, "unmount", unix.Unmount(s.dir, 0))
	s.fell()
	theirs := testimages.Copy(s.t, s.img)
	must(s.t, "recovery by e2fsck", recoverNoted(theirs))
	fsys, err := ext4fs.OpenFile(s.img, &ext4fs.Options{Write: true})
	must(s.t, "recovery by e4kit", err)
	must(s.t, "close", fsys.Close())
	testimages.FsckAborted(s.t, s.img)
}

// fell waits for the end of a server that was unmounted, with an error.
func (s *served) fell() {
	s.t.Helper()
	line := s.line()
	s.over = true
	err := s.cmd.Wait()
	s.timer.Stop()
	if !strings.HasPrefix(line, "error: ") || err == nil {
		s.t.Errorf("the server ended with %q, %v\n%s", line, err, &s.errs)
	}
}

// recoverNoted is [testimages.JudgeCrash] of an image whose journal may have a
// note of the error it was aborted with: then e2fsck checks all of it, and
// has to find nothing but orphans, which it deals with in that way then.
func recoverNoted(img string) error {
	out, err := exec.Command("e2fsck", "-p", img).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return fmt.Errorf("%w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		known := false
		for _, s := range []string{
			": recovering journal", ": Clearing orphaned inode ", ": Truncating orphaned inode ", ": clean, ",
			" contains a file system with errors, check forced", ": Deleted inode ", "% non-contiguous), ",
		} {
			known = known || strings.Contains(line, s)
		}
		if !known {
			return fmt.Errorf("e2fsck did more than to recover: %s", out)
		}
	}
	return testimages.Check(img)
}

// saidAborted waits for the server to tell that it has given up, and to tell
// it once.
func (s *served) saidAborted(cause string) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(s.errs.String(), "gave up: "); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the server says nothing of an abort: %s", &s.errs)
		}
	}
	if said := s.errs.String(); strings.Count(said, "gave up: ") != 1 || !strings.Contains(said, cause) {
		s.t.Errorf("the server said %q, and not %q once", said, cause)
	}
}

// storeSync is store of a file that is durable afterwards.
func storeSync(path string, content []byte) error { return store(path, string(content), true) }

// holds demands that an image has a file with that content.
func holds(t *testing.T, img, path string, content []byte) {
	t.Helper()
	fsys, err := ext4fs.OpenFile(img, nil)
	must(t, "open", err)
	defer fsys.Close()
	if got, err := fsys.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: %d bytes of %d, %v", path, len(got), len(content), err)
	}
}

// appendSync appends to a file and has it stored.
func appendSync(path string, p []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// fill takes all blocks of a file system, in whole blocks.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|unix.O_DIRECT, 0o644)
	must(t, "create", err)
	defer f.Close()
	for n := int64(1 << 20); n >= 1024; {
		var st unix.Stat_t
		must(t, "stat", unix.Fstat(int(f.Fd()), &st))
		err := unix.Fallocate(int(f.Fd()), 0, st.Size, n)
		switch {
		case err == unix.ENOSPC:
			n /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	must(t, "fsync", f.Sync())
}

// A file that grows in the kernel's cache beyond what the image has room for is
// not called stored, not even if its last block had some.
func TestFull_fsyncTells(t *testing.T) {
	s := start(t, fresh(t, 8<<20, "-b", "1024", "-m", "0"), "")
	content := testimages.Content(1, 60)
	must(t, "store", storeSync(s.path("f"), content))
	fill(t, s.path("filler"))
	if err := appendSync(s.path("f"), testimages.Content(2, 70000)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("append to a full image: %v", err)
	}
	must(t, "remove", os.Remove(s.path("filler")))
	must(t, "truncate", os.Truncate(s.path("f"), 60))
	err := appendSync(s.path("f"), content)
	if errors.Is(err, unix.ENOSPC) { // who writes on is told once of what was lost
		err = appendSync(s.path("f"), content)
	}
	must(t, "append with room", err)
	s.stop()
	holds(t, s.img, "f", append(content, content...))
}

// What the image does not take fails, and reads go on; nothing is changed from
// then on, also when the image works again, until the next mount has recovered.
func TestFault_write(t *testing.T) {
	for fault, want := range map[string]unix.Errno{"write": unix.EIO, "sync": unix.EIO, "full": unix.ENOSPC} {
		t.Run(fault, func(t *testing.T) {
			s := startFaulty(t, fresh(t, 32<<20), "")
			content := testimages.Content(1, 100000)
			must(t, "store", storeSync(s.path("kept"), content))
			s.fail(fault)
			lost := storeSync(s.path("lost"), content)
			if !errors.Is(lost, want) && !errors.Is(lost, unix.EROFS) {
				t.Errorf("fsync: %v", lost)
			}
			// The journal may not have been tried yet.
			if err := syncDir(s.dir); err == nil {
				t.Error("fsync of the directory succeeds")
			}
			s.saidAborted(want.Error())
			s.heal(fault)
			if err := os.Mkdir(s.path("late"), 0o755); !errors.Is(err, unix.EROFS) {
				t.Errorf("mkdir after the abort: %v", err)
			}
			if err := syncDir(s.dir); err == nil {
				t.Error("fsync after the abort succeeds")
			}
			if got, err := os.ReadFile(s.path("kept")); err != nil || !bytes.Equal(got, content) {
				t.Errorf("read after the abort: %d bytes, %v", len(got), err)
			}
			s.fallen()
			holds(t, s.img, "kept", content)
		})
	}
}

// Nobody hangs when an image fails under load, and what was promised holds.
func TestFault_underLoad(t *testing.T) {
	for fault := range map[string]bool{"write": true, "sync": true, "full": true} {
		t.Run(fault, func(t *testing.T) {
			s := startFaulty(t, fresh(t, 64<<20), "")
			var p promises
			var wg sync.WaitGroup
			for w := range 3 {
				wg.Go(func() { p.load(s.dir, fmt.Sprint("w", w), uint64(w)) })
			}
			time.Sleep(200 * time.Millisecond)
			s.fail(fault)
			over := make(chan struct{})
			go func() { wg.Wait(); close(over) }()
			select {
			case <-over:
			case <-time.After(patience / 2):
				t.Error("somebody hangs")
				s.kill()
				<-over
				return
			}
			s.saidAborted("")
			s.heal(fault)
			s.fallen()
			p.check(t, s.img, fault)
		})
	}
}

// What cannot be read fails, and can be read later; nothing else suffers.
func TestFault_read(t *testing.T) {
	img := fresh(t, 32<<20)
	content := testimages.Content(1, 100000)
	s := start(t, img, "")
	for i := range 200 {
		must(t, "mkdir", os.Mkdir(s.path(name(i)), 0o755))
		must(t, "write", os.WriteFile(s.path(name(i))+"/f", content[:1000*(i%100)+1], 0o644))
	}
	s.stop()
	f := startFaulty(t, img, "")
	f.fail("read")
	if _, err := os.ReadFile(f.path(name(7) + "/f")); !errors.Is(err, unix.EIO) {
		t.Errorf("read: %v", err)
	}
	if err := os.WriteFile(f.path(name(150)+"/g"), content, 0o644); !errors.Is(err, unix.EIO) {
		t.Errorf("create: %v", err)
	}
	f.heal("read")
	if got, err := os.ReadFile(f.path(name(7) + "/f")); err != nil || !bytes.Equal(got, content[:7001]) {
		t.Errorf("read of the healed image: %d bytes, %v", len(got), err)
	}
	must(t, "store", storeSync(f.path(name(150)+"/g"), content))
	f.stop()
	holds(t, img, name(150)+"/g", content)
}

// An image whose name goes away is served to the end.
func TestImage_unlinked(t *testing.T) {
	img := fresh(t, 32<<20)
	keep := filepath.Join(filepath.Dir(img), "other-name.img")
	must(t, "link", os.Link(img, keep))
	s := start(t, img, "")
	content := testimages.Content(1, 100000)
	must(t, "remove", os.Remove(img))
	must(t, "store", storeSync(s.path("f"), content))
	s.img = keep
	s.stop()
	holds(t, keep, "f", content)
}

// A host that has no room for the holes of an image: who writes is told, what
// was promised is there, and with room again the next mount goes on.
func TestHost_full(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	host := t.TempDir()
	must(t, "tmpfs", unix.Mount("none", host, "tmpfs", 0, "size=24m"))
	t.Cleanup(func() { must(t, "umount", unix.Unmount(host, unix.MNT_DETACH)) })
	img := host + "/sparse.img"
	testimages.Mkfs(t, img, 128<<20)
	s := start(t, img, "")
	kept := map[string][]byte{}
	var err error
	for i := 0; err == nil; i++ {
		if i > 100 {
			t.Fatal("the host takes it all")
		}
		content := testimages.Content(uint64(i), 1<<20)
		if err = storeSync(s.path(name(i)), content); err == nil {
			kept[name(i)] = content
		}
	}
	aborted := errors.Is(err, unix.EROFS) // it was the journal that had no room
	if aborted {
		s.saidAborted(unix.ENOSPC.Error())
	} else if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full host: %v", err)
	}
	for path, content := range kept {
		if got, err := os.ReadFile(s.path(path)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	must(t, "room", unix.Mount("none", host, "tmpfs", unix.MS_REMOUNT, "size=200m"))
	if aborted {
		s.fallen()
	} else {
		must(t, "store with room", storeSync(s.path("late"), kept[name(0)]))
		s.stop()
	}
	for path, content := range kept {
		holds(t, img, path, content)
	}
}

// An image that is cut off under its server: nobody is told that something was
// stored in what is left.
func TestImage_truncated(t *testing.T) {
	s := start(t, fresh(t, 64<<20), "")
	content := testimages.Content(1, 100000)
	must(t, "store", storeSync(s.path("f"), content))
	must(t, "truncate", os.Truncate(s.img, 1<<20))
	err := storeSync(s.path("g"), content)
	if !errors.Is(err, unix.EIO) && !errors.Is(err, unix.EROFS) {
		t.Errorf("fsync: %v", err)
	}
	s.saidAborted("has become shorter, ")
	if err := os.Mkdir(s.path("late"), 0o755); !errors.Is(err, unix.EROFS) {
		t.Errorf("mkdir: %v", err)
	}
	must(t, "unmount", unix.Unmount(s.dir, 0))
	s.fell()
}

// A shutdown of the file system, as tests of recovery ask for it, is told.
func TestFault_shutdown(t *testing.T) {
	s := start(t, fresh(t, 32<<20), "")
	content := testimages.Content(1, 100000)
	must(t, "store", storeSync(s.path("kept"), content))
	must(t, "write", os.WriteFile(s.path("lost"), content, 0o644))
	must(t, "shutdown", testimages.Shutdown(s.dir))
	s.saidAborted("was shut down")
	if err := os.Mkdir(s.path("late"), 0o755); !errors.Is(err, unix.EIO) {
		t.Errorf("mkdir: %v", err)
	}
	s.fallen()
	holds(t, s.img, "kept", content)
}
