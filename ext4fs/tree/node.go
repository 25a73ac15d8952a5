package tree

import "github.com/e4kit/e4kit/ext4fs/disk"

// ID is a node of a tree. Root is the directory that everything is in.
type ID uint32

// Root is the ID of the root directory.
const Root ID = 0

// Node is a file of any type: all but its name, content, target and extended
// attributes. A million of them are kept in memory, so it is small (80 bytes).
type Node struct {
	// Mode is i_mode: the type (disk.ModeType) and the permissions.
	Mode uint16
	bits uint16
	// UID and GID are the owners.
	UID, GID uint32
	// Major and Minor are the numbers of a device node, else 0.
	Major, Minor uint32
	// Links counts the names of the node: 1 for a directory, 0 if the node
	// has been removed. The tree keeps it.
	Links uint32

	Atime, Mtime, Ctime Time

	// Size is the length in bytes of a regular file's content or of a
	// symbolic link's target, else 0.
	Size int64

	link   uint32 // one of the names
	xattrs uint32 // the set of attributes + 1
	source uint32 // whom the content comes from + 1
	// ref is, for a regular file, what the source knows the content by, for
	// a symbolic link the target's place in the names, for a directory its
	// first link + 1 in the upper half and the count of names in the lower.
	ref uint64
}

// Bits of a node.
const (
	// bitHoles: the source says that the content has holes.
	bitHoles uint16 = 1 << iota
	// bitTentative: a directory that stays only if something is put into it.
	bitTentative
	// bitMade: a directory that no source told the attributes of.
	bitMade
)

// Type is the part of Mode that is the type.
func (n *Node) Type() uint16 { return n.Mode & disk.ModeType }

// IsDir reports whether the node is a directory.
func (n *Node) IsDir() bool { return n.Type() == disk.ModeDir }

// IsRegular reports whether the node is a regular file.
func (n *Node) IsRegular() bool { return n.Type() == disk.ModeRegular }

// IsSymlink reports whether the node is a symbolic link.
func (n *Node) IsSymlink() bool { return n.Type() == disk.ModeSymlink }

// IsDevice reports whether the node is a character or block device.
func (n *Node) IsDevice() bool {
	return n.Type() == disk.ModeChar || n.Type() == disk.ModeBlock
}

func (n *Node) head() uint32  { return uint32(n.ref >> 32) }
func (n *Node) count() uint32 { return uint32(n.ref) }

func (n *Node) setDir(head, count uint32) { n.ref = uint64(head)<<32 | uint64(count) }

// valid checks what a caller gives.
func (n *Node) valid() error {
	switch n.Type() {
	case disk.ModeDir, disk.ModeRegular, disk.ModeSymlink, disk.ModeChar, disk.ModeBlock, disk.ModeFIFO, disk.ModeSocket:
	default:
		return ErrType
	}
	if n.Size < 0 {
		return ErrSyntax
	}
	return nil
}

// Entry is a name in a directory.
type Entry struct {
	Name string
	ID   ID
}

// link is a name: it leads from a directory to a node.
type link struct {
	name uint32 // where it is in Tree.names
	dir  ID
	id   ID     // noID: the name has been removed
	next uint32 // the directory's next link + 1
	hash uint32 // see index
}

const noID = ^ID(0)
