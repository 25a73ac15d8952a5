package indirect

import (
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// at is the index in the array at a level: that of a pointer block, or the
// root for the level above all blocks.
func (w *way) at(level int) int {
	if level == w.levels {
		return w.slot
	}
	return w.index[level]
}

// shared reports whether the array of pointers before this one hangs below the
// same block at a level above 0.
func (w *way) shared(level int) bool {
	for i := 1; i <= level; i++ {
		if w.index[i] > 0 {
			return true
		}
	}
	return false
}

// locate sets slot, levels and indexes of the way to a logical block, which
// must be below size.
func (t *changer) locate(l uint64) {
	w := &t.way
	*w = way{slot: int(min(l, direct))}
	if l < direct {
		return
	}
	l -= direct
	for w.levels = 1; w.levels < levels; w.levels++ {
		n := uint64(1) << (t.shift * uint(w.levels))
		if l < n {
			break
		}
		l -= n
	}
	w.slot = direct + w.levels - 1
	for level := range w.levels {
		w.index[level] = int(l >> (t.shift * uint(level)) & (1<<t.shift - 1))
	}
}

// reach is how many logical blocks from the one that was located on have their
// pointers in the same array.
func (t *changer) reach() uint64 {
	if t.way.levels == 0 {
		return uint64(direct - t.way.slot)
	}
	return uint64(1)<<t.shift - uint64(t.way.index[0])
}

// walk locates a logical block and goes down to it as far as there are pointer
// blocks. It returns the last array on the way, and how many blocks there are.
func (t *changer) walk(l uint64) (data []byte, have int, err error) {
	t.locate(l)
	w := &t.way
	data = t.root[:]
	for level := w.levels - 1; level >= 0; level-- {
		bn := pointer(data, w.at(level+1))
		if bn == 0 {
			break
		}
		if data, err = t.enter(level, bn); err != nil {
			return nil, 0, err
		}
		have++
	}
	return data, have, nil
}

// enter makes a pointer block part of the way, and returns its pointers.
func (t *changer) enter(level int, bn uint64) ([]byte, error) {
	w := &t.way
	if bn <= uint64(t.owner.FirstBlock) || bn >= t.blocks {
		return nil, t.corrupt(0, "pointer block at level %d is block %d of %d", level, bn, t.blocks)
	}
	for i := level + 1; i < w.levels; i++ {
		if w.blocks[i] == bn {
			return nil, t.corrupt(bn, "pointer block points to itself")
		}
	}
	w.blocks[level] = bn
	buf, err := t.cache.Get(disk.BlockNum(bn))
	if err != nil {
		return nil, t.wrap(err)
	}
	return buf.Data(), nil
}
