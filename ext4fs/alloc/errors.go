package alloc

import (
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of errors of this room.
var (
	// ErrNoSpace: no block can be given out. If Pending says that frees wait
	// for a commit, one more try after that may help.
	ErrNoSpace = disk.NewKind("no free blocks", syscall.ENOSPC)
	// ErrNoInodes: no inode can be given out; Pending has a say here too.
	ErrNoInodes = disk.NewKind("no free inodes", syscall.ENOSPC)
	// ErrInvalid: the request makes no sense.
	ErrInvalid = disk.NewKind("invalid allocation request", syscall.EINVAL)
)
