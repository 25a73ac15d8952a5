package testimages

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mountFlags are the mount(8) words that are flags of the system call.
var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV,
	"noexec": unix.MS_NOEXEC, "sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME,
	"relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
	"lazytime": unix.MS_LAZYTIME,
}

// busyWait bounds how long a busy device or mount is tried again.
const busyWait = 10 * time.Second

// mounted mounts img without asking whether it is sound.
func mounted(img, opts string, fn func(dir string) error) (err error) {
	dir, err := scratchDir("mnt-")
	if err != nil {
		return err
	}
	defer os.Remove(dir) // fails on a mount that would not go: the keeper's job
	flags, data := options(opts, mountFlags)
	loop, err := attachLoop(img, flags&unix.MS_RDONLY != 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, loop.detach()) }()
	if err := unix.Mount(loop.path, dir, "ext4", flags, data); err != nil {
		return fmt.Errorf("mount %s (%s): %w%s", img, opts, err, kernelSaid(loop.path))
	}
	defer func() { err = errors.Join(err, unmount(dir)) }()
	return fn(dir)
}

// unmount retries while something still holds the mount, then takes it out of
// sight, which at least lets go of it with its last user.
func unmount(dir string) error {
	var err error
	for end := time.Now().Add(busyWait); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = unix.Unmount(dir, 0); err != unix.EBUSY {
			break
		}
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("unmount %s: %w", dir, err)
	return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
}

// kernelSaid returns the last kernel messages about the device, since a failed
// mount itself only says "invalid argument".
func kernelSaid(dev string) string {
	out, err := exec.Command("dmesg").Output()
	if err != nil {
		return ""
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, strings.TrimPrefix(dev, "/dev/")) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) > 4 {
		lines = lines[len(lines)-4:]
	}
	if len(lines) == 0 {
		return ""
	}
	return "\nkernel: " + strings.Join(lines, "\nkernel: ")
}

// loopDev is an attached loop device.
type loopDev struct {
	f    *os.File
	path string
}

// attachLoop puts img behind a free loop device. The device is marked to let
// go of the file with its last user, so that a killed process leaves nothing
// attached once the keeper has unmounted.
func attachLoop(img string, readonly bool) (*loopDev, error) {
	mode := os.O_RDWR
	info := unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}
	if readonly {
		mode = os.O_RDONLY
		info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	file, err := os.OpenFile(img, mode, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	for end := time.Now().Add(busyWait); ; time.Sleep(10 * time.Millisecond) {
		dev, err := tryLoop(ctl, file, mode, info)
		if err == nil {
			return dev, nil
		}
		// Another process took the free device first, or its node is not made yet.
		if busy := errors.Is(err, unix.EBUSY) || errors.Is(err, os.ErrNotExist); !busy || time.Now().After(end) {
			return nil, fmt.Errorf("loop device for %s: %w", img, err)
		}
	}
}

func tryLoop(ctl, file *os.File, mode int, info unix.LoopInfo64) (*loopDev, error) {
	n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/dev/loop%d", n)
	dev, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: info}
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &config); err != nil {
		dev.Close()
		return nil, err
	}
	return &loopDev{dev, path}, nil
}

// detach frees the device and waits until it is free, so that the image file
// is complete and quiet when it returns.
func (l *loopDev) detach() error {
	var err error
	for n, end := 0, time.Now().Add(busyWait); time.Now().Before(end); n++ {
		err = unix.IoctlSetInt(int(l.f.Fd()), unix.LOOP_CLR_FD, 0)
		if err == unix.ENXIO { // the file is gone, or goes with our descriptor
			err = nil
			break
		}
		if err != nil && err != unix.EBUSY {
			break
		}
		if n > 0 { // someone else still has it open
			time.Sleep(5 * time.Millisecond)
		}
	}
	if cerr := l.f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("detach %s: %w", l.path, err)
	}
	return nil
}

// loopAvailable tries a mount once.
var loopAvailable = sync.OnceValue(func() error {
	dir, err := scratchDir("probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	img := dir + "/probe.img"
	if err := MakeFS(img, 1<<20, "-t", "ext2", "-b", "1024"); err != nil {
		return err
	}
	return mounted(img, "ro", func(string) error { return nil })
})

// Shutdown stops the mounted file system that holds dir as a power cut would:
// nothing more reaches the image, the journal is not flushed. The mount itself
// must still be undone.
func Shutdown(dir string) error { return shutdown(dir, goingNoLogFlush) }

// ShutdownFlushed is [Shutdown] after a commit of the running transaction: the
// journal holds everything, its home blocks may not.
func ShutdownFlushed(dir string) error { return shutdown(dir, goingLogFlush) }

const (
	iocShutdown     = 0x8004587d // _IOR('X', 125, __u32)
	goingLogFlush   = 1
	goingNoLogFlush = 2
)

func shutdown(dir string, how int) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), iocShutdown, how); err != nil {
		return fmt.Errorf("shut down %s: %w", dir, err)
	}
	return nil
}

// detach keeps signals meant for this process group, such as an interrupt from
// the terminal, from the command.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// freeBytes tells how much room the file system at dir has.
func freeBytes(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}
