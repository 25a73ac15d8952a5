package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// loop attaches the image to a device for as long as the test runs.
func (l *mountLab) loop(args ...string) string {
	l.t.Helper()
	testimages.RequireRoot(l.t)
	testimages.RequireTool(l.t, "losetup")
	out, err := exec.Command("losetup", append(args, "-f", "--show", l.img)...).Output()
	if err != nil {
		testimages.Absent(l.t, "losetup: "+err.Error())
	}
	dev := strings.TrimSpace(string(out))
	l.t.Cleanup(func() {
		unix.Unmount(l.dir, unix.MNT_DETACH)
		exec.Command("losetup", "-d", dev).Run()
	})
	return dev
}

// kind is the type of what is mounted.
func (l *mountLab) kind() string {
	l.t.Helper()
	m, err := mountTable()
	if err != nil {
		l.t.Fatal(err)
	}
	kind := ""
	for _, e := range m {
		if e.dir == l.dir {
			kind = e.kind
		}
	}
	return kind
}

// awaitDevice waits until nobody has a device.
func awaitDevice(t *testing.T, dev string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f, err := os.OpenFile(dev, os.O_RDWR|unix.O_EXCL, 0)
		if err == nil {
			f.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// testMountDevice: the kernel knows that a block device is mounted. umount(2)
// returns when it is clean and nobody's, syncfs(2) when all is durable.
func testMountDevice(t *testing.T, l *mountLab) {
	dev := l.loop()
	for _, opts := range []string{"blkdev", "blkdev,fsname=" + dev, "noblkdev", "blkdev,fsname=other", "ro,blkdev"} {
		l.must("mount", "-o", opts, dev, l.dir)
		want := mountKind
		if strings.HasPrefix(opts, "blkdev") && !strings.Contains(opts, "other") {
			want = mountKindDevice
		}
		if got := l.kind(); got != want {
			t.Errorf("-o %s: mounted as %q, want %q", opts, got, want)
		}
		l.must("status", l.dir)
		if r := l.run("mount", "-o", "rw", dev, t.TempDir()); r.code != exitFailed || !strings.Contains(r.stderr, "in use") && !strings.Contains(r.stderr, "locked") {
			t.Errorf("-o %s: mounted twice: %v", opts, r)
		}
		if !strings.HasPrefix(opts, "ro") { // which claims nothing
			if err := unix.Mount(dev, t.TempDir(), "ext4", 0, ""); !errors.Is(err, syscall.EBUSY) {
				t.Errorf("-o %s: the kernel's own mount: %v", opts, err)
			}
		}
		l.must("umount", l.dir)
	}
	// A namespace of mounts that ends with a killed server would never end.
	testimages.RequireTool(t, "unshare")
	out, err := exec.Command("unshare", "-m", "sh", "-c", `"$0" mount "$1" "$2" && cat /proc/self/mountinfo; umount "$2"`, l.bin, dev, l.dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), " - "+mountKind+" "+dev) {
		t.Errorf("in a namespace of its own: %v\n%s", err, out)
	}
	if r := l.run("umount", l.dir); r.code != exitFailed { // the other's
		t.Error(r)
	}
	awaitDevice(t, dev)
	for i := range 5 {
		l.must("mount", "-o", "blkdev", dev, l.dir)
		l.write("f"+itoa(int64(i)), strings.Repeat("x", 100000))
		if err := unix.Unmount(l.dir, 0); err != nil {
			t.Fatal(err)
		}
		if dirty, err := testimages.NeedsRecovery(dev); err != nil || dirty {
			t.Errorf("after umount(2): needs recovery %v, %v", dirty, err)
		}
	}
	testimages.Fsck(t, l.img)
}

// testMountSyncFS: what syncfs(2) has stored survives the server.
func testMountSyncFS(t *testing.T, l *mountLab) {
	dev := l.loop()
	l.must("mount", "-o", "blkdev,commit=300", dev, l.dir)
	l.write("stored", "content")
	d, err := os.Open(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Syncfs(int(d.Fd()))
	d.Close()
	if err != nil {
		t.Fatal(err)
	}
	l.write("lost", "content")
	var st mountStatus
	if err := json.Unmarshal([]byte(l.must("status", "--json", l.dir)), &st); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(l.dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	awaitDevice(t, dev)
	l.must("mount", dev, l.dir)
	if got, err := os.ReadFile(filepath.Join(l.dir, "stored")); string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "lost")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stored without need: %v", err)
	}
	l.must("umount", l.dir)
	testimages.Fsck(t, l.img)
}

// testMountBmap: on a device the kernel can ask where a file lies, and what is there
// is what was written.
func testMountBmap(t *testing.T, l *mountLab) {
	testimages.Mkfs(t, l.img, 64<<20, "-b", "4096")
	dev := l.loop()
	l.must("mount", "-o", "blkdev,commit=300", dev, l.dir)
	f, err := os.OpenFile(filepath.Join(l.dir, "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, k := range []int64{0, 1, 5} {
		if _, err := f.WriteAt(bytes.Repeat([]byte{'a' + byte(k)}, 4096), k<<12); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 8<<12, 1<<12); err != nil {
		t.Fatal(err)
	}
	disk, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	for k := range int64(9) {
		const fibmap = 1
		at := int32(k)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fibmap, uintptr(unsafe.Pointer(&at))); errno != 0 {
			t.Fatal(errno)
		}
		if written := k < 2 || k == 5; written != (at != 0) {
			t.Errorf("block %d lies at %d", k, at)
		}
		if at == 0 {
			continue
		}
		b := make([]byte, 4096)
		if _, err := disk.ReadAt(b, int64(at)<<12); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{'a' + byte(k)}, 4096)) {
			t.Errorf("block %d has %q..., %v", k, b[:8], err)
		}
	}
	f.Close()
	l.must("umount", l.dir)
}
