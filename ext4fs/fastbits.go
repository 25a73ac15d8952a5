package ext4fs

import (
	"cmp"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// fastBits is what fast commits change in the bitmaps, which their records do
// not bring: the kernel's replay finds it out from the block maps, and so does
// this. What the extent trees themselves take stays as it is on disk.
type fastBits struct {
	freed, taken []blockRun // in order, apart; taken counts where both hold
	inodes       map[disk.GroupNum]map[uint32]bool
}

// blockRun is the blocks from first up to, without, end.
type blockRun struct{ first, end uint64 }

// fastBitmaps compares the inodes of the view with those on disk.
func (f *FS) fastBitmaps(v *fastView) fastBits {
	b := fastBits{inodes: map[disk.GroupNum]map[uint32]bool{}}
	for n, i := range v.inodes {
		used, was := i.raw.Links() != 0, i.before.Links() != 0
		if used != was {
			g, index := f.super.InodeGroup(n)
			if b.inodes[g] == nil {
				b.inodes[g] = map[uint32]bool{}
			}
			b.inodes[g][index] = used
		}
		// A map that cannot be read says nothing about blocks.
		if was {
			old, _ := newInode(f, n, i.before).mapped()
			b.freed = appendBlocks(b.freed, old)
		}
		now := i.blocks
		if !i.mapped {
			now, _ = newInode(f, n, i.raw).mapped()
		}
		b.taken = appendBlocks(b.taken, now)
	}
	b.freed, b.taken = union(b.freed), union(b.taken)
	return b
}

func appendBlocks(runs []blockRun, list extent.List) []blockRun {
	for _, e := range list {
		runs = append(runs, blockRun{uint64(e.Physical), uint64(e.Physical) + uint64(e.Len)})
	}
	return runs
}

// union sorts runs and joins those that overlap or touch.
func union(runs []blockRun) []blockRun {
	slices.SortFunc(runs, func(a, b blockRun) int { return cmp.Compare(a.first, b.first) })
	out := runs[:0]
	for _, r := range runs {
		if n := len(out) - 1; n >= 0 && r.first <= out[n].end {
			out[n].end = max(out[n].end, r.end)
			continue
		}
		out = append(out, r)
	}
	return out
}

// within returns the runs that have blocks from first up to end.
func within(runs []blockRun, first, end uint64) []blockRun {
	lo, _ := slices.BinarySearchFunc(runs, first, func(r blockRun, at uint64) int { return cmp.Compare(r.end, at+1) })
	hi, _ := slices.BinarySearchFunc(runs, end, func(r blockRun, at uint64) int { return cmp.Compare(r.first, at) })
	if hi < lo {
		return nil
	}
	return runs[lo:hi]
}

// fastBlocks applies what fast commits changed in group g to its cluster
// bitmap, of which it makes a copy then; changed is false if nothing was.
func (f *FS) fastBlocks(g disk.GroupNum, bits []byte) (_ []byte, changed bool) {
	if f.fast == nil {
		return bits, false
	}
	start, ratio := uint64(f.super.GroupFirstBlock(g)), uint64(f.super.ClusterRatio())
	end := start + uint64(f.super.GroupBlocks(g))
	freed, taken := within(f.fast.bits.freed, start, end), within(f.fast.bits.taken, start, end)
	if len(freed)+len(taken) == 0 {
		return bits, false
	}
	bits = slices.Clone(bits)
	each := func(runs []blockRun, do func(c uint64)) {
		for _, r := range runs {
			for c := (max(r.first, start) - start) / ratio; c <= (min(r.end, end)-1-start)/ratio; c++ {
				do(c)
			}
		}
	}
	each(freed, func(c uint64) { bits[c>>3] &^= 1 << (c & 7) })
	each(taken, func(c uint64) { bits[c>>3] |= 1 << (c & 7) })
	return bits, true
}

// fastInodeBits does for the inode bitmap what fastBlocks does for the other.
func (f *FS) fastInodeBits(g disk.GroupNum, bits []byte) (_ []byte, changed bool) {
	if f.fast == nil || len(f.fast.bits.inodes[g]) == 0 {
		return bits, false
	}
	bits = slices.Clone(bits)
	for n, used := range f.fast.bits.inodes[g] {
		if bits[n>>3] |= 1 << (n & 7); !used {
			bits[n>>3] &^= 1 << (n & 7)
		}
	}
	return bits, true
}
