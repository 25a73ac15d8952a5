package tree

import (
	"fmt"
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of trouble. They match the values of io/fs and the errnos that fit.
var (
	// ErrExist: there is a file of that name.
	ErrExist = disk.NewKind("there is a file of that name", fs.ErrExist, syscall.EEXIST)
	// ErrNotExist: there is no file of that name.
	ErrNotExist = disk.NewKind("no such file or directory", fs.ErrNotExist, syscall.ENOENT)
	// ErrNotDir: a directory is needed, and it is none.
	ErrNotDir = disk.NewKind("not a directory", syscall.ENOTDIR)
	// ErrIsDir: it is a directory, and may not be.
	ErrIsDir = disk.NewKind("is a directory", syscall.EISDIR)
	// ErrName: a file cannot have such a name: empty, ".", "..", or with a
	// slash or a zero byte in it.
	ErrName = disk.NewKind("not a name of a file", fs.ErrInvalid, syscall.EINVAL)
	// ErrNameTooLong: a name has more than 255 bytes.
	ErrNameTooLong = disk.NewKind("name of more than 255 bytes", syscall.ENAMETOOLONG)
	// ErrTarget: a symbolic link has no target, or one that is too long.
	ErrTarget = disk.NewKind("not a target of a symbolic link", fs.ErrInvalid, syscall.EINVAL)
	// ErrType: the source has a type of file that images do not have.
	ErrType = disk.NewKind("unknown type of file", fs.ErrInvalid, syscall.EINVAL)
	// ErrTooMany: there are more files, names or bytes of names than allowed.
	ErrTooMany = disk.NewKind("too many files", syscall.ENOSPC)
	// ErrUnmapped: Options.UIDMap or GIDMap says nothing of an id.
	ErrUnmapped = disk.NewKind("the id is not in the map", syscall.EOVERFLOW)
	// ErrChanged: a file is not any more what it was when it was found.
	ErrChanged = disk.NewKind("changed while it was read", syscall.ESTALE)
	// ErrPattern: a glob is malformed.
	ErrPattern = disk.NewKind("malformed pattern", fs.ErrInvalid, syscall.EINVAL)
	// ErrSyntax: a line of a table, or an argument, is malformed.
	ErrSyntax = disk.NewKind("syntax error", fs.ErrInvalid, syscall.EINVAL)
)

// LineError says which line of a text is wrong, and why.
type LineError struct {
	File string // as the caller named it
	Line int    // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}
