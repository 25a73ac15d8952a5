package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// mountChild is the variable that tells the server in the background on which
// descriptor somebody waits for it to be ready.
const mountChild = "E4KIT_MOUNT_READY"

// mountBackground starts the program anew, as a server without a terminal, and
// waits until the mount is ready. (Go cannot fork.) Until then the server says
// what is wrong on our standard error; its status becomes ours.
func (e *env) mountBackground() error {
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(ownProgram(), os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), mountChild+"=3")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{tell}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	tell.Close()
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	// The server has a session of its own: a signal of the terminal is ours
	// only.
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-e.ctx.Done():
			cmd.Process.Signal(syscall.SIGTERM)
		case <-done:
		}
	}()
	if n, _ := io.ReadFull(ready, make([]byte, 1)); n == 1 {
		return cmd.Process.Release()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil // it was unmounted before anybody could tell
	case !errors.As(err, &exit):
		return err
	case exit.ExitCode() > 0:
		return statusError(exit.ExitCode())
	}
	return fmt.Errorf("the server ended: %w", err)
}

// ownProgram is the file of this program, by its name where that still is its
// name: others are told "locked by process 1 (e4kit)".
func ownProgram() string {
	const self = "/proc/self/exe"
	name, err := os.Executable()
	if err != nil {
		return self
	}
	a, err1 := os.Stat(name)
	b, err2 := os.Stat(self)
	if err1 != nil || err2 != nil || !os.SameFile(a, b) {
		return self
	}
	return name
}

// mountReady tells whoever waits that the mount can be used, and lets go of the
// terminal and of the current directory.
func (e *env) mountReady(r *mountRun) error {
	text := e.getenv(mountChild)
	if text == "" {
		return nil
	}
	os.Unsetenv(mountChild)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s=%s: want a descriptor", mountChild, text)
	}
	tell := os.NewFile(uintptr(fd), "ready")
	defer tell.Close()
	if r.foreground {
		return nil
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	last := int(null.Fd())
	if r.logFile != "" {
		// A crash of the program should leave its words.
		f, err := os.OpenFile(r.logFile, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		last = int(f.Fd())
	}
	for to, from := range []int{int(null.Fd()), int(null.Fd()), last} {
		if err := unix.Dup3(from, to, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	// Nobody may be waiting any more, which is no reason to end.
	tell.Write([]byte{1})
	return nil
}

// catchSignals collects the signals that end a mount.
func (e *env) catchSignals(s *mountServer) (stop func()) {
	s.signals = make(chan os.Signal, 8)
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return func() { signal.Stop(s.signals) }
}
