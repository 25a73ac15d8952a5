package ext4fs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/quota"
)

// writeFast applies the records of fast commits to the image, in one
// transaction: its commit makes the records void, and until then a crash leads
// back to here. It writes what the view of a file system open for reading
// shows. It returns how many inodes were changed.
//
// The tree is the one that Linux shows after its replay. What Linux leaves
// wrong beside it is right here, so that a check finds nothing to repair: link
// counts are those of the names, inodes whose names all went are freed, i_blocks
// counts what the inode has, and the quotas what the owners have.
//
// Fast commits that the log has no room for as a single transaction, of three
// quarters of it at most, give ErrNoSpace, and nothing is changed: only Linux can
// recover such an image, step by step.
func (f *FS) writeFast(records []disk.FCRecord) (n int, err error) {
	v, err := f.applyFast(records)
	if err != nil {
		return 0, err
	}
	release, err := f.live.journal.Hold(f.context())
	if err != nil {
		return 0, err
	}
	f.live.replaying = true
	defer func() {
		f.live.replaying = false
		if err != nil {
			err = f.abort(err) // nothing of it may become durable
		}
		release()
	}()
	w := &fastWriter{f: f, v: v, order: slices.Sorted(maps.Keys(v.inodes)), names: map[disk.InodeNum]int{}, ghosts: map[disk.InodeNum]bool{}, charges: map[quota.Owners]fastCharge{}}
	if err := w.compare(); err != nil {
		return 0, err
	}
	if err := w.claim(); err != nil {
		return 0, err
	}
	for _, n := range w.order {
		if err := w.inode(n, v.inodes[n]); err != nil {
			return 0, fmt.Errorf("inode %d: %w", n, err)
		}
	}
	// Directories that are new come first where others point to them, but no
	// name depends on another directory's: any order will do.
	for _, n := range slices.Sorted(maps.Keys(v.dirs)) {
		if err := w.dir(n, v.dirs[n]); err != nil {
			return 0, fmt.Errorf("directory %d: %w", n, err)
		}
	}
	for _, n := range w.order {
		if err := w.settle(n, v.inodes[n]); err != nil {
			return 0, fmt.Errorf("inode %d: %w", n, err)
		}
	}
	if err := w.exorcise(); err != nil {
		return 0, err
	}
	return len(w.order), w.chargeQuotas()
}

// fastWriter writes a view into the image.
type fastWriter struct {
	f     *FS
	v     *fastView
	order []disk.InodeNum

	freed, taken []blockRun             // as in fastBits, but for inodes that are emptied
	names        map[disk.InodeNum]int  // names added, less those removed
	ghosts       map[disk.InodeNum]bool // inodes that are gone and have names
	charges      map[quota.Owners]fastCharge
}

// handle runs do with a handle that adds at most credits blocks.
func (w *fastWriter) handle(credits int, do func(h *txn) error) error {
	h, err := w.f.begin(credits)
	if err != nil {
		return err
	}
	return w.f.end(h, do(h))
}

// emptied reports whether an inode begins without blocks: it goes, or is a
// directory that the fast commits made.
func (w *fastWriter) emptied(n disk.InodeNum, fi *fastInode) bool {
	d := w.v.dirs[n]
	return fi.raw.Links() == 0 || d != nil && d.fresh
}

// compare finds out which data blocks are freed and taken.
func (w *fastWriter) compare() error {
	for _, n := range w.order {
		fi := w.v.inodes[n]
		if err := w.count(newInode(w.f, n, fi.before), -1); err != nil {
			return err
		}
		if fi.before.Links() != 0 {
			old, err := newInode(w.f, n, fi.before).mapped()
			if err != nil {
				return err
			}
			w.freed = appendBlocks(w.freed, old)
			if err := w.lostNames(n, fi); err != nil {
				return err
			}
		}
		if w.emptied(n, fi) {
			continue
		}
		now := fi.blocks
		if !fi.mapped {
			var err error
			if now, err = newInode(w.f, n, fi.raw).mapped(); err != nil {
				return err
			}
		}
		w.taken = appendBlocks(w.taken, now)
	}
	w.freed, w.taken = union(w.freed), union(w.taken)
	return nil
}

