package ext4fs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// fastView is what the journal's fast commits change, laid over the file
// system in memory: whole inodes, block maps and names. The on-disk records
// below it stay as the last full commit left them. It is built by Open and
// not changed after, so reading it takes no lock. A nil view changes nothing.
type fastView struct {
	inodes map[disk.InodeNum]*fastInode
	dirs   map[disk.InodeNum]*fastDir
}

// fastInode is an inode as fast commits left it.
type fastInode struct {
	raw    disk.Inode
	blocks extent.List // nil until mapped is set
	mapped bool        // blocks stand in for the map on disk
}

// fastDir is what fast commits did to the names of a directory.
type fastDir struct {
	fresh  bool // made by a fast commit: its blocks on disk mean nothing
	parent disk.InodeNum
	names  map[string]dir.Entry // Inode 0: removed
}

// inode returns the record of an inode that fast commits changed.
func (v *fastView) inode(n disk.InodeNum) (disk.Inode, bool) {
	if v == nil || v.inodes[n] == nil {
		return nil, false
	}
	return v.inodes[n].raw, true
}

// blocks returns the block map of an inode that fast commits changed.
func (v *fastView) blocks(n disk.InodeNum) (extent.Map, bool) {
	if v == nil || v.inodes[n] == nil || !v.inodes[n].mapped {
		return nil, false
	}
	return v.inodes[n].blocks, true
}

// dir returns what changed in a directory, or nil.
func (v *fastView) dir(n disk.InodeNum) *fastDir {
	if v == nil {
		return nil
	}
	return v.dirs[n]
}

