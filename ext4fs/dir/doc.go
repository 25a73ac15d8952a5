// Package dir reads and changes the names in a directory's blocks: linear
// directories, hash trees and inline ones; plain, casefolded and encrypted.
//
// A Config describes one directory; its methods look a name up, list all
// entries in the order of the blocks (Entries: the fast way) or in an order
// that can be resumed (From), and show the structure of a hash tree (Tree).
// It knows inodes by number and type only. These methods do not change the
// Config: they are safe for concurrent use when its functions are.
//
// Insert, Remove, Replace and Init change the directory as part of a
// transaction (cache.Tx); they exclude all others, and bring the Config up to
// date. Blocks come from the Config's functions, which know about space and the
// inode. A change checks all it reads, gets all blocks it needs, and only then
// changes bytes; checksums are computed at the commit, by sealers.
//
// A Builder makes whole directories of a new file system, without transactions:
// a Plan needs the names alone and tells size and order, and makes the blocks,
// or the bytes of an inline directory, once the inodes are known.
//
// Every record is checked before use. What is impossible is a
// *disk.CorruptError, a wrong checksum a *disk.ChecksumError; iterators yield
// these between the entries, and go on behind the trouble when the consumer
// does.
//
// Deviations from the kernel: entries that the kernel lists though no name
// can be like that (empty, "." in the middle, with a slash or NUL) come
// together with an error; a hole is an error without large_dir, where the
// kernel reads it as empty; a broken index with valid checksums is an error
// for lookups also, where the kernel searches the whole directory, and no
// directory with such an index takes new names. Trees and leaves grow at the
// same places as the kernel's, but room that is scattered over a leaf is joined
// before the leaf is split. Holes are never filled. No change gives blocks back
// or makes a tree lower.
//
// Not supported: the names of encrypted directories in plain, which needs the
// key. They are shown, looked up and removed in the kernel's no-key form; new
// ones cannot be made.
package dir
