package extent

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// nodeCredits is what the allocation or freeing of one node adds to a
// transaction beside the node: its bit and the group's descriptor.
const nodeCredits = 2

// changer is an extent tree that can be changed. Its caller's lock guards all
// of it; Find, From and Nodes only look at tree.
type changer struct {
	tree
	space  Space
	sealer cache.Sealer // nil without checksums
	path   path         // to the leaf of the last change
	edit   edit         // of the leaf at the end of path
	moving moving
}

// Open is New for a tree that is to be changed. Without Owner.HasChecksum or
// Owner.Verify its nodes get no checksums.
func Open(c *cache.Cache, o Owner, root []byte, s Space) (Changer, error) {
	t := &changer{space: s}
	if err := t.tree.init(c, o, root); err != nil {
		return nil, err
	}
	if o.HasChecksum || o.Verify {
		t.sealer = &sealer{o.Seed}
	}
	return t, nil
}

// EmptyRoot is the root of a tree that maps nothing, 60 bytes.
func EmptyRoot() []byte {
	root := make([]byte, disk.ExtentRootSize)
	disk.ExtentNode(root).Init(0)
	return root
}

// sealer puts the checksum into the tail of a node.
type sealer struct{ seed uint32 }

// Seal implements cache.Sealer.
func (s *sealer) Seal(_ disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	disk.SealExtentBlock(s.seed, data)
}

// Root returns the root; see Changer.
func (t *changer) Root() []byte { return t.root[:] }

// rootNode is the root as a node.
func (t *changer) rootNode() disk.ExtentNode { return t.root[:] }

// InsertCredits counts at every level the nodes that the runs may be spread
// over, and as many new ones as those and the runs can make; and the one that
// takes the root's content. See Changer.
func (t *changer) InsertCredits(n int) int {
	if n <= 0 {
		return 0
	}
	const node = 1 + nodeCredits
	room := max((t.cache.BlockSize()-disk.ExtentHeaderSize)/disk.ExtentEntrySize, 2)
	depth := t.rootNode().Depth()
	// A node that was split takes half of its room before it is again.
	again := n / (room / 2)
	credits := node * min(n, again+1)
	for level, width := 0, disk.ExtentRootMax; level < depth; level++ {
		old := min(n, width)
		credits += old + node*min(n, old+again)
		width *= room
	}
	return credits
}

// MaxRun is what one entry holds in any state; see Changer.
func (t *changer) MaxRun() uint32 { return disk.MaxUnwrittenLen }

// need makes sure of n credits.
func need(tx cache.Tx, n int) error {
	if c := tx.Credits(); c < n {
		return tx.Extend(n - c)
	}
	return nil
}

// wrap says whose tree an error from outside is about.
func (t *changer) wrap(err error) error {
	return fmt.Errorf("%s of inode %d: %w", whatTree, t.owner.Inode, err)
}
