package format

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
)

// system takes the blocks of the file system's own files, and gives inodes to
// those that have no fixed ones. It writes nothing.
func (m *image) system(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := m.p
	if err := m.takeFile(&p.journal.hiddenFile); err != nil {
		return err
	}
	for _, bn := range []disk.BlockNum{p.dind, p.mmp} {
		if bn != 0 && !m.s.takeAt(bn, 1) {
			return m.notFree(bn, 1)
		}
	}
	if err := m.layoutQuota(); err != nil {
		return err
	}
	return m.layoutOrphanFile()
}

// takeFile takes the blocks of a file from the space.
func (m *image) takeFile(h *hiddenFile) error {
	for bn, n := range h.all {
		if !m.s.takeAt(bn, n) {
			return m.notFree(bn, n)
		}
	}
	return nil
}

// notFree cannot happen as long as plan and space see the same.
func (m *image) notFree(bn disk.BlockNum, n uint32) error {
	return &disk.CorruptError{What: "plan of the file system", Block: bn, Detail: fmt.Sprintf("%d blocks are not free", n)}
}

// layoutQuota gives quota files their places.
func (m *image) layoutQuota() error {
	p := m.p
	for _, k := range p.quotas {
		ino := p.sb.QuotaInode(k)
		if ino == 0 {
			ino = m.newInode()
			p.sb.ProjectQuotaInode = ino
		}
		bytes := uint64(newQuotaShape(m.usage.sorted(k)).blocks()) * disk.QuotaBlockSize
		h, ok := p.l.placeFile(p.l.inodeGoal(ino), uint32(divUp(bytes, uint64(p.sb.BlockSize()))))
		if !ok {
			return &SmallError{p.sb.BlocksCount, "the quota files"}
		}
		p.files[k] = h
		if err := m.takeFile(&p.files[k]); err != nil {
			return err
		}
	}
	return nil
}

// writeSystem writes the file system's own files, and sets their inodes. The
// UUID must be known.
func (m *image) writeSystem(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		m.writeBadBlocks, m.writeJournal, m.writeResizeInode, m.writeMMP, m.writeQuota, m.writeOrphanFile,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// putFile writes the map of a hidden file and sets its inode, which it returns.
func (m *image) putFile(ctx context.Context, n disk.InodeNum, h *hiddenFile, size int64, flags disk.InodeFlags) (disk.Inode, error) {
	sb := &m.p.sb
	i := m.newRecord()
	i.SetMode(disk.ModeRegular | 0o600)
	i.SetLinks(1)
	i.SetSize(size)
	build := indirect.Build
	if sb.Features.Incompat.Has(disk.IncompatExtents) {
		flags |= disk.FlagExtents
		build = extent.Build
	}
	i.SetFlags(flags)
	m.stamp(i)
	if !i.SetSectors(h.sectors(sb), sb.Features.ROCompat.Has(disk.ROCompatHugeFile), sb.BlockSize()) {
		return nil, bad("journal size", size, "a file this long needs huge_file")
	}
	o := extent.Owner{
		Inode: n, Seed: m.inodeSeed(n), HasChecksum: sb.HasMetadataCsum(),
		FirstBlock: disk.BlockNum(sb.FirstDataBlock), Blocks: sb.Blocks(),
	}
	err := build(o, sb.BlockSize(), h.runs, h.nodes, i.Block(), func(bn disk.BlockNum, b []byte) error {
		return m.write(ctx, bn, b)
	})
	if err != nil {
		return nil, err
	}
	m.putInode(n, i)
	return i, nil
}

// stamp sets all times of an inode to that of making.
func (m *image) stamp(i disk.Inode) {
	now := disk.ClampTime(m.p.o.time(), m.p.sb.WantExtraIsize >= 16)
	i.SetAtime(now)
	i.SetCtime(now)
	i.SetMtime(now)
	i.SetCrtime(now)
}

// writeBadBlocks sets the inode of bad blocks: there are none.
func (m *image) writeBadBlocks(context.Context) error {
	i := m.newRecord()
	m.stamp(i)
	m.putInode(disk.BadBlocksInode, i)
	return nil
}

// writeQuota writes the quota files.
func (m *image) writeQuota(ctx context.Context) error {
	p := m.p
	for _, k := range p.quotas {
		b := m.usage.encode(k)
		if err := m.writeFile(ctx, &p.files[k], b); err != nil {
			return err
		}
		if _, err := m.putFile(ctx, p.sb.QuotaInode(k), &p.files[k], int64(len(b)), disk.FlagImmutable); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes the content of a hidden file, which has no holes, with zeros
// at its end.
func (m *image) writeFile(ctx context.Context, h *hiddenFile, b []byte) error {
	bs := m.p.sb.BlockSize()
	if rest := int(h.blocks)*bs - len(b); rest > 0 {
		b = append(b[:len(b):len(b)], make([]byte, rest)...)
	}
	for _, r := range h.runs {
		n := int(r.Len) * bs
		if err := m.write(ctx, r.Physical, b[int(r.Logical)*bs:][:n]); err != nil {
			return err
		}
	}
	return nil
}
