package dir

import (
	"fmt"
	"io/fs"
	"syscall"
)

// kind is an error that matches an io/fs error and an errno.
type kind struct {
	msg   string
	is    error
	errno syscall.Errno
}

func (k *kind) Error() string { return k.msg }

func (k *kind) Is(target error) bool {
	return k.is != nil && target == k.is || k.errno != 0 && target == error(k.errno)
}

// Kinds of errors that changes give for the caller's doing. Nothing was
// changed then.
var (
	ErrExist    error = &kind{"file exists", fs.ErrExist, syscall.EEXIST}
	ErrNoSpace  error = &kind{"the directory is full", nil, syscall.ENOSPC}
	ErrInvalid  error = &kind{"invalid name", fs.ErrInvalid, syscall.EINVAL}
	ErrNameLong error = &kind{"file name too long", nil, syscall.ENAMETOOLONG}
	// ErrNoKey: names of encrypted directories cannot be made without the
	// key.
	ErrNoKey error = &kind{"the directory is encrypted, and the key is not available", fs.ErrPermission, 0}
)

// PartialError says that a change stopped in the middle, when a step failed
// that has no way to: the transaction must not be committed. Err is why.
type PartialError struct{ Err error }

func (e *PartialError) Error() string { return fmt.Sprintf("directory changed in part: %v", e.Err) }

// Unwrap gives the cause.
func (e *PartialError) Unwrap() error { return e.Err }
