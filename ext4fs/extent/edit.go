package extent

import (
	"errors"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// edit replaces some entries of the leaf at the end of the path by others. It
// is done in three steps: plan says which nodes change, come or go; acquire
// gets credits, versions and new blocks for all of them; commit changes bytes
// and cannot fail half way. Until then cancel leaves everything as it was.
type edit struct {
	at, del int // entries of the leaf to be replaced
	n       int // by so many
	ins     [disk.ExtentRootSize]byte

	top   int // the uppermost level that changes
	split int // levels that are split, from the leaf up
	drop  int // levels that become empty and go, from the leaf up
	grow  bool
	key   disk.LogicalNum // the new first key of the node at level rekey
	rekey int             // 0: no key changes above

	nodes  [disk.MaxExtentDepth + 1]disk.ExtentNode // by level: versions to be changed
	fresh  [disk.MaxExtentDepth + 1]freshNode
	nfresh int
}

type freshNode struct {
	block disk.BlockNum
	node  disk.ExtentNode
}

// start begins an edit that takes del entries out of the leaf, from at on.
func (e *edit) start(at, del int) {
	e.at, e.del, e.n = at, del, 0
	e.split, e.drop, e.grow, e.rekey, e.nfresh = 0, 0, false, 0, 0
}

// add puts a run in, behind those that were added before. Runs without blocks
// are left out.
func (e *edit) add(l disk.ExtentLeaf) {
	if l.Len != 0 {
		disk.ExtentNode(e.ins[:]).PutLeaf(e.n, l)
		e.n++
	}
}

// entries are the encoded runs.
func (e *edit) entries() []byte { return e.ins[entryAt(0):entryAt(e.n)] }

// change plans, acquires and commits.
func (t *changer) change(tx cache.Tx, leaf disk.ExtentNode) error {
	if err := t.prepare(tx, leaf, 0); err != nil {
		return err
	}
	return t.commit(tx)
}

// prepare plans and acquires, and makes sure of some credits more.
func (t *changer) prepare(tx cache.Tx, leaf disk.ExtentNode, more int) error {
	if err := t.plan(leaf); err != nil {
		return err
	}
	return t.acquire(tx, more)
}

func (t *changer) plan(leaf disk.ExtentNode) error {
	e, p := &t.edit, &t.path
	e.top = p.depth
	after := leaf.Entries() - e.del + e.n
	switch {
	case after == 0 && p.depth > 0:
		return t.planDrop()
	case after > leaf.Max():
		if err := t.planSplit(); err != nil {
			return err
		}
	}
	if e.at == 0 && after > 0 {
		key := disk.ExtentNode(e.ins[:]).Key(0)
		if e.n == 0 {
			key = leaf.Key(e.del)
		}
		t.planKey(p.depth, key)
	}
	return nil
}

// planKey notes that the first key of the node at level becomes key, which its
// parent must tell, and the parent's parent if it is the first entry there.
func (t *changer) planKey(level int, key disk.LogicalNum) {
	e, p := &t.edit, &t.path
	if level == 0 || p.steps[level].x.Logical == key {
		return
	}
	e.rekey, e.key = level, key
	for level--; level > 0 && p.steps[level].next == 0; level-- {
	}
	e.top = min(e.top, level)
}

// planSplit finds the lowest level that has room for one entry more. All
// below it are split; if there is none the tree grows.
func (t *changer) planSplit() error {
	e, p := &t.edit, &t.path
	for e.top = p.depth; e.top > 0; {
		e.split++
		e.top--
		n, err := t.node(e.top)
		if err != nil {
			return err
		}
		if n.Entries() < n.Max() {
			return nil
		}
	}
	if p.depth == disk.MaxExtentDepth {
		return t.wrap(fmt.Errorf("a tree of depth %d is full: %w", p.depth, ErrTooBig))
	}
	e.grow = true
	return nil
}

// planDrop finds the lowest level that does not become empty with the leaf.
func (t *changer) planDrop() error {
	e, p := &t.edit, &t.path
	for e.top > 0 {
		e.drop++
		e.top--
		n, err := t.node(e.top)
		if err != nil {
			return err
		}
		if n.Entries() > 1 {
			if p.steps[e.top].next == 0 {
				t.planKey(e.top, n.Key(1))
			}
			return nil
		}
	}
	return nil
}

// acquire gets everything that commit needs. When it fails nothing is held.
func (t *changer) acquire(tx cache.Tx, more int) error {
	e, p := &t.edit, &t.path
	blocks := e.split
	if e.grow {
		blocks++
	}
	last := p.depth - e.drop
	writes := last - max(e.top, 1) + 1
	if err := need(tx, writes+blocks*(1+nodeCredits)+e.drop*nodeCredits+more); err != nil {
		return err
	}
	e.nodes[0] = t.rootNode()
	for level := max(e.top, 1); level <= last; level++ {
		n, err := t.write(tx, level)
		if err != nil {
			return err
		}
		e.nodes[level] = n
	}
	for e.nfresh < blocks {
		if err := t.allocate(tx); err != nil {
			return t.cancel(tx, err)
		}
	}
	return nil
}

// write returns the version of a node of the path that may be changed.
func (t *changer) write(tx cache.Tx, level int) (disk.ExtentNode, error) {
	// What is not known to be good must be checked before: the sums of a
	// version that is being changed cannot be.
	if _, err := t.node(level); err != nil {
		return nil, err
	}
	return t.writeBlock(tx, t.path.steps[level].x.Child)
}

// writeBlock is write for a node that was checked just now.
func (t *changer) writeBlock(tx cache.Tx, bn disk.BlockNum) (disk.ExtentNode, error) {
	buf, err := tx.Write(bn, t.sealer)
	if err != nil {
		return nil, t.wrap(err)
	}
	buf.SetVerified(t.tag)
	return buf.Data(), nil
}

// allocate adds a block to the fresh ones: near the node that is to be split,
// for those go together when the tree is walked.
func (t *changer) allocate(tx cache.Tx) error {
	e, p := &t.edit, &t.path
	var goal disk.BlockNum
	if e.nfresh > 0 {
		goal = e.fresh[e.nfresh-1].block + 1
	} else if p.depth > 0 {
		goal = p.steps[p.depth].x.Child + 1
	}
	bn, err := t.space.AllocNode(tx, goal)
	if err != nil {
		return t.wrap(err)
	}
	if t.inUse(bn) {
		return t.corrupt(bn, "the block, one of %d, was given for a new node", t.blocks)
	}
	e.fresh[e.nfresh] = freshNode{block: bn}
	e.nfresh++
	buf, err := tx.Fresh(bn, t.sealer)
	if err != nil {
		return t.wrap(err)
	}
	buf.SetVerified(t.tag)
	e.fresh[e.nfresh-1].node = buf.Data()
	return nil
}

// inUse finds the worst of what a damaged bitmap makes an allocator do.
func (t *changer) inUse(bn disk.BlockNum) bool {
	e, p := &t.edit, &t.path
	used := bn <= t.owner.FirstBlock || bn >= t.blocks
	for i := range e.nfresh {
		used = used || e.fresh[i].block == bn
	}
	for level := 1; level <= p.depth; level++ {
		used = used || p.steps[level].x.Child == bn
	}
	return used
}

// cancel gives the fresh blocks back, and returns err.
func (t *changer) cancel(tx cache.Tx, err error) error {
	e := &t.edit
	for ; e.nfresh > 0; e.nfresh-- {
		if lost := t.release(tx, e.fresh[e.nfresh-1].block); lost != nil {
			err = errors.Join(err, lost)
		}
	}
	return err
}

// commit changes the nodes. An error is one of giving back nodes that the tree
// does not need any more; it is a good tree all the same.
func (t *changer) commit(tx cache.Tx) error {
	e, p := &t.edit, &t.path
	t.moving = moving{}
	t.commitKey()
	switch {
	case e.drop > 0:
		return t.commitDrop(tx)
	case e.split > 0 || e.grow:
		t.commitSplit()
	default:
		splice(e.nodes[p.depth], e.at, e.del, e.entries())
	}
	return nil
}

func (t *changer) commitKey() {
	e, p := &t.edit, &t.path
	for level := e.rekey; level > 0; level-- {
		p.steps[level].x.Logical = e.key
		i := p.steps[level-1].next
		e.nodes[level-1].SetKey(i, e.key)
		if i > 0 {
			return
		}
	}
}

func (t *changer) commitDrop(tx cache.Tx) (err error) {
	e, p := &t.edit, &t.path
	p.ok = false
	level := p.depth - e.drop
	if n := e.nodes[level]; n.Entries() > 1 {
		splice(n, p.steps[level].next, 1, nil)
	} else {
		t.resetRoot(0)
	}
	for level = p.depth; level > p.depth-e.drop; level-- {
		if lost := t.release(tx, p.steps[level].x.Child); lost != nil {
			err = errors.Join(err, lost)
		}
	}
	return err
}

// resetRoot makes the root an empty node.
func (t *changer) resetRoot(depth int) {
	root := t.rootNode()
	g := root.Generation()
	root.Init(depth)
	root.SetGeneration(g)
}

func (t *changer) commitSplit() {
	e, p := &t.edit, &t.path
	fresh := e.fresh[:e.nfresh]
	if e.grow {
		t.commitGrow(fresh[0])
		fresh = fresh[1:]
	}
	at, del, ins := e.at, e.del, e.entries()
	var index [disk.ExtentHeaderSize + disk.ExtentEntrySize]byte
	level := p.depth
	for _, f := range fresh {
		left, right := e.nodes[level], f.node
		right.Init(p.depth - level)
		splitNode(left, right, at, del, ins)
		disk.ExtentNode(index[:]).PutIndex(0, disk.ExtentIndex{Logical: right.Key(0), Child: f.block})
		ins = index[entryAt(0):]
		level--
		at, del = p.steps[level].next+1, 0
	}
	splice(e.nodes[level], at, del, ins)
	if e.grow {
		root := t.rootNode()
		root.SetKey(0, e.nodes[1].Key(0))
	}
	p.ok = false
}

// commitGrow moves the root's entries into a block below it. The path gets
// longer by that.
func (t *changer) commitGrow(f freshNode) {
	e, p := &t.edit, &t.path
	root := t.rootNode()
	count := root.Entries()
	f.node.Init(p.depth)
	copy(f.node[entryAt(0):], root[entryAt(0):entryAt(count)])
	f.node.SetEntries(count)
	t.resetRoot(p.depth + 1)
	root.PutIndex(0, disk.ExtentIndex{Logical: f.node.Key(0), Child: f.block})
	root.SetEntries(1)
	for level := p.depth; level >= 0; level-- {
		p.steps[level+1], e.nodes[level+1] = p.steps[level], e.nodes[level]
	}
	e.nodes[1] = f.node
	p.depth++
}

// entryAt is the offset of an entry in a node.
func entryAt(i int) int { return disk.ExtentHeaderSize + i*disk.ExtentEntrySize }

// splice replaces del entries of n, from at on, by ins. What is not used any
// more is cleared.
func splice(n disk.ExtentNode, at, del int, ins []byte) {
	count := n.Entries()
	after := count - del + len(ins)/disk.ExtentEntrySize
	copy(n[entryAt(at)+len(ins):], n[entryAt(at+del):entryAt(count)])
	copy(n[entryAt(at):], ins)
	if after < count {
		clear(n[entryAt(after):entryAt(count)])
	}
	n.SetEntries(after)
}

// splitNode is splice for a node that overflows by it: what does not stay in
// left goes to right, which is empty and has the more room.
func splitNode(left, right disk.ExtentNode, at, del int, ins []byte) {
	count, k := left.Entries(), len(ins)/disk.ExtentEntrySize
	total := count - del + k
	cut := splitAt(left.Max(), count, at, del, k)
	for i := cut; i < total; i++ {
		var from []byte
		switch {
		case i < at:
			from = left[entryAt(i):]
		case i < at+k:
			from = ins[(i-at)*disk.ExtentEntrySize:]
		default:
			from = left[entryAt(i-k+del):]
		}
		copy(right[entryAt(i-cut):], from[:disk.ExtentEntrySize])
	}
	right.SetEntries(total - cut)
	if cut <= at {
		splice(left, cut, count-cut, nil)
		return
	}
	k = min(k, cut-at)
	tail := at + del + cut - at - k // the first old entry behind that goes
	splice(left, tail, count-tail, nil)
	splice(left, at, del, ins[:k*disk.ExtentEntrySize])
}

// splitAt says how many entries stay in the left node: all that fit when runs
// are added at the end, only the new ones when they are put before all others,
// or else half of them.
func splitAt(room, count, at, del, k int) int {
	total := count - del + k
	switch {
	case at+del == count:
		return min(room, total-1)
	case at == 0 && del == 0:
		return k
	}
	return min(total/2, room)
}
