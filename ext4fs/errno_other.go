//go:build !unix

package ext4fs

import "syscall"

// errQuota is an errno that the system does not have.
const errQuota = syscall.Errno(0)
