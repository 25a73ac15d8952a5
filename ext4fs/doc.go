// Package ext4fs reads ext2, ext3 and ext4 file systems from images and
// devices, without the kernel's driver and without privileges.
//
// Open takes any device.Device; OpenFile takes the path of an image file, a
// block device, a partitioned disk or a compressed image. A file system whose
// journal needs recovery is shown as it would be after recovery: the log is
// replayed into memory and nothing is written.
//
// Two views lead to the content. The path view is FS itself, which implements
// fs.FS, fs.ReadDirFS, fs.ReadFileFS, fs.StatFS, fs.ReadLinkFS and fs.SubFS
// and follows symbolic links inside the image only. The node view begins with
// FS.Inode and works by inode number: it is what a FUSE server, a debugger and
// a bulk copier need.
//
// # Damage
//
// Image bytes are not trusted. Whatever is impossible gives a *CorruptError,
// whatever fails its checksum a *ChecksumError; both name inode and block.
// Options.IgnoreChecksums reads on regardless of checksums.
//
// # Concurrency
//
// An FS and everything it hands out may be used by many goroutines, but for
// File, whose offset belongs to one caller. Geometry never changes after Open
// and is read without a lock. There are these locks, none held while another
// is taken: Inode.once (the block map of one inode), the shards of the
// metadata cache.
//
// # Rooms below
//
// disk holds the records as bytes, device where bytes live, cache the metadata
// blocks, journal the recovery, extent and indirect the block maps, dir the
// names, xattr the attributes, verity the Merkle trees.
package ext4fs