// added lists the names that fast commits put into the directory, sorted.
func (d *fastDir) added() []dir.Entry {
	list := make([]dir.Entry, 0, len(d.names))
	for _, e := range d.names {
		if e.Inode != 0 {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b dir.Entry) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// applyFast builds the view from the records of the fast-commit area, in
// order. The file system below must be readable already.
func (f *FS) applyFast(records []disk.FCRecord) (*fastView, error) {
	v := &fastView{inodes: map[disk.InodeNum]*fastInode{}, dirs: map[disk.InodeNum]*fastDir{}}
	for n, r := range records {
		if err := f.applyFastRecord(v, r); err != nil {
			return nil, fmt.Errorf("fast commit record %d, %v: %w", n, r.Tag(), err)
		}
	}
	for _, i := range v.inodes {
		f.recountBlocks(i)
	}
	return v, nil
}

func (f *FS) applyFastRecord(v *fastView, r disk.FCRecord) error {
	switch r := r.(type) {
	case *disk.FCInode:
		return f.fastInode(v, r)
	case *disk.FCAddRange:
		e := Extent{Logical: r.Extent.Logical, Physical: r.Extent.Physical, Len: uint32(r.Extent.Len)}
		if r.Extent.Unwritten {
			e.Flags = extent.FlagUnwritten
		}
		if e.Len == 0 || e.End() > uint64(disk.MaxLogical)+1 ||
			uint64(e.Physical) < uint64(f.super.FirstDataBlock)+1 ||
			uint64(e.Physical) >= f.super.Blocks() || uint64(e.Len) > f.super.Blocks()-uint64(e.Physical) {
			return &CorruptError{What: "fast commit range", Inode: r.Inode, Block: e.Physical,
				Detail: fmt.Sprintf("%d blocks at logical block %d", e.Len, e.Logical)}
		}
		i, err := f.fastMapped(v, r.Inode)
		if err != nil {
			return err
		}
		i.blocks = unmap(i.blocks, e.Logical, e.Len)
		at, _ := slices.BinarySearchFunc(i.blocks, e.Logical, func(x Extent, l disk.LogicalNum) int {
			return int(int64(x.Logical) - int64(l))
		})
		i.blocks = slices.Insert(i.blocks, at, e)
	case *disk.FCDelRange:
		i, err := f.fastMapped(v, r.Inode)
		if err != nil {
			return err
		}
		i.blocks = unmap(i.blocks, r.Logical, r.Len)
	case *disk.FCDirent:
		return f.fastDirent(v, r)
	}
	return nil
}

// fastRecord returns the view's inode n, beginning with the one on disk.
func (f *FS) fastRecord(v *fastView, n disk.InodeNum) (*fastInode, error) {
	if i := v.inodes[n]; i != nil {
		return i, nil
	}
	raw, _, err := f.inodeRecord(n)
	if err != nil {
		return nil, err
	}
	i := &fastInode{raw: append(disk.Inode(nil), raw...)}
	v.inodes[n] = i
	return i, nil
}

// fastInode replaces an inode but for its block map, as the kernel's replay
// does. A new generation means that the number was used again: the old map is
// not the new inode's.
func (f *FS) fastInode(v *fastView, r *disk.FCInode) error {
	i, err := f.fastRecord(v, r.Inode)
	if err != nil {
		return err
	}
	fresh := disk.Inode(r.Raw)
	reused := i.raw.IsZero() || i.raw.Generation() != fresh.Generation() || i.raw.Links() == 0
	block := append([]byte(nil), i.raw.Block()...)
	n := copy(i.raw, r.Raw)
	if fresh.Flags().Has(disk.FlagExtents) {
		copy(i.raw.Block(), block)
		if reused || disk.ExtentNode(block).Magic() != disk.ExtentMagic {
			disk.ExtentNode(i.raw.Block()).Init(0)
			i.blocks, i.mapped = nil, true
		}
	}
	if reused && n < len(i.raw) {
		clear(i.raw[n:])
	}
	return nil
}

// fastMapped is fastRecord with the block map in memory.
func (f *FS) fastMapped(v *fastView, n disk.InodeNum) (*fastInode, error) {
	i, err := f.fastRecord(v, n)
	if err != nil || i.mapped {
		return i, err
	}
	// The map on disk, read through an inode that knows of no view.
	plain := &Inode{fs: f, num: n, raw: i.raw}
	m, err := plain.Map()
	if err != nil {
		return nil, err
	}
	for e, err := range m.From(0) {
		if err != nil {
			return nil, err
		}
		i.blocks = append(i.blocks, e)
	}
	i.mapped = true
	return i, nil
}

// fastDirent adds or removes a name.
func (f *FS) fastDirent(v *fastView, r *disk.FCDirent) error {
	d := v.dirs[r.Parent]
	if d == nil {
		d = &fastDir{names: map[string]dir.Entry{}}
		v.dirs[r.Parent] = d
	}
	if r.Kind == disk.FCTagUnlink {
		d.names[string(r.Name)] = dir.Entry{}
		return nil
	}
	i, err := f.fastRecord(v, r.Inode)
	if err != nil {
		return err
	}
	kind := disk.EntryType(i.raw.Mode())
	if r.Kind == disk.FCTagCreat && kind == disk.FileTypeDir {
		v.dirs[r.Inode] = &fastDir{fresh: true, parent: r.Parent, names: map[string]dir.Entry{}}
	}
	d.names[string(r.Name)] = dir.Entry{Inode: r.Inode, Type: kind, Name: append([]byte(nil), r.Name...)}
	return nil
}

// unmap takes the n blocks from l on out of a sorted list of runs.
func unmap(list extent.List, l disk.LogicalNum, n uint32) extent.List {
	end := uint64(l) + uint64(n)
	out := make(extent.List, 0, len(list)+1)
	for _, e := range list {
		if e.End() <= uint64(l) || uint64(e.Logical) >= end {
			out = append(out, e)
			continue
		}
		if e.Logical < l {
			head := e
			head.Len = uint32(l - e.Logical)
			out = append(out, head)
		}
		if e.End() > end {
			cut := uint32(end - uint64(e.Logical))
			e.Logical, e.Physical, e.Len = e.Logical+disk.LogicalNum(cut), e.Physical+disk.BlockNum(cut), e.Len-cut
			out = append(out, e)
		}
	}
	return out
}

// recountBlocks sets i_blocks from the map, which the record does not bring.
// The blocks that the tree itself takes are those that the kernel's replay
// would need: none while the root holds all extents.
func (f *FS) recountBlocks(i *fastInode) {
	if !i.mapped {
		return
	}
	var blocks uint64
	for _, e := range i.blocks {
		blocks += uint64(e.Len)
	}
	if len(i.blocks) > 4 {
		per := uint64(f.BlockSize()-disk.ExtentHeaderSize) / disk.ExtentEntrySize
		blocks += (uint64(len(i.blocks)) + per - 1) / per
	}
	if i.raw.FileACL(f.super.Features.Incompat.Has(disk.Incompat64bit)) != 0 {
		blocks++
	}
	if !i.raw.Flags().Has(disk.FlagHugeFile) {
		blocks *= uint64(f.BlockSize() / 512)
	}
	i.raw.SetBlocks(blocks)
}
