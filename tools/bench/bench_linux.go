package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// bench is a run of this program.
type bench struct {
	ctx    context.Context
	e4kit  string
	rounds int
	dir    string // on the tmpfs: all that is made
	mnt    string // where the kernel mounts
	lock   *os.File
	images map[string]string
	inodes map[string]string // debugfs scripts by image
}

func newBench(ctx context.Context, o options) (*bench, error) {
	dir := filepath.Join(o.dest, "e4kit-bench")
	b := &bench{ctx: ctx, e4kit: o.e4kit, rounds: o.rounds, dir: dir, mnt: filepath.Join(dir, "mnt"),
		images: map[string]string{}, inodes: map[string]string{}}
	// Two at once would spoil each other's times and share the folder.
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another bench is running: %s.lock: %w", dir, err)
	}
	b.lock = lock
	// One that was killed leaves things behind.
	if err := b.clean(); err != nil {
		lock.Close()
		return nil, err
	}
	return b, os.MkdirAll(b.mnt, 0o755)
}

// clean unmounts and removes everything that this program makes.
func (b *bench) clean() error {
	if err := b.unmount(); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(b.dir), dropLarge())
}

func (b *bench) close() error {
	err := b.clean()
	os.Remove(b.lock.Name())
	return errors.Join(err, b.lock.Close())
}

// unmount takes down whatever is mounted at the mount point. The loop device
// goes with it: mount(8) marks it so.
func (b *bench) unmount() error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := unix.Unmount(b.mnt, 0)
		switch {
		case err == unix.EINVAL, err == unix.ENOENT:
			return nil // nothing is mounted there
		case err != nil && time.Now().After(end):
			return fmt.Errorf("unmount %s: %w", b.mnt, errors.Join(err, unix.Unmount(b.mnt, unix.MNT_DETACH)))
		}
	}
}

// say tells of progress.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// image returns the workload's image, building it if need be.
func (b *bench) image(name string) (string, error) {
	if img, ok := b.images[name]; ok {
		return img, nil
	}
	for _, w := range testimages.Workloads() {
		if w.Name != name {
			continue
		}
		b.say("workload %s: %s", w.Name, w.What)
		img, err := testimages.BuildWorkload(w)
		if err == nil {
			b.images[name] = img
		}
		return img, err
	}
	return "", fmt.Errorf("no workload %q", name)
}

// settle waits until no loop device holds the image any more: the kernel lets
// go of it a little after umount ends, and the next mount must not meet it.
func (b *bench) settle(img string) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		out, err := exec.Command("losetup", "-j", img).Output()
		if err != nil {
			return fmt.Errorf("losetup -j: %w", err)
		}
		if len(strings.TrimSpace(string(out))) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s stays attached to a loop device", img)
}
