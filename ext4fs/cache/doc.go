// Package cache is the caching IO manager: metadata blocks of one file system
// by number, bounded in bytes, safe for many readers. File data never goes
// through it. It does not know what a block means.
//
// # Reading
//
// Get returns the block, from memory or from the device. A block that is
// missing is read once, however many ask for it at the same time; a read that
// fails is not remembered. A Buffer belongs to the garbage collector: a block
// that is evicted stays valid for those who hold it, and nobody has to give it
// back.
//
// A hit takes no lock and does not allocate: buffers hang in chains of atomic
// pointers that readers follow while writers, under their shard's lock, change
// them. A reader that misses a block because of such a change asks again under
// the lock.
//
// # Writing
//
// Blocks are not changed in place, but get new versions. The journal makes one
// (NewVersion) the first time a transaction wants to change a block, and
// Installs it: it is what Get returns from now on. Only such a version may be
// changed, by handles of the transaction that owns it, under the lock of the
// structure that the bytes are part of. At the commit a sealed copy takes its
// place (Swap), which is not changed any more. Those who hold older versions
// see what they saw.
//
// Installed versions are pinned: they are in a chain but in no queue, so that
// nothing evicts them before they were written home and Unpinned. WriteBack
// writes home, in disk order and neighbours together. Drop is for blocks that
// were freed: what they held must not be seen when they have become something
// else. Install and Drop also overtake a read of the block that is under way.
//
// Whoever reads or writes blocks of the device past the cache, like the file
// layer, asks Pinned and AnyPinned for what is not home yet. Prefetch may have
// brought file data into the cache: a block that becomes metadata must be made
// with zeros (a transaction's Fresh), not by Get.
//
// # What stays
//
// Each shard runs 2Q: a block that comes in for the first time waits in a
// first-in-first-out queue. When it leaves that queue only its number is kept,
// and a block that is asked for again soon after is let into the main queue,
// which works by second chance. However often a block is used while it waits
// does not count, because a walk of the tree touches each block of inodes a
// few dozen times in a row and then never again. So a walk runs through the
// waiting queue and leaves bitmaps and index blocks in the main one. Owners can
// say more: blocks of PriorityHigh go to the main queue at once and survive a
// few rounds of the clock there, those of PriorityNone do not stay when they
// are home. Pinned blocks take from the room of the others, but for a quarter
// of it. Shrink gives memory back.
//
// # Locks
//
// Each shard has one mutex, which guards its queues, its memory of evicted
// numbers, its blocks in flight and all changes to its chains. No shard lock
// is held over I/O, no two are held together. In the order of locks of the
// library the shard comes below all locks of inodes and groups.
package cache
