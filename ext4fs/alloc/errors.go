package alloc

import "syscall"

// kind is an error that matches an errno, so that callers need not know this
// package.
type kind struct {
	msg   string
	errno syscall.Errno
}

func (k *kind) Error() string { return k.msg }

// Is reports whether target is the errno that says the same.
func (k *kind) Is(target error) bool { return target == error(k.errno) }

// Kinds of errors of this room.
var (
	// ErrNoSpace: no block can be given out. If Pending says that frees wait
	// for a commit, one more try after that may help.
	ErrNoSpace error = &kind{"no space left on device", syscall.ENOSPC}
	// ErrNoInodes: no inode can be given out; Pending has a say here too.
	ErrNoInodes error = &kind{"no inodes left", syscall.ENOSPC}
	// ErrInvalid: the request makes no sense.
	ErrInvalid error = &kind{"invalid allocation request", syscall.EINVAL}
)
