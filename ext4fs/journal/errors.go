package journal

import (
	"errors"
	"fmt"

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
