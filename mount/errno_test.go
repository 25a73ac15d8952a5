package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

func TestErrno_allKinds(t *testing.T) {
	for err, want := range map[error]syscall.Errno{
		ext4fs.ErrNotExist: syscall.ENOENT, ext4fs.ErrNotDir: syscall.ENOTDIR, ext4fs.ErrIsDir: syscall.EISDIR,
		ext4fs.ErrNotLink: syscall.EINVAL, ext4fs.ErrNotFile: syscall.EINVAL, ext4fs.ErrInvalid: syscall.EINVAL,
		ext4fs.ErrLoop: syscall.ELOOP, ext4fs.ErrNameLong: syscall.ENAMETOOLONG, ext4fs.ErrNoAttr: errnoNoAttr,
		ext4fs.ErrNoKey: errnoNoKey, ext4fs.ErrNoData: syscall.ENXIO, ext4fs.ErrClosed: syscall.EBADF,
		ext4fs.ErrExist: syscall.EEXIST, ext4fs.ErrNotEmpty: syscall.ENOTEMPTY, ext4fs.ErrNoSpace: syscall.ENOSPC,
		ext4fs.ErrQuota: syscall.EDQUOT, ext4fs.ErrFileTooBig: syscall.EFBIG, ext4fs.ErrLinks: syscall.EMLINK,
		ext4fs.ErrNotPermitted: syscall.EPERM, ext4fs.ErrReadOnly: syscall.EROFS, ext4fs.ErrBusy: syscall.EBUSY,
		ext4fs.ErrCrossDevice: syscall.EXDEV, ext4fs.ErrNotSupported: syscall.EOPNOTSUPP,
		ext4fs.ErrCorrupt: errnoCorrupt, ext4fs.ErrChecksum: errnoChecksum, ext4fs.ErrUnsupported: syscall.EOPNOTSUPP,
		ext4fs.ErrNoJournal: syscall.EIO, ext4fs.ErrNotExt4: syscall.EIO, ext4fs.ErrWrongJournal: syscall.EIO,
		alloc.ErrNoSpace: syscall.ENOSPC, alloc.ErrNoInodes: syscall.ENOSPC, extent.ErrTooBig: syscall.EFBIG,
		dir.ErrExist: syscall.EEXIST, dir.ErrNoSpace: syscall.ENOSPC, dir.ErrInvalid: syscall.EINVAL,
		dir.ErrNameLong: syscall.ENAMETOOLONG, journal.ErrTooLarge: syscall.ENOSPC,
		xattr.ErrNoSpace: syscall.ENOSPC, xattr.ErrNameRange: syscall.ERANGE, xattr.ErrTooBig: syscall.E2BIG,
		xattr.ErrNamespace: syscall.EOPNOTSUPP, xattr.ErrName: syscall.EINVAL, xattr.ErrExist: syscall.EEXIST,
		xattr.ErrACL: syscall.EINVAL, xattr.ErrACLVersion: syscall.EOPNOTSUPP, xattr.ErrNotDir: syscall.EACCES,
		xattr.ErrNotUser: syscall.EPERM,
		context.Canceled: syscall.EINTR, context.DeadlineExceeded: syscall.EINTR, io.ErrUnexpectedEOF: syscall.EIO,
		errors.New("unknown"): syscall.EIO, syscall.ESTALE: syscall.ESTALE,
	} {
		for _, e := range []error{err, fmt.Errorf("wrapped: %w", err), errors.Join(err, errors.New("more"))} {
			if _, plain := err.(syscall.Errno); plain && e != err {
				continue
			}
			if got := errno(e); got != want {
				t.Errorf("%v: %v, want %v", e, got, want)
			}
		}
	}
	if errno(nil) != 0 {
		t.Error("no error has a number")
	}
}

// After an abort the cause is in the chain, too: the file system is read-only.
func TestErrno_abortsAreReadOnly(t *testing.T) {
	err := fmt.Errorf("%w: %w: %w", ext4fs.ErrReadOnly, journal.ErrAborted, &ext4fs.CorruptError{What: "x"})
	if n := errno(err); n != syscall.EROFS {
		t.Error(n)
	}
}

// What the image's file gives is trouble with it, and not with what is served.
func TestErrno_ofTheImageFile(t *testing.T) {
	for cause, want := range map[syscall.Errno]syscall.Errno{
		syscall.ENOENT: syscall.EIO, syscall.EBADF: syscall.EIO, syscall.EIO: syscall.EIO, syscall.ENOSPC: syscall.ENOSPC,
	} {
		err := fmt.Errorf("data of inode 12: %w", &fs.PathError{Op: "write", Path: "img", Err: cause})
		if n := errno(err); n != want {
			t.Errorf("%v: %v", cause, n)
		}
	}
}
