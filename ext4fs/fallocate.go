package ext4fs

import (
	"errors"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// FallocateMode says what Fallocate does; the bits are those of fallocate(2).
type FallocateMode uint32

// Modes of Fallocate. Zero allocates, and makes the file longer.
const (
	// FallocateKeepSize leaves the size alone. It goes with allocating and
	// zeroing, and must go with punching.
	FallocateKeepSize FallocateMode = 0x01
	// FallocatePunch makes a range a hole.
	FallocatePunch FallocateMode = 0x02
	// FallocateCollapse takes a range out of the file.
	FallocateCollapse FallocateMode = 0x08
	// FallocateZero makes a range read as zeros, and allocates it.
	FallocateZero FallocateMode = 0x10
	// FallocateInsert puts a hole into the file.
	FallocateInsert FallocateMode = 0x20

	fallocateVerbs = FallocatePunch | FallocateCollapse | FallocateZero | FallocateInsert
)

// Modes that Linux knows, and not for every ext4 file, or for none.
const (
	fallocateUnshare     FallocateMode = 0x40
	fallocateWriteZeroes FallocateMode = 0x80
)

// check gives ErrNotSupported for what Linux does not know. Like Linux it lets
// modes pass that will be refused for the file.
func (mode FallocateMode) check() error {
	keep := mode&FallocateKeepSize != 0
	switch mode &^ FallocateKeepSize {
	case 0, FallocateZero, fallocateUnshare:
		return nil
	case FallocatePunch:
		if keep {
			return nil
		}
	case FallocateCollapse, FallocateInsert, fallocateWriteZeroes:
		if !keep {
			return nil
		}
	}
	return mode.refuse()
}

func (mode FallocateMode) refuse() error {
	return fmt.Errorf("fallocate mode %#x: %w", uint32(mode), ErrNotSupported)
}

// Fallocate changes where the file has blocks, as fallocate(2) does. Blocks
// that are allocated read as zeros and are not written. Collapsing and
// inserting need whole clusters (ErrInvalid), and inside of the file. Files
// without an extent tree can only be punched (ErrNotSupported). Where space
// runs out, what was allocated before stays, beyond the end of the file.
//
// A large change takes several transactions: after a crash a part of it may
// have been done, as with Linux.
func (i *Inode) Fallocate(mode FallocateMode, off, length int64) error {
	switch {
	case i.node == nil:
		return ErrReadOnly
	case off < 0 || length <= 0:
		return fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, length, off, ErrInvalid)
	}
	if err := mode.check(); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return err
	}
	huge := i.fs.super.Features.ROCompat.Has(disk.ROCompatHugeFile)
	if limit := maxExtentBytes(i.fs.blockShift(), huge); off > limit || length > limit-off {
		return fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, length, off, ErrFileTooBig)
	}
	if mode&(fallocateUnshare|fallocateWriteZeroes) != 0 {
		return mode.refuse()
	}
	verb := mode & fallocateVerbs
	if verb != 0 && i.Flags().Has(disk.FlagAppend) {
		return fmt.Errorf("inode %d is append-only: %w", i.num, ErrNotPermitted)
	}
	if err := i.outgrow(); err != nil {
		return err
	}
	if verb != FallocatePunch && !i.Flags().Has(disk.FlagExtents) {
		return fmt.Errorf("inode %d: no extent tree: %w", i.num, ErrNotSupported)
	}
	return i.fallocate(mode, off, off+length)
}

func (i *Inode) fallocate(mode FallocateMode, off, end int64) error {
	switch mode & fallocateVerbs {
	case FallocatePunch:
		return i.punch(off, end)
	case FallocateCollapse:
		return i.collapse(off, end)
	case FallocateInsert:
		return i.insert(off, end)
	}
	size := end
	if mode&FallocateKeepSize != 0 {
		size = 0
	}
	return i.fill(off, end, size, mode&FallocateZero != 0)
}

