package indirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

const (
	// nodeCredits is what the allocation or freeing of a pointer block adds
	// to a transaction beside the block: its bit and the group's descriptor.
	nodeCredits = 2
	// freeCredits is what a step of Remove keeps at hand for its free.
	freeCredits = 4
)

// changer is a block map that can be changed. Its caller's lock guards it.
type changer struct {
	table
	space extent.Space
	way   way
	fresh [levels]freshBlock
}

type freshBlock struct {
	block disk.BlockNum
	data  []byte
}

// way is the way from the root to a pointer: the place in the root, then one
// pointer block for each level down to 0, whose pointers mean data.
type way struct {
	slot   int
	levels int            // 0: the slot itself points to data
	blocks [levels]uint64 // by level
	index  [levels]int    // by level
}

// Open is New for a map that is to be changed. It has no unwritten runs, and
// its runs cannot be moved, as the kernel does not do it either: SetUnwritten
// and Shift, and Insert of an unwritten run, give errors.ErrUnsupported.
// Blocks that 32 bits cannot number and logical blocks that three levels
// cannot reach are extent.ErrTooBig. Pointer blocks that become empty are
// given back.
func Open(c *cache.Cache, o extent.Owner, root []byte, s extent.Space) (extent.Changer, error) {
	t := &changer{space: s}
	if err := t.table.init(c, o, root); err != nil {
		return nil, err
	}
	return t, nil
}

// Root returns the 15 pointers of the inode; see extent.Changer.
func (t *changer) Root() []byte { return t.root[:] }

// InsertCredits counts for each run two ways down from the root, of new
// blocks, and giving back the first of them; see extent.Changer.
func (t *changer) InsertCredits(n int) int {
	if n <= 0 {
		return 0
	}
	return n*2*levels*(1+nodeCredits) + levels*nodeCredits + 1
}

// MaxRun is what one pointer block maps; see extent.Changer.
func (t *changer) MaxRun() uint32 { return 1 << t.shift }

// SetUnwritten is not possible.
func (t *changer) SetUnwritten(_ cache.Tx, from disk.LogicalNum, _ uint64, _ bool) (uint64, error) {
	return uint64(from), t.wrap(fmt.Errorf("unwritten blocks: %w", errors.ErrUnsupported))
}

// Shift is not possible.
func (t *changer) Shift(_ cache.Tx, from disk.LogicalNum, _ int64) (uint64, bool, error) {
	return uint64(from), false, t.wrap(fmt.Errorf("moving blocks: %w", errors.ErrUnsupported))
}

// size is the number of logical blocks that the map can hold.
func (t *changer) size() uint64 {
	n := uint64(direct)
	for depth := range levels {
		n += 1 << (t.shift * uint(depth+1))
	}
	return min(n, logicalEnd)
}

// Insert maps a run; see extent.Changer.
func (t *changer) Insert(tx cache.Tx, e extent.Extent) error {
	if err := t.checkRun(e); err != nil {
		return err
	}
	credits, err := t.checkHole(e)
	if err != nil {
		return err
	}
	if err := need(tx, credits); err != nil {
		return err
	}
	for done := uint32(0); done < e.Len; {
		n, err := t.insert(tx, uint64(e.Logical)+uint64(done), uint64(e.Physical)+uint64(done), e.Len-done)
		if err != nil {
			return t.undo(tx, e.Logical, done, err)
		}
		done += n
	}
	return nil
}

func (t *changer) checkRun(e extent.Extent) error {
	switch {
	case e.Flags == extent.FlagUnwritten:
		return t.wrap(fmt.Errorf("unwritten blocks: %w", errors.ErrUnsupported))
	case e.Len == 0 || e.Flags != 0:
		return t.wrap(extent.ErrInvalid)
	case e.End() > t.size() || uint64(e.Physical) > math.MaxUint32 || uint64(e.Physical)+uint64(e.Len) > math.MaxUint32+1:
		return t.wrap(extent.ErrTooBig)
	case e.Physical <= t.owner.FirstBlock || uint64(e.Physical) >= t.blocks || uint64(e.Len) > t.blocks-uint64(e.Physical):
		return t.corrupt(0, "blocks %d+%d of %d are to be mapped", e.Physical, e.Len, t.blocks)
	}
	return nil
}

// checkHole gives an error unless nothing of the run is mapped, and the
// credits that mapping it takes, or giving up half way.
func (t *changer) checkHole(e extent.Extent) (credits int, err error) {
	before := 0 // how many blocks the way to the last array lacked
	for l := uint64(e.Logical); l < e.End(); {
		data, have, err := t.walk(l)
		if err != nil {
			return 0, err
		}
		w := &t.way
		n := min(t.reach(), e.End()-l)
		missing := w.levels - have
		if i := w.at(0); missing == 0 && scan(data, i+int(n), i) < i+int(n) {
			return 0, t.wrap(extent.ErrMapped)
		}
		lacks := missing
		for missing > 1 && missing <= before && w.shared(missing-1) {
			missing-- // new, too, but not for this array
		}
		credits += min(have, 1) + missing*(1+nodeCredits)
		if n < e.End()-l {
			credits += missing * nodeCredits
		}
		before = lacks
		l += n
	}
	return credits + 1, nil
}

