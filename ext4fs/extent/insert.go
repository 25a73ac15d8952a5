package extent

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxPhysical is the block after the last that an entry can name.
const maxPhysical = disk.BlockNum(1) << 48

// Insert maps a run; see Changer.
func (t *changer) Insert(tx cache.Tx, e Extent) error {
	if err := t.checkRun(e); err != nil {
		return err
	}
	if err := t.checkHole(uint64(e.Logical), e.End()); err != nil {
		return err
	}
	limit := lenLimit(e.Flags&FlagUnwritten != 0)
	if e.Len > limit {
		// With what undoing it takes.
		pieces := int((e.Len-1)/limit) + 1
		if err := need(tx, t.InsertCredits(pieces)+t.InsertCredits(1)+pieces*nodeCredits); err != nil {
			return err
		}
	}
	fewer := false
	for done := uint32(0); done < e.Len; {
		n, less, err := t.insert(tx, disk.ExtentLeaf{
			Logical: e.Logical + disk.LogicalNum(done), Len: min(e.Len-done, limit),
			Physical: e.Physical + disk.BlockNum(done), Unwritten: e.Flags&FlagUnwritten != 0,
		})
		if err != nil {
			return t.undo(tx, e.Logical, done, err)
		}
		done += n
		fewer = fewer || less
	}
	if fewer {
		if err := t.shrink(tx, e.Logical); err != nil {
			return t.undo(tx, e.Logical, e.Len, err)
		}
	}
	return nil
}

// undo unmaps what Insert has mapped of a run when it fails.
func (t *changer) undo(tx cache.Tx, l disk.LogicalNum, n uint32, err error) error {
	end := uint64(l) + uint64(n)
	for n > 0 && end > uint64(l) {
		next, uerr := t.Remove(tx, l, end, nil)
		if uerr != nil {
			return errors.Join(err, uerr)
		}
		end = next
	}
	return err
}

// insert maps what the leaf can hold of a run, and says how much that is, and
// whether it made two entries one. An
// index key may be lower than the first key of its child: then a run that
// fills the gap before that is not for one leaf.
func (t *changer) insert(tx cache.Tx, l disk.ExtentLeaf) (uint32, bool, error) {
	leaf, err := t.seek(l.Logical)
	if err != nil {
		return 0, false, err
	}
	high := t.path.steps[t.path.depth].high
	l.Len = uint32(min(uint64(l.Len), high-uint64(l.Logical)))
	count := leaf.Entries()
	i := leaf.Search(count, l.Logical)
	at, del, run := i+1, 0, l
	if i >= 0 {
		if left := leaf.Leaf(i); mergeable(left, run) {
			left.Len += run.Len
			at, del, run = i, 1, left
		}
	}
	if i+1 < count {
		if right := leaf.Leaf(i + 1); mergeable(run, right) {
			run.Len += right.Len
			del++
		}
	}
	t.edit.start(at, del)
	t.edit.add(run)
	return l.Len, del > 1, t.change(tx, leaf)
}

// mergeable reports whether b goes on where a ends, in one entry.
func mergeable(a, b disk.ExtentLeaf) bool {
	return a.End() == uint64(b.Logical) && a.Physical+disk.BlockNum(a.Len) == b.Physical &&
		a.Unwritten == b.Unwritten && a.Len+b.Len <= lenLimit(a.Unwritten)
}

// lenLimit is the longest run that an entry can say.
func lenLimit(unwritten bool) uint32 {
	if unwritten {
		return disk.MaxUnwrittenLen
	}
	return disk.MaxExtentLen
}

func (t *changer) checkRun(e Extent) error {
	switch {
	case e.Len == 0 || e.Flags&^FlagUnwritten != 0:
		return t.wrap(ErrInvalid)
	case e.End() > logicalEnd || e.Physical+disk.BlockNum(e.Len) > maxPhysical:
		return t.wrap(ErrTooBig)
	case e.Physical <= t.owner.FirstBlock || e.Physical >= t.blocks || disk.BlockNum(e.Len) > t.blocks-e.Physical:
		return t.corrupt(0, "blocks %d+%d of %d are to be mapped", e.Physical, e.Len, t.blocks)
	}
	return nil
}

// checkHole gives an error unless nothing in [from, end) is mapped. Mostly
// the leaf that the path leads to answers that.
func (t *changer) checkHole(from, end uint64) error {
	l := disk.LogicalNum(from)
	leaf, err := t.seek(l)
	if err != nil {
		return err
	}
	count := leaf.Entries()
	i := leaf.Search(count, l)
	if i >= 0 && leaf.Leaf(i).End() > from || i+1 < count && uint64(leaf.Key(i+1)) < end {
		return t.wrap(ErrMapped)
	}
	if i+1 < count {
		return nil
	}
	for pos := t.path.steps[t.path.depth].high; pos < end; {
		e, err := t.Find(disk.LogicalNum(pos))
		if err != nil {
			return err
		}
		if e.Flags&FlagHole == 0 {
			return t.wrap(ErrMapped)
		}
		pos = e.End()
	}
	return nil
}