// repeat runs step until it says that all is done, again where a commit gives
// space.
func (i *Inode) repeat(step func() (done bool, err error)) error {
	for done := false; !done; {
		err := i.fs.retry(func() (err error) {
			done, err = step()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// edit runs f with the map in a handle of so many credits beside those that
// every change may take, and then stores the map.
func (i *Inode) edit(credits func(m *blockMap) int, f func(tx *opTx, m *blockMap) error) (err error) {
	m, err := i.mapForChange()
	if err != nil {
		return err
	}
	h, err := i.fs.begin(i.fs.baseCredits() + credits(m))
	if err != nil {
		return err
	}
	defer func() { err = i.fs.end(h, err) }()
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	err = f(m.in(h, i.fs.baseCredits()), m)
	if serr := i.storeChanges(h, m); serr != nil {
		return i.fs.abort(serr)
	}
	return err
}

// filling is a range that is being allocated.
type filling struct {
	i       *Inode
	at, end uint64 // blocks still to be done
	off     int64  // bytes to become zeros, if zero is set
	to      int64
	size    int64 // the file's afterwards, if it is larger than before
	zero    bool
	begun   bool
}

// fill allocates what is not in [off, end), and with zero makes it all read as
// zeros. A size above the present one becomes the file's at the end.
func (i *Inode) fill(off, end, size int64, zero bool) error {
	shift := i.fs.blockShift()
	o := &filling{
		i: i, at: uint64(off >> shift), end: uint64(off>>shift) + i.blocksOf(off, int(end-off)),
		off: off, to: end, size: size, zero: zero,
	}
	return i.repeat(o.step)
}

func (o *filling) step() (bool, error) {
	i := o.i
	err := i.edit(func(m *blockMap) int { return i.runCredits(m, o.end-o.at) + 4 },
		func(tx *opTx, m *blockMap) error {
			if !o.begun && o.zero {
				if err := i.zeroEdges(tx, m, o.off, o.to); err != nil {
					return err
				}
			}
			if err := o.runs(tx, m); err != nil || o.begun && o.at < o.end {
				return err
			}
			return o.finish(tx, m)
		})
	return o.at >= o.end, err
}

// runs goes on until the range or the credits end.
func (o *filling) runs(tx *opTx, m *blockMap) error {
	for first := true; o.at < o.end; first = false {
		n, err := o.run(tx, m)
		o.at += n
		if err != nil {
			if (!first || n > 0) && stops(err) {
				return nil
			}
			return err
		}
	}
	return nil
}

// finish sets the times, and at the end the size.
func (o *filling) finish(tx *opTx, m *blockMap) error {
	i, size := o.i, o.size
	if o.at < o.end {
		size = 0
	}
	o.begun = true
	if size > i.Size() {
		if err := i.allowSize(tx.h, size); err != nil {
			return err
		}
		if err := i.zeroPart(tx, m, i.Size(), size); err != nil {
			return err
		}
	}
	return i.storeMap(tx.h, func(r disk.Inode) {
		if size > i.Size() {
			r.SetSize(size)
		}
		i.touch(r)
	})
}

// run does one run of the map, and returns how many blocks that were.
func (o *filling) run(tx *opTx, m *blockMap) (uint64, error) {
	i, l := o.i, disk.LogicalNum(o.at)
	e, err := m.Find(l)
	if err != nil {
		return 0, err
	}
	end := min(e.End(), o.end)
	switch {
	case e.Flags&extent.FlagHole != 0:
		want := uint32(min(end-o.at, disk.MaxUnwrittenLen))
		r, err := i.allocRun(tx, m, l, want, max(i.Size(), o.to))
		if err != nil {
			return 0, err
		}
		return uint64(r.n), i.insertRun(tx, m, l, r, extent.FlagUnwritten)
	case !o.zero || e.Flags&extent.FlagUnwritten != 0:
		return end - o.at, nil
	}
	// Only whole blocks can be made unwritten; the edges were zeroed.
	first, last := i.wholeBlocks(o.off, o.to)
	if o.at < first {
		return min(first, end) - o.at, nil
	}
	if end = min(end, last); o.at >= end {
		return o.end - o.at, nil
	}
	if err := need(tx, i.runCredits(m, 0)); err != nil {
		return 0, err
	}
	next, err := m.SetUnwritten(tx, l, end, true)
	i.forgetRun(tx, e, o.at, next)
	return next - o.at, err
}

// forgetRun takes journaled data out of the journal that has become unwritten:
// what is written there next may not be journaled.
func (i *Inode) forgetRun(tx *opTx, e Extent, from, to uint64) {
	if !i.readsThroughCache() {
		return
	}
	for ; from < to; from++ {
		tx.Forget(e.Physical + disk.BlockNum(from-uint64(e.Logical)))
	}
}

// wholeBlocks are the blocks all bytes of which lie in [off, end).
func (i *Inode) wholeBlocks(off, end int64) (first, last uint64) {
	shift := i.fs.blockShift()
	first = uint64(i.firstBeyond(off))
	return first, max(first, uint64(end>>shift))
}

// zeroEdges makes those bytes of [off, end) zeros that have a block only in
// part.
func (i *Inode) zeroEdges(tx *opTx, m *blockMap, off, end int64) error {
	bs := int64(i.fs.BlockSize())
	if off&(bs-1) != 0 {
		if err := i.zeroPart(tx, m, off, end); err != nil {
			return err
		}
	}
	if begin := end &^ (bs - 1); begin != end && begin >= off {
		return i.zeroPart(tx, m, begin, end)
	}
	return nil
}

// punch makes [off, end) a hole.
func (i *Inode) punch(off, end int64) error {
	if size := i.Size(); end >= size {
		// Like Linux, which does not go beyond the page that has the end.
		page := max(int64(i.fs.BlockSize()), 4096)
		end = min((size+page-1)&^(page-1), i.maxBytes())
	}
	if off >= i.Size() {
		return i.change(func(h *txn) error { return i.update(h, i.touch) })
	}
	first, last := i.wholeBlocks(off, end)
	begun := false
	return i.repeat(func() (bool, error) {
		err := i.edit(cutCredits, func(tx *opTx, m *blockMap) error {
			if !begun {
				if err := i.zeroEdges(tx, m, off, end); err != nil {
					return err
				}
			}
			next, err := i.removeSome(tx, m, disk.LogicalNum(first), last)
			if err != nil && next == last {
				return err
			}
			last = next
			if begun {
				return err
			}
			begun = true
			if serr := i.storeMap(tx.h, i.touch); serr != nil {
				return serr
			}
			return err
		})
		return last == first, err
	})
}

// removeSome is removeRuns, and no error where it only has to go on in another
// transaction.
func (i *Inode) removeSome(tx *opTx, m *blockMap, from disk.LogicalNum, end uint64) (uint64, error) {
	if uint64(from) >= end {
		return uint64(from), nil
	}
	next, err := i.removeRuns(tx, m, from, end)
	if err != nil && next < end && stops(err) {
		err = nil
	}
	return next, err
}

// cutCredits is what a step of removing many runs asks for: a good deal more
// than one run takes.
func cutCredits(m *blockMap) int { return 4*m.InsertCredits(1) + 16 }

// aligned gives ErrInvalid unless the range begins and ends with clusters.
func (i *Inode) aligned(off, end int64) error {
	if size := i.fs.super.ClusterSize(); off%size != 0 || end%size != 0 {
		return fmt.Errorf("inode %d: bytes %d to %d are not whole clusters: %w", i.num, off, end, ErrInvalid)
	}
	return nil
}

// collapse takes [off, end) out of the file.
func (i *Inode) collapse(off, end int64) error {
	if err := i.aligned(off, end); err != nil {
		return err
	}
	if end >= i.Size() {
		return fmt.Errorf("inode %d: collapse up to %d of %d bytes: %w", i.num, end, i.Size(), ErrInvalid)
	}
	i.dropPrealloc()
	shift := i.fs.blockShift()
	first, last := uint64(off>>shift), uint64(end>>shift)
	delta := int64(first) - int64(last)
	left, from := last, last // to be removed up to here; to be moved from here on
	return i.repeat(func() (done bool, err error) {
		err = i.edit(cutCredits, func(tx *opTx, m *blockMap) error {
			removed := left > first
			if removed {
				next, err := i.removeSome(tx, m, disk.LogicalNum(first), left)
				if left = next; err != nil || left > first {
					return err
				}
			}
			next, end, err := m.Shift(tx, disk.LogicalNum(from), delta)
			if err != nil {
				// Removing has taken the credits: on with others.
				if removed && stops(err) {
					return nil
				}
				return err
			}
			if from = next; !end {
				return nil
			}
			done = true
			return i.storeMap(tx.h, func(r disk.Inode) {
				r.SetSize(i.Size() + delta<<shift)
				i.touch(r)
			})
		})
		return done, err
	})
}

// insert puts a hole into the file at off, and moves what is there to end.
func (i *Inode) insert(off, end int64) error {
	if err := i.aligned(off, end); err != nil {
		return err
	}
	size := i.Size()
	switch {
	case off >= size:
		return fmt.Errorf("inode %d: insert at %d of %d bytes: %w", i.num, off, size, ErrInvalid)
	case end-off > i.maxBytes()-size:
		return fmt.Errorf("inode %d: %d bytes more than %d: %w", i.num, end-off, size, ErrFileTooBig)
	}
	i.dropPrealloc()
	shift := i.fs.blockShift()
	from, delta := disk.LogicalNum(off>>shift), (end-off)>>shift
	begun := false
	return i.repeat(func() (done bool, err error) {
		err = i.edit(cutCredits, func(tx *opTx, m *blockMap) error {
			if err := i.allowSize(tx.h, size+end-off); err != nil {
				return err
			}
			_, done, err = m.Shift(tx, from, delta)
			if errors.Is(err, extent.ErrTooBig) {
				err = fmt.Errorf("%w: %w", ErrInvalid, err) // as Linux says it
			}
			if err != nil || begun {
				return err
			}
			begun = true
			return i.storeMap(tx.h, func(r disk.Inode) {
				r.SetSize(size + end - off)
				i.touch(r)
			})
		})
		return done, err
	})
}
