package extent

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// freeCredits is what a step of Remove keeps at hand for its free: two groups.
const freeCredits = 4

// Remove unmaps blocks, run by run from the end; see Changer.
func (t *changer) Remove(tx cache.Tx, from disk.LogicalNum, end uint64, free func(e Extent) error) (uint64, error) {
	next := min(end, logicalEnd)
	if uint64(from) >= next {
		return uint64(from), nil
	}
	begin, changed := next, false
	for {
		at, did, err := t.removeLast(tx, from, next, free)
		next, changed = at, changed || did
		switch {
		case OutOfCredits(err) && (changed || next < begin):
			return next, nil
		case err != nil:
			return next, err
		case next <= uint64(from):
			if changed {
				err = t.shrink(tx, from)
			}
			return uint64(from), err
		}
	}
}

// removeLast unmaps the last run in [from, end), or that part of it, and
// returns where it began, and whether there was one; else from. With an error
// and false it returns where the run that is still mapped ends.
func (t *changer) removeLast(tx cache.Tx, from disk.LogicalNum, end uint64, free func(e Extent) error) (uint64, bool, error) {
	leaf, i, err := t.lastOrEmpty(end, true)
	if err != nil {
		return end, false, err
	}
	if leaf != nil && i < 0 && t.path.steps[t.path.depth].high > uint64(from) {
		err := t.dropEmpty(tx, leaf)
		return end, err == nil, err
	}
	if leaf == nil || i < 0 || leaf.Leaf(i).End() <= uint64(from) {
		return uint64(from), false, nil
	}
	run := leaf.Leaf(i)
	begin := max(uint64(from), uint64(run.Logical))
	left, rest := cut(run, begin)
	middle, right := cut(rest, min(end, run.End()))
	e := &t.edit
	e.start(i, 1)
	e.add(left)
	e.add(right)
	more := freeCredits
	if free == nil {
		more = 0
	}
	if err := t.prepare(tx, leaf, more); err != nil {
		return middle.End(), false, err
	}
	if free != nil {
		if err := free(fromLeaf(middle)); err != nil {
			return middle.End(), false, t.cancel(tx, err)
		}
		if e.drop > 0 {
			// What free took may have been meant for the nodes.
			if err := need(tx, e.drop*nodeCredits); err != nil && !errors.Is(err, cache.ErrCredits) {
				return begin, true, errors.Join(err, t.commit(tx))
			}
		}
	}
	return begin, true, t.commit(tx)
}

// dropEmpty takes a leaf without entries, which the path leads to, out of the
// tree. Old kernels may have left it.
func (t *changer) dropEmpty(tx cache.Tx, leaf disk.ExtentNode) error {
	t.edit.start(0, 0)
	return t.change(tx, leaf)
}

// cut divides a run at a logical block inside it or at one of its ends. A part
// may have no blocks.
func cut(l disk.ExtentLeaf, at uint64) (before, after disk.ExtentLeaf) {
	before, after = l, l
	before.Len = uint32(at - uint64(l.Logical))
	after.Logical = disk.LogicalNum(at)
	after.Physical += disk.BlockNum(before.Len)
	after.Len -= before.Len
	return before, after
}