// lostNames counts the names that go with a directory that goes.
func (w *fastWriter) lostNames(n disk.InodeNum, fi *fastInode) error {
	old := newInode(w.f, n, fi.before)
	if !old.IsDir() || !w.emptied(n, fi) && disk.EntryType(fi.raw.Mode()) == disk.FileTypeDir {
		return nil
	}
	c, err := old.Directory()
	if err != nil {
		return err
	}
	for e, err := range c.Entries() {
		if err != nil {
			return err
		}
		if !IsDots(e) {
			w.names[e.Inode]--
		}
	}
	return nil
}

// claim brings the bitmaps up to date.
func (w *fastWriter) claim() error {
	a := w.f.live.alloc
	for _, r := range w.taken {
		n := r.end - r.first
		err := w.handle(a.BlockCredits(n), func(h *txn) error { return a.Claim(h, disk.BlockNum(r.first), n) })
		if err != nil {
			return err
		}
	}
	for _, r := range without(w.freed, w.taken, uint64(w.f.super.FirstDataBlock), uint64(w.f.super.ClusterRatio())) {
		n := r.end - r.first
		err := w.handle(a.BlockCredits(n), func(h *txn) error { return a.Free(h, disk.BlockNum(r.first), n) })
		if err != nil {
			return err
		}
	}
	return nil
}

// without returns the clusters of a that have nothing of b. Both are in order.
func without(a, b []blockRun, first, ratio uint64) []blockRun {
	whole := func(r blockRun) blockRun {
		return blockRun{(r.first-first)/ratio*ratio + first, (r.end-first+ratio-1)/ratio*ratio + first}
	}
	var out []blockRun
	for _, r := range a {
		r = whole(r)
		if n := len(out); n > 0 {
			r.first = max(r.first, out[n-1].end)
		}
		i, _ := slices.BinarySearchFunc(b, r.first, func(x blockRun, at uint64) int { return cmp.Compare(whole(x).end, at+1) })
		for ; i < len(b) && r.first < r.end; i++ {
			t := whole(b[i])
			if t.first >= r.end {
				break
			}
			if t.first > r.first {
				out = append(out, blockRun{r.first, t.first})
			}
			r.first = max(r.first, t.end)
		}
		if r.first < r.end {
			out = append(out, r)
		}
	}
	return out
}

