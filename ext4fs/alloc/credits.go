package alloc

// Credits are the blocks that a call adds to a transaction at most.
const (
	// AllocCredits is for one Alloc: a bitmap and a descriptor block.
	AllocCredits = 2
	// NewInodeCredits is for one NewInode: the inode bitmap, the descriptor
	// block, the block bitmap of a group that had none, and for Config.Virgin
	// the block of the inode table.
	NewInodeCredits = 4
	// FreeInodeCredits is for one FreeInode.
	FreeInodeCredits = 2
)

// BlockCredits is for one Free of n blocks in a row: a bitmap and a descriptor
// block for each group that they can lie in.
func (a *Allocator) BlockCredits(n uint64) int {
	if n == 0 {
		return 0
	}
	groups := (n-1)/uint64(a.super.BlocksPerGroup) + 2
	if n == 1 {
		groups = 1
	}
	return 2 * int(min(groups, uint64(len(a.groups))))
}
