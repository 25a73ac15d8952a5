//go:build !386

package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// commFD is the descriptor by which fusermount3 sends the connection, as its
// environment variable _FUSE_COMMFD says.
const commFD = 3

// fusermount mounts by the set-user-id helper: it opens the device, mounts, and
// passes the connection back over a socket.
func (r *mountRequest) fusermount(ctx context.Context) (fd int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := pair[0], os.NewFile(uintptr(pair[1]), "fusermount")
	defer unix.Close(ours)
	err = fusermountWith(ctx, theirs, "-o", r.list(), "--", r.point)
	theirs.Close()
	if err != nil {
		return -1, err
	}
	fd, err = receiveFD(ours)
	if err != nil {
		r.undo()
		return -1, err
	}
	return fd, nil
}

// list writes the request as fusermount3 takes it after -o.
func (r *mountRequest) list() string {
	words := []string{"fsname=" + escapeOption(r.source), "subtype=" + escapeOption(r.subtype), fmt.Sprintf("max_read=%d", r.maxRead)}
	if r.checks {
		words = append(words, "default_permissions")
	}
	if r.allowOther {
		words = append(words, "allow_other")
	}
	for _, f := range []struct {
		flag uintptr
		word string
	}{
		{unix.MS_RDONLY, "ro"}, {unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"}, {unix.MS_NOEXEC, "noexec"},
		{unix.MS_NOATIME, "noatime"}, {unix.MS_SYNCHRONOUS, "sync"}, {unix.MS_DIRSYNC, "dirsync"},
	} {
		if r.flags&f.flag != 0 {
			words = append(words, f.word)
		}
	}
	return strings.Join(words, ",")
}

// escapeOption protects what separates options.
func escapeOption(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
}

// runFusermount runs the helper without a socket.
func runFusermount(ctx context.Context, args ...string) error {
	return fusermountWith(ctx, nil, args...)
}

// fusermountWith runs the helper. Its complaint becomes the error, which
// matches EBUSY where it says so.
func fusermountWith(ctx context.Context, comm *os.File, args ...string) error {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		if bin, err = exec.LookPath("fusermount"); err != nil {
			return fmt.Errorf("mounting needs root or the program fusermount3: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if comm != nil {
		cmd.ExtraFiles = []*os.File{comm} // becomes commFD
		cmd.Env = append(cmd.Env, fmt.Sprintf("_FUSE_COMMFD=%d", commFD))
	}
	var text bytes.Buffer
	cmd.Stderr = &text
	err = cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	said := strings.TrimSpace(text.String())
	switch {
	case said == "":
		return fmt.Errorf("%s: %w", bin, err)
	case strings.Contains(said, "busy"):
		return &helperError{said, unix.EBUSY}
	case strings.Contains(said, "ermission denied"), strings.Contains(said, "not permitted"):
		return &helperError{said, unix.EPERM}
	}
	return errors.New(said)
}

// helperError is what fusermount3 said.
type helperError struct {
	said string
	is   syscall.Errno
}

func (e *helperError) Error() string { return e.said }
func (e *helperError) Unwrap() error { return e.is }

// receiveFD takes one descriptor from a socket.
func receiveFD(sock int) (int, error) {
	data, oob := make([]byte, 8), make([]byte, unix.CmsgSpace(4*4))
	_, n, _, _, err := unix.Recvmsg(sock, data, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receive the connection: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, fmt.Errorf("receive the connection: %w", err)
	}
	var got []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			got = append(got, fds...)
		}
	}
	if len(got) == 0 {
		return -1, errors.New("fusermount3 sent no connection")
	}
	for _, fd := range got[1:] {
		_ = unix.Close(fd)
	}
	return got[0], nil
}
