package format

import (
	"context"
	"encoding/binary"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// journalSuper is the superblock of an empty journal.
func (p *plan) journalSuper() disk.JournalSuperblock {
	j := disk.JournalSuperblock{
		Type: disk.JournalSuperblockV2, BlockSize: uint32(p.sb.BlockSize()), MaxLen: p.journal.blocks, First: 1, Sequence: 1,
		UUID: p.sb.UUID, NrUsers: 1, NumFastBlocks: p.journal.fast,
	}
	if p.o.Journal.V1 {
		j.Type = disk.JournalSuperblockV1
	}
	return j
}

// writeJournal writes the superblock of the journal and sets its inode. The log
// behind it reads as zeros: wipe has seen to that.
func (m *image) writeJournal(ctx context.Context) error {
	p := m.p
	if p.sb.JournalInode == 0 {
		return nil
	}
	bs := p.sb.BlockSize()
	b := make([]byte, bs)
	super := p.journalSuper()
	super.Encode(b)
	if err := m.write(ctx, p.journal.runs[0].Physical, b); err != nil {
		return err
	}
	i, err := m.putFile(ctx, disk.JournalInode, &p.journal.hiddenFile, int64(p.journal.blocks)*int64(bs), 0)
	if err != nil {
		return err
	}
	// The superblock keeps a copy of where the journal is.
	slots := &p.sb.JournalBlocks
	for n := range disk.InodeBlockSize / 4 {
		slots[n] = binary.LittleEndian.Uint32(i.Block()[4*n:])
	}
	slots[15], slots[16] = i.SizeHi(), i.SizeLo()
	return nil
}
