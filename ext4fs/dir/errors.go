package dir

import (
	"fmt"
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of errors that changes give for the caller's doing. Nothing was
// changed then.
var (
	ErrExist    = disk.NewKind("file exists", fs.ErrExist, syscall.EEXIST)
	ErrNoSpace  = disk.NewKind("the directory is full", syscall.ENOSPC)
	ErrInvalid  = disk.NewKind("invalid name", fs.ErrInvalid, syscall.EINVAL)
	ErrNameLong = disk.NewKind("file name too long", syscall.ENAMETOOLONG)
	// ErrNoKey: names of encrypted directories cannot be made without the
	// key.
	ErrNoKey = disk.NewKind("the directory is encrypted, and the key is not available", fs.ErrPermission)
)

// PartialError says that a change stopped in the middle, when a step failed
// that has no way to: the transaction must not be committed. Err is why.
type PartialError struct{ Err error }

func (e *PartialError) Error() string { return fmt.Sprintf("directory changed in part: %v", e.Err) }

// Unwrap gives the cause.
func (e *PartialError) Unwrap() error { return e.Err }
