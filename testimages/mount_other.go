//go:build !linux

package testimages

import (
	"errors"
	"os/exec"
)

var errLinux = errors.New("only on Linux")

var mountFlags map[string]uintptr

func loopAvailable() error { return errLinux }

func mounted(img, opts string, fn func(dir string) error) error { return errLinux }

// Shutdown stops a mounted file system as a power cut would; Linux only.
func Shutdown(dir string) error { return errLinux }

// ShutdownFlushed is [Shutdown] after a commit; Linux only.
func ShutdownFlushed(dir string) error { return errLinux }

func detach(*exec.Cmd) {}

func freeBytes(string) int64 { return 0 }
