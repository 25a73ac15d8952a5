// Package dir reads the names in a directory's blocks: linear directories,
// hash trees and inline ones; plain, casefolded and encrypted.
//
// A Config describes one directory; its methods look a name up, list all
// entries in the order of the blocks (Entries: the fast way) or in an order
// that can be resumed (From), and show the structure of a hash tree (Tree).
// It knows inodes by number and type only. A Config is not changed by its
// methods: they are safe for concurrent use when its functions are.
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
// for lookups also, where the kernel searches the whole directory.
//
// Not supported: the names of encrypted directories in plain, which needs the
// key. They are shown and looked up in the kernel's no-key form.
package dir
