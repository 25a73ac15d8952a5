package cache

import (
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Buffer is one version of one block in memory. It stays valid as long as it
// is referenced, whether it is still the current version or not. Its bytes are
// written after the load only while a transaction owns it, by the holder of
// the lock that guards the structure they are part of. All its methods are
// safe for concurrent use.
type Buffer struct {
	data     []byte
	block    disk.BlockNum
	verified atomic.Uint64
	owner    atomic.Uint64          // transaction that may change it, 0 for none
	priority atomic.Uint32          // a Priority
	used     atomic.Bool            // since the clock's hand came by
	pinned   atomic.Bool            // in a chain and in no queue; shard.mu to change
	chain    atomic.Pointer[Buffer] // next of the hash chain; shard.mu to change

	// guarded by shard.mu
	lives        uint8 // rounds of the clock left to it without being used
	older, newer *Buffer
	queue        *queue
}

func newBuffer(bn disk.BlockNum, data []byte) *Buffer {
	return &Buffer{block: bn, data: data}
}

// Data is the content of the block. It may be changed only between a
// transaction's Write or Fresh and the end of the handle.
func (b *Buffer) Data() []byte { return b.data }

// Block is the number of the block.
func (b *Buffer) Block() disk.BlockNum { return b.block }

// Verified reports whether SetVerified was last called with this tag. A
// checksum that covers its owner's number, like that of a directory block, is
// only good for that owner: the tag says who. 0 is never verified.
func (b *Buffer) Verified(tag uint64) bool { return tag != 0 && b.verified.Load() == tag }

// SetVerified notes that the checksum was found good for the owner that tag
// stands for. There is room for one tag: the last one counts. Versions made
// from this one inherit it.
func (b *Buffer) SetVerified(tag uint64) { b.verified.Store(tag) }

// Priority says how long a block that nobody uses is kept.
type Priority uint32

const (
	// PriorityNormal is that of every block: leaves and inode tables.
	PriorityNormal Priority = iota
	// PriorityHigh is for bitmaps, group descriptors and index blocks, which
	// many operations come back to.
	PriorityHigh
	// PriorityNone is for blocks that are not wanted any more once they are
	// written home: journaled file data.
	PriorityNone
)

// SetPriority sets the block's priority, which later versions inherit. It is
// cheap to repeat.
func (b *Buffer) SetPriority(p Priority) {
	if b.Priority() != p {
		b.priority.Store(uint32(p))
	}
}

// Priority returns what SetPriority has set.
func (b *Buffer) Priority() Priority { return Priority(b.priority.Load()) }

// Owner is the serial number, never 0, of the transaction that may change this
// version in place; 0 if none may. Serial numbers grow and do not wrap.
func (b *Buffer) Owner() uint64 { return b.owner.Load() }

// SetOwner is for the journal.
func (b *Buffer) SetOwner(serial uint64) { b.owner.Store(serial) }

// use marks the buffer for the clock. Testing first keeps the cache line
// shared between the processors that read a hot block.
func (b *Buffer) use() {
	if !b.used.Load() {
		b.used.Store(true)
	}
}

// queue is a list of buffers from the oldest to the newest, guarded by the
// mutex of its shard.
type queue struct {
	oldest, newest *Buffer
	n              int
}

func (q *queue) push(b *Buffer) {
	b.queue, b.older, b.newer = q, q.newest, nil
	if q.newest != nil {
		q.newest.newer = b
	} else {
		q.oldest = b
	}
	q.newest = b
	q.n++
}

func (q *queue) remove(b *Buffer) {
	if b.older != nil {
		b.older.newer = b.newer
	} else {
		q.oldest = b.newer
	}
	if b.newer != nil {
		b.newer.older = b.older
	} else {
		q.newest = b.older
	}
	// A holder of an evicted buffer must not keep its neighbours alive.
	b.queue, b.older, b.newer = nil, nil, nil
	q.n--
}
