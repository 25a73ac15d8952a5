// Package inject copies files and trees into a file system that is open for
// writing: from the host, from another or the same file system, from tar
// streams. It is the counterpart of packages extract and pax, and uses nothing
// of package ext4fs that others could not.
//
// # Whole or absent
//
// A file gets its name when it is complete. A small one is made together with
// its content in one transaction; a larger one is written without a name,
// with space found for all of it first, and linked at the end. What it
// replaces keeps its name until that moment. So wherever a job ends (an error,
// a full file system, a cancelled context, a crash), every file is there whole,
// or is what it was before. What a replaced file's other hard links show does
// not change, unlike with cp(1), which writes into the old file.
//
// # Order and speed
//
// One goroutine walks the source, several read inodes, attributes and the
// content of small files ahead, one writes, in the order of the walk: names
// sorted, a directory before what it holds. Directories get their times,
// permissions and attributes when all that is in them is there. The same
// source gives the same image.
//
// # Safety
//
// Names in a tar stream are not trusted. They are walked element by element
// from the target directory; "." and empty elements do not count, ".." is an
// error, and a symbolic link on the way is resolved with the target directory
// as its root, as chroot(2) would: nothing outside of it can be reached.
// In copies of trees no symbolic link below the destination is followed.
//
// # Limits
//
// Times of change and creation are those of the copy; inode flags and project
// numbers are what the target directory gives. Host sources have holes and
// extended attributes on Linux only, owners, device numbers and hard links on
// Linux, macOS and FreeBSD.
package inject
