package ext4fs

import "github.com/e4kit/e4kit/ext4fs/disk"

// Space is how full the file system is, as statfs(2) would say of it when
// mounted. All but BlockSize count blocks or inodes.
type Space struct {
	BlockSize  int
	Blocks     uint64 // that files can have: all but Overhead
	Overhead   uint64 // taken by the file system itself, its journal included
	Free       uint64
	Available  uint64 // Free, less what is reserved for root and what Linux holds back
	Inodes     uint64
	InodesFree uint64
}

// Space counts free blocks and inodes in the group descriptors, since the
// counters in the superblock are brought up to date only now and then. Orphans,
// files that were open without a name when the power went, still take their
// space: Linux frees them after recovery, and this does not.
func (f *FS) Space() (Space, error) {
	s := &f.super
	sp := Space{BlockSize: s.BlockSize(), Inodes: uint64(s.InodesCount)}
	if f.live != nil {
		f.awaitReaping()
		n := f.live.alloc.Counts()
		sp.Free, sp.InodesFree = n.FreeBlocks, n.FreeInodes
	}
	for g := disk.GroupNum(0); g < s.Groups() && f.live == nil; g++ {
		if g%1024 == 0 && f.opts.Context.Err() != nil {
			return sp, f.opts.Context.Err()
		}
		desc, err := f.Group(g)
		if err != nil {
			return sp, err
		}
		free, inodes := desc.FreeClusters(), desc.FreeInodes()
		if f.fast != nil {
			if free, inodes, err = f.fastFree(g, free, inodes); err != nil {
				return sp, err
			}
		}
		sp.Free += uint64(free) * uint64(s.ClusterRatio())
		sp.InodesFree += uint64(inodes)
	}
	sp.Overhead = f.overhead()
	blocks := s.Blocks()
	sp.Blocks = blocks - min(sp.Overhead, blocks)
	sp.Free = min(sp.Free, blocks)
	sp.InodesFree = min(sp.InodesFree, sp.Inodes)
	sp.Available = sp.Free - min(sp.Free, s.Reserved()+f.heldBack())
	return sp, nil
}

// fastFree counts what is free in a group that fast commits changed; their
// records do not bring counters.
func (f *FS) fastFree(g disk.GroupNum, blocks, inodes uint32) (uint32, uint32, error) {
	b, err := f.BlockBitmap(g)
	if err != nil {
		return 0, 0, err
	}
	if b.Fast {
		blocks = uint32(b.Free())
	}
	i, err := f.InodeBitmap(g)
	if err != nil {
		return 0, 0, err
	}
	if i.Fast {
		inodes = uint32(i.Free())
	}
	return blocks, inodes, nil
}

// heldBack is what Linux keeps from everybody while the file system is
// mounted, to be able to split extents: two percent, 4096 clusters at most.
func (f *FS) heldBack() uint64 {
	s := &f.super
	if !s.Features.Incompat.Has(disk.IncompatExtents) {
		return 0
	}
	ratio := uint64(s.ClusterRatio())
	return min(s.Blocks()/ratio/50, 4096) * ratio
}

// overhead counts the blocks that hold no files. With bigalloc the superblock
// knows the number, and it is the one that Linux takes; else it is counted,
// since programs have left wrong ones there.
func (f *FS) overhead() uint64 {
	s := &f.super
	if s.Features.ROCompat.Has(disk.ROCompatBigalloc) && s.OverheadClusters != 0 {
		return uint64(s.OverheadClusters) * uint64(s.ClusterRatio())
	}
	n := uint64(s.FirstDataBlock)
	for g := disk.GroupNum(0); g < s.Groups(); g++ {
		_, base := s.BaseMeta(g)
		n += uint64(base) + uint64(s.InodeTableBlocks()) + 2
	}
	if s.Features.Compat.Has(disk.CompatHasJournal) && s.JournalInode != 0 {
		if i, err := f.Inode(s.JournalInode); err == nil {
			n += uint64(i.Size()) >> f.blockShift()
		}
	}
	return n
}
