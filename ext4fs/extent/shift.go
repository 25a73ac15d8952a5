package extent

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// moving remembers how far a move up came that stopped for want of credits.
type moving struct {
	from  disk.LogicalNum
	delta int64  // 0: none
	next  uint64 // runs from here on were moved
}

// Shift moves runs; see Changer.
func (t *changer) Shift(tx cache.Tx, from disk.LogicalNum, delta int64) (uint64, bool, error) {
	switch {
	case delta == 0:
		return uint64(from), true, nil
	case delta > int64(logicalEnd) || delta < -int64(from):
		return uint64(from), false, t.wrap(fmt.Errorf("move by %d from logical block %d: %w", delta, from, ErrInvalid))
	case delta < 0:
		t.moving = moving{}
		return t.shiftDown(tx, from, uint64(-delta))
	}
	return t.shiftUp(tx, from, uint64(delta))
}

func (t *changer) shiftDown(tx cache.Tx, from disk.LogicalNum, delta uint64) (uint64, bool, error) {
	first := uint64(from)
	if err := t.beginDown(tx, first, delta); err != nil {
		return first, false, err
	}
	for next := first; ; {
		end, err := t.moveDown(tx, next, delta)
		switch {
		case OutOfCredits(err) && next > first:
			return next, false, nil
		case err != nil:
			return next, false, err
		case end == 0:
			return next, true, t.joinAt(tx, first-delta)
		}
		next = end
	}
}

// beginDown checks that there is room below.
func (t *changer) beginDown(tx cache.Tx, from, delta uint64) error {
	for {
		leaf, i, err := t.lastOrEmpty(from, true)
		switch {
		case err != nil:
			return err
		case leaf == nil || i >= 0 && leaf.Leaf(i).End() <= from-delta:
			return nil
		case i >= 0:
			return t.wrap(ErrMapped)
		}
		// Its key would be in the way.
		if err := t.dropEmpty(tx, leaf); err != nil {
			return err
		}
	}
}

// moveDown moves the runs from next on that are in one leaf, and returns where
// they ended before; 0 if there are none.
func (t *changer) moveDown(tx cache.Tx, next, delta uint64) (uint64, error) {
	for next < logicalEnd {
		leaf, i, err := t.firstFrom(disk.LogicalNum(next))
		if err != nil || leaf == nil {
			return 0, err
		}
		if i >= 0 {
			count := leaf.Entries()
			end := leaf.Leaf(count - 1).End()
			return end, t.moveKeys(tx, leaf, i, count, -disk.LogicalNum(delta))
		}
		if err := t.dropEmpty(tx, leaf); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (t *changer) shiftUp(tx cache.Tx, from disk.LogicalNum, delta uint64) (uint64, bool, error) {
	next, changed := logicalEnd, false
	if m := t.moving; m.delta == int64(delta) && m.from == from {
		next = m.next
	} else if err := t.beginUp(tx, from, delta); err != nil {
		return next, false, err
	}
	for {
		t.moving = moving{}
		if next <= uint64(from) {
			return uint64(from), true, nil
		}
		key, err := t.moveUp(tx, from, next, delta)
		if OutOfCredits(err) {
			if next < logicalEnd {
				t.moving = moving{from, int64(delta), next}
			}
			if changed {
				return next, false, nil
			}
		}
		if err != nil {
			return next, false, err
		}
		next, changed = key, true
	}
}

// moveUp moves the runs in [from, next) that are in one leaf, and returns
// where they began before; from if there are none.
func (t *changer) moveUp(tx cache.Tx, from disk.LogicalNum, next, delta uint64) (uint64, error) {
	for {
		leaf, i, err := t.lastOrEmpty(next, true)
		if err != nil {
			return 0, err
		}
		if leaf == nil || i >= 0 && leaf.Key(i) < from {
			return uint64(from), nil
		}
		if i < 0 {
			if err := t.dropEmpty(tx, leaf); err != nil {
				return 0, err
			}
			continue
		}
		j := leaf.Search(i, from)
		if j < 0 || leaf.Key(j) < from {
			j++
		}
		key := uint64(leaf.Key(j))
		return key, t.moveKeys(tx, leaf, j, i+1, disk.LogicalNum(delta))
	}
}

// beginUp checks that the last run can be moved up, and splits the one that
// has from inside.
func (t *changer) beginUp(tx cache.Tx, from disk.LogicalNum, delta uint64) error {
	leaf, i, err := t.lastBefore(logicalEnd)
	if err != nil || leaf == nil {
		return err
	}
	if end := leaf.Leaf(i).End(); end > uint64(from) && end > logicalEnd-delta {
		return t.wrap(ErrTooBig)
	}
	if from == 0 {
		return nil
	}
	leaf, i, err = t.lastBefore(uint64(from))
	if err != nil || leaf == nil || leaf.Leaf(i).End() <= uint64(from) {
		return err
	}
	left, right := cut(leaf.Leaf(i), uint64(from))
	t.edit.start(i, 1)
	t.edit.add(left)
	t.edit.add(right)
	return t.change(tx, leaf)
}

// moveKeys adds delta to the keys of entries i to end of the leaf that the path
// leads to, and tells the nodes above. It is all or nothing.
func (t *changer) moveKeys(tx cache.Tx, leaf disk.ExtentNode, i, end int, delta disk.LogicalNum) error {
	e, p := &t.edit, &t.path
	e.start(0, 0)
	e.top = p.depth
	if i == 0 {
		t.planKey(p.depth, leaf.Key(0)+delta)
	}
	if err := t.acquire(tx, 0); err != nil {
		return err
	}
	t.commitKey()
	leaf = e.nodes[p.depth]
	for ; i < end; i++ {
		leaf.SetKey(i, leaf.Key(i)+delta)
	}
	p.ok = false // the keys of neighbours on the path have changed, too
	return nil
}

// joinAt joins the runs that meet at a logical block, if both are in one leaf.
// It is as it may be, like shrink.
func (t *changer) joinAt(tx cache.Tx, at uint64) error {
	if at == 0 || at >= logicalEnd {
		return nil
	}
	leaf, i, err := t.lastBefore(at + 1)
	if err != nil || leaf == nil || i == 0 || !mergeable(leaf.Leaf(i-1), leaf.Leaf(i)) {
		return nil
	}
	t.edit.start(i-1, 2)
	t.edit.add(join(leaf.Leaf(i-1), leaf.Leaf(i)))
	if tx.Extend(t.path.depth) != nil || t.prepare(tx, leaf, 0) != nil {
		return nil
	}
	return t.commit(tx)
}
