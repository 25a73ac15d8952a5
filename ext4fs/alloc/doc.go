// Package alloc gives out blocks and inodes: the groups of a file system with
// their bitmaps, descriptors and counters. It knows inodes as numbers only.
//
// # What is changed
//
// Alloc, Free, NewInode and FreeInode change bitmap and descriptor in the
// caller's transaction, bits and counters together. A group whose descriptor
// says BLOCK_UNINIT or INODE_UNINIT gets its bitmap when the first thing is
// given out. The checksums are computed when the transaction is committed, by
// the sealer of the descriptor's block, from the bitmaps as they are written.
//
// # Blocks
//
// Each group's bitmap is read when it is needed, and gets an index in memory:
// a tree over the bitmap that finds a run of any length from any place in
// logarithmic time. All groups are ranked by the order of their longest run, so
// that no search walks over groups that do not have what is wanted; of a group
// that was not looked at, only its descriptor's count is known, and a search
// looks at a bounded number of these. A request is served right at its goal,
// or from a run after it that has room for what the file is expected to become,
// or from the nearest group with such a run, then from what is long enough for
// the request, then from the longest there is.
//
// Files that grow get windows: runs that follow what they have and that nobody
// else is given. A piece that comes before those that lie before it has room for
// these set aside as well, so that writers who share a file may run ahead of each
// other. Small files share one window per flex group. A directory that grows
// gets small windows, and one that was just made keeps a few blocks until the
// next one is made. Windows are in memory only, and end with Release, or when
// somebody finds no other space.
//
// What a transaction frees is free in the bitmap at once, and given out again
// only after Committed, since until then a crash brings back the old owner.
//
// # Damage
//
// A bitmap that fails its checksum, contradicts its descriptor's counters, has
// the file system's own structures as free, or has as free what is to be freed,
// is reported to Config.OnCorrupt and not used any more: nothing of it is given
// out, and nothing taken back.
//
// # Locks
//
// From the top: the gate (shared for every Alloc, alone for one that found no
// space); an owner of windows, one at a time; groups, several only in ascending
// order; then, never two together: the shards of owners, ranks, the set of
// groups with inodes, parents, what is pending, the queue of groups in memory.
// Reads and tx.Write happen under a group's lock.
package alloc
