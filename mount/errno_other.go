//go:build !linux || 386

package mount

import "syscall"

// The numbers are Linux's: nothing is mounted elsewhere.
const (
	errnoNoAttr = syscall.Errno(61)
	errnoNoKey  = syscall.Errno(126)
)