// inode writes the record and the map of an inode that stays, or empties the
// map of one that goes.
func (w *fastWriter) inode(n disk.InodeNum, fi *fastInode) error {
	f := w.f
	used, was := fi.raw.Links() != 0, fi.before.Links() != 0
	if !used && !was {
		return nil
	}
	raw := append(disk.Inode(nil), fi.raw...)
	if !used {
		// What the log made of it meanwhile does not count: it is the old one
		// that is freed.
		raw = append(raw[:0], fi.before...)
		raw.SetLinks(0)
	}
	isDir := disk.EntryType(raw.Mode()) == disk.FileTypeDir
	emptied := w.emptied(n, fi) && !raw.Flags().Has(disk.FlagInlineData)
	if emptied && used {
		raw.SetSize(0)
	}
	// An inode whose number was used again has lost its map on the way, and one
	// that has its content inside now has none.
	inline := raw.Flags().Has(disk.FlagInlineData)
	rebuild := fi.mapped || emptied || !inline && !bytes.Equal(raw.Block(), fi.before.Block()) ||
		inline && was && !fi.before.Flags().Has(disk.FlagInlineData)
	sectors := newInode(f, n, fi.before).Sectors()
	if !was {
		sectors = 0
		dropStale(newInode(f, n, raw))
	}
	err := w.handle(alloc.NewInodeCredits+1+attrCredits, func(h *txn) error {
		if used && !was {
			if err := f.live.alloc.ClaimInode(h, n, isDir); err != nil {
				return err
			}
		}
		if used && was && isDir != (disk.EntryType(fi.before.Mode()) == disk.FileTypeDir) {
			if err := f.live.alloc.Recount(h, n, isDir); err != nil {
				return err
			}
		}
		i, err := w.load(n, was, raw)
		if err != nil {
			return err
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if was && used && fi.before.Generation() != raw.Generation() {
			// Of the inode that had the number before. Those in the record stay,
			// as in Linux.
			if err := i.dropBlockXattrs(h); err != nil {
				return err
			}
			sectors = i.Sectors()
		}
		i.resetMap()
		return i.update(h, func(r disk.Inode) {
			copy(r, raw)
			if used {
				r.SetDeletionTime(0)
			}
			if !raw.Flags().Has(disk.FlagInlineData) {
				setSectors(f, r, sectors)
			}
		})
	})
	if err == nil {
		err = w.reapValues()
	}
	if err != nil || !rebuild {
		return err
	}
	list := fi.blocks
	switch {
	case emptied, inline:
		list = nil
	case !fi.mapped:
		if list, err = newInode(f, n, fi.raw).mapped(); err != nil {
			return err
		}
	}
	return w.rebuild(n, fi.before, was, list)
}

// dropStale takes the attributes out of the record of a new inode whose slot has
// some of an older one, if their values are in inodes: those are gone.
func dropStale(i *Inode) {
	in, err := i.inodeXattrs()
	if r := i.record(); err != nil || countValues(in) > 0 {
		clear(r[min(disk.InodeBaseSize+r.ExtraSize(), len(r)):])
	}
}

// reapValues deletes value inodes that nobody has any more.
func (w *fastWriter) reapValues() error {
	for _, v := range w.f.live.shared.takeDead() {
		if err := v.delete(); err != nil {
			return fmt.Errorf("value inode %d: %w", v.num, err)
		}
	}
	return nil
}

// load returns the Inode of n. The slot of one that is new may hold anything.
func (w *fastWriter) load(n disk.InodeNum, was bool, raw disk.Inode) (*Inode, error) {
	if was {
		return w.f.Inode(n)
	}
	i := w.f.live.nodes.enter(w.f, n)
	return i, i.loadAs(raw)
}

func setSectors(f *FS, r disk.Inode, n uint64) {
	r.SetSectors(n, f.super.Features.ROCompat.Has(disk.ROCompatHugeFile), f.BlockSize())
}

// rebuild gives an inode a new map with the runs of list, whose blocks are
// claimed, and frees the nodes of the old one.
func (w *fastWriter) rebuild(n disk.InodeNum, before disk.Inode, was bool, list extent.List) error {
	f := w.f
	i, err := f.Inode(n)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if was {
		if err := w.freeNodes(n, before); err != nil {
			return err
		}
	}
	var data uint64
	for _, e := range list {
		data += uint64(e.Len)
	}
	if i.FileACL() != 0 {
		data += uint64(f.super.ClusterRatio())
	}
	attrs, _ := i.rawXattrs() // what cannot be read does not count
	for _, a := range attrs {
		if a.ValueInode != 0 {
			data += uint64(f.valueBlocks(int64(a.ValueSize)))
		}
	}
	if !i.hasBlocks() {
		return nil
	}
	err = w.handle(2, func(h *txn) error {
		i.resetMap()
		return i.update(h, func(r disk.Inode) {
			clear(r.Block())
			if r.Flags().Has(disk.FlagExtents) {
				copy(r.Block(), extent.EmptyRoot())
			}
			setSectors(f, r, data*uint64(f.BlockSize()/512))
		})
	})
	for _, e := range list {
		if err != nil {
			return err
		}
		err = w.handle(f.baseCredits()+alloc.NewInodeCredits+32, func(h *txn) error {
			i.mapMu.Lock()
			defer i.mapMu.Unlock()
			m, err := i.changer()
			if err == nil {
				err = m.Insert(h, e)
			}
			return errors.Join(err, i.storeRoot(h))
		})
	}
	return err
}

// freeNodes frees the blocks that the map in a record takes.
func (w *fastWriter) freeNodes(n disk.InodeNum, before disk.Inode) error {
	f := w.f
	m, err := newInode(f, n, before).Map()
	if err != nil {
		return err
	}
	for node, err := range m.Nodes() {
		if err != nil {
			return err
		}
		if w.isTaken(node.Block) {
			continue
		}
		err := w.handle(f.live.alloc.BlockCredits(1), func(h *txn) error {
			h.Forget(node.Block)
			return f.live.alloc.Free(h, node.Block, 1)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *fastWriter) isTaken(bn disk.BlockNum) bool {
	return len(within(w.taken, uint64(bn), uint64(bn)+1)) > 0
}

// dir brings the names of a directory up to date.
func (w *fastWriter) dir(n disk.InodeNum, d *fastDir) error {
	i, err := w.f.Inode(n)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	o, err := i.newDirOp()
	if err != nil {
		return err
	}
	if d.fresh {
		err := w.handle(o.insertCredits(), func(h *txn) error {
			o.begun(h)
			return o.c.Init(h, d.parent)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if err := w.name(o, name, d.names[name]); err != nil {
			return fmt.Errorf("name %q: %w", name, err)
		}
	}
	return nil
}

// exorcise removes the names of inodes that are gone: Linux leaves some, where
// a record speaks of a name that led elsewhere. They can be anywhere.
func (w *fastWriter) exorcise() error {
	if len(w.ghosts) == 0 {
		return nil
	}
	for i, err := range w.f.Inodes() {
		if err != nil {
			return err
		}
		if !i.IsDir() {
			continue
		}
		if err := w.dangling(i); err != nil {
			return fmt.Errorf("directory %d: %w", i.num, err)
		}
	}
	return nil
}

func (w *fastWriter) dangling(i *Inode) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	o, err := i.newDirOp()
	if err != nil {
		return err
	}
	var gone []string
	for e, err := range o.c.Entries() {
		if err != nil {
			return err
		}
		if w.ghosts[e.Inode] && !IsDots(e) {
			gone = append(gone, string(e.Name))
		}
	}
	for _, name := range gone {
		if err := w.name(o, name, dir.Entry{}); err != nil {
			return fmt.Errorf("name %q: %w", name, err)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	links, err := w.dirLinks(i, i.record().Links() == 1, 1)
	if err != nil {
		return err
	}
	return w.handle(1, func(h *txn) error {
		return i.update(h, func(r disk.Inode) { r.SetLinks(uint16(links)) })
	})
}

// name adds a name, or removes the one of that spelling.
func (w *fastWriter) name(o *dirOp, name string, e dir.Entry) error {
	return w.handle(o.insertCredits()+o.c.RemoveCredits(), func(h *txn) error {
		o.begun(h)
		switch _, err := o.find(name); {
		case err == nil:
			old, err := o.c.Remove(h, []byte(name))
			if err != nil {
				return err
			}
			w.names[old.Inode]--
		case !errors.Is(err, ErrNotExist):
			return err
		}
		if e.Inode == 0 {
			return nil
		}
		w.names[e.Inode]++
		return o.c.Insert(h, e.Name, e.Inode, e.Type)
	})
}

// settle gives an inode the links that its names make, and frees it if it has
// none.
func (w *fastWriter) settle(n disk.InodeNum, fi *fastInode) error {
	used, was := fi.raw.Links() != 0, fi.before.Links() != 0
	if !used && !was {
		return nil
	}
	i, err := w.f.Inode(n)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	// How many names lead here: a directory had one.
	links := w.names[n]
	wasDir := was && newInode(w.f, n, fi.before).IsDir()
	switch {
	case wasDir:
		links++
	case was:
		links += int(fi.before.Links())
	}
	if used && i.IsDir() {
		if links, err = w.dirLinks(i, wasDir && fi.before.Links() == 1, links); err != nil {
			return err
		}
	}
	if !used {
		if links > 0 {
			w.ghosts[n] = true
		}
		links = 0
	}
	if links > 0 {
		return w.handle(1, func(h *txn) error {
			return i.update(h, func(r disk.Inode) { r.SetLinks(uint16(links)) })
		})
	}
	// What the names are to Linux is gone: so is the inode.
	if err := w.handle(1, func(h *txn) error {
		return i.update(h, func(r disk.Inode) { r.SetLinks(0) })
	}); err != nil {
		return err
	}
	return i.deleteLocked()
}

// dirLinks is the link count of a directory to which that many names lead;
// uncounted if the one on disk has too many to count.
func (w *fastWriter) dirLinks(i *Inode, uncounted bool, names int) (int, error) {
	if names <= 0 {
		return 0, nil
	}
	c, err := i.Directory()
	if err != nil {
		return 0, err
	}
	links := 0
	for e, err := range c.Entries() {
		switch {
		case err != nil:
			return 0, err
		case disk.IsDot(e.Name) || disk.IsDotDot(e.Name):
			links++
		case e.Type == disk.FileTypeDir:
			links++
		case e.Type == disk.FileTypeUnknown:
			child, err := w.f.Inode(e.Inode)
			if err != nil {
				return 0, err
			}
			if child.IsDir() {
				links++
			}
		}
	}
	if uncounted || links > maxLinks {
		links = 1 // dir_nlink: they are not counted
	}
	return links, nil
}
