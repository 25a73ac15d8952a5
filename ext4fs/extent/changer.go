package extent

import (
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Changer is a map that can be changed. Its methods must not run at the same
// time as others of the same map, but for Find, From and Nodes together. There
// must be one Changer for a file at a time: it remembers the way to the last
// change.
//
// A method that fails before it has changed something leaves the map as it
// was; one that fails later leaves a valid map and says how far it came. Every
// step asks for its credits (Tx.Credits, Tx.Extend) and blocks before it
// changes anything: where the transaction has no room for even one step, the
// error is cache.ErrCredits, and the caller goes on in another transaction.
// InsertCredits(1) suffices for a step of any method; Remove wants four more
// for its free, which asks for what it takes beyond them.
//
// Blocks mapped twice match fs.ErrExist, unmapped ones where mapped ones are
// due fs.ErrNotExist, blocks past the end of what a map can hold ErrTooBig.
// Errors of the Space are wrapped; a node that it does not take back is told
// by a *LostNodeError, after what was asked for was done.
type Changer interface {
	Map
	// Root is the map's root for the inode's block array, 60 bytes, to be
	// stored there after every change and in the same transaction, and also
	// after a change that failed. It must not be changed, and shows later
	// changes.
	Root() []byte
	// InsertCredits bounds the blocks that inserting n runs of at most MaxRun
	// blocks, anywhere, adds to a transaction, beside the inode and what the
	// allocation of the runs' own blocks takes. For each node that has to be allocated a
	// bitmap and a descriptor are counted.
	InsertCredits(n int) int
	// MaxRun is the longest run, in blocks, that InsertCredits counts on.
	// Insert takes longer ones if the transaction has the credits for them.
	MaxRun() uint32
	// Insert maps a run where there is a hole, and joins it to its
	// neighbours where it can. A run that is longer than one entry can say is
	// split. It is all or nothing: when it fails nothing of the run is mapped.
	Insert(tx cache.Tx, e Extent) error
	// Remove unmaps the blocks from from up to, not including, end, beginning
	// at the end, and calls free for every physical run of data blocks that
	// it unmaps. Holes are skipped. Where the credits do not suffice it stops
	// in between, with next > from and no error: blocks from next on are
	// unmapped, and the caller goes on with end = next in another
	// transaction. next == from says it is done.
	//
	// free is called when all else is at hand, and right before the run is
	// unmapped. If it fails the run stays mapped, so it must have changed
	// nothing then; cache.ErrCredits from it stops like other want of
	// credits. It asks for its own credits.
	Remove(tx cache.Tx, from disk.LogicalNum, end uint64, free func(e Extent) error) (next uint64, err error)
	// SetUnwritten changes the state of the mapped blocks in [from, end), all
	// of which must be mapped. A map without unwritten runs gives
	// errors.ErrUnsupported. It may stop early as Remove does, but begins at
	// from: blocks before next are done, next == end says all are. Writing
	// into the middle of an unwritten run may need a node, so it can fail for
	// want of space.
	SetUnwritten(tx cache.Tx, from disk.LogicalNum, end uint64, unwritten bool) (next uint64, err error)
	// Shift moves all runs at or after from by delta logical blocks, which
	// must be free of others: up for delta > 0 (starting at the last), down
	// for delta < 0 (starting at the first). A run that has from inside is
	// split there when moving up. It stops early as the others do, with done
	// false and no error. For delta < 0 next then tells from where on blocks
	// are still to be moved: go on with from = next. For delta > 0 it tells up
	// to where they are: go on with the same arguments, as the map remembers
	// next as long as no other change is made.
	Shift(tx cache.Tx, from disk.LogicalNum, delta int64) (next uint64, done bool, err error)
}

// Space gives a map the blocks for its own nodes.
type Space interface {
	// AllocNode returns a block near goal; 0 is near the inode. The map makes
	// it metadata with tx.Fresh. It adds at most a bitmap and a descriptor to
	// the transaction.
	AllocNode(tx cache.Tx, goal disk.BlockNum) (disk.BlockNum, error)
	// FreeNode takes a block back, and forgets it (tx.Forget). It adds at most
	// a bitmap and a descriptor to the transaction.
	FreeNode(tx cache.Tx, bn disk.BlockNum) error
}
