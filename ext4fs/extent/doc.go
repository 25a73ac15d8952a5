// Package extent maps the blocks of one file to blocks of the file system:
// the interface for every kind of map, and the extent tree of ext4.
//
// The blocks of a tree come from the cache. A node's checksum and its inner
// order are checked once per cached buffer; what depends on the way to it
// (depth, the range of keys its parent gives it) is checked on every visit.
// Find does not allocate when the nodes are cached. From and Nodes hold one
// node per level and read ahead in adjacent leaves.
//
// A hostile tree cannot make a walk long: keys ascend over the whole of it,
// and no walk visits more nodes than the file system has blocks.
//
// Open gives a tree that can be changed inside transactions. A change replaces
// a few entries of one leaf: it is planned first, then all it needs (credits,
// versions of the nodes, new nodes) is acquired, and only then bytes change, so
// that nothing is left half done. Runs join their neighbours inside a leaf. A
// full leaf is split at its end for appended runs, so that full leaves stay
// behind, at its start for runs put before all others, else in the middle.
// Nodes that become empty are given back at once. When entries went, sparse
// neighbours are joined, and a root takes over the entries of its only child,
// if the transaction has credits to spare for it.
//
// Build makes the whole tree of a new file, with full nodes, out of its runs.
//
// Deviations from the kernel: it splits a leaf behind the new run's place,
// keeps sparse leaves, and folds only a tree of one leaf into the inode. An
// index key below the first key of its child is accepted here. Old kernels
// left such keys behind, the checker repairs them, and nothing is misread;
// Linux 6.18 refuses them. An index key above it is corruption for both. A leaf
// without entries is accepted, as by the kernel, and goes when blocks around it
// are removed or moved.
package extent
