package extent

import (
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// SetUnwritten changes the state of blocks, run by run; see Changer.
func (t *changer) SetUnwritten(tx cache.Tx, from disk.LogicalNum, end uint64, unwritten bool) (uint64, error) {
	if end > logicalEnd {
		return uint64(from), t.wrap(ErrTooBig)
	}
	next, changed, fewer := uint64(from), false, false
	for next < end {
		at, less, err := t.convert(tx, disk.LogicalNum(next), end, unwritten)
		switch {
		case OutOfCredits(err) && changed:
			return next, nil
		case err != nil:
			return next, err
		}
		next, changed, fewer = at, true, fewer || less
	}
	if fewer {
		return next, t.shrink(tx, from)
	}
	return next, nil
}

// convert changes the state of the run that holds l, from there up to end, and
// returns where it stopped, and whether there are fewer runs now.
func (t *changer) convert(tx cache.Tx, l disk.LogicalNum, end uint64, unwritten bool) (uint64, bool, error) {
	leaf, err := t.seek(l)
	if err != nil {
		return 0, false, err
	}
	count := leaf.Entries()
	i := leaf.Search(count, l)
	if i < 0 || leaf.Leaf(i).End() <= uint64(l) {
		return 0, false, t.wrap(ErrNotMapped)
	}
	run := leaf.Leaf(i)
	end = min(end, run.End())
	if run.Unwritten == unwritten {
		return end, false, nil
	}
	left, rest := cut(run, uint64(l))
	middle, right := cut(rest, end)
	middle.Unwritten = unwritten
	at, del := i, 1
	if left.Len == 0 && i > 0 {
		if before := leaf.Leaf(i - 1); mergeable(before, middle) {
			middle = join(before, middle)
			at, del = i-1, del+1
		}
	}
	if right.Len == 0 && i+1 < count {
		if after := leaf.Leaf(i + 1); mergeable(middle, after) {
			middle = join(middle, after)
			del++
		}
	}
	e := &t.edit
	e.start(at, del)
	e.add(left)
	// A written run may be too long by one block for an unwritten one.
	first, second := cut(middle, uint64(middle.Logical)+uint64(min(middle.Len, lenLimit(unwritten))))
	e.add(first)
	e.add(second)
	e.add(right)
	less := e.n < del
	return end, less, t.change(tx, leaf)
}

func join(a, b disk.ExtentLeaf) disk.ExtentLeaf {
	a.Len += b.Len
	return a
}
