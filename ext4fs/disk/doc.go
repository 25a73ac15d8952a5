// Package disk holds every on-disk record of ext2, ext3 and ext4 as bytes:
// offsets, views, decoding and encoding, feature bits, checksums, directory
// hashes and, apart from the rest because they are big-endian, the records of
// jbd2.
//
// Everything here is a pure function of its arguments: no I/O, no locks, no
// logging, no knowledge of a device. Hot records (inode, group descriptor,
// extent, directory entry, xattr entry, htree entry) are views over the block
// that holds them; cold ones (superblock, journal superblock, MMP block) are
// structs with Decode and Encode that keep the bytes they do not understand.
//
// All integers are little-endian but for the jbd2 records in jbd2.go.
package disk
