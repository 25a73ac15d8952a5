package indirect

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Remove unmaps blocks, run by run from the end, as far as their pointers lie
// in one block; see extent.Changer. Pointer blocks without pointers, which do
// not come from here, go on the way.
func (t *changer) Remove(tx cache.Tx, from disk.LogicalNum, end uint64, free func(e extent.Extent) error) (uint64, error) {
	next := min(end, t.size())
	if uint64(from) >= next {
		return uint64(from), nil
	}
	begin, changed := next, false
	for {
		at, found, err := t.removeLast(tx, uint64(from), next, free)
		next, changed = at, changed || found
		switch {
		case extent.OutOfCredits(err) && (changed || next < begin):
			return next, nil
		case err != nil:
			return next, err
		case !found || next <= uint64(from):
			return uint64(from), nil
		}
	}
}

// part is some pointers in one array at the end of the way that are not zero,
// or the block at a level of the way, that has none.
type part struct {
	found      bool
	level      int // of the empty block; -1 for pointers
	first, end int // the pointers
	at         uint64
}

// removeLast unmaps the last run in [from, end), and returns where it began,
// and whether there was something to be removed. With an error it returns
// where what is still mapped ends.
func (t *changer) removeLast(tx cache.Tx, from, end uint64, free func(e extent.Extent) error) (uint64, bool, error) {
	p, err := t.last(from, end)
	if err != nil || !p.found {
		return end, false, err
	}
	w := &t.way
	var run extent.Extent
	level := p.level
	if level >= 0 {
		p.at = end // nothing is unmapped
		level++
	} else {
		data, err := t.array(0)
		if err == nil {
			run, err = t.lastRun(data, &p, from)
		}
		if err != nil {
			return end, false, err
		}
		level = 0
		if w.levels > 0 && empty(data, p.first, p.end, 1<<t.shift) {
			level = 1
		}
	}
	// Blocks below level go; the array at level is what changes.
	for ; level > 0 && level < w.levels; level++ {
		data, err := t.array(level)
		if err != nil {
			return end, false, err
		}
		if !empty(data, w.index[level], w.index[level]+1, 1<<t.shift) {
			break
		}
	}
	return t.unlink(tx, p, run, level, free)
}

// unlink makes pointers zero: those of the run, or that to the blocks below
// level, which go.
func (t *changer) unlink(tx cache.Tx, p part, run extent.Extent, level int, free func(e extent.Extent) error) (uint64, bool, error) {
	w := &t.way
	stay := max(p.at, run.End())
	more := level * nodeCredits
	if run.Len > 0 && free != nil {
		more += freeCredits
	}
	if err := need(tx, 1+more); err != nil {
		return stay, false, err
	}
	data, err := t.root[:], error(nil)
	if level < w.levels {
		if data, err = t.write(tx, w.blocks[level]); err != nil {
			return stay, false, err
		}
	}
	if run.Len > 0 && free != nil {
		if err := free(run); err != nil {
			return stay, false, err
		}
	}
	if level == 0 {
		clear(data[p.first*pointerSize : p.end*pointerSize])
		return p.at, true, nil
	}
	setPointer(data, w.at(level), 0)
	// What free took may have been meant for the nodes. If there is nothing
	// more, FreeNode says so.
	if err = need(tx, level*nodeCredits); errors.Is(err, cache.ErrCredits) {
		err = nil
	}
	for i := range level {
		if lost := t.release(tx, disk.BlockNum(w.blocks[i])); lost != nil {
			err = errors.Join(err, lost)
		}
	}
	return p.at, true, err
}

// last finds the last pointer to data in [from, end), or a block without
// pointers, and makes the way lead there.
func (t *changer) last(from, end uint64) (part, error) {
	w := &t.way
	base := t.size0(levels)
	visits := uint64(0)
	for n := levels; n > 0; n-- {
		base -= 1 << (t.shift * uint(n))
		if base >= end {
			continue
		}
		*w = way{slot: direct + n - 1, levels: n}
		bn := pointer(t.root[:], w.slot)
		if bn == 0 {
			continue
		}
		if base+1<<(t.shift*uint(n)) <= from {
			return part{}, nil
		}
		p, err := t.lastIn(n-1, bn, base, from, end, &visits)
		if err != nil || p.found {
			return p, err
		}
	}
	for i := int(min(end, direct)) - 1; i >= 0 && uint64(i) >= from; i-- {
		if pointer(t.root[:], i) != 0 {
			*w = way{slot: i}
			return part{found: true, level: -1, end: i + 1}, nil
		}
	}
	return part{}, nil
}

// size0 is the number of logical blocks that n levels of blocks map, bounded
// by nothing else.
func (t *changer) size0(n int) uint64 {
	size := uint64(direct)
	for i := range n {
		size += 1 << (t.shift * uint(i+1))
	}
	return size
}

// lastIn is last for what hangs below block bn.
func (t *changer) lastIn(level int, bn, base, from, end uint64, visits *uint64) (part, error) {
	if *visits++; *visits > t.blocks {
		return part{}, t.corrupt(bn, "more pointer blocks than the file system has blocks, %d", t.blocks)
	}
	data, err := t.enter(level, bn)
	if err != nil {
		return part{}, err
	}
	shift := t.shift * uint(level)
	low := int((max(from, base) - base) >> shift)
	high := int(min((end-1-base)>>shift, 1<<t.shift-1))
	for i := high; i >= low; i-- {
		bn := pointer(data, i)
		if bn == 0 {
			continue
		}
		t.way.index[level] = i
		if level == 0 {
			return part{found: true, level: -1, end: i + 1, at: base}, nil
		}
		p, err := t.lastIn(level-1, bn, base+uint64(i)<<shift, from, end, visits)
		if err != nil || p.found {
			return p, err
		}
	}
	if empty(data, 0, 0, 1<<t.shift) {
		return part{found: true, level: level}, nil
	}
	return part{}, nil
}

// lastRun finds the pointers in front of the last one that go on by one, down
// to logical block from, and completes p.
func (t *changer) lastRun(data []byte, p *part, from uint64) (extent.Extent, error) {
	base := p.at // the logical block of the array's first pointer
	p.first = p.end - 1
	bn := pointer(data, p.first)
	for p.first > 0 && base+uint64(p.first) > from && bn > 1 && pointer(data, p.first-1) == bn-1 {
		p.first--
		bn--
	}
	n := uint64(p.end - p.first)
	p.at = base + uint64(p.first)
	if bn <= uint64(t.owner.FirstBlock) || bn >= t.blocks || n > t.blocks-bn {
		return extent.Extent{}, t.corrupt(t.way.blocks[0], "logical blocks %d+%d are blocks %d+%d of %d", p.at, n, bn, n, t.blocks)
	}
	return extent.Extent{Logical: disk.LogicalNum(p.at), Physical: disk.BlockNum(bn), Len: uint32(n)}, nil
}

// array returns the pointers at a level of the way.
func (t *changer) array(level int) ([]byte, error) {
	if level == t.way.levels {
		return t.root[:], nil
	}
	return t.enter(level, t.way.blocks[level])
}

// empty reports whether no pointer of an array but those from first up to end
// is set. What is near to them is looked at first.
func empty(data []byte, first, end, count int) bool {
	for i := first - 1; i >= 0; i-- {
		if pointer(data, i) != 0 {
			return false
		}
	}
	return scan(data, count, end) == count
}
