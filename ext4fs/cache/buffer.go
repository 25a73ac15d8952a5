package cache

import (
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Buffer is one block in memory. Its bytes are never written after the load,
// and it stays valid as long as it is referenced, evicted or not. All its
// methods are safe for concurrent use.
type Buffer struct {
	data     []byte
	block    disk.BlockNum
	verified atomic.Uint64
	used     atomic.Bool            // since the clock's hand came by
	chain    atomic.Pointer[Buffer] // next of the hash chain; shard.mu to change

	// queue links, guarded by shard.mu
	older, newer *Buffer
	queue        *queue
}

func newBuffer(bn disk.BlockNum, data []byte) *Buffer {
	return &Buffer{block: bn, data: data}
}

// Data is the content of the block. It must not be changed.
func (b *Buffer) Data() []byte { return b.data }

// Block is the number of the block.
func (b *Buffer) Block() disk.BlockNum { return b.block }

// Verified reports whether SetVerified was last called with this tag. A
// checksum that covers its owner's number, like that of a directory block, is
// only good for that owner: the tag says who. 0 is never verified.
func (b *Buffer) Verified(tag uint64) bool { return tag != 0 && b.verified.Load() == tag }

// SetVerified notes that the checksum was found good for the owner that tag
// stands for. There is room for one tag: the last one counts.
func (b *Buffer) SetVerified(tag uint64) { b.verified.Store(tag) }

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
