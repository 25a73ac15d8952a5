package ext4fs

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Link gives target another name, or a first one if Tmpfile made it.
func (d *Inode) Link(name string, target *Inode) error {
	_, err := d.link(name, target, false)
	return err
}

// LinkReplace is Link, but a name that something else has, and no directory,
// leads to target from then on. There is no moment without the name.
func (d *Inode) LinkReplace(name string, target *Inode) error {
	old, err := d.link(name, target, true)
	if err != nil {
		return err
	}
	return old.reap()
}

func (d *Inode) link(name string, target *Inode, replace bool) (*Inode, error) {
	f := d.fs
	if err := f.mayChange(); err != nil {
		return nil, err
	}
	if target.fs != f {
		return nil, ErrCrossDevice
	}
	var old *Inode
	err := f.withSpace(func() (err error) {
		old, err = d.tryLink(name, target, replace)
		return err
	})
	if err != nil {
		return nil, err
	}
	return old, f.syncDir(d)
}

func (d *Inode) tryLink(name string, target *Inode, replace bool) (*Inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, err := d.openDir()
	if err != nil {
		return nil, err
	}
	err = o.mayAdd(name)
	var old *Inode
	if err == ErrExist && replace && !isDotName(name) {
		if old, err = o.child(name); err == nil {
			err = o.mayWrite()
		}
	}
	if err != nil {
		return nil, err
	}
	switch {
	case target.IsDir():
		return nil, fmt.Errorf("inode %d is a directory: %w", target.num, ErrNotPermitted)
	case old == target:
		return nil, nil
	case old != nil && old.IsDir():
		return nil, ErrIsDir
	}
	locked, _ := lockBelow(target, old) // neither is a directory
	defer locked.unlock()
	if err := o.mayLinkTo(target); err != nil {
		return nil, err
	}
	if old != nil {
		if err := o.mayRemove(old); err != nil {
			return nil, err
		}
	}
	return old, o.linkIn(name, target, old)
}

// lockBelow locks inodes to change them, directories first, then by number.
// Nil ones and repetitions do not count. More than one directory may be locked
// under the rename lock only.
//
// The caller has the directories locked that they are in. In a damaged image
// two directories can be in each other, so nobody waits for one with the one
// above it locked: where one is taken, nothing is locked, and wait is it. See
// patiently.
func lockBelow(a, b *Inode) (l lockedInodes, wait *Inode) {
	if a == b || a == nil || b != nil && b.before(a) {
		a, b = b, a
	}
	if a == b {
		b = nil
	}
	l = lockedInodes{a, b}
	for n, i := range l {
		if i == nil {
			continue
		}
		if !i.IsDir() {
			i.mu.Lock()
		} else if !i.mu.TryLock() {
			l[n], l[1] = nil, nil
			l.unlock()
			return lockedInodes{}, i
		}
	}
	return l, nil
}

// lockedInodes are up to two inodes that are locked, others are nil.
type lockedInodes [2]*Inode

func (l *lockedInodes) unlock() {
	for _, i := range l {
		if i != nil {
			i.mu.Unlock()
		}
	}
}

// maxWaits bounds how often somebody else may be faster.
const maxWaits = 1000

// patiently runs op, again whenever it has come upon a directory that is locked,
// when that is free.
func patiently(op func() (wait *Inode, err error)) error {
	for range maxWaits {
		wait, err := op()
		if wait == nil {
			return err
		}
		wait.awaitLock()
	}
	return ErrBusy
}

// awaitLock returns when nobody has the inode locked.
func (i *Inode) awaitLock() {
	i.mu.Lock()
	defer i.mu.Unlock()
}

// before reports whether i is locked before o, which is another one.
func (i *Inode) before(o *Inode) bool {
	if o == nil || i == o {
		return false
	}
	if d := i.IsDir(); d != o.IsDir() {
		return d
	}
	return i.num < o.num
}

// mayLinkTo checks that the inode, whose mu the caller holds, can get another
// name in the directory.
func (o *dirOp) mayLinkTo(i *Inode) error {
	r := i.record()
	switch {
	case r.Flags()&(disk.FlagImmutable|disk.FlagAppend) != 0:
		return fmt.Errorf("inode %d is %s: %w", i.num, r.Flags()&(disk.FlagImmutable|disk.FlagAppend), ErrNotPermitted)
	case i.deleted || r.Links() == 0 && !i.orphan.linkable:
		return ErrNotExist
	case r.Links() >= maxLinks:
		return ErrLinks
	}
	return o.mayTake(i)
}

// mayTake checks that the inode's project may be in the directory.
func (o *dirOp) mayTake(i *Inode) error {
	d := o.i.record()
	if !d.Flags().Has(disk.FlagProjInherit) {
		return nil
	}
	want, _ := d.Project()
	if have, _ := i.record().Project(); have != want {
		return fmt.Errorf("project %d, the directory's is %d: %w", have, want, ErrCrossDevice)
	}
	return nil
}

// linkIn enters or replaces the name in one transaction.
func (o *dirOp) linkIn(name string, target, old *Inode) (err error) {
	f := o.i.fs
	h, err := f.begin(o.insertCredits() + 2*orphanCredits + 3)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	o.begun(h)
	if old == nil {
		err = o.insert(name, target)
	} else {
		err = o.replace(name, old.num, target)
	}
	if err != nil {
		return err
	}
	if err := o.linked(target, old); err != nil {
		return f.abort(err)
	}
	return nil
}

// linked does the rest, once the name is there.
func (o *dirOp) linked(target, old *Inode) error {
	f, now := o.i.fs, o.i.fs.now()
	if err := f.orphanDel(o.h, target); err != nil {
		return err
	}
	target.orphan.linkable = false
	err := target.update(o.h, func(r disk.Inode) {
		addLink(r, false)
		r.SetCtime(now)
		bump(r)
	})
	if err != nil {
		return err
	}
	if old != nil {
		if err := old.unlinked(o.h, now); err != nil {
			return err
		}
	}
	return o.touch(now, 0)
}
