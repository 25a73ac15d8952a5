package ext4fs

import (
	"errors"
	"fmt"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// superState is the superblock of a writable file system: what changes while
// it is open. FS.super stays as it was at the open.
type superState struct {
	fs *FS
	mu sync.Mutex // guards sb; handles are used under it, not begun
	sb disk.Superblock
	// written: the block has had all of sb. Guarded by mu, as is seal.
	written bool
	seal    cache.Sealer

	noted  error // the first error that the image gave; guarded by mu
	marked bool  // an error was brought to the superblock; guarded by mu
}

// superPlace is the block that holds the superblock, and where in it.
func (f *FS) superPlace() (disk.BlockNum, int) {
	bs := f.super.BlockSize()
	return disk.BlockNum(disk.SuperblockOffset / bs), disk.SuperblockOffset % bs
}

// superSealer seals the superblock at its offset in a block. A checkpoint may be
// interrupted in the middle of it: see disk.SealSuperblockStill.
type superSealer int

// Seal implements cache.Sealer.
func (at superSealer) Seal(_ disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	disk.SealSuperblockStill(data[at : at+disk.SuperblockSize])
}

// edit changes the superblock as part of a transaction.
func (s *superState) edit(tx cache.Tx, change func(sb *disk.Superblock)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.open(tx)
	if err != nil {
		return err
	}
	change(&s.sb)
	s.sb.WriteTime = uint64(max(s.fs.now().Unix(), 0))
	s.sb.Encode(b)
	s.written = true
	return nil
}

// open gives the bytes of the superblock, to be changed. Called with mu.
func (s *superState) open(tx cache.Tx) ([]byte, error) {
	block, at := s.fs.superPlace()
	if s.seal == nil && s.fs.super.HasMetadataCsum() {
		s.seal = superSealer(at)
	}
	buf, err := tx.Write(block, s.seal)
	if err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	return buf.Data()[at : at+disk.SuperblockSize], nil
}

// setLastOrphan makes n the head of the orphan list. Every file that is removed
// may come by here twice, so that only what changes is written.
func (s *superState) setLastOrphan(tx cache.Tx, n disk.InodeNum) error {
	s.mu.Lock()
	if !s.written {
		s.mu.Unlock()
		return s.edit(tx, func(sb *disk.Superblock) { sb.LastOrphan = n })
	}
	defer s.mu.Unlock()
	b, err := s.open(tx)
	if err != nil {
		return err
	}
	s.sb.LastOrphan, s.sb.WriteTime = n, uint64(max(s.fs.now().Unix(), 0))
	s.sb.EncodeOrphan(b)
	return nil
}

// setROCompat switches features on, unless they are on.
func (s *superState) setROCompat(tx cache.Tx, bits disk.ROCompat) error {
	if s.hasROCompat(bits) {
		return nil
	}
	return s.edit(tx, func(sb *disk.Superblock) { sb.Features.ROCompat |= bits })
}

func (s *superState) hasROCompat(bits disk.ROCompat) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sb.Features.ROCompat.Has(bits)
}

// setCompat switches features on, unless they are on.
func (s *superState) setCompat(tx cache.Tx, bits disk.Compat) error {
	s.mu.Lock()
	on := s.sb.Features.Compat.Has(bits)
	s.mu.Unlock()
	if on {
		return nil
	}
	return s.edit(tx, func(sb *disk.Superblock) { sb.Features.Compat |= bits })
}

// now is a copy of the superblock.
func (s *superState) now() disk.Superblock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sb
}

// writeSuper writes the superblock past the journal, and flushes. Without
// errors to note only its first sector differs from what is there, so that a
// crash leaves one or the other.
func writeSuper(dev device.Writer, sb *disk.Superblock) error {
	b := make([]byte, disk.SuperblockSize)
	sb.Encode(b)
	if sb.HasMetadataCsum() {
		disk.SealSuperblockStill(b)
	}
	if _, err := dev.WriteAt(b, disk.SuperblockOffset); err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	if err := dev.Sync(); err != nil {
		return fmt.Errorf("flush superblock: %w", err)
	}
	return nil
}

// Policies for damage that is met while writing, as in s_errors.
const (
	errorsContinue uint16 = 1
	errorsReadOnly uint16 = 2
	errorsPanic    uint16 = 3
)

// noteLater notes an error to be written at the next occasion, for callers who
// hold locks.
func (s *superState) noteLater(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noted == nil {
		s.noted = err
	}
}

// noteError notes in the superblock that the image gave an error, so that the
// next check is a full one, and makes the file system read-only if that is its
// policy. A library does not panic: that policy is taken for read-only too.
func (f *FS) noteError(err error) {
	s := &f.live.super
	s.mu.Lock()
	first := !s.marked
	s.marked = true
	if s.noted == nil {
		s.noted = err
	}
	policy := s.sb.Errors
	s.mu.Unlock()
	if !first || f.live.closed.Load() || f.live.journal == nil {
		return
	}
	if h, e := f.live.journal.Begin(f.context(), 1); e == nil {
		e = s.edit(h, func(sb *disk.Superblock) { markError(sb, err, uint64(max(f.now().Unix(), 0))) })
		if e = errors.Join(e, h.End()); e == nil && policy == errorsContinue {
			return
		}
	}
	if policy == errorsReadOnly || policy == errorsPanic {
		f.live.journal.Abort(err)
	}
}

// markError notes an error as Linux does.
func markError(sb *disk.Superblock, err error, now uint64) {
	sb.State |= disk.StateError
	sb.ErrorCount++
	r := disk.ErrorRecord{Time: now, Code: 5} // corrupted
	var corrupt *CorruptError
	var sum *ChecksumError
	switch {
	case errors.As(err, &sum):
		r.Code, r.Inode, r.Block = 4, sum.Inode, sum.Block
		copy(r.Func[:], sum.What)
	case errors.As(err, &corrupt):
		r.Inode, r.Block = corrupt.Inode, corrupt.Block
		copy(r.Func[:], corrupt.What)
	}
	if sb.FirstError.Time == 0 {
		sb.FirstError = r
	}
	sb.LastError = r
}
