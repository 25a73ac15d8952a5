//go:build !(386 || arm || mips || mipsle || ppc)

package extract

import "golang.org/x/sys/unix"

const sysUtimensat uintptr = unix.SYS_UTIMENSAT
