//go:build !386

package mount

import "syscall"

const (
	errnoNoAttr = syscall.ENODATA
	errnoNoKey  = syscall.ENOKEY
)
