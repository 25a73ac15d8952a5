// Package extract copies files and trees out of a file system onto the host:
// content with its holes, hard links, permissions, times to the nanosecond
// and, as far as the caller may, owners, device nodes, extended attributes and
// ACLs.
//
// # Safety
//
// The image is not trusted. A name is used only if it is one plain element;
// every directory below the destination is reached through the open directory
// above it, by one name that must not be a symbolic link (openat with
// O_NOFOLLOW on Linux, os.Root elsewhere). Files are made with O_EXCL, so a
// link that the image itself brought along, or a name that comes twice, also
// where the host does not tell upper from lower case, is an error and never a
// way out. Whatever is in the way in directories that existed before is
// replaced by renaming, never written through. Only the destination itself,
// which the caller names, is followed.
//
// # Interruption
//
// In a directory that existed before, a file is written under a temporary
// name and renamed when it is whole. In directories made by the same job a
// file is made under its own name, since nobody can depend on it yet, and is
// removed when the job is cancelled or fails. So a cancelled job leaves no
// half-written file. A process that is killed on the spot may leave one in a
// directory that it made itself, and a temporary file (".e4kit-*") elsewhere.
//
// # Order and speed
//
// Workers take directories and pieces of directories off one stack, the
// deepest first, and read inodes in the order of the inode table. Large files
// are read ahead of their writing; where the host can share blocks between
// files, they are cloned. Directories get their times and permissions when
// all that is directly in them is there.
//
// # Limits
//
// Inode flags, project numbers and creation times are not carried over: there
// is no portable way, and cp does not either. Without Linux there are no
// extended attributes, device nodes, fifos and sockets.
package extract
