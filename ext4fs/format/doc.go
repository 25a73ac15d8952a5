// Package format makes ext2, ext3 and ext4 file systems: it plans their
// geometry as mke2fs of e2fsprogs 1.47 does, lays a tree of files out in it and
// writes the image.
//
// Format makes an empty file system. Plan and Job.Write make one with content:
// Plan decides everything that does not need the content's bytes and writes
// nothing, Write writes each block once and the superblocks last, so that what
// was interrupted is no file system.
//
// The defaults are those of mke2fs with the mke2fs.conf that e2fsprogs 1.47.0
// comes with, for a disk of the same size. The same options give the same
// superblock and the same places of backups, bitmaps, inode tables and journal;
// a test holds the two together. What differs is told where it does.
//
// Layout of a group that has everything, in blocks from its first one on:
//
//	superblock copy  1        groups 0, 1 and powers of 3, 5, 7 (sparse_super)
//	descriptors      n        all of them in each copy; with meta_bg one block
//	                          in three groups of each meta group
//	reserved         0..bs/4  room for more descriptors (resize_inode)
//	block bitmap     1        with flex_bg, those of all groups of a flex group
//	inode bitmap     1        lie together in its first group
//	inode table      n
//	content
//
// Feature flags: all that mke2fs 1.47 knows how to set. Kernel documentation:
// Documentation/filesystems/ext4/, "High Level Design".
//
// Not supported: lists of bad blocks, mke2fs.conf files, undo files, and
// writing only superblocks (-S).
package format
