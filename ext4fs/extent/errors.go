package extent

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of errors that changing a map gives. What the image is to blame for
// is a *disk.CorruptError.
var (
	// ErrTooBig (EFBIG): the map cannot hold this logical or physical block,
	// or the tree cannot grow.
	ErrTooBig = disk.NewKind("block beyond what the map can hold", syscall.EFBIG)
	// ErrMapped (EEXIST): there are mapped blocks where none must be.
	ErrMapped = disk.NewKind("blocks are mapped already", fs.ErrExist, syscall.EEXIST)
	// ErrNotMapped (ENOENT): there is a hole where mapped blocks must be.
	ErrNotMapped = disk.NewKind("blocks are not mapped", fs.ErrNotExist, syscall.ENOENT)
	// ErrInvalid (EINVAL): a run without blocks, with flags that no map
	// keeps, or a move that has no sense.
	ErrInvalid = disk.NewKind("not a run of blocks", fs.ErrInvalid, syscall.EINVAL)
)

// LostNodeError says that a node which is not part of the map any more, or did
// not become one, could not be given back: the map is good, but the block is
// lost until the file system is checked.
type LostNodeError struct {
	Inode disk.InodeNum
	Block disk.BlockNum
	Err   error // of Space.FreeNode
}

func (e *LostNodeError) Error() string {
	return fmt.Sprintf("node %d of inode %d is lost: %v", e.Block, e.Inode, e.Err)
}

// Unwrap returns the cause, unless it is want of credits: nobody must take
// that for a reason to go on in another transaction.
func (e *LostNodeError) Unwrap() error {
	if errors.Is(e.Err, cache.ErrCredits) {
		return nil
	}
	return e.Err
}

// OutOfCredits reports whether a change stopped for want of credits, with
// nothing lost.
func OutOfCredits(err error) bool {
	if !errors.Is(err, cache.ErrCredits) {
		return false
	}
	var lost *LostNodeError
	return !errors.As(err, &lost)
}
