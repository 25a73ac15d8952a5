package ext4fs

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// For who writes to the device himself, as the kernel does with fuse-iomap:
// MapForWrite, then the writing, then ConvertUnwritten, then SetSize.

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
	w := mapping{i: i, expect: max(i.Size(), off+length)}
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
	err := i.edit(func(m *blockMap) int { return i.runCredits(m, w.end-w.at) },
		func(tx *opTx, m *blockMap) error {
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

// ConvertUnwritten makes the blocks of [off, off+length) written ones, after
// their data was written to the device. Those that are so already, and holes,
// are left.
func (i *Inode) ConvertUnwritten(off, length int64) error {
	if i.node == nil {
		return ErrReadOnly
	}
	if off < 0 || length <= 0 || length > maxExtentBytes(i.fs.blockShift(), true)-off {
		return fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, length, off, ErrInvalid)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return err
	}
	if !i.Flags().Has(disk.FlagExtents) {
		return nil
	}
	shift := i.fs.blockShift()
	at := uint64(off >> shift)
	end := at + i.blocksOf(off, int(length))
	return i.repeat(func() (bool, error) {
		err := i.edit(cutCredits, func(tx *opTx, m *blockMap) error {
			for begin := at; at < end; {
				e, err := m.Find(disk.LogicalNum(at))
				if err != nil {
					return err
				}
				next := min(e.End(), end)
				if e.Flags&extent.FlagUnwritten != 0 {
					next, err = m.SetUnwritten(tx, disk.LogicalNum(at), next, false)
				}
				at = next
				if err != nil {
					if at > begin && stops(err) {
						return nil
					}
					return err
				}
			}
			return nil
		})
		return at >= end, err
	})
}

// SetSize makes the file at least size bytes long, after data up to there was
// written to the device, and notes the change of content.
func (i *Inode) SetSize(size int64) error {
	if i.node == nil {
		return ErrReadOnly
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return err
	}
	if size < 0 || size > i.maxBytes() {
		return fmt.Errorf("inode %d: %d bytes: %w", i.num, size, ErrFileTooBig)
	}
	return i.change(func(h *txn) error {
		if err := i.allowSize(h, size); err != nil {
			return err
		}
		i.dataTID.Store(h.ID())
		return i.update(h, func(r disk.Inode) {
			if size > i.Size() {
				r.SetSize(size)
			}
			i.touch(r)
		})
	})
}
