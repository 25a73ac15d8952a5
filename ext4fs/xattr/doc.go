// Package xattr reads extended attributes from an inode's record and from an
// attribute block, checks them, and gives values with a known form (POSIX
// ACLs, file capabilities) as types and as text. Edit changes them in copies of
// these bytes, with everything where the kernel would put it; the rules of ACLs
// are functions. Lay writes those of a new inode. Nothing here does I/O.
//
// All bounds are checked before anything is returned: names, values and the
// terminator lie inside their place, and no value overlaps the entries.
// Values alias the bytes they were read from.
//
// A value that an inode of its own holds (ea_inode) is told as a number; who
// has the file system reads that inode and calls VerifyValue.
//
// Deviations from the kernel: a block whose entries are not sorted is read
// whole, while the kernel's lookup stops where the name would be. Attributes
// whose index has no meaning, or whose name does not go with it, are given as
// "unknown.N.name".
package xattr
