package format

import (
	"context"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// image is a file system on its way to a device. First all of it is laid out,
// which changes nothing but memory and may be a trial: system takes the blocks
// of the hidden files and gives them inodes, then layOut gives the content its
// own. Then Write calls, in this order
//
//	wipe         so that there is no file system on the device
//	readInline   the content of files that lie in their inodes
//	copyData     the content of all others
//	             (now the UUID is known, and with it the seed of checksums)
//	writeMeta    blocks of directories, links, attributes, maps
//	writeSystem  blocks of hidden files
//	writeInodes  inode tables, as far as they are in use
//	finish       bitmaps, descriptors, and last the superblocks
type image struct {
	p *plan
	s *space
	w device.Writer // nil while it is laid out

	// next is the first inode that is not in use: all below it are, from 1
	// on. It is FirstInode + 1 (lost+found has the first) when system begins.
	next disk.InodeNum
	// hidden are the inodes of the file system itself, without checksums.
	hidden map[disk.InodeNum]disk.Inode
	// usage counts for quota files: when system begins it knows all owners,
	// and before writeSystem all they have. Nil without quota files.
	usage *usage

	*content
	layout
}

// newInode gives a number to a hidden inode that has no fixed one.
func (m *image) newInode() disk.InodeNum {
	m.next++
	return m.next - 1
}

// putInode sets a hidden inode, or one of the reserved ones. Its checksum is
// made when it is written, so its content may change until then.
func (m *image) putInode(n disk.InodeNum, i disk.Inode) { m.hidden[n] = i }

// newRecord is an inode of zeros, with the extra size that this file system
// gives its inodes.
func (m *image) newRecord() disk.Inode {
	return disk.NewInode(m.p.sb.InodeSize(), int(m.p.sb.WantExtraIsize))
}

// inodeSeed begins the checksums of what belongs to an inode of generation 0.
// It is not known before the UUID is, which in a reproducible image depends on
// the content: nothing that has a checksum can be made while it is laid out.
func (m *image) inodeSeed(n disk.InodeNum) uint32 { return disk.InodeSeed(m.p.sb.Seed(), n, 0) }

// usedInodes is the number of inodes of group g that are in use: the first ones
// of the group.
func (m *image) usedInodes(g disk.GroupNum) uint32 {
	per := uint64(m.p.sb.InodesPerGroup)
	first := uint64(g) * per
	if last := uint64(m.next) - 1; last > first {
		return uint32(min(last-first, per))
	}
	return 0
}

// usedDirs is the number of inodes of group g that are directories.
func (m *image) usedDirs(g disk.GroupNum) uint32 {
	if int(g) < len(m.groupDirs) {
		return m.groupDirs[g]
	}
	return 0
}

// write writes whole blocks from block bn on.
func (m *image) write(ctx context.Context, bn disk.BlockNum, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	off := int64(bn) * int64(m.p.sb.BlockSize())
	n, err := m.w.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write block %d: %w", bn, err)
	}
	return nil
}

// writeV is write of several buffers, for blocks that follow each other.
func (m *image) writeV(ctx context.Context, bn disk.BlockNum, bufs [][]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := device.WriteV(m.w, bufs, int64(bn)*int64(m.p.sb.BlockSize())); err != nil {
		return fmt.Errorf("write block %d: %w", bn, err)
	}
	return nil
}
