package format

import (
	"context"
	"encoding/binary"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// The resize inode holds the blocks that are reserved for descriptors, so that
// nobody else takes them:
//
//	i_block[13]    its double indirect block
//	  entry (d+k)  reserved block k of the primary descriptors, d blocks of
//	               which are in use; the index wraps at the block's end
//	    entry j    the same block of the j-th backup
//
// Its size is what such a map can hold at most.
const resizeSlot = 13 // in i_block

// writeResizeInode writes the map of the resize inode.
func (m *image) writeResizeInode(ctx context.Context) error {
	p := m.p
	sb := &p.sb
	if p.dind == 0 {
		return nil
	}
	le := binary.LittleEndian
	bs := sb.BlockSize()
	per := uint64(bs / 4)
	reserved := uint32(sb.ReservedGDTBlocks)
	first, _ := sb.BaseMeta(0)
	first += 1 + disk.BlockNum(sb.DescBlocks())
	dind := make([]byte, bs)
	for k := range reserved {
		slot := (uint64(sb.DescBlocks()) + uint64(k)) % per
		le.PutUint32(dind[4*slot:], uint32(first)+k)
	}
	backups := p.backupGroups(per)
	if err := m.writeReserved(ctx, first, backups); err != nil {
		return err
	}
	if err := m.write(ctx, p.dind, dind); err != nil {
		return err
	}
	i := m.newRecord()
	i.SetMode(disk.ModeRegular | 0o600)
	i.SetLinks(1)
	i.SetSize(resizeInodeSize(bs))
	m.stamp(i)
	le.PutUint32(i.Block()[4*resizeSlot:], uint32(p.dind))
	clusters := 1 + uint64(reserved)*uint64(1+len(backups))
	i.SetSectors(clusters*uint64(sb.ClusterRatio())*uint64(bs/512), true, bs)
	m.putInode(disk.ResizeInode, i)
	return nil
}

// resizeInodeSize is the size of the resize inode.
func resizeInodeSize(bs int) int64 {
	per := int64(bs / 4)
	return (directBlocks + per + per*per) * int64(bs)
}

// backupGroups are the groups with copies of the descriptors, at most limit of
// them.
func (p *plan) backupGroups(limit uint64) []disk.GroupNum {
	var list []disk.GroupNum
	for g := disk.GroupNum(1); g < p.sb.Groups() && uint64(len(list)) < limit; g++ {
		if p.sb.HasSuper(g) {
			list = append(list, g)
		}
	}
	return list
}

// reservedPiece is how many reserved blocks are written at once: each is two
// buffers, and Linux takes 1024.
const reservedPiece = 512

// writeReserved writes the reserved blocks of the primary descriptors. Each
// begins with its pointers; the zeros behind those are the same for all.
func (m *image) writeReserved(ctx context.Context, first disk.BlockNum, backups []disk.GroupNum) error {
	sb := &m.p.sb
	if len(backups) == 0 && m.p.zeroed {
		return nil
	}
	reserved := int(sb.ReservedGDTBlocks)
	size := 4 * len(backups)
	zeros := make([]byte, sb.BlockSize()-size)
	pointers := make([]byte, 0, min(reserved, reservedPiece)*size)
	bufs := make([][]byte, 0, 2*min(reserved, reservedPiece))
	for from := 0; from < reserved; from += reservedPiece {
		pointers, bufs = pointers[:0], bufs[:0]
		for k := from; k < min(from+reservedPiece, reserved); k++ {
			n := len(pointers)
			for _, g := range backups {
				pointers = binary.LittleEndian.AppendUint32(pointers, uint32(first)+uint32(k)+uint32(g)*sb.BlocksPerGroup)
			}
			bufs = append(bufs, pointers[n:], zeros)
		}
		if err := m.writeV(ctx, first+disk.BlockNum(from), bufs); err != nil {
			return err
		}
	}
	return nil
}
