package extent

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// What the errors of this package are about.
const whatTree = "extent tree"

// logicalEnd is the block after the last that a file can have.
const logicalEnd = uint64(disk.MaxLogical) + 1

// tree is an extent tree to be read. It does not change, so it needs no lock;
// what changes it is a changer, whose caller locks.
type tree struct {
	cache  *cache.Cache
	owner  Owner
	tag    uint64 // of buffers whose checksum and entries were found good
	blocks disk.BlockNum
	root   [disk.ExtentRootSize]byte
}

// New is the map of an inode with the extents flag. root is the inode's block
// array, 60 bytes, which is copied. A root that is not possible is a
// *disk.CorruptError.
func New(c *cache.Cache, o Owner, root []byte) (Map, error) {
	t := &tree{}
	if err := t.init(c, o, root); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tree) init(c *cache.Cache, o Owner, root []byte) error {
	*t = tree{cache: c, owner: o, tag: tag(o), blocks: disk.BlockNum(o.Blocks)}
	if t.blocks == 0 {
		t.blocks = disk.BlockNum(c.Blocks())
	}
	if len(root) != disk.ExtentRootSize {
		return t.corrupt(0, "root of %d bytes", len(root))
	}
	copy(t.root[:], root)
	n := disk.ExtentNode(t.root[:])
	if p := n.HeaderProblem(-1); p != "" {
		return t.corrupt(0, "root: %s", p)
	}
	if p := n.EntriesProblem(o.FirstBlock, t.blocks); p != "" {
		return t.corrupt(0, "root: %s", p)
	}
	return nil
}

// tag identifies the owner, what was checked, and that it was checked as an
// extent node. Its being equal for another kind of block by bad intent costs
// the check of order, but not the bounds.
func tag(o Owner) uint64 {
	t := uint64(o.Seed)<<32 | uint64(o.Inode)
	t = (t ^ 0x657874656e74) * 0x9e3779b97f4a7c15
	if o.Verify {
		t ^= 1
	}
	return max(t, 2)
}

// Find walks down from the root. It does not allocate unless it fails.
func (t *tree) Find(l disk.LogicalNum) (Extent, error) {
	n, high := disk.ExtentNode(t.root[:]), logicalEnd
	for depth := n.Depth(); depth > 0; depth-- {
		count := n.Entries()
		i := n.Search(count, l)
		if i < 0 {
			return hole(l, uint64(n.Key(0))), nil
		}
		if i+1 < count {
			high = uint64(n.Key(i + 1))
		}
		x := n.Index(i)
		child, err := t.load(x, depth-1, high)
		if err != nil {
			return Extent{}, err
		}
		n = child
	}
	count := n.Entries()
	i := n.Search(count, l)
	if i >= 0 {
		if e := n.Leaf(i); uint64(l) < e.End() {
			return fromLeaf(e), nil
		}
	}
	if i+1 < count {
		high = uint64(n.Key(i + 1))
	}
	return hole(l, high), nil
}

// Before implements Neighbour.
func (t *tree) Before(l disk.LogicalNum) (e Extent, ok bool, err error) {
	if l == 0 {
		return e, false, nil
	}
	n, high := disk.ExtentNode(t.root[:]), logicalEnd
	for depth := n.Depth(); depth > 0; depth-- {
		count := n.Entries()
		i := n.Search(count, l-1)
		if i < 0 {
			return e, false, nil
		}
		if i+1 < count {
			high = uint64(n.Key(i + 1))
		}
		if n, err = t.load(n.Index(i), depth-1, high); err != nil {
			return e, false, err
		}
	}
	if i := n.Search(n.Entries(), l-1); i >= 0 {
		return fromLeaf(n.Leaf(i)), true, nil
	}
	return e, false, nil
}

func fromLeaf(l disk.ExtentLeaf) Extent {
	e := Extent{Logical: l.Logical, Physical: l.Physical, Len: l.Len}
	if l.Unwritten {
		e.Flags = FlagUnwritten
	}
	return e
}

// load returns the node that x points to, checked: its depth, and that its
// keys lie in [x.Logical, high).
func (t *tree) load(x disk.ExtentIndex, depth int, high uint64) (disk.ExtentNode, error) {
	buf, err := t.get(x.Child)
	if err != nil {
		return nil, err
	}
	n := disk.ExtentNode(buf.Data())
	// The header is looked at each time: all that follows trusts it, and the
	// depth is due from the way here.
	if p := n.HeaderProblem(depth); p != "" {
		return nil, t.corrupt(x.Child, "%s", p)
	}
	if !buf.Verified(t.tag) {
		if err := t.verify(x.Child, n); err != nil {
			return nil, err
		}
		buf.SetVerified(t.tag)
		if depth > 0 {
			buf.SetPriority(cache.PriorityHigh)
		}
	}
	return n, t.checkRange(x, n, high)
}

func (t *tree) get(bn disk.BlockNum) (*cache.Buffer, error) {
	// Index entries were checked with their node, but that may be remembered
	// from another owner with the same tag.
	if bn <= t.owner.FirstBlock || bn >= t.blocks {
		return nil, t.corrupt(0, "index points to block %d of %d", bn, t.blocks)
	}
	buf, err := t.cache.Get(bn)
	if err != nil {
		return nil, fmt.Errorf("%s of inode %d: %w", whatTree, t.owner.Inode, err)
	}
	return buf, nil
}

// verify checks what is true of a node wherever it hangs.
func (t *tree) verify(bn disk.BlockNum, n disk.ExtentNode) error {
	if t.owner.Verify {
		if stored, computed, ok := disk.VerifyExtentBlock(t.owner.Seed, n); !ok {
			return &disk.ChecksumError{
				What: "extent block", Block: bn, Inode: t.owner.Inode, Stored: stored, Computed: computed,
			}
		}
	}
	if p := n.EntriesProblem(t.owner.FirstBlock, t.blocks); p != "" {
		return t.corrupt(bn, "%s", p)
	}
	return nil
}

// checkRange checks the keys of a node against what its parent says. An empty
// leaf passes, as it does in the kernel.
func (t *tree) checkRange(x disk.ExtentIndex, n disk.ExtentNode, high uint64) error {
	count := n.Entries()
	if count == 0 {
		return nil
	}
	if k := n.Key(0); k < x.Logical {
		return t.corrupt(x.Child, "first key %d is below the parent's %d", k, x.Logical)
	}
	end := uint64(n.Key(count-1)) + 1
	if n.Depth() == 0 {
		end = n.Leaf(count - 1).End()
	}
	if end > high {
		return t.corrupt(x.Child, "last entry ends at logical block %d, beyond the parent's %d", end, high)
	}
	return nil
}

func (t *tree) corrupt(bn disk.BlockNum, format string, args ...any) error {
	return &disk.CorruptError{
		What: whatTree, Block: bn, Inode: t.owner.Inode, Detail: fmt.Sprintf(format, args...),
	}
}