// undo unmaps what Insert has mapped of a run when it fails.
func (t *changer) undo(tx cache.Tx, l disk.LogicalNum, n uint32, err error) error {
	for end := uint64(l) + uint64(n); end > uint64(l); {
		next, uerr := t.Remove(tx, l, end, nil)
		if uerr != nil {
			return errors.Join(err, uerr)
		}
		end = next
	}
	return err
}

// insert maps as much of a run as one array of pointers holds. Only the lowest
// block that exists on the way changes; all below it are new.
func (t *changer) insert(tx cache.Tx, l, bn uint64, n uint32) (uint32, error) {
	data, have, err := t.walk(l)
	if err != nil {
		return 0, err
	}
	w := &t.way
	missing := w.levels - have
	if err := need(tx, min(have, 1)+missing*(1+nodeCredits)); err != nil {
		return 0, err
	}
	if have > 0 {
		if data, err = t.write(tx, w.blocks[missing]); err != nil {
			return 0, err
		}
	}
	if err := t.allocate(tx, missing); err != nil {
		return 0, err
	}
	n = uint32(min(t.reach(), uint64(n)))
	leaf := data
	if missing > 0 {
		leaf = t.fresh[0].data
	}
	for i := range n {
		setPointer(leaf, w.at(0)+int(i), bn+uint64(i))
	}
	for level := 1; level < missing; level++ {
		setPointer(t.fresh[level].data, w.index[level], uint64(t.fresh[level-1].block))
	}
	if missing > 0 {
		setPointer(data, w.at(missing), uint64(t.fresh[missing-1].block))
	}
	return n, nil
}

// allocate makes fresh pointer blocks for the levels below missing, from the
// top. When it fails it gives back what it got.
func (t *changer) allocate(tx cache.Tx, missing int) error {
	w := &t.way
	var goal disk.BlockNum
	if missing < w.levels {
		goal = disk.BlockNum(w.blocks[missing]) + 1
	}
	for level := missing - 1; level >= 0; level-- {
		bn, err := t.space.AllocNode(tx, goal)
		if err != nil {
			return t.cancel(tx, level+1, missing, t.wrap(err))
		}
		if t.inUse(bn, level, missing) {
			return t.cancel(tx, level+1, missing, t.corrupt(uint64(bn), "the block, one of %d, was given for pointers", t.blocks))
		}
		t.fresh[level] = freshBlock{block: bn}
		if bn > math.MaxUint32 {
			return t.cancel(tx, level, missing, t.wrap(fmt.Errorf("pointer block %d: %w", bn, extent.ErrTooBig)))
		}
		buf, err := tx.Fresh(bn, nil)
		if err != nil {
			return t.cancel(tx, level, missing, t.wrap(err))
		}
		if level > 0 {
			buf.SetPriority(cache.PriorityHigh)
		}
		t.fresh[level].data = buf.Data()
		goal = bn + 1
	}
	return nil
}

// inUse finds the worst of what a damaged bitmap makes an allocator do.
func (t *changer) inUse(bn disk.BlockNum, level, missing int) bool {
	used := bn <= t.owner.FirstBlock || uint64(bn) >= t.blocks
	for i := level + 1; i < t.way.levels; i++ {
		used = used || i < missing && t.fresh[i].block == bn || i >= missing && t.way.blocks[i] == uint64(bn)
	}
	return used
}

// cancel gives back the fresh blocks of some levels, and returns err.
func (t *changer) cancel(tx cache.Tx, from, to int, err error) error {
	for level := from; level < to; level++ {
		if lost := t.release(tx, t.fresh[level].block); lost != nil {
			err = errors.Join(err, lost)
		}
	}
	return err
}

// release gives back a block that is not linked; its error is an
// *extent.LostNodeError.
func (t *changer) release(tx cache.Tx, bn disk.BlockNum) error {
	if err := t.space.FreeNode(tx, bn); err != nil {
		return &extent.LostNodeError{Inode: t.owner.Inode, Block: bn, Err: err}
	}
	return nil
}

// write returns the version of a pointer block that may be changed.
func (t *changer) write(tx cache.Tx, bn uint64) ([]byte, error) {
	buf, err := tx.Write(disk.BlockNum(bn), nil)
	if err != nil {
		return nil, t.wrap(err)
	}
	return buf.Data(), nil
}

// need makes sure of n credits.
func need(tx cache.Tx, n int) error {
	if c := tx.Credits(); c < n {
		return tx.Extend(n - c)
	}
	return nil
}

// wrap says whose map an error from outside is about.
func (t *changer) wrap(err error) error {
	return fmt.Errorf("%s of inode %d: %w", what, t.owner.Inode, err)
}

func setPointer(data []byte, i int, bn uint64) {
	binary.LittleEndian.PutUint32(data[i*pointerSize:], uint32(bn))
}
