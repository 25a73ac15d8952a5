// Package journal finds, reads and replays the jbd2 journal of an ext4 file
// system without writing to it.
//
// Load makes the three passes of recovery over a Log: SCAN finds the last
// complete transaction, REVOKE collects the blocks that must not be replayed,
// REPLAY learns where in the log the newest copy of each block lies. The result
// is a map from home to log block, not the contents, so its size follows from
// the number of blocks in the log. Recovery.Overlay gives the device as it
// would be after recovery. The fast-commit area is parsed into a list of
// records, which the file system has to apply.
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
package journal
