// Package ext4fs reads and writes ext2, ext3 and ext4 file systems in images
// and on devices, without the kernel's driver and without privileges.
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
// # Writing
//
// With Options.Write a file system can be changed: by path with calls like
// those of package os (FS.OpenFile, FS.Mkdir, FS.Rename, ...), by inode with
// those of a server (Inode.Create, Inode.Unlink, Inode.WriteAt, ...). The open
// replays the journal into the image and cleans up orphans; see FS.Recovered.
//
// Every operation changes metadata in one transaction of the journal, or in
// several that each leave the file system consistent. It becomes durable with
// Inode.Fsync or FS.Sync, else within Options.CommitInterval; file data are on
// the device before the transaction that makes them reachable. FS.Begin
// gathers operations into one transaction. Close leaves a clean image. An error
// of the device aborts the journal: from then on everything gives ErrReadOnly,
// and the next open recovers to the last commit.
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
// and is read without a lock. Reading takes these locks, none held while
// another is taken: Inode.once (the block map of one inode), the shards of the
// metadata cache. The types live and node tell the locks of a writable one and
// their order.
//
// # Rooms below
//
// disk holds the records as bytes, device where bytes live, cache the metadata
// blocks, journal transactions and recovery, alloc the groups, extent and
// indirect the block maps, dir the names, xattr the attributes, quota the quota
// files, verity the Merkle trees. extract and inject copy trees out and in.
package ext4fs
