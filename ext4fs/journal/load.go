package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Options says how Load treats the journal.
type Options struct {
	// BlockSize is that of the file system.
	BlockSize int
	// FSBlocks bounds the home of a replayed block. It is best taken from the
	// length of the device: an interrupted growth logs blocks past the old end
	// of the file system. 0 means that only the format bounds it.
	FSBlocks uint64
	// NeedsRecovery is the file system's needs_recovery feature. Without it
	// the kernel throws away what is in the log, and so does Load.
	NeedsRecovery bool
	// IgnoreChecksums keeps the transactions before damage, with the first
	// error in Recovery.Damage, where Load would fail otherwise.
	IgnoreChecksums bool
}

// Recovery is what a journal holds for its file system. It does not change
// after Load and is safe for concurrent use.
type Recovery struct {
	// Superblock is the journal superblock, as it lies on the device.
	Superblock disk.JournalSuperblock
	// Needed says that the log holds something and that it is to be replayed,
	// even if it turned out to have no complete transaction.
	Needed bool
	// Discarded says that the log holds something that is not to be replayed,
	// since the file system does not ask for recovery.
	Discarded bool
	// Transactions are the complete ones, oldest first.
	Transactions []Transaction
	// EndID is the first transaction that is not complete in the log; recovery
	// goes on with the number after it.
	EndID uint32
	// Head is the log block after the last complete transaction.
	Head uint32
	// Revokes counts the revoke records, RevokeHits the copies in the log that
	// were not replayed because of one.
	Revokes, RevokeHits int
	// FastCommits are the records of the complete fast commits, in order.
	// They have to be applied on top of the replayed blocks.
	FastCommits []disk.FCRecord
	// FastCommitCount is the number of those fast commits.
	FastCommitCount int
	// Damage is what ended the log early, with IgnoreChecksums only.
	Damage error

	log     Log
	bs      int
	entries []entry // by home
}

// Transaction is one complete transaction of the log.
type Transaction struct {
	ID          uint32
	Start       uint32 // its first log block
	Commit      uint32 // log block of its commit record
	Blocks      uint32 // log blocks, all included
	Tags        uint32 // file system blocks logged
	Revokes     uint32 // revoke blocks
	Seconds     uint64 // time of the commit since 1970
	Nanoseconds uint32
}

// Time is the time of the commit.
func (t *Transaction) Time() time.Time {
	return time.Unix(int64(t.Seconds), int64(t.Nanoseconds)).UTC()
}

// entry says where the newest copy of a block is.
type entry struct {
	home    disk.BlockNum
	log     uint32
	escaped bool
}

// ReadSuperblock reads the journal superblock and, if it has a checksum,
// compares it: a mismatch is returned as bad, apart from err.
func ReadSuperblock(log Log, blockSize int) (sb *disk.JournalSuperblock, bad, err error) {
	b := make([]byte, blockSize)
	if err := log.ReadBlocks(log.Super(), b); err != nil {
		return nil, nil, err
	}
	sb = new(disk.JournalSuperblock)
	if err := sb.Decode(b); err != nil {
		return nil, nil, err
	}
	if sb.HasChecksum() {
		if stored, computed := disk.VerifyJournalSuperblock(b); stored != computed {
			bad = &disk.ChecksumError{What: "journal superblock", Stored: stored, Computed: computed}
		}
	}
	return sb, bad, nil
}

// Load finds out what recovery would do, and does it in memory. It reads the
// log only. A log with damage that would make the kernel refuse the mount
// gives a *TransactionError; a superblock that is impossible a
// *disk.CorruptError, *disk.ChecksumError or *disk.FeatureError; a block that
// cannot be read a *BlockError.
func Load(ctx context.Context, log Log, o Options) (*Recovery, error) {
	if err := checkBlockSize(o.BlockSize); err != nil {
		return nil, err
	}
	sb, bad, err := ReadSuperblock(log, o.BlockSize)
	if err == nil && !o.IgnoreChecksums {
		err = bad
	}
	if err == nil {
		err = sb.Validate(o.BlockSize, log.Blocks())
	}
	if err != nil {
		return nil, err
	}
	r := &Recovery{Superblock: *sb, EndID: sb.Sequence, Head: sb.Start, log: log, bs: o.BlockSize}
	switch {
	case sb.Start == 0:
		// The kernel skips the number in the superblock of an empty log.
		r.EndID++
		return r, nil
	case !o.NeedsRecovery:
		r.Discarded = true
		return r, nil
	}
	r.Needed = true
	s := newScanner(ctx, log, sb)
	err = s.scan()
	if err == nil || damaged(err) && o.IgnoreChecksums {
		r.Damage = err
		err = r.replay(s, o)
	}
	if err == nil && r.Damage == nil {
		err = r.loadFastCommits(s.rd)
		if err != nil && damaged(err) && o.IgnoreChecksums {
			r.Damage, err = err, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// String tells in one line what there is to recover.
func (r *Recovery) String() string {
	switch {
	case r.Discarded:
		return "the log is not empty, but the file system does not ask for recovery"
	case !r.Needed:
		return "the log is empty"
	}
	return fmt.Sprintf("%d transactions before %d: %d blocks, %d revoked, %d fast commits",
		len(r.Transactions), r.EndID, len(r.entries), r.RevokeHits, r.FastCommitCount)
}
