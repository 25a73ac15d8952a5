package extent

import (
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// path is the way from the root to a leaf. It holds numbers and no bytes: a
// node's current version is asked for when it is needed. It stays good until
// nodes come or go.
type path struct {
	ok    bool
	depth int // of the root; steps[0] is the root, steps[depth] the leaf
	steps [disk.MaxExtentDepth + 1]step
}

// step is one node of a path.
type step struct {
	x    disk.ExtentIndex // what the parent says of it; zero for the root
	high uint64           // all its keys are below this one
	next int              // the entry that the path follows; not for the leaf
}

// seek makes the path lead to the leaf where l belongs, and returns it.
func (t *changer) seek(l disk.LogicalNum) (disk.ExtentNode, error) {
	p := &t.path
	if p.ok {
		s := &p.steps[p.depth]
		if p.depth == 0 || l >= s.x.Logical && uint64(l) < s.high {
			return t.node(p.depth)
		}
	}
	root := t.rootNode()
	p.depth = root.Depth()
	p.steps[0] = step{high: logicalEnd}
	return t.descend(0, root, l)
}

// descend completes a path from level on, whose node is n, towards l.
func (t *changer) descend(level int, n disk.ExtentNode, l disk.LogicalNum) (disk.ExtentNode, error) {
	p := &t.path
	p.ok = false
	for ; level < p.depth; level++ {
		i := max(n.Search(n.Entries(), l), 0)
		child, err := t.enter(level, n, i)
		if err != nil {
			return nil, err
		}
		n = child
	}
	p.ok = true
	return n, nil
}

// enter takes entry i of n, the node at level, and returns the child.
func (t *changer) enter(level int, n disk.ExtentNode, i int) (disk.ExtentNode, error) {
	p := &t.path
	s := &p.steps[level]
	s.next = i
	high := s.high
	if i+1 < n.Entries() {
		high = uint64(n.Key(i + 1))
	}
	x := n.Index(i)
	p.steps[level+1] = step{x: x, high: high}
	return t.load(x, p.depth-level-1, high)
}

// node returns the current version of the node at a level of the path.
func (t *changer) node(level int) (disk.ExtentNode, error) {
	if level == 0 {
		return t.rootNode(), nil
	}
	s := &t.path.steps[level]
	n, err := t.load(s.x, t.path.depth-level, s.high)
	if err != nil {
		t.path.ok = false
	}
	return n, err
}

// leafAfter makes the path lead to the next leaf; nil if there is none.
func (t *changer) leafAfter() (disk.ExtentNode, error) { return t.turn(1, 0) }

// leafBefore makes the path lead to the leaf before; nil if there is none.
func (t *changer) leafBefore() (disk.ExtentNode, error) { return t.turn(-1, disk.MaxLogical) }

// turn goes up to where the path can go to the side by dir, and down again
// towards l.
func (t *changer) turn(dir int, l disk.LogicalNum) (disk.ExtentNode, error) {
	p := &t.path
	for level := p.depth - 1; level >= 0; level-- {
		n, err := t.node(level)
		if err != nil {
			return nil, err
		}
		i := p.steps[level].next + dir
		if i < 0 || i >= n.Entries() {
			continue
		}
		p.ok = false
		child, err := t.enter(level, n, i)
		if err != nil {
			return nil, err
		}
		return t.descend(level+1, child, l)
	}
	return nil, nil
}

// lastBefore returns the last run that starts before end, which must not be 0,
// and its index in the leaf that the path leads to; nil if there is none. The
// way over leaves without entries is bounded by the size of the file system.
func (t *changer) lastBefore(end uint64) (leaf disk.ExtentNode, i int, err error) {
	return t.lastOrEmpty(end, false)
}

// lastOrEmpty is lastBefore, but may stop at a leaf below the root that has no
// entries, which should not be: then the index is -1.
func (t *changer) lastOrEmpty(end uint64, stop bool) (leaf disk.ExtentNode, i int, err error) {
	l := disk.LogicalNum(min(end, logicalEnd) - 1)
	leaf, err = t.seek(l)
	for visits := disk.BlockNum(0); err == nil && leaf != nil; visits++ {
		if i = leaf.Search(leaf.Entries(), l); i >= 0 {
			return leaf, i, nil
		}
		if stop && leaf.Entries() == 0 && t.path.depth > 0 {
			return leaf, -1, nil
		}
		if visits > t.blocks {
			return nil, -1, t.corrupt(0, "more leaves than the file system has blocks, %d", t.blocks)
		}
		leaf, err = t.leafBefore()
	}
	t.path.ok = false
	return nil, -1, err
}

// firstFrom returns the first run that starts at or after l, as lastOrEmpty
// does with stop.
func (t *changer) firstFrom(l disk.LogicalNum) (leaf disk.ExtentNode, i int, err error) {
	leaf, err = t.seek(l)
	for visits := disk.BlockNum(0); err == nil && leaf != nil; visits++ {
		i = leaf.Search(leaf.Entries(), l)
		if i < 0 || leaf.Key(i) != l {
			i++
		}
		if i < leaf.Entries() {
			return leaf, i, nil
		}
		if leaf.Entries() == 0 && t.path.depth > 0 {
			return leaf, -1, nil
		}
		if visits > t.blocks {
			return nil, -1, t.corrupt(0, "more leaves than the file system has blocks, %d", t.blocks)
		}
		leaf, err = t.leafAfter()
	}
	t.path.ok = false
	return nil, -1, err
}
