package cache

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrCredits says that a handle may not add more blocks to its transaction:
// whoever holds it must bring his structure into a consistent state and go on
// in another transaction.
var ErrCredits = errors.New("the handle has no credits left")

// Tx is the right to change metadata blocks as part of one transaction, as the
// rooms that change them see it. The journal's Handle is the one there is.
//
// Write and Fresh give a version of a block that belongs to the running
// transaction: its bytes may be changed in place until the handle ends, under
// the lock that guards the structure they are part of. Every handle asks anew.
// Versions of earlier transactions stay as they were for those who hold them.
type Tx interface {
	// ID is the transaction that the changes belong to.
	ID() uint32
	// Write returns the block to be changed, reading it if need be. The
	// version carries the verified tag of the one before.
	Write(bn disk.BlockNum, s Sealer) (*Buffer, error)
	// Fresh returns the block filled with zeros, without reading it: for one
	// that was just allocated.
	Fresh(bn disk.BlockNum, s Sealer) (*Buffer, error)
	// Forget says that the block was freed, or is not metadata any more: what
	// the transaction has of it is dropped, and older copies in the log are
	// revoked.
	Forget(bn disk.BlockNum)
	// Credits is how many more blocks the handle may add.
	Credits() int
	// Extend asks for n credits more. It gives ErrCredits where the
	// transaction has no room.
	Extend(n int) error
}

// Sealer computes what a block says of itself, its checksums, when its content
// is final for the transaction: once, at the commit. It must be safe for
// concurrent use, and look at nothing but its arguments and what never changes.
type Sealer interface {
	// Seal completes data, the content of block bn as it will be written.
	// peer gives the content of another block of the same transaction, nil
	// if it is not part of it.
	Seal(bn disk.BlockNum, data []byte, peer func(disk.BlockNum) []byte)
}
