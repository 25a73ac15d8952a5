package format

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// finishPiece is how many bytes of neighbouring blocks are written at once.
const finishPiece = 4 << 20

// finish writes bitmaps and descriptors and, when all else is on the device,
// the superblocks: the copies, then the one that makes it a file system.
func (m *image) finish(ctx context.Context) error {
	p := m.p
	sb := &p.sb
	bs := sb.BlockSize()
	// In the copies a superblock stands in front.
	backup := make([]byte, bs+int(sb.DescBlocks())*bs)
	descs := backup[bs:]
	if err := m.writeBitmaps(ctx, descs); err != nil {
		return err
	}
	if err := m.writeDescs(ctx, descs); err != nil {
		return err
	}
	if err := m.w.Sync(); err != nil {
		return fmt.Errorf("flush before the superblocks: %w", err)
	}
	if err := m.writeBackups(ctx, backup[:bs+int(p.classicDescs())*bs]); err != nil {
		return err
	}
	b := p.encodeSuper(0)
	if err := m.writeBytes(ctx, disk.SuperblockOffset, b[:]); err != nil {
		return fmt.Errorf("superblock: %w", err)
	}
	if err := m.w.Sync(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// encodeSuper is the superblock for group g. A copy does not say that the file
// system is valid.
func (p *plan) encodeSuper(g disk.GroupNum) (b [disk.SuperblockSize]byte) {
	sb := p.sb
	sb.GroupNr = uint16(min(g, 1<<16-1))
	if g != 0 {
		sb.State &^= disk.StateValid
	}
	sb.Encode(b[:])
	if sb.HasMetadataCsum() {
		disk.SealSuperblock(b[:])
	}
	return b
}

// groupState is what a descriptor says of a group, but for places.
type groupState struct {
	freeClusters, freeInodes, dirs, unused uint32
	flags                                  uint16
	blockSum, inodeSum                     uint32
}

// writeBitmaps writes the bitmaps that are initialised, makes all descriptors
// and sums up what is free.
func (m *image) writeBitmaps(ctx context.Context, descs []byte) error {
	p := m.p
	sb := &p.sb
	w := &runWriter{m: m, ctx: ctx}
	size, per := sb.DescSize(), int(sb.DescsPerBlock())
	free, inodes := uint64(0), uint64(0)
	for g := range sb.Groups() {
		if g%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s, err := m.finishGroup(g, w)
		if err != nil {
			return err
		}
		at := int(g)/per*sb.BlockSize() + int(g)%per*size
		s.encode(sb, g, p.groups[g], descs[at:at+size])
		free += uint64(s.freeClusters)
		inodes += uint64(s.freeInodes)
	}
	sb.FreeBlocks = free * uint64(sb.ClusterRatio())
	sb.FreeInodes = uint32(inodes)
	return w.flush()
}

func (s *groupState) encode(sb *disk.Superblock, g disk.GroupNum, at place, d disk.GroupDesc) {
	d.SetBlockBitmap(at.blockBitmap)
	d.SetInodeBitmap(at.inodeBitmap)
	d.SetInodeTable(at.inodeTable)
	d.SetFreeClusters(s.freeClusters)
	d.SetFreeInodes(s.freeInodes)
	d.SetUsedDirs(s.dirs)
	d.SetFlags(s.flags)
	d.SetItableUnused(s.unused)
	d.SetBlockBitmapChecksum(s.blockSum)
	d.SetInodeBitmapChecksum(s.inodeSum)
	sb.SealGroupDesc(g, d)
}

// finishGroup finds the state of a group and writes its bitmaps. A bitmap that
// follows from the descriptor is left out where descriptors have checksums.
func (m *image) finishGroup(g disk.GroupNum, w *runWriter) (s groupState, err error) {
	p := m.p
	sb := &p.sb
	used := m.usedInodes(g)
	s.freeInodes, s.dirs = sb.InodesPerGroup-used, m.usedDirs(g)
	csum := sb.HasGroupCsum()
	if csum {
		s.unused = s.freeInodes
		if p.zeroed || !p.lazyTables() {
			s.flags |= disk.GroupInodeZeroed
		}
		if used == 0 {
			s.flags |= disk.GroupInodeUninit
		}
		if p.blockUninit(g, used) && !m.s.touched(g) {
			s.flags |= disk.GroupBlockUninit
		}
	}
	sum := func(b []byte, bits uint32) uint32 {
		if !sb.HasMetadataCsum() {
			return 0
		}
		c := disk.Sum(sb.Seed(), b[:bits/8])
		if sb.DescSize() < 64 {
			c &= 0xffff
		}
		return c
	}
	if s.flags&disk.GroupBlockUninit != 0 {
		s.freeClusters = m.s.freeIn(g)
	} else {
		b, err := w.block(p.groups[g].blockBitmap)
		if err != nil {
			return s, err
		}
		s.freeClusters = m.s.groupUsed(g, b)
		s.blockSum = sum(b, sb.ClustersPerGroup)
	}
	if s.flags&disk.GroupInodeUninit == 0 {
		b, err := w.block(p.groups[g].inodeBitmap)
		if err != nil {
			return s, err
		}
		inodeBitmap(b, used, sb.InodesPerGroup)
		s.inodeSum = sum(b, sb.InodesPerGroup)
	}
	return s, nil
}

// blockUninit reports whether readers can know the block bitmap of a group in
// which nothing but its own tables lies, and used inodes are in use. Like the
// kernel, mke2fs sets up both bitmaps with the first inode.
func (p *plan) blockUninit(g disk.GroupNum, used uint32) bool {
	sb := &p.sb
	if g == sb.Groups()-1 || p.hosts[g/64]&(1<<(g%64)) != 0 {
		return false
	}
	last := uint64(g)*uint64(sb.InodesPerGroup) + uint64(used)
	return used == 0 || last < uint64(disk.FirstInodeRev0)
}

// inodeBitmap makes b, one block, the bitmap of a group of whose n inodes the
// first used ones are in use.
func inodeBitmap(b []byte, used, n uint32) {
	setAll(b)
	clearBits(b, used, n-used)
}

// runWriter writes blocks, those that follow each other at once. It keeps two
// runs open: block bitmaps and inode bitmaps.
type runWriter struct {
	m    *image
	ctx  context.Context
	runs [2]struct {
		at  disk.BlockNum
		buf []byte
	}
	last int
}

// block is the bytes of a block, for the caller to fill before the next call.
func (w *runWriter) block(bn disk.BlockNum) ([]byte, error) {
	bs := w.m.p.sb.BlockSize()
	to := 1 - w.last
	for i := range w.runs {
		r := &w.runs[i]
		if len(r.buf) > 0 && r.at+disk.BlockNum(len(r.buf)/bs) == bn {
			to = i
		}
	}
	w.last = to
	r := &w.runs[to]
	n := len(r.buf)
	if n > 0 && (n+bs > finishPiece || r.at+disk.BlockNum(n/bs) != bn) {
		if err := w.m.write(w.ctx, r.at, r.buf); err != nil {
			return nil, err
		}
		n = 0
	}
	if n == 0 {
		r.at, r.buf = bn, r.buf[:0]
	}
	for cap(r.buf) < n+bs {
		r.buf = append(r.buf[:cap(r.buf)], make([]byte, bs)...)
	}
	r.buf = r.buf[:n+bs]
	return r.buf[n:], nil
}

// flush writes what is left.
func (w *runWriter) flush() error {
	for i := range w.runs {
		r := &w.runs[i]
		if len(r.buf) == 0 {
			continue
		}
		if err := w.m.write(w.ctx, r.at, r.buf); err != nil {
			return err
		}
		r.buf = r.buf[:0]
	}
	return nil
}

// classicDescs is how many descriptor blocks lie behind superblocks; the others
// have the meta_bg layout.
func (p *plan) classicDescs() uint32 {
	n := p.sb.DescBlocks()
	if p.sb.Features.Incompat.Has(disk.IncompatMetaBG) {
		n = min(n, p.sb.FirstMetaBG)
	}
	return n
}

// writeDescs writes the primary descriptors, and with meta_bg all of them.
func (m *image) writeDescs(ctx context.Context, descs []byte) error {
	sb := &m.p.sb
	bs := sb.BlockSize()
	classic := m.p.classicDescs()
	if classic > 0 {
		if err := m.write(ctx, sb.DescBlock(0), descs[:int(classic)*bs]); err != nil {
			return err
		}
	}
	per := disk.GroupNum(sb.DescsPerBlock())
	for i := classic; i < sb.DescBlocks(); i++ {
		b := descs[int(i)*bs : (int(i)+1)*bs]
		for copy, in := range [3]disk.GroupNum{0, 1, per - 1} {
			g := disk.GroupNum(i)*per + in
			if g >= sb.Groups() || copy == 2 && per == 2 {
				break
			}
			if err := m.write(ctx, sb.DescBlockCopy(i, disk.GroupNum(copy)), b); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeBackups writes the copies of the superblock, each with the descriptors
// that follow it: those stand in buf, behind room for the superblock.
func (m *image) writeBackups(ctx context.Context, buf []byte) error {
	p := m.p
	sb := &p.sb
	for g := disk.GroupNum(1); g < sb.Groups(); g++ {
		if !sb.HasSuper(g) {
			continue
		}
		b := p.encodeSuper(g)
		copy(buf, b[:])
		first, _ := sb.BaseMeta(g)
		if err := m.write(ctx, first, buf); err != nil {
			return err
		}
	}
	return nil
}
