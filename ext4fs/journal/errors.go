package journal

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrWrongJournal says that an external journal belongs to another file
// system, or the file system to another journal.
var ErrWrongJournal = errors.New("not the journal of this file system")

// TransactionError says where in the log something is wrong. It unwraps to the
// *disk.CorruptError or *disk.ChecksumError that says what.
type TransactionError struct {
	Transaction uint32
	LogBlock    uint32
	Err         error
}

func (e *TransactionError) Error() string {
	return fmt.Sprintf("journal transaction %d, log block %d: %v", e.Transaction, e.LogBlock, e.Err)
}

// Unwrap returns the cause.
func (e *TransactionError) Unwrap() error { return e.Err }

// BlockError says which block of the log cannot be read, or makes no sense.
type BlockError struct {
	LogBlock uint32
	Err      error
}

func (e *BlockError) Error() string {
	return fmt.Sprintf("journal block %d: %v", e.LogBlock, e.Err)
}

// Unwrap returns the cause.
func (e *BlockError) Unwrap() error { return e.Err }

// damaged reports whether err says something about the image's content, so
// that a reader who ignores checksums may go on before the damage.
func damaged(err error) bool {
	return errors.Is(err, disk.ErrCorrupt) || errors.Is(err, disk.ErrChecksum)
}

// Kinds of errors of the write side.
var (
	// ErrAborted: an error made the journal stop for good. Nothing is written
	// any more. The error it comes in is an *AbortError with the cause.
	ErrAborted = errors.New("journal has aborted")
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrHeld: the running transaction is full, and cannot be committed since
	// somebody holds it open.
	ErrHeld = errors.New("the transaction is held open and has no room left")
	// ErrTooLarge: no transaction of this journal has room for so many blocks.
	// It matches syscall.ENOSPC, which Linux gives for that.
	ErrTooLarge = disk.NewKind("more blocks than a transaction of this journal can hold", syscall.ENOSPC)
	// ErrNotClean: the journal has to be recovered before it is written.
	ErrNotClean = errors.New("the journal is not empty")
)

// AbortError is what a journal gives after it has aborted. It matches
// ErrAborted and unwraps to what went wrong.
type AbortError struct {
	Err error
}

func (e *AbortError) Error() string { return fmt.Sprintf("journal has aborted: %v", e.Err) }

// Is reports whether target is ErrAborted.
func (e *AbortError) Is(target error) bool { return target == ErrAborted }

// Unwrap returns the cause.
func (e *AbortError) Unwrap() error { return e.Err }
