// Package pax writes trees of a file system as POSIX.1-2001 (PAX) tar streams,
// and reads the streams that tar programs write.
//
// # Writing
//
// A member's header is a ustar block; what does not fit it goes into an
// extended header before it: long or unusual names, large numbers, times with
// their nanoseconds, extended attributes (SCHILY.xattr.NAME with the raw
// value), ACLs (SCHILY.acl.access and SCHILY.acl.default as text with numeric
// ids, which star, GNU tar and libarchive read) and holes (GNU.sparse, version
// 1.0: the data begins with a map of its pieces). Hard links refer to the first
// member of the same inode. Owners are numbers only: their names on another
// machine may mean somebody else.
//
// Members come in the order of their names, directories before what they
// hold, and nothing of the time or the machine goes in, so that the same image
// gives the same bytes. Memory does not depend on the size of the tree, but
// for files with several names and the listing of one directory at a time.
//
// Not carried over: sockets, which tar has no type for (they are skipped with
// a warning), times of access and change, inode flags.
//
// # Reading
//
//	stream  = members, two blocks of zeros
//	member  = header block, data, padding to 512
//	before a member may come extended headers: x and g (PAX records), L and K
//	(long names of GNU)
//
// A Reader understands v7, ustar, GNU, star and PAX headers, numbers of base
// 256, holes in all four forms that GNU tar has written, and attributes and
// ACLs as GNU tar, star, bsdtar and the Writer have them. Not understood:
// archives in several volumes, holes in star's own form, binary ACLs and
// attributes of Solaris and macOS.
package pax
