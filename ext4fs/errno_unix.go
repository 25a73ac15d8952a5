//go:build unix

package ext4fs

import "syscall"

const errQuota = syscall.EDQUOT
