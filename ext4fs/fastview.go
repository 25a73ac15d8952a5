package ext4fs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// fastView is what the journal's fast commits change, laid over the file
// system in memory: whole inodes, block maps and names. The on-disk records
// below it stay as the last full commit left them. It is built by Open and
// not changed after, so reading it takes no lock. A nil view changes nothing.
//
// It follows Linux 6.18's replay also where that loses or keeps too much,
// since the kernel's tree is what everybody will see: a name for an inode that
// has no links is dropped (a temporary file that got a name), and an inode
// whose number was used again keeps the attributes inside its record. Where the
// kernel gives up and refuses to mount, the view goes on.
type fastView struct {
	inodes map[disk.InodeNum]*fastInode
	dirs   map[disk.InodeNum]*fastDir
	bits   fastBits
}

// fastInode is an inode as fast commits left it.
type fastInode struct {
	raw     disk.Inode
	before  disk.Inode  // the record on disk
	brought bool        // a record of the log brought the inode
	ops     []fastRange // in order
	blocks  extent.List // nil until mapped is set
	mapped  bool        // blocks stand in for the map on disk
}

// fastDir is what fast commits did to the names of a directory.
type fastDir struct {
	fresh  bool // made by a fast commit: its blocks on disk mean nothing
	parent disk.InodeNum
	names  map[string]dir.Entry // Inode 0: removed

	looked int                  // names looked up on disk
	disk   map[string]dir.Entry // all names on disk, once many were looked up
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

// folded looks for an added name that differs in case only.
func (d *fastDir) folded(name string) (dir.Entry, bool) {
	for _, e := range d.names {
		if e.Inode != 0 && casefold.Equal(e.Name, []byte(name)) {
			return e, true
		}
	}
	return dir.Entry{}, false
}

// applyFast builds the view from the records of the fast-commit area, in
// order. The file system below must be readable already, without a view.
func (f *FS) applyFast(records []disk.FCRecord) (*fastView, error) {
	v := &fastView{inodes: map[disk.InodeNum]*fastInode{}, dirs: map[disk.InodeNum]*fastDir{}}
	for n, r := range records {
		err := f.opts.Context.Err()
		if err == nil {
			err = f.applyFastRecord(v, r)
		}
		if err != nil {
			return nil, fmt.Errorf("fast commit record %d, %v: %w", n, r.Tag(), err)
		}
	}
	for n, i := range v.inodes {
		if err := f.finishFast(n, i); err != nil {
			return nil, fmt.Errorf("fast commits of inode %d: %w", n, err)
		}
	}
	for _, d := range v.dirs {
		d.disk = nil
	}
	v.bits = f.fastBitmaps(v)
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
		return f.fastOp(v, r.Inode, e)
	case *disk.FCDelRange:
		if r.Len == 0 {
			return nil
		}
		return f.fastOp(v, r.Inode, Extent{Logical: r.Logical, Len: r.Len, Flags: extent.FlagHole})
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
	i := &fastInode{raw: append(disk.Inode(nil), raw...), before: append(disk.Inode(nil), raw...)}
	v.inodes[n] = i
	return i, nil
}

// fastUsable is fastRecord for the inodes that a record speaks of, nil where
// the kernel leaves the record out: it takes no inode that is not in use.
func (f *FS) fastUsable(v *fastView, n disk.InodeNum) (*fastInode, error) {
	if n > f.inodes || n != disk.RootInode && n < f.super.FirstInode || n == 0 {
		return nil, nil
	}
	i, err := f.fastRecord(v, n)
	if err != nil || i.raw.Links() == 0 {
		return nil, err
	}
	return i, nil
}

// fastInode replaces an inode but for its block map.
func (f *FS) fastInode(v *fastView, r *disk.FCInode) error {
	i, err := f.fastRecord(v, r.Inode)
	if err != nil {
		return err
	}
	i.brought = true
	block := append([]byte(nil), i.raw.Block()...)
	copy(i.raw, r.Raw)
	switch flags := i.raw.Flags(); {
	case flags.Has(disk.FlagExtents):
		copy(i.raw.Block(), block)
		if disk.ExtentNode(block).Magic() != disk.ExtentMagic {
			i.empty()
		}
	case !flags.Has(disk.FlagInlineData):
		copy(i.raw.Block(), block)
	}
	return nil
}

// empty takes all blocks off an inode.
func (i *fastInode) empty() {
	i.ops = nil
	clear(i.raw.Block())
	disk.ExtentNode(i.raw.Block()).Init(0)
}

// fastDirent adds or removes a name.
func (f *FS) fastDirent(v *fastView, r *disk.FCDirent) error {
	i, err := f.fastUsable(v, r.Inode)
	if err != nil || i == nil || disk.IsDot(r.Name) || disk.IsDotDot(r.Name) {
		return err
	}
	kind := disk.EntryType(i.raw.Mode())
	if r.Kind == disk.FCTagCreat && kind == disk.FileTypeDir {
		// The kernel gives up on a directory whose first block is there
		// already: the number was a directory's before, and an UNLINK takes
		// only one of its two links.
		if used, err := f.fastFirstBlock(v, r.Inode, i); used || err != nil {
			return err
		}
		v.dirs[r.Inode] = &fastDir{fresh: true, parent: r.Parent, names: map[string]dir.Entry{}}
	}
	parent, err := f.fastUsable(v, r.Parent)
	if err != nil || parent == nil || disk.EntryType(parent.raw.Mode()) != disk.FileTypeDir {
		return err
	}
	d := v.dirs[r.Parent]
	if d == nil {
		d = &fastDir{names: map[string]dir.Entry{}}
		v.dirs[r.Parent] = d
	}
	old, found, err := f.fastLookup(d, r.Parent, string(r.Name))
	if err != nil {
		return err
	}
	links := i.raw.Links()
	if r.Kind == disk.FCTagUnlink {
		if !found {
			return nil
		}
		// A name that leads elsewhere stays, but the link is gone.
		if old.Inode == r.Inode {
			d.names[string(old.Name)] = dir.Entry{}
		}
		i.raw.SetLinks(links - 1)
		if links == 1 {
			i.evict()
			delete(v.dirs, r.Inode)
		}
		return nil
	}
	if !found {
		d.names[string(r.Name)] = dir.Entry{Inode: r.Inode, Type: kind, Name: append([]byte(nil), r.Name...)}
		i.raw.SetLinks(links + 1)
	}
	if r.Kind == disk.FCTagCreat {
		i.raw.SetLinks(1)
	}
	return nil
}

// evict frees an inode whose last name went.
func (i *fastInode) evict() {
	if i.raw.Flags().Has(disk.FlagExtents) {
		i.empty()
	}
}

// fastFirstBlock reports whether logical block 0 of a directory is mapped at
// this point of the replay.
func (f *FS) fastFirstBlock(v *fastView, n disk.InodeNum, i *fastInode) (bool, error) {
	if i.raw.Flags().Has(disk.FlagInlineData) {
		return false, nil
	}
	if d := v.dirs[n]; d != nil && d.fresh {
		return true, nil
	}
	for at := len(i.ops) - 1; at >= 0; at-- {
		if i.ops[at].Logical == 0 {
			return i.ops[at].Flags&extent.FlagHole == 0, nil
		}
	}
	m, err := newInode(f, n, i.raw).Map()
	if err != nil {
		return false, err
	}
	e, err := m.Find(0)
	return err == nil && e.Flags&extent.FlagHole == 0, err
}

// fastLookups is how many names are looked up in a directory one by one before
// all are read: a log can have very many for one directory without an index.
const fastLookups = 100

// fastLookup finds a name as it is at this point of the replay.
func (f *FS) fastLookup(d *fastDir, n disk.InodeNum, name string) (dir.Entry, bool, error) {
	if e, changed := d.names[name]; changed {
		return e, e.Inode != 0, nil
	}
	if d.fresh {
		return dir.Entry{}, false, nil
	}
	i, err := f.Inode(n)
	if err != nil {
		return dir.Entry{}, false, err
	}
	if d.looked++; d.looked <= fastLookups || i.Flags().Has(disk.FlagCasefold) {
		e, err := i.LookupEntry(name)
		if errors.Is(err, ErrNotExist) {
			return dir.Entry{}, false, nil
		}
		if changed, ok := d.names[string(e.Name)]; ok {
			e = changed // found by folding
		}
		return e, e.Inode != 0, err
	}
	if d.disk == nil {
		d.disk = map[string]dir.Entry{}
		for e, err := range i.Entries() {
			if err != nil {
				return dir.Entry{}, false, err
			}
			e.Name = append([]byte(nil), e.Name...)
			d.disk[string(e.Name)] = e
		}
	}
	e, found := d.disk[name]
	return e, found, nil
}
