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
// Deviation from the kernel: an index key below the first key of its child is
// accepted. Old kernels left such keys behind, the checker repairs them, and
// nothing is misread; Linux 6.18 refuses them. An index key above it is
// corruption for both.
package extent
