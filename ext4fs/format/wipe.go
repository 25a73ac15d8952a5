package format

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// bootArea is what belongs to boot loaders, before the superblock.
	bootArea = disk.SuperblockOffset
	// wipeStart covers the signatures that other file systems have at the
	// start; the last is that of Btrfs at 64 KiB.
	wipeStart = 68 << 10
	// wipeEnd covers those at the end: RAID members, backup tables of GPT.
	wipeEnd = 64 << 10
	// maxOldBackups is how many superblock copies of an old file system are
	// looked for.
	maxOldBackups = 128
	// maxOldGroups is how many of its groups are: an old superblock may say
	// anything.
	maxOldGroups = 1 << 22
)

// wipe makes sure that there is no file system on the device, and that what is
// not going to be written reads as zeros where that matters. A new file needs
// nothing of this.
func (m *image) wipe(ctx context.Context) error {
	p := m.p
	p.zeroed = p.o.Zeroed
	if p.zeroed {
		return nil
	}
	if err := wipeSupers(ctx, m.w); err != nil {
		return err
	}
	size := int64(p.sb.Blocks()) * int64(p.sb.BlockSize())
	if !p.o.NoDiscard {
		if err := p.discard(m.w, size); err != nil {
			return err
		}
	}
	if p.zeroed {
		return nil
	}
	if err := wipeSignatures(m.w, size); err != nil {
		return err
	}
	return m.zeroUnwritten(ctx)
}

// discard gives back the space of the device. The content of a host's regular
// file is zeros afterwards.
func (p *plan) discard(w device.Writer, size int64) error {
	if h, ok := w.(device.HostRanger); ok {
		f, _, n := h.HostRange(0, size)
		if f != nil && n == size {
			if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
				if err := device.Zero(w, 0, size); err != nil {
					return fmt.Errorf("clear the image: %w", err)
				}
				p.zeroed = true
				return nil
			}
		}
	}
	// It is only a hint: what refuses it can be written to all the same.
	if err := device.Discard(w, 0, size); err != nil && !errors.Is(err, errors.ErrUnsupported) && p.o.Warn != nil {
		p.o.Warn("", fmt.Errorf("discard: %w", err))
	}
	return nil
}

// wipeSupers makes the superblocks of an old file system unreadable, the copies
// first, and waits until they are.
func wipeSupers(ctx context.Context, w device.Writer) error {
	var b [disk.SuperblockSize]byte
	if w.Size() < disk.SuperblockOffset+disk.SuperblockSize {
		return nil
	}
	if _, err := w.ReadAt(b[:], disk.SuperblockOffset); err != nil && err != io.EOF {
		return fmt.Errorf("read the old superblock: %w", err)
	}
	var old disk.Superblock
	if old.Decode(b[:]) != nil {
		return nil
	}
	if old.Validate(-1) == nil && old.Groups() > 0 {
		if err := wipeCopies(ctx, w, &old); err != nil {
			return err
		}
	}
	clear(b[:])
	if _, err := w.WriteAt(b[:], disk.SuperblockOffset); err != nil {
		return fmt.Errorf("wipe the old superblock: %w", err)
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("flush the wiped superblock: %w", err)
	}
	return nil
}

// wipeCopies wipes the copies of a superblock.
func wipeCopies(ctx context.Context, w device.Writer, old *disk.Superblock) error {
	var b [disk.SuperblockSize]byte
	seen := 0
	blocks := uint64(w.Size()) / uint64(old.BlockSize())
	for g := disk.GroupNum(1); g < min(old.Groups(), maxOldGroups) && seen < maxOldBackups; g++ {
		if g%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		bn := old.GroupFirstBlock(g)
		if uint64(bn) >= blocks {
			return nil
		}
		if !old.HasSuper(g) {
			continue
		}
		seen++
		off := int64(bn) * int64(old.BlockSize())
		if _, err := w.ReadAt(b[:], off); err != nil && err != io.EOF {
			return fmt.Errorf("read an old superblock copy at %d: %w", off, err)
		}
		var s disk.Superblock
		if s.Decode(b[:]) != nil {
			continue
		}
		clear(b[:])
		if _, err := w.WriteAt(b[:], off); err != nil {
			return fmt.Errorf("wipe an old superblock copy at %d: %w", off, err)
		}
	}
	return nil
}

// wipeSignatures zeroes what other file systems, RAIDs and partition tables are
// recognised by. A BSD disk label in the boot area is kept.
func wipeSignatures(w device.Writer, size int64) error {
	from := int64(0)
	var boot [512]byte
	if _, err := w.ReadAt(boot[:], 0); err != nil && err != io.EOF {
		return fmt.Errorf("read the boot area: %w", err)
	}
	if magic := binary.LittleEndian.Uint32(boot[64:]); magic == 0x82564557 || magic == 0x57455682 {
		from = bootArea
	}
	if err := writeZero(w, from, min(wipeStart, size)-from); err != nil {
		return err
	}
	end := max((size&^(wipeEnd-1))-wipeEnd, wipeStart)
	return writeZero(w, end, size-end)
}

func writeZero(w device.Writer, off, n int64) error {
	if n <= 0 {
		return nil
	}
	if _, err := w.WriteAt(make([]byte, n), off); err != nil {
		return fmt.Errorf("wipe %d bytes at %d: %w", n, off, err)
	}
	return nil
}

// lazyTables reports whether inode tables may keep old content where no inode
// ever was: checksums of descriptors must vouch for how far that is.
func (p *plan) lazyTables() bool {
	return p.sb.HasGroupCsum() && (p.o.LazyItable == nil || *p.o.LazyItable)
}

// zeroUnwritten zeroes inode tables and the log of the journal, as far as they
// must not keep old content.
func (m *image) zeroUnwritten(ctx context.Context) error {
	p := m.p
	table := uint64(p.sb.InodeTableBlocks())
	if !p.lazyTables() {
		var v interval
		for _, g := range p.groups {
			at := uint64(g.inodeTable)
			if at == v.to {
				v.to += table
				continue
			}
			if err := m.zeroBlocks(ctx, v); err != nil {
				return err
			}
			v = interval{at, at + table}
		}
		if err := m.zeroBlocks(ctx, v); err != nil {
			return err
		}
	}
	if p.o.LazyJournal {
		return nil
	}
	for _, r := range p.journal.runs {
		if err := m.zeroBlocks(ctx, interval{uint64(r.Physical), uint64(r.Physical) + uint64(r.Len)}); err != nil {
			return err
		}
	}
	return nil
}

// zeroStep is how many bytes are zeroed before ctx is looked at again.
const zeroStep = 256 << 20

// zeroBlocks makes blocks read as zeros.
func (m *image) zeroBlocks(ctx context.Context, v interval) error {
	bs := int64(m.p.sb.BlockSize())
	for off, end := int64(v.from)*bs, int64(v.to)*bs; off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(end-off, zeroStep)
		if err := device.Zero(m.w, off, n); err != nil {
			return fmt.Errorf("zero %d bytes at %d: %w", n, off, err)
		}
		off += n
	}
	return nil
}

// writeBytes writes b at a byte offset.
func (m *image) writeBytes(ctx context.Context, off int64, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := m.w.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
