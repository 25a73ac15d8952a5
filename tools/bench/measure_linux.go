package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// cost is what commands took.
type cost struct {
	Wall time.Duration
	CPU  time.Duration // user and system
	RSS  int64         // peak, in bytes
}

func (c *cost) add(d cost) {
	c.Wall += d.Wall
	c.CPU += d.CPU
	c.RSS = max(c.RSS, d.RSS)
}

// measureWord as first argument makes this program the one that starts and
// measures a command.
const measureWord = "-measure"

// report is what the second copy tells the first, as JSON on descriptor 3.
type report struct {
	Cost  cost
	Error string
}

// command is one command to measure.
type command struct {
	argv   []string
	out    string // file that takes standard output; none drops it
	always bool   // runs even if one before it failed, or all are cancelled
}

// measure runs a command and says what it took.
func measure(ctx context.Context, c command) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	if c.always {
		ctx = context.WithoutCancel(ctx)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return cost{}, err
	}
	defer r.Close()
	var complaint strings.Builder
	cmd := exec.CommandContext(ctx, self, append([]string{measureWord}, c.argv...)...)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = &limited{b: &complaint, left: 4000}
	// A group of their own: an interrupt from the terminal comes to us, and we
	// end them and then clean up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if c.out != "" {
		out, err := os.Create(c.out)
		if err != nil {
			w.Close()
			return cost{}, err
		}
		defer out.Close()
		cmd.Stdout = out
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return cost{}, err
	}
	var rep report
	jsonErr := json.NewDecoder(r).Decode(&rep)
	err = errors.Join(cmd.Wait(), jsonErr)
	if rep.Error != "" {
		err = errors.New(rep.Error)
	}
	if err != nil {
		return rep.Cost, fmt.Errorf("%s: %w\n%s", strings.Join(c.argv, " "), err, strings.TrimSpace(complaint.String()))
	}
	return rep.Cost, nil
}

// limited keeps the beginning of what is written.
type limited struct {
	b    *strings.Builder
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.b.Write(p[:n])
	l.left -= n
	return len(p), nil
}

// measureChild runs the command and reports on descriptor 3. A signal that
// ends the group must reach the command, and not end this one before it.
func measureChild(argv []string) int {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	out := os.NewFile(3, "report")
	syscall.CloseOnExec(3)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "DEBUGFS_PAGER=cat", "PAGER=cat")
	var rep report
	start := time.Now()
	err := cmd.Run()
	rep.Cost.Wall = time.Since(start)
	if s := cmd.ProcessState; s != nil {
		rep.Cost.CPU = s.UserTime() + s.SystemTime()
		if u, ok := s.SysUsage().(*syscall.Rusage); ok {
			rep.Cost.RSS = int64(u.Maxrss) << 10
		}
	}
	if err != nil {
		rep.Error = err.Error()
	}
	if err := json.NewEncoder(out).Encode(rep); err != nil {
		return 1
	}
	return 0
}
