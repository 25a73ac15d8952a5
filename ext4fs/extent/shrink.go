package extent

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// shrink makes the tree smaller around l, after entries went there: sparse
// nodes are joined with a neighbour, and a root with a single child takes the
// child's entries if it can hold them. All that is as it may be: it ends
// without an error when there are no credits or a neighbour cannot be read. It
// does not touch the credits that the caller has, who may need them.
func (t *changer) shrink(tx cache.Tx, l disk.LogicalNum) error {
	if t.rootNode().Depth() == 0 {
		return nil
	}
	if _, err := t.seek(l); err != nil {
		return nil
	}
	for level := t.path.depth; level > 0; level-- {
		if !t.path.ok {
			if _, err := t.seek(l); err != nil {
				return nil
			}
		}
		if err := t.joinSibling(tx, level); err != nil {
			return optional(err)
		}
	}
	for t.rootNode().Depth() > 0 && t.rootNode().Entries() == 1 {
		done, err := t.collapse(tx)
		if err != nil {
			return optional(err)
		}
		if !done {
			break
		}
	}
	return nil
}

// optional drops errors that come before anything was changed.
func optional(err error) error {
	var lost *LostNodeError
	if errors.As(err, &lost) {
		return err
	}
	return nil
}

// joinSibling joins the node at a level of the path with the one to its right
// or its left if it is at most half full, and both together leave a quarter of
// a node free, so that the next few runs do not split it again.
func (t *changer) joinSibling(tx cache.Tx, level int) error {
	n, err := t.node(level)
	if err != nil {
		return err
	}
	parent, err := t.node(level - 1)
	if err != nil || n.Entries() > n.Max()/2 {
		return err
	}
	i := t.path.steps[level-1].next
	if i+1 < parent.Entries() {
		if done, err := t.joinPair(tx, level, parent, i); done || err != nil {
			return err
		}
	}
	if i > 0 {
		_, err = t.joinPair(tx, level, parent, i-1)
	}
	return err
}

// joinPair moves the entries of child i+1 of parent, which is the node above
// level, to child i if they fit well.
func (t *changer) joinPair(tx cache.Tx, level int, parent disk.ExtentNode, i int) (bool, error) {
	p := &t.path
	middle, high := uint64(parent.Key(i+1)), p.steps[level-1].high
	if i+2 < parent.Entries() {
		high = uint64(parent.Key(i + 2))
	}
	x, y := parent.Index(i), parent.Index(i+1)
	left, err := t.load(x, p.depth-level, middle)
	if err != nil {
		return false, err
	}
	right, err := t.load(y, p.depth-level, high)
	if err != nil {
		return false, err
	}
	count, more := left.Entries(), right.Entries()
	if count+more > left.Max()/4*3 || x.Child == y.Child {
		return false, nil
	}
	if err := tx.Extend(2 + nodeCredits); err != nil {
		return false, err
	}
	if level > 1 {
		if parent, err = t.write(tx, level-1); err != nil {
			return false, err
		}
	}
	if left, err = t.writeBlock(tx, x.Child); err != nil {
		return false, err
	}
	p.ok = false
	moved := right[entryAt(0):entryAt(more)]
	if level == p.depth && count > 0 && more > 0 && mergeable(left.Leaf(count-1), right.Leaf(0)) {
		left.PutLeaf(count-1, join(left.Leaf(count-1), right.Leaf(0)))
		moved = moved[disk.ExtentEntrySize:]
	}
	splice(left, count, 0, moved)
	splice(parent, i+1, 1, nil)
	return true, t.release(tx, y.Child)
}

// collapse moves the entries of the root's only child into the root, if they
// fit.
func (t *changer) collapse(tx cache.Tx) (bool, error) {
	root := t.rootNode()
	x, depth := root.Index(0), root.Depth()-1
	child, err := t.load(x, depth, logicalEnd)
	if err != nil {
		return false, err
	}
	count := child.Entries()
	if count > disk.ExtentRootMax {
		return false, nil
	}
	if err := tx.Extend(nodeCredits); err != nil {
		return false, err
	}
	t.path.ok = false
	t.resetRoot(depth)
	copy(root[entryAt(0):], child[entryAt(0):entryAt(count)])
	root.SetEntries(count)
	return true, t.release(tx, x.Child)
}

// release gives back a node that is not linked; its error is a
// *LostNodeError.
func (t *changer) release(tx cache.Tx, bn disk.BlockNum) error {
	if err := t.space.FreeNode(tx, bn); err != nil {
		return &LostNodeError{t.owner.Inode, bn, err}
	}
	return nil
}
