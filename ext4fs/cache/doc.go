// Package cache is the caching IO manager: metadata blocks of one file system
// by number, bounded in bytes, safe for many readers. File data never goes
// through it. It does not know what a block means.
//
// # Reading
//
// Get returns the block, from memory or from the device. A block that is
// missing is read once, however many ask for it at the same time; a read that
// fails is not remembered. A Buffer's bytes do not change after the load and
// belong to the garbage collector: a block that is evicted stays valid for
// those who hold it, and nobody has to give it back.
//
// A hit takes no lock and does not allocate: buffers hang in chains of atomic
// pointers that readers follow while writers, under their shard's lock, change
// them. A reader that misses a block because of such a change asks again under
// the lock.
//
// # What stays
//
// Each shard runs 2Q: a block that comes in for the first time waits in a
// first-in-first-out queue. When it leaves that queue only its number is kept,
// and a block that is asked for again soon after is let into the main queue,
// which works by second chance. However often a block is used while it waits
// does not count, because a walk of the tree touches each block of inodes a
// few dozen times in a row and then never again. So a walk runs through the
// waiting queue and leaves bitmaps and index blocks in the main one.
//
// # Locks
//
// Each shard has one mutex, which guards its queues, its memory of evicted
// numbers, its blocks in flight and all changes to its chains. No shard lock
// is held over I/O, no two are held together. In the order of locks of the
// library the shard comes below all locks of inodes and groups.
package cache
