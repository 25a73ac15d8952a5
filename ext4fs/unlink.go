package ext4fs

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Unlink takes away a name of something that is no directory. With its last
// name an inode goes too, at once or when it is released; see Hold.
func (d *Inode) Unlink(name string) error {
	if err := d.fs.mayChange(); err != nil {
		return err
	}
	if isDotName(name) {
		return ErrIsDir
	}
	return d.drop(name, false)
}

// Rmdir takes away an empty directory.
func (d *Inode) Rmdir(name string) error {
	if err := d.fs.mayChange(); err != nil {
		return err
	}
	switch name {
	case ".":
		return ErrInvalid
	case "..":
		return ErrNotEmpty
	}
	return d.drop(name, true)
}

// drop is Unlink or Rmdir.
func (d *Inode) drop(name string, dir bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	var i *Inode
	err := d.fs.withSpace(func() error {
		return patiently(func() (wait *Inode, err error) {
			i, wait, err = d.dropName(name, dir)
			return wait, err
		})
	})
	if err != nil {
		return err
	}
	if err := d.fs.syncDir(d); err != nil {
		return err
	}
	return i.reap()
}

// dropName removes the name in one transaction and returns what had it. See
// patiently for wait.
func (d *Inode) dropName(name string, dir bool) (i, wait *Inode, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, err := d.openDir()
	if err != nil {
		return nil, nil, err
	}
	if i, err = o.child(name); err != nil {
		return nil, nil, err
	}
	locked, wait := lockBelow(i, nil)
	if wait != nil {
		return nil, wait, nil
	}
	defer locked.unlock()
	if err := o.mayDrop(i, dir); err != nil {
		return nil, nil, err
	}
	return i, nil, o.removeInode(name, i, dir)
}

// mayDrop says why the inode's name cannot be removed as one of a directory, or
// of something else.
func (o *dirOp) mayDrop(i *Inode, dir bool) error {
	if err := o.mayRemove(i); err != nil {
		return err
	}
	switch {
	case dir && !i.IsDir():
		return ErrNotDir
	case !dir && i.IsDir():
		return ErrIsDir
	case dir && i.num == disk.RootInode:
		return ErrBusy
	case dir:
		return i.mustBeEmpty()
	}
	return nil
}

// mustBeEmpty checks that the directory has no names but "." and "..". Its
// caller holds mu.
func (i *Inode) mustBeEmpty() error {
	o, err := i.openDir()
	if err != nil {
		return err
	}
	empty, err := o.c.Empty()
	if err == nil && !empty {
		err = ErrNotEmpty
	}
	return err
}

// removeInode removes a name, and the inode with its last one.
func (o *dirOp) removeInode(name string, i *Inode, dir bool) (err error) {
	f := o.i.fs
	h, err := f.begin(o.c.RemoveCredits() + orphanCredits + 2 + alloc.FreeInodeCredits + f.quotaCredits())
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	o.begun(h)
	if err := o.remove(name, i); err != nil {
		return err
	}
	links, now := 0, f.now()
	if dir {
		links = -1
	}
	if err := o.touch(now, links); err != nil {
		return f.abort(err)
	}
	if i.endsNow() {
		err = i.freeIn(h, now)
	} else {
		err = i.unlinked(h, now)
	}
	if err != nil {
		return f.abort(err)
	}
	return nil
}

// endsNow reports whether the inode, which loses its last name, has nothing to
// be freed but itself, so that it need not become an orphan first. The caller
// holds mu.
func (i *Inode) endsNow() bool {
	r := i.record()
	return (r.Links() <= 1 || i.IsDir()) && !i.held() && i.orphan.kind == orphanNone &&
		i.Sectors() == 0 && i.FileACL() == 0
}

// unlinked counts one name less. Without any, the inode is an orphan; a
// directory has just one. The caller holds mu.
func (i *Inode) unlinked(h *txn, now time.Time) error {
	dir := i.IsDir()
	edit := func(r disk.Inode) {
		if dir {
			r.SetLinks(0)
			r.SetSize(0)
		} else {
			dropLink(r)
		}
		r.SetCtime(now)
		bump(r)
	}
	if dir || i.record().Links() <= 1 {
		i.nameless.Store(time.Now().UnixNano())
		if edited, err := i.fs.orphanAddEdit(h, i, edit); edited || err != nil {
			return err
		}
	}
	return i.update(h, edit)
}

// Release ends what Hold began. The last one deletes an inode that has no
// names any more.
func (i *Inode) Release() error {
	if i.node == nil {
		return nil
	}
	i.reaps.Add(1)
	defer i.reaps.Add(-1)
	if i.holds.Add(-1) > 0 {
		return nil
	}
	if i.record().Links() > 0 {
		i.fs.live.alloc.Release(i.num) // what was kept for the file to grow
		return nil
	}
	return i.reap()
}

// reap deletes the inode if it has no names and nobody holds it. A nil inode
// is none.
func (i *Inode) reap() error {
	if i == nil || i.record().Links() > 0 || i.held() || i.fs.live.closed.Load() {
		return nil
	}
	if err := i.delete(); err != nil {
		return fmt.Errorf("inode %d has no name any more, but cannot be freed now: %w", i.num, err)
	}
	return nil
}

