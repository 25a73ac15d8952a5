package alloc

import "github.com/e4kit/e4kit/ext4fs/disk"

// descSealer seals a block of group descriptors.
//
// While a transaction runs, the checksums in its version of the block are not
// those of its bitmaps. The next transaction may copy that version before it
// is sealed, and need not touch the same groups: so each group remembers what
// was sealed last, and every seal writes that again. Commits follow each other,
// so what was sealed last is what the group's bitmap on disk will have.
// Descriptors of groups that were never changed are left as they are.
type descSealer struct {
	a     *Allocator
	first disk.GroupNum
}

// Seal implements cache.Sealer.
func (d *descSealer) Seal(_ disk.BlockNum, data []byte, peer func(disk.BlockNum) []byte) {
	s := &d.a.super
	if !s.HasGroupCsum() {
		return
	}
	size := s.DescSize()
	for i := d.first; i < d.first+disk.GroupNum(s.DescsPerBlock()) && int(i) < len(d.a.groups) && len(data) >= size; i++ {
		g := &d.a.groups[i]
		if g.damage == nil {
			d.sealOne(g, disk.GroupDesc(data[:size:size]), peer)
		}
		data = data[size:]
	}
}

func (d *descSealer) sealOne(g *group, desc disk.GroupDesc, peer func(disk.BlockNum) []byte) {
	s := &d.a.super
	blocks, inodes := peer(g.blockBitmap), peer(g.inodeBitmap)
	if blocks == nil && inodes == nil && !g.sealed.Load() {
		return
	}
	if s.HasMetadataCsum() {
		if blocks != nil && desc.Flags()&disk.GroupBlockUninit == 0 {
			g.blockSum.Store(desc.BitmapSum(d.a.cfg.Seed, d.a.coveredBlocks(blocks)))
		}
		if inodes != nil && desc.Flags()&disk.GroupInodeUninit == 0 {
			g.inodeSum.Store(desc.BitmapSum(d.a.cfg.Seed, d.a.coveredInodes(inodes)))
		}
		desc.SetBlockBitmapChecksum(g.blockSum.Load())
		desc.SetInodeBitmapChecksum(g.inodeSum.Load())
	}
	s.SealGroupDesc(g.num, desc)
	g.sealed.Store(true)
}

// coveredBlocks is the part of a block bitmap that its checksum covers.
func (a *Allocator) coveredBlocks(b []byte) []byte { return b[:min(int(a.perGrp/8), len(b))] }

// coveredInodes is the part of an inode bitmap that its checksum covers.
func (a *Allocator) coveredInodes(b []byte) []byte {
	return b[:min(int(a.super.InodesPerGroup/8), len(b))]
}

// plain is the Sealer of bitmaps: their checksums are in the descriptor.
type plain struct{}

func (plain) Seal(disk.BlockNum, []byte, func(disk.BlockNum) []byte) {}
