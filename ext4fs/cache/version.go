package cache

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// NewVersion is a version of block bn that the cache does not know yet, owned
// by transaction owner: a copy of from with its verified tag and priority, or
// zeros if from is nil. A number beyond the file system is a
// *disk.CorruptError.
func (c *Cache) NewVersion(bn disk.BlockNum, from *Buffer, owner uint64) (*Buffer, error) {
	if err := c.check(bn); err != nil {
		return nil, err
	}
	b := newBuffer(bn, nil)
	b.owner.Store(owner)
	if from == nil {
		b.data = make([]byte, c.blockSize)
		return b, nil
	}
	// append does not clear what it is going to overwrite.
	b.data = append([]byte(nil), from.data...)
	b.verified.Store(from.verified.Load())
	b.priority.Store(from.priority.Load())
	return b, nil
}

func (c *Cache) check(bn disk.BlockNum) error {
	if uint64(bn) < c.blocks {
		return nil
	}
	return &disk.CorruptError{
		What: "block number", Block: bn,
		Detail: fmt.Sprintf("the file system has %d blocks", c.blocks),
	}
}

// Install makes b the current version of its block and pins it: it is not
// evicted until Unpin. A read of the block that is under way will not become
// current any more.
func (c *Cache) Install(b *Buffer) {
	h := hash(b.block)
	s := c.shard(h)
	c.pins.add(b.block, 1)
	if s.install(h, b) {
		c.pins.add(b.block, -1)
	}
}

// Swap makes b the current version, pinned, if old is it now.
func (c *Cache) Swap(old, b *Buffer) bool {
	h := hash(b.block)
	s := c.shard(h)
	c.pins.add(b.block, 1)
	done, wasPinned := s.swap(h, old, b)
	if !done || wasPinned {
		c.pins.add(b.block, -1)
	}
	return done
}

// Unpin says that b was written home: if it is the current version, it becomes
// an ordinary cached block, or leaves the cache if its priority is
// PriorityNone.
func (c *Cache) Unpin(b *Buffer) {
	h := hash(b.block)
	s := c.shard(h)
	if s.unpin(h, b) {
		c.pins.add(b.block, -1)
	}
}

// Drop forgets the block, pinned or not: whoever asks next reads it from the
// device, and a read under way now is not kept. For blocks that are not
// metadata any more, or that were changed on the device.
func (c *Cache) Drop(bn disk.BlockNum) { c.DropOld(bn, ^uint64(0)) }

// DropOld is Drop, unless a transaction after the given one owns the current
// version.
func (c *Cache) DropOld(bn disk.BlockNum, owner uint64) {
	h := hash(bn)
	s := c.shard(h)
	if s.forget(h, bn, owner) {
		c.pins.add(bn, -1)
	}
}

// Pinned returns the current version of a block if it is pinned, so not or
// perhaps not yet home, else nil. It reads nothing.
func (c *Cache) Pinned(bn disk.BlockNum) *Buffer {
	if !c.pins.any(bn, 1) {
		return nil
	}
	h := hash(bn)
	s := c.shard(h)
	if b := s.find(h, bn); b != nil && b.pinned.Load() {
		return b
	}
	// A change of the chain may have hidden it.
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(h, bn); b != nil && b.pinned.Load() {
		return b
	}
	return nil
}

// AnyPinned reports whether one of n blocks from bn on may be pinned: false is
// certain. It takes no lock and costs a few loads for every 32 blocks.
func (c *Cache) AnyPinned(bn disk.BlockNum, n uint64) bool { return c.pins.any(bn, n) }

// install returns whether the version it took the place of was pinned.
func (s *shard) install(h uint64, b *Buffer) (wasPinned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inFlight, b.block)
	b.pinned.Store(true)
	s.pinned++
	if old := s.find(h, b.block); old != nil {
		return s.replace(h, old, b)
	}
	s.makeRoom()
	s.hang(h, b)
	return false
}

func (s *shard) swap(h uint64, old, b *Buffer) (done, wasPinned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(h, b.block) != old || old == nil {
		return false, false
	}
	b.pinned.Store(true)
	s.pinned++
	return true, s.replace(h, old, b)
}

// replace puts b, pinned, where old hangs. Readers find one or the other.
func (s *shard) replace(h uint64, old, b *Buffer) (wasPinned bool) {
	if old.queue != nil {
		old.queue.remove(old)
	}
	if wasPinned = old.pinned.Load(); wasPinned {
		old.pinned.Store(false)
		s.pinned--
	}
	b.chain.Store(old.chain.Load())
	s.link(h, old).Store(b)
	old.chain.Store(nil)
	return wasPinned
}

func (s *shard) unpin(h uint64, b *Buffer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.pinned.Load() || s.find(h, b.block) != b {
		return false
	}
	b.pinned.Store(false)
	s.pinned--
	if b.Priority() == PriorityNone {
		s.unlink(b)
		return true
	}
	s.makeRoom()
	s.enqueue(h, b)
	return true
}

func (s *shard) forget(h uint64, bn disk.BlockNum, owner uint64) (wasPinned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(h, bn)
	if b != nil && b.owner.Load() > owner {
		return false
	}
	delete(s.inFlight, bn)
	if b == nil {
		return false
	}
	if wasPinned = b.pinned.Load(); wasPinned {
		b.pinned.Store(false)
		s.pinned--
	}
	s.drop(b)
	return wasPinned
}
