// Package indirect maps the blocks of files without the extents flag: twelve
// direct pointers in the inode, then a block of pointers, a block of pointers
// to such blocks, and one level more. A zero pointer at any level is a hole of
// all that hangs below it. The interface is extent.Map.
//
// Pointers that go on by one are joined into runs: Find joins within one block
// of pointers, From over all of them.
//
// A hostile map cannot make a walk endless: there are three levels, a zero
// pointer is skipped with its whole range, no logical block beyond
// disk.MaxLogical is looked for, and no walk enters more pointer blocks than
// the file system has blocks.
//
// Open gives a map that can be changed inside transactions: all the pointer
// blocks a run needs are allocated before the first is linked, and those that
// become empty are given back.
//
// Build makes the whole map of a new file out of its runs.
//
// Pointer blocks have no checksum, and there are no unwritten blocks.
package indirect
