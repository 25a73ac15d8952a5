package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mountTable reads the kernel's table of mounts.
func mountTable() ([]mountEntry, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMountTable(f)
}

// dirOf checks that something is a directory, and a user's own.
func dirOf(dir string, uid int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(st.Uid) != uid {
		return fmt.Errorf("%s is not a directory of user %d", dir, uid)
	}
	return nil
}

// closeDir keeps others out of a directory of ours.
func closeDir(dir string) error {
	if err := dirOf(dir, os.Geteuid()); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// unmountDir ends a mount: by itself for root, else by fusermount3.
func unmountDir(ctx context.Context, dir string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(dir, flags)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	program, err := exec.LookPath("fusermount3")
	if err != nil {
		if program, err = exec.LookPath("fusermount"); err != nil {
			return fmt.Errorf("only root can unmount without fusermount3: %w", err)
		}
	}
	out, err := exec.CommandContext(ctx, program, append(args, "--", dir)...).CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	if strings.Contains(text, "busy") {
		return fmt.Errorf("%s: %w", text, unix.EBUSY)
	}
	if text == "" {
		return fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return errors.New(text)
}

const (
	maxUsers    = 8    // processes that are named
	maxUserRead = 4096 // descriptors looked at of each
)

// mountUsers names the processes that use a mount, as far as we may see them:
// by the names of what they have open, for a question to the files themselves
// could wait for ever.
func mountUsers(dir string) []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []string
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if how := usesMount(filepath.Join("/proc", entry.Name()), dir); how != "" {
			if len(list) == maxUsers {
				return append(list, "and others")
			}
			name, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm"))
			list = append(list, fmt.Sprintf("process %d (%s): %s", pid, strings.TrimSpace(string(name)), how))
		}
	}
	return list
}

// usesMount says how a process uses a mount; "" if it does not.
func usesMount(proc, dir string) string {
	below := func(link string) (string, bool) {
		name, err := os.Readlink(link)
		if err != nil {
			return "", false
		}
		return name, name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
	}
	for _, link := range []struct{ file, text string }{{"cwd", "current directory"}, {"root", "root directory"}, {"exe", "program"}} {
		if _, ok := below(filepath.Join(proc, link.file)); ok {
			return link.text
		}
	}
	fds, err := os.Open(filepath.Join(proc, "fd"))
	if err == nil {
		defer fds.Close()
		names, _ := fds.Readdirnames(maxUserRead)
		for _, fd := range names {
			if name, ok := below(filepath.Join(proc, "fd", fd)); ok {
				return name
			}
		}
	}
	return mapsMount(proc, dir)
}

// mapsMount finds a file of a mount in the memory of a process.
func mapsMount(proc, dir string) string {
	f, err := os.Open(filepath.Join(proc, "maps"))
	if err != nil {
		return ""
	}
	defer f.Close()
	sc := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for sc.Scan() {
		if i := strings.IndexByte(sc.Text(), '/'); i >= 0 && strings.HasPrefix(sc.Text()[i:], strings.TrimSuffix(dir, "/")+"/") {
			return sc.Text()[i:] + " in memory"
		}
	}
	return ""
}