// held reports whether the inode lives on without names.
func (i *Inode) held() bool { return i.holds.Load() > 0 || i.keeps.Load() > 0 }

// Acquire is Hold for an inode that was looked up and not held so far: false
// says that it was deleted in the meantime, and is not held.
func (i *Inode) Acquire() bool { return i.node == nil || i.countIn(&i.holds) }

// Keep is Acquire for who knows the inode and does not have it open: without
// names it lives on until Unkeep as well, but what is set aside for the file to
// grow does not.
func (i *Inode) Keep() bool {
	if i.node == nil {
		return true
	}
	if !i.countIn(&i.keeps) {
		return false
	}
	i.fs.live.nodes.kept(i)
	return true
}

// Unkeep ends what Keep began. The last one deletes an inode that has no names
// any more, if nobody holds it.
func (i *Inode) Unkeep() error {
	if i.node == nil {
		return nil
	}
	i.reaps.Add(1)
	defer i.reaps.Add(-1)
	if i.keeps.Add(-1) > 0 {
		return nil
	}
	err := i.reap()
	i.fs.live.nodes.unkept(i)
	return err
}

func (i *Inode) countIn(users *atomic.Int32) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.deleted {
		return false
	}
	users.Add(1)
	return true
}

// delete frees an inode without names: its content in as many transactions as
// that takes, the rest in one. Until then it is an orphan. It does nothing if
// the inode has a name or a holder, or was deleted.
func (i *Inode) delete() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.deleted || i.record().Links() > 0 || i.held() {
		return nil
	}
	return i.deleteLocked()
}

// deleteLocked is delete, whoever holds the inode. The caller holds mu.
func (i *Inode) deleteLocked() error {
	if i.hasBlocks() && !i.mapsNothing() {
		if err := i.truncateLocked(0); err != nil {
			return err
		}
	}
	if err := i.shedValues(); err != nil {
		return err
	}
	if err := i.free(); err != nil {
		return err
	}
	if !i.Flags().Has(disk.FlagEAInode) { // that may be one of the values itself
		i.fs.reapValues()
	}
	return nil
}

// mapsNothing reports whether the inode has no blocks, for which the map need
// not be opened.
func (i *Inode) mapsNothing() bool {
	const count = 2 // of the entries, in the root
	root := i.record().Block()
	if i.Sectors() != 0 || i.FileACL() != 0 {
		return false
	}
	if i.Flags().Has(disk.FlagExtents) {
		return root[count] == 0 && root[count+1] == 0
	}
	return allZero(root)
}

// free gives back an inode without content.
func (i *Inode) free() (err error) {
	f := i.fs
	h, err := i.begin(alloc.FreeInodeCredits + 1 + orphanCredits + i.dropCredits() + f.quotaCredits())
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	if err := i.dropXattrs(h); err != nil {
		return err
	}
	// What dropXattrs did is complete in itself; from here on all or nothing.
	if err := i.freeIn(h, f.now()); err != nil {
		return f.abort(err)
	}
	return nil
}

func (i *Inode) freeIn(h *txn, now time.Time) error {
	f, dir := i.fs, i.IsDir()
	if err := i.charge(h, 0, -1); err != nil {
		return err
	}
	edit := func(r disk.Inode) {
		r.SetDeletionTime(uint32(now.Unix()))
		r.SetLinks(0)
		r.SetSize(0)
		bump(r)
	}
	edited, err := f.orphanDelEdit(h, i, edit)
	if err == nil && !edited {
		err = i.update(h, edit)
	}
	if err != nil {
		return err
	}
	if err := f.live.alloc.FreeInode(h, i.num, dir); err != nil {
		return err
	}
	i.deleted = true
	f.live.alloc.Release(i.num)
	f.live.nodes.remove(i)
	return nil
}

// dropOrphans deletes all inodes without names, whoever holds them, and frees
// what the others have beyond their sizes: Close leaves no orphans behind.
func (f *FS) dropOrphans() error {
	err := f.dropOrphansOnce()
	// From here on nothing becomes an orphan but by who has begun already.
	f.live.sealed.Store(true)
	for last := -1; f.live.journal.Err() == nil; {
		if f.live.journal.Stats().Handles > 0 {
			if err := f.live.journal.Sync(f.context()); err != nil {
				return err
			}
		}
		n := len(f.live.orphans.list())
		if n == 0 || n == last {
			break // the rest cannot be cleaned up
		}
		last = n
		err = f.dropOrphansOnce()
	}
	return err
}

func (f *FS) dropOrphansOnce() error {
	var all []error
	for _, i := range f.live.orphans.list() {
		if err := f.dropOrphan(i); err != nil {
			all = append(all, fmt.Errorf("orphan inode %d: %w", i.num, err))
		}
	}
	return errors.Join(all...)
}

func (f *FS) dropOrphan(i *Inode) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.deleted || i.orphan.kind == orphanNone:
		return nil // by somebody else meanwhile
	case i.record().Links() == 0:
		return i.deleteLocked()
	}
	return i.finishTruncate()
}
