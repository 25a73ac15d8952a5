// Package mount makes an ext4 image a directory: a FUSE server over the
// inode-level interface of package ext4fs.
//
//	fsys, err := ext4fs.OpenFile("disk.img", &ext4fs.Options{Write: true})
//	...
//	s := mount.New(fsys, mount.Options{})
//	if err := s.Mount(ctx, "/mnt"); err != nil { ... }
//	err = s.Wait()      // until somebody unmounts it; everything is on the image then
//	err = fsys.Close()  // the caller opened it, the caller closes it
//
// # Layers
//
// The handler (fs_*.go, node*.go) answers operations. The transport
// (transport*.go) takes requests from /dev/fuse and carries the answers back;
// it knows the protocol's frame and nothing of ext4, and the handler knows
// nothing of it, so that another transport can carry the same handler.
// mount_*.go holds what makes and ends mounts. Server ties the three.
//
// # Life of a mount
//
// Mount returns when the kernel has agreed on the protocol. The mount ends
// when it is unmounted by whatever way: [Server.Unmount], umount(8),
// fusermount3 -u, the end of the last user after a lazy unmount, or an abort of
// the connection. Wait returns then, after all requests were answered and the
// file system was synced. If Mount fails, nothing stays mounted.
//
// # Systems
//
// Linux is served, but for 32-bit x86, where go-fuse does not build. Elsewhere [Server.Mount] returns an error that matches
// [errors.ErrUnsupported].
package mount
