package disk

import "encoding/binary"

// Distinct numbers get distinct types, so that a group number cannot be used
// as a block number by mistake.
type (
	// BlockNum is a physical block of the file system.
	BlockNum uint64
	// LogicalNum is a block index inside a file.
	LogicalNum uint32
	// ClusterNum is an allocation unit; equal to a block without bigalloc.
	ClusterNum uint64
	// GroupNum is a block group.
	GroupNum uint32
	// InodeNum is an inode number; 0 is none, 1 the first.
	InodeNum uint32
)

// Reserved inode numbers.
const (
	BadBlocksInode InodeNum = 1
	RootInode      InodeNum = 2
	UserQuotaInode InodeNum = 3
	GrpQuotaInode  InodeNum = 4
	BootInode      InodeNum = 5
	UndeleteInode  InodeNum = 6
	ResizeInode    InodeNum = 7
	JournalInode   InodeNum = 8
	ExcludeInode   InodeNum = 9
	ReplicaInode   InodeNum = 10
	// FirstInodeRev0 is the first ordinary inode of a revision 0 file system.
	FirstInodeRev0 InodeNum = 11
)

// Bounds of the format.
const (
	MinBlockSize = 1024
	MaxBlockSize = 65536
	// MaxNameLen is the longest directory entry name, in bytes.
	MaxNameLen = 255
	// MaxLogical is the last logical block a file may map.
	MaxLogical LogicalNum = 1<<32 - 2
	// MaxExtentDepth is the deepest extent tree the format allows.
	MaxExtentDepth = 5
)

var le = binary.LittleEndian
