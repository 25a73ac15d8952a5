package ext4fs

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// For who writes to the device himself, as the kernel does with fuse-iomap:
// MapForWrite, then the writing, then EndWrite. Whatever crash comes in between,
// no block beyond the size is a written one: in an extent tree those are
// unwritten, and without one the file is an orphan meanwhile, so that recovery
// frees them.

// MapForWrite makes sure that [off, off+length) has blocks, and returns the
// runs that cover it. New ones are unwritten; without an extent tree, which
// cannot say that, they are filled with zeros. The size does not change. Files
// whose data is journaled give ErrNotSupported. It may return less than was
// asked for where space runs out, at least the first block.
func (i *Inode) MapForWrite(off, length int64) ([]Extent, error) {
	if i.node == nil {
		return nil, ErrReadOnly
	}
	if off < 0 || length <= 0 {
		return nil, fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, length, off, ErrInvalid)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return nil, err
	}
	if i.readsThroughCache() {
		return nil, fmt.Errorf("inode %d: its data is journaled: %w", i.num, ErrNotSupported)
	}
	if err := i.outgrow(); err != nil {
		return nil, err
	}
	limit := i.maxBytes()
	if off >= limit {
		return nil, fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, length, off, ErrFileTooBig)
	}
	length = min(length, limit-off)
	w := mapping{i: i, expect: i.expected(off+length, 0)}
	shift := i.fs.blockShift()
	w.at = uint64(off >> shift)
	w.end = uint64((off + length + int64(i.fs.BlockSize()) - 1) >> shift)
	err := i.repeat(w.step)
	if stops(err) && len(w.runs) > 0 {
		err = nil
	}
	return w.runs, err
}

// mapping is a range being mapped.
type mapping struct {
	i       *Inode
	at, end uint64
	expect  int64
	runs    []Extent
}

func (w *mapping) step() (bool, error) {
	i := w.i
	err := i.edit(func(m *blockMap) int { return i.runCredits(m, w.end-w.at) + orphanCredits },
		func(tx *opTx, m *blockMap) error {
			if i.mapsLow() && w.end > uint64(i.firstBeyond(i.Size())) {
				if err := i.fs.orphanAdd(tx.h, i); err != nil {
					return err
				}
			}
			for first := true; w.at < w.end; first = false {
				if err := w.run(tx, m); err != nil {
					if !first && stops(err) {
						return nil
					}
					return err
				}
			}
			return nil
		})
	return w.at >= w.end, err
}

// run maps one run.
func (w *mapping) run(tx *opTx, m *blockMap) error {
	i, l := w.i, disk.LogicalNum(w.at)
	e, err := m.Find(l)
	if err != nil {
		return err
	}
	end := min(e.End(), w.end)
	if e.Flags&extent.FlagHole != 0 {
		r, err := i.allocRun(tx, m, l, uint32(min(end-w.at, disk.MaxUnwrittenLen)), w.expect)
		if err != nil {
			return err
		}
		e = Extent{Logical: l, Physical: r.bn, Len: r.n, Flags: extent.FlagUnwritten}
		if i.mapsLow() {
			if err := i.zeroBlocks(r.bn, r.n); err != nil {
				m.space.taken -= r.taken
				return i.giveBack(tx, r, err)
			}
			e.Flags = 0
		}
		if err := i.insertRun(tx, m, l, r, e.Flags); err != nil {
			return err
		}
		end = e.End()
	}
	if err := i.checkOwn(e); err != nil {
		return err
	}
	skip := uint32(w.at - uint64(e.Logical))
	w.add(Extent{
		Logical: l, Physical: e.Physical + disk.BlockNum(skip), Len: uint32(end - w.at), Flags: e.Flags,
	})
	w.at = end
	return nil
}

// add joins runs that go on.
func (w *mapping) add(e Extent) {
	if n := len(w.runs); n > 0 {
		last := &w.runs[n-1]
		if last.Physical+disk.BlockNum(last.Len) == e.Physical && last.Flags == e.Flags {
			last.Len += e.Len
			return
		}
	}
	w.runs = append(w.runs, e)
}

// EndWrite ends a write of [off, off+length), whose data the caller has put
// where MapForWrite said: the blocks become written ones, the file ends at
// off+length at least, and its times tell of a change of content. All of it is
// one transaction; where the range is in too many pieces for that, each leaves
// a file whose size does not reach beyond what is written. Holes are left, so
// that the caller has to see to it that nobody cuts the file in between.
func (i *Inode) EndWrite(off, length int64) error {
	if i.node == nil {
		return ErrReadOnly
	}
	if off < 0 || length <= 0 {
		return fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, length, off, ErrInvalid)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return err
	}
	if err := i.outgrow(); err != nil {
		return err
	}
	if limit := i.maxBytes(); off > limit || length > limit-off {
		return fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, length, off, ErrFileTooBig)
	}
	w := written{i: i, off: off, to: off + length, at: uint64(off >> i.fs.blockShift())}
	w.end = w.at + i.blocksOf(off, int(length))
	return i.repeat(w.step)
}

// written is a range that was written by somebody else.
type written struct {
	i       *Inode
	off, to int64  // in bytes
	at, end uint64 // blocks still to be done
}

func (w *written) step() (bool, error) {
	i := w.i
	err := i.edit(func(m *blockMap) int { return cutCredits(m) + orphanCredits + 1 },
		func(tx *opTx, m *blockMap) error {
			tx.keep += orphanCredits
			size := i.Size()
			if err := i.allowSize(tx.h, w.to); err != nil {
				return err
			}
			if w.off > size {
				if err := i.zeroPart(tx, m, size, w.off); err != nil {
					return err
				}
			}
			begin := w.at
			err := w.convert(tx, m)
			if w.at == begin || err != nil && !stops(err) {
				return err
			}
			return w.store(tx, m, size)
		})
	return w.at >= w.end, err
}

// convert makes unwritten blocks written ones, as far as the credits reach.
func (w *written) convert(tx *opTx, m *blockMap) error {
	for w.at < w.end {
		e, err := m.Find(disk.LogicalNum(w.at))
		if err != nil {
			return err
		}
		next := min(e.End(), w.end)
		if e.Flags&extent.FlagUnwritten != 0 {
			next, err = m.SetUnwritten(tx, disk.LogicalNum(w.at), next, false)
		}
		w.at = next
		if err != nil {
			return err
		}
	}
	return nil
}

// store sets the size that goes with what is done.
func (w *written) store(tx *opTx, m *blockMap, size int64) error {
	i := w.i
	size = max(size, min(int64(w.at)<<i.fs.blockShift(), w.to))
	err := i.storeMap(tx.h, func(r disk.Inode) {
		r.SetSize(size)
		i.touch(r)
	})
	if err == nil && i.mapsLow() && i.record().Links() > 0 {
		var beyond bool
		if beyond, err = i.mappedBeyond(m, size); err == nil && !beyond {
			err = i.fs.orphanDel(tx.h, i)
		}
	}
	if err != nil {
		return i.fs.abort(err)
	}
	return nil
}

// mappedBeyond reports whether there are blocks that a file of that size does
// not need.
func (i *Inode) mappedBeyond(m extent.Map, size int64) (bool, error) {
	l := i.firstBeyond(size)
	if l > disk.MaxLogical {
		return false, nil
	}
	return anyMapped(m, uint64(l), uint64(disk.MaxLogical)+1)
}
