package journal

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ring is the log as the journal's goroutine knows it. Nobody else touches it
// after Start, but for what never changes.
type ring struct {
	w      *WriteLog
	sb     disk.JournalSuperblock // as on the device, or about to be
	open   bool                   // fast commits count until the next commit
	image  []byte                 // the block that sb lies in
	dirty  bool                   // sb has features that the device does not know
	format disk.JournalFormat
	buf    []byte // for large writes

	first, last     uint32 // the ring: [first, last)
	revokesPerBlock int

	head     uint32 // next block to be written
	next     uint32 // transaction that will be written there
	used     uint32 // blocks before head that recovery needs
	seconds  uint64 // time of the last commit
	nanos    uint32
	live     []*liveTx // transactions in the used part, oldest first
	copies   map[disk.BlockNum]logCopy
	unhomed  int // copies with a buffer
	capacity int // bound of unhomed
}

// liveTx is a committed transaction in the log.
type liveTx struct {
	id     uint32
	blocks uint32 // of the log, all included
	homes  []disk.BlockNum
	// pending counts those of homes that have no newer copy in the log and
	// are not home yet. At 0 recovery does not need the transaction.
	pending int
}

// logCopy is the newest copy of a block in the live log.
type logCopy struct {
	t   *liveTx
	buf *cache.Buffer // nil once it is home
}

// openLog reads and judges the log, and writes nothing.
func openLog(ctx context.Context, cfg *Config) (*ring, error) {
	r := &ring{w: cfg.Log, copies: make(map[disk.BlockNum]logCopy), capacity: cfg.Cache.Capacity() / 2}
	bs := cfg.Log.blockSize
	sb, bad, err := ReadSuperblock(cfg.Log, bs)
	if err == nil {
		err = bad
	}
	if err == nil {
		err = sb.Validate(bs, cfg.Log.Blocks())
	}
	if err != nil {
		return nil, err
	}
	r.sb = *sb
	r.setFeatures(cfg)
	r.first, r.last = r.sb.First, r.sb.Last()
	if err := r.position(ctx, sb, cfg.Resume); err != nil {
		return nil, err
	}
	if r.last-r.first < disk.JournalMinBlocks/2 {
		return nil, fmt.Errorf("journal with room for %d blocks only: %w", r.last-r.first, disk.ErrUnsupported)
	}
	r.image = make([]byte, bs)
	if err := r.w.ReadBlocks(r.w.Super(), r.image); err != nil {
		return nil, err
	}
	r.revokesPerBlock = r.format.MaxRevokes()
	return r, nil
}

// position finds where the log goes on, by the kernel's rules.
func (r *ring) position(ctx context.Context, sb *disk.JournalSuperblock, resume bool) error {
	if sb.Start == 0 {
		r.head, r.next = r.first, sb.Sequence+1
		if sb.Head >= r.first && sb.Head < r.last {
			r.head = sb.Head
		}
		return nil
	}
	if !resume {
		return ErrNotClean
	}
	s := newScanner(ctx, r.w, sb)
	if err := s.scan(); err != nil {
		return err
	}
	if len(s.transactions) != 0 {
		return ErrNotClean
	}
	r.head, r.next, r.open = sb.Start, sb.Sequence, true
	return nil
}

// setFeatures switches on what the kernel would at its first mount for
// writing. The log holds no transaction, so that its form may change.
func (r *ring) setFeatures(cfg *Config) {
	old := r.sb
	if r.sb.Type == disk.JournalSuperblockV1 {
		// Without features nothing can be revoked. What follows the fields
		// of version 1 is not known to mean anything.
		r.sb = disk.JournalSuperblock{
			Type: disk.JournalSuperblockV2, BlockSize: old.BlockSize, MaxLen: old.MaxLen, First: old.First,
			Sequence: old.Sequence, Start: old.Start, Errno: old.Errno, NrUsers: 1,
		}
	}
	r.sb.Compat &^= disk.JournalCompatChecksum
	r.sb.Incompat &^= disk.JournalIncompatCsumV2 | disk.JournalIncompatCsumV3 | disk.JournalIncompatAsyncCommit
	r.sb.ChecksumType = 0
	switch cfg.Checksum {
	case ChecksumV1:
		r.sb.Compat |= disk.JournalCompatChecksum
	case ChecksumV2:
		r.sb.Incompat |= disk.JournalIncompatCsumV2
	case ChecksumV3:
		r.sb.Incompat |= disk.JournalIncompatCsumV3
	}
	if r.sb.HasChecksum() {
		r.sb.ChecksumType = disk.JournalChecksumCRC32C
	}
	if cfg.FastCommit {
		r.sb.Incompat |= disk.JournalIncompatFastCommit
	}
	if cfg.Bits64 {
		r.sb.Incompat |= disk.JournalIncompat64bit
	}
	r.dirty = r.sb != old
	r.format = r.sb.Format()
}

// size is the number of blocks in the ring.
func (r *ring) size() uint32 { return r.last - r.first }

// free is the number of blocks that a transaction may take. One always stays
// free, so that a full log does not look like an empty one.
func (r *ring) free() uint32 { return r.size() - r.used - 1 }

// share is the number of blocks that a transaction may have which takes up an
// n-th of the log with its descriptors, its commit block and one of revokes.
func (r *ring) share(n uint32) int {
	tags := r.format.MaxTags()
	return (int(r.size()/n) - 2) * tags / (tags + 1)
}

// need is the number of log blocks of a transaction.
func (r *ring) need(blocks, revokes int) uint32 {
	up := func(n, per int) int { return (n + per - 1) / per }
	return uint32(blocks + up(blocks, r.format.MaxTags()) + up(revokes, r.revokesPerBlock) + 1)
}

// straight reports whether the log must not be wrapped: with fast commits e2fsck
// 1.47 looks for the rest of it in their area, and loses it.
func (r *ring) straight() bool { return r.sb.FastBlocks() > 0 }

// after is the block that lies n after block at of the ring.
func (r *ring) after(at, n uint32) uint32 {
	return r.first + uint32((uint64(at-r.first)+uint64(n))%uint64(r.size()))
}

// tail is the first block in use, or head if there is none.
func (r *ring) tail() uint32 { return r.after(r.head, r.size()-r.used) }

// record takes note of a transaction that has become durable: its blocks and
// the ones it has revoked.
func (r *ring) record(id, blocks uint32, frozen []*cache.Buffer) {
	t := &liveTx{id: id, blocks: blocks, homes: make([]disk.BlockNum, len(frozen)), pending: len(frozen)}
	for i, b := range frozen {
		t.homes[i] = b.Block()
		r.forget(b.Block())
		r.copies[b.Block()] = logCopy{t, b}
		r.unhomed++
	}
	r.live = append(r.live, t)
	r.open = false
	r.used += blocks
	r.head = r.after(r.head, blocks)
	r.next = id + 1
}

// forget says that the copy of a block will not be replayed: there is a newer
// one, or a revoke record.
func (r *ring) forget(bn disk.BlockNum) {
	if c, ok := r.copies[bn]; ok {
		r.homed(c)
		delete(r.copies, bn)
	}
}

// homed says that a copy need not be written home any more.
func (r *ring) homed(c logCopy) {
	if c.buf != nil {
		c.t.pending--
		r.unhomed--
	}
}

// release drops the n oldest transactions.
func (r *ring) release(n int) {
	for _, t := range r.live[:n] {
		r.used -= t.blocks
		for _, bn := range t.homes {
			if r.copies[bn].t == t {
				delete(r.copies, bn)
			}
		}
	}
	r.live = append(r.live[:0], r.live[n:]...)
}
