package format

import (
	"context"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Sizes of the orphan file, in blocks. Linux refuses longer ones.
const (
	orphanMin = 32
	orphanMax = 512
)

// orphanBlocks is the size of the orphan file.
func (p *plan) orphanBlocks() uint32 {
	sb := &p.sb
	if n := p.o.OrphanFileSize.blocks(sb.LogBlockSize); n != 0 {
		return uint32(min(n, orphanMax))
	}
	blocks := uint64(orphanMax)
	switch {
	case sb.BlocksCount < 128<<10:
		blocks = orphanMin
	case sb.BlocksCount < 2<<20:
		blocks = sb.BlocksCount / 4096
	}
	ratio := uint64(sb.ClusterRatio())
	return uint32(divUp(blocks, ratio) * ratio)
}

// layoutOrphanFile gives the orphan file an inode and a place.
func (m *image) layoutOrphanFile() error {
	p := m.p
	if !p.sb.Features.Compat.Has(disk.CompatOrphanFile) {
		return nil
	}
	h, ok := p.l.placeFile(0, p.orphanBlocks())
	if !ok {
		return &SmallError{p.sb.BlocksCount, "the orphan file"}
	}
	p.orphan = h
	p.sb.OrphanFileInode = m.newInode()
	return m.takeFile(&p.orphan)
}

// writeOrphanFile writes an orphan file without orphans.
func (m *image) writeOrphanFile(ctx context.Context) error {
	p := m.p
	if p.sb.OrphanFileInode == 0 {
		return nil
	}
	bs := p.sb.BlockSize()
	ino := p.sb.OrphanFileInode
	for _, r := range p.orphan.runs {
		buf := make([]byte, int(r.Len)*bs)
		for i := range int(r.Len) {
			b := buf[i*bs : (i+1)*bs]
			disk.InitOrphanBlock(b)
			if p.sb.HasMetadataCsum() {
				disk.SealOrphanBlock(m.inodeSeed(ino), r.Physical+disk.BlockNum(i), b)
			}
		}
		if err := m.write(ctx, r.Physical, buf); err != nil {
			return err
		}
	}
	_, err := m.putFile(ctx, ino, &p.orphan, int64(p.orphan.blocks)*int64(bs), 0)
	return err
}
