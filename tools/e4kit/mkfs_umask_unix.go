//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// umask is the process's. It can only be read by setting it, which is done
// while nothing else makes files.
func umask() fs.FileMode {
	mask := syscall.Umask(0o077)
	syscall.Umask(mask)
	return fs.FileMode(mask) & 0o777
}
