// Package quota reads and changes the hidden quota files: what every user,
// group and project has of inodes and space, and may have. The format is in
// package disk.
//
// Changes go through a transaction, in the handle that allocates or frees what
// they count. A limit that would be passed gives ErrQuota before anything is
// changed. Where one operation touches several kinds of quota, Set looks at
// all of them before it changes any.
//
// The records in use are kept in memory, always the same as in the blocks, so
// they may be dropped at any time.
//
// Locks: each File has one, held for the length of a call, reads of blocks and
// growth of the file included. Set takes them in the order of the kinds. They
// come after an open handle and a file's map lock; under them are the map lock
// of the quota file itself, which nobody else takes for writing, the group
// locks and the cache. What a quota file takes is charged to nobody, so they
// are not taken twice.
//
// Deviation from the kernel: a record without usage and limits stays in the
// file when it is let go of. Not supported: version 0 files, which the quota
// feature does not use.
package quota
