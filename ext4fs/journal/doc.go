// Package journal reads, replays and writes the jbd2 journal of an ext4 file
// system.
//
// # Recovery
//
// Load makes the three passes of recovery over a Log: SCAN finds the last
// complete transaction, REVOKE collects the blocks that must not be replayed,
// REPLAY learns where in the log the newest copy of each block lies. The result
// is a map from home to log block, not the contents, so its size follows from
// the number of blocks in the log. Recovery.Overlay gives the device as it
// would be after recovery. The fast-commit area is parsed into a list of
// records, which the file system has to apply. Recover does for good what an
// Overlay shows.
//
// Damage is judged as the Linux kernel judges it: what makes a mount fail makes
// Load fail, with an error that names transaction and log block. With
// Options.IgnoreChecksums Load keeps the transactions before the damage.
//
// That includes a first fast commit that was interrupted, though nothing is
// wrong with such an image: Linux 6.18 does not mount it, and it reads as the
// last full commit left it with Options.IgnoreChecksums.
//
// Two rules are stricter than the kernel's. A log that bites its own tail ends
// there, where the kernel could circle for ever. And with asynchronous commits
// a transaction that follows one with a bad commit block is corruption for all
// kinds of checksum, where the kernel says so for the oldest kind only. One is
// laxer: a journal of less than 1024 blocks is read.
//
// # Writing
//
// A Journal, made by Start, gathers the changes of many Handles into the
// running transaction and commits it: on demand, when it is old or full, or
// when the log or the memory for what is not home yet runs short. A commit
//
//	closes the transaction and waits for its handles; the next one begins
//	copies its blocks, and has the copies sealed
//	writes revoke records, descriptors and copies behind the log's head
//	flushes, and so makes durable what they refer to, file data included
//	writes the commit block, and flushes
//	drops freed blocks everywhere, and tells OnCommit
//
// and a checkpoint
//
//	writes the newest committed copies of the oldest transactions home
//	flushes, moves the log's tail over them in the superblock, and flushes
//
// Both happen in one goroutine, one after the other. Fast commits are never
// written; with the feature the log is kept out of their area, and straight.
// A block needs a revoke record if it is forgotten while the log before the
// transaction holds a copy of it that recovery would see.
//
// Who writes a file system sets needs_recovery, durably, before Start, and
// clears it after Close.
package journal
