package ext4fs

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// fastRange is one change of a block map: a run that is mapped, or, as a hole,
// one that is not any more.
type fastRange = Extent

// fastOp notes a change of inode n's block map.
func (f *FS) fastOp(v *fastView, n disk.InodeNum, e fastRange) error {
	i, err := f.fastUsable(v, n)
	if err == nil && i != nil {
		i.ops = append(i.ops, e)
	}
	return err
}

// finishFast makes the block map from the one on disk and the changes, and
// counts the blocks as the kernel's replay does.
func (f *FS) finishFast(n disk.InodeNum, i *fastInode) error {
	flags := i.raw.Flags()
	if flags.Has(disk.FlagInlineData) {
		return nil
	}
	// The map on disk, read through an inode that knows of no view.
	plain := newInode(f, n, i.raw)
	if len(i.ops) > 0 {
		base, err := plain.mapped()
		if err != nil {
			return err
		}
		i.blocks, i.mapped = overlayRanges(append(base, i.ops...)), true
	}
	if !i.brought || !flags.Has(disk.FlagExtents) {
		return nil
	}
	list := i.blocks
	if !i.mapped {
		var err error
		if list, err = plain.mapped(); err != nil {
			return err
		}
	}
	f.recountBlocks(i, list)
	return nil
}

// mapped returns all runs of the inode.
func (i *Inode) mapped() (extent.List, error) {
	m, err := i.Map()
	if err != nil {
		return nil, err
	}
	var list extent.List
	for e, err := range m.From(0) {
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// overlayRanges lays runs over each other, later ones on top, and returns what
// is mapped at the end, in order and joined where it touches. It sweeps from
// the first block on, so that many runs take no more than n log n steps.
func overlayRanges(ops []fastRange) extent.List {
	order := make([]int, len(ops))
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ops[a].Logical, ops[b].Logical) })
	var out extent.List
	var open latest // the runs that cover at, and some that have ended
	at := uint64(0)
	for next := 0; next < len(order) || len(open) > 0; {
		for len(open) > 0 && ops[open[0]].End() <= at {
			heap.Pop(&open)
		}
		if len(open) == 0 {
			if next == len(order) {
				break
			}
			at = max(at, uint64(ops[order[next]].Logical))
		}
		for next < len(order) && uint64(ops[order[next]].Logical) <= at {
			heap.Push(&open, order[next])
			next++
		}
		top := ops[open[0]]
		end := top.End()
		if next < len(order) {
			end = min(end, uint64(ops[order[next]].Logical))
		}
		if end > at && top.Flags&extent.FlagHole == 0 {
			in := at - uint64(top.Logical)
			out = appendRun(out, Extent{
				Logical: disk.LogicalNum(at), Physical: top.Physical + disk.BlockNum(in),
				Len: uint32(end - at), Flags: top.Flags,
			})
		}
		at = max(at, end)
	}
	return out
}

// appendRun adds a run behind the others, joined to the last where one extent
// can hold both.
func appendRun(list extent.List, e Extent) extent.List {
	if n := len(list) - 1; n >= 0 {
		last := &list[n]
		most := uint32(disk.MaxExtentLen)
		if e.Flags&extent.FlagUnwritten != 0 {
			most--
		}
		if last.End() == uint64(e.Logical) && last.Flags == e.Flags &&
			last.Physical+disk.BlockNum(last.Len) == e.Physical && last.Len <= most && e.Len <= most-last.Len {
			last.Len += e.Len
			return list
		}
	}
	return append(list, e)
}

// latest is a heap with the latest change on top.
type latest []int

func (l latest) Len() int           { return len(l) }
func (l latest) Less(i, j int) bool { return l[i] > l[j] }
func (l latest) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *latest) Push(x any)        { *l = append(*l, x.(int)) }
func (l *latest) Pop() any {
	old := *l
	x := old[len(old)-1]
	*l = old[:len(old)-1]
	return x
}

// recountBlocks sets i_blocks from the map, since the kernel's replay does not
// take the record's. The blocks that the tree itself takes are those that it
// would need: none while the root holds all extents.
func (f *FS) recountBlocks(i *fastInode, list extent.List) {
	var blocks uint64
	for _, e := range list {
		blocks += uint64(e.Len)
	}
	if len(list) > 4 {
		per := uint64(f.BlockSize()-disk.ExtentHeaderSize) / disk.ExtentEntrySize
		blocks += (uint64(len(list)) + per - 1) / per
	}
	if !i.raw.Flags().Has(disk.FlagHugeFile) {
		blocks *= uint64(f.BlockSize() / 512)
	}
	i.raw.SetBlocks(blocks)
}
