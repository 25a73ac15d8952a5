package ext4fs

import (
	"errors"
	"fmt"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// RenameFlags say how Rename does it.
type RenameFlags uint8

const (
	// RenameNoReplace fails with ErrExist where the new name is taken.
	RenameNoReplace RenameFlags = 1 << iota
	// RenameExchange lets two names change what they lead to.
	RenameExchange
	// RenameWhiteout leaves a character device 0:0 under the old name.
	RenameWhiteout
)

// Rename gives what has name in the directory the name newName in the
// directory to, in one transaction. What has that name so far is replaced, if
// it is of the same kind and, for a directory, empty. Two names of the same
// inode are left alone, as rename(2) does.
func (d *Inode) Rename(name string, to *Inode, newName string, flags RenameFlags) error {
	f := d.fs
	if err := f.mayChange(); err != nil {
		return err
	}
	if to.fs != f {
		return ErrCrossDevice
	}
	if flags&^(RenameNoReplace|RenameExchange|RenameWhiteout) != 0 ||
		flags&RenameExchange != 0 && flags != RenameExchange {
		return ErrInvalid
	}
	switch {
	case isDotName(name):
		return ErrBusy
	case isDotName(newName) && flags&RenameNoReplace != 0:
		return ErrExist
	case isDotName(newName):
		return ErrBusy
	}
	r := &renaming{fs: f, d: d, to: to, name: name, newName: newName, flags: flags}
	if err := f.withSpace(r.run); err != nil {
		return err
	}
	if err := f.syncDir(d, to); err != nil {
		return err
	}
	return r.victim.reap()
}

// renaming is one Rename.
type renaming struct {
	fs            *FS
	d, to         *Inode
	name, newName string
	flags         RenameFlags

	from, into *dirOp // the same if the directories are
	src, dst   *Inode // dst is nil where the new name is free
	whiteout   *Inode
	victim     *Inode // what was replaced
	now        time.Time

	// aboveFrom and aboveTo are each directory and all those above it. They
	// are known under the rename lock only.
	aboveFrom, aboveTo map[disk.InodeNum]bool
}

// errTwoDirs: both names are directories, and so the rename lock is needed.
var errTwoDirs = errors.New("two directories")

func (r *renaming) run() error {
	if r.d == r.to {
		if err := patiently(r.attempt); err != errTwoDirs {
			return err
		}
	}
	r.fs.live.rename.Lock()
	defer r.fs.live.rename.Unlock()
	var err error
	if r.aboveFrom, err = r.d.above(); err != nil {
		return err
	}
	if r.aboveTo, err = r.to.above(); err != nil {
		return err
	}
	defer func() { r.aboveFrom, r.aboveTo = nil, nil }()
	return patiently(r.attempt)
}

// above returns the numbers of the directory and of all above it.
func (i *Inode) above() (map[disk.InodeNum]bool, error) {
	seen := map[disk.InodeNum]bool{i.num: true}
	for i.num != disk.RootInode {
		n, err := i.parent()
		if err != nil {
			return nil, err
		}
		if seen[n] {
			return nil, &CorruptError{What: "directory", Inode: n, Detail: "it is above itself"}
		}
		seen[n] = true
		if i, err = i.fs.Inode(n); err != nil {
			return nil, err
		}
		if !i.IsDir() {
			return nil, &CorruptError{What: "directory", Inode: n, Detail: "it has directories below it, but is none"}
		}
	}
	return seen, nil
}

// locked reports whether the rename lock is held.
func (r *renaming) locked() bool { return r.aboveFrom != nil }

// attempt looks everything up and renames. Without the rename lock it gives
// errTwoDirs if that is needed. See patiently for wait.
func (r *renaming) attempt() (wait *Inode, err error) {
	first, second := r.lockParents()
	defer first.mu.Unlock()
	if second != nil {
		defer second.mu.Unlock()
	}
	if err := r.lookup(); err != nil {
		return nil, err
	}
	if r.src == r.dst {
		return nil, nil
	}
	if !r.locked() && r.dst != nil && r.src.IsDir() && r.dst.IsDir() {
		return nil, errTwoDirs
	}
	children, wait := lockBelow(r.src, r.dst)
	if wait != nil {
		return wait, nil
	}
	defer children.unlock()
	if err := r.check(); err != nil {
		return nil, err
	}
	return nil, r.change()
}

// lockParents locks the directories, the upper one first, else by number, and
// returns them; there is no second one where both are the same.
func (r *renaming) lockParents() (first, second *Inode) {
	a, b := r.d, r.to
	if a == b {
		a.mu.Lock()
		return a, nil
	}
	if r.aboveFrom[b.num] || !r.aboveTo[a.num] && b.num < a.num {
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
	return a, b
}

// lookup finds both names, in the order of errors of Linux.
func (r *renaming) lookup() (err error) {
	if r.from, err = r.d.openDir(); err != nil {
		return err
	}
	if r.into = r.from; r.to != r.d {
		if r.into, err = r.to.openDir(); err != nil {
			return err
		}
	}
	if r.d.Flags().Has(disk.FlagEncrypt) || r.to.Flags().Has(disk.FlagEncrypt) {
		return ErrNoKey
	}
	if err := checkName(r.name); err != nil {
		return err
	}
	if r.src, err = r.from.child(r.name); err != nil {
		return err
	}
	if err := checkName(r.newName); err != nil {
		return err
	}
	r.dst, err = r.into.child(r.newName)
	switch {
	case err == ErrNotExist && r.flags&RenameExchange == 0:
		r.dst = nil
	case err != nil:
		return err
	case r.flags&RenameNoReplace != 0:
		return ErrExist
	}
	if r.aboveTo[r.src.num] {
		return fmt.Errorf("inode %d would be below itself: %w", r.src.num, ErrInvalid)
	}
	if r.dst != nil && r.aboveFrom[r.dst.num] {
		if r.flags&RenameExchange != 0 {
			return ErrInvalid
		}
		return ErrNotEmpty
	}
	return nil
}

// check says why the names, which are known and whose inodes are locked,
// cannot be changed.
func (r *renaming) check() error {
	srcDir := r.src.IsDir()
	if err := r.from.mayRemove(r.src); err != nil {
		return err
	}
	if r.dst == nil {
		if err := r.into.mayWrite(); err != nil {
			return err
		}
	} else {
		if err := r.into.mayRemove(r.dst); err != nil {
			return err
		}
		if err := r.checkReplaced(srcDir); err != nil {
			return err
		}
	}
	if err := r.into.mayTake(r.src); err != nil {
		return err
	}
	if r.flags&RenameExchange != 0 {
		return r.checkExchange(srcDir)
	}
	if srcDir && r.dst == nil && r.d != r.to {
		return r.into.mayLink()
	}
	if srcDir && r.dst != nil {
		return r.dst.mustBeEmpty()
	}
	return nil
}

// checkReplaced checks that what has the new name can be replaced.
func (r *renaming) checkReplaced(srcDir bool) error {
	dstDir := r.dst.IsDir()
	switch {
	case r.dst.num == disk.RootInode || r.src.num == disk.RootInode:
		return ErrBusy
	case r.flags&RenameExchange != 0:
	case srcDir && !dstDir:
		return ErrNotDir
	case !srcDir && dstDir:
		return ErrIsDir
	}
	return nil
}

func (r *renaming) checkExchange(srcDir bool) error {
	if err := r.from.mayTake(r.dst); err != nil {
		return err
	}
	dstDir := r.dst.IsDir()
	switch {
	case r.d == r.to || srcDir == dstDir:
		return nil
	case srcDir:
		return r.into.mayLink()
	}
	return r.from.mayLink()
}

// change does it, in one transaction.
func (r *renaming) change() (err error) {
	var parents []*dirOp // of src and dst, to change ".."
	if parents, err = r.openMoved(); err != nil {
		return err
	}
	f := r.fs
	h, err := f.begin(r.credits(parents))
	if err != nil {
		return err
	}
	defer func() {
		err = f.end(h, err)
		if r.whiteout != nil {
			r.whiteout.mu.Unlock()
			if err != nil {
				err = errors.Join(err, r.whiteout.deleteAborted())
			}
			r.whiteout = nil
		}
	}()
	r.from.begun(h)
	r.into.begun(h)
	r.now = f.now()
	if r.flags&RenameWhiteout != 0 {
		if err := r.makeWhiteout(h); err != nil {
			return err
		}
	}
	if err := r.enter(); err != nil {
		if r.whiteout != nil {
			err = errors.Join(err, f.dispose(h, r.whiteout))
		}
		return err
	}
	// The new name is there: from here on all or nothing.
	if err := r.complete(h, parents); err != nil {
		return f.abort(err)
	}
	return nil
}

// openMoved opens the directories that get another parent.
func (r *renaming) openMoved() ([]*dirOp, error) {
	if r.d == r.to {
		return nil, nil
	}
	var list []*dirOp
	for _, i := range []*Inode{r.src, r.dst} {
		if i == nil || !i.IsDir() || i == r.dst && r.flags&RenameExchange == 0 {
			continue
		}
		o, err := i.openDir()
		if err != nil {
			return nil, err
		}
		if _, err := o.find(".."); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, nil
}

func (r *renaming) credits(moved []*dirOp) int {
	n := r.into.insertCredits() + r.from.c.RemoveCredits() + 4 + 2*orphanCredits
	for _, o := range moved {
		n += o.c.ReplaceCredits()
	}
	if r.flags&RenameWhiteout != 0 {
		n += r.fs.newInodeCredits() + attrCredits
	}
	return n
}

// makeWhiteout makes the device that takes the old name.
func (r *renaming) makeWhiteout(h *txn) error {
	a := &NewNode{Mode: disk.ModeChar, ownMask: true}
	i, err := r.fs.allocInode(h, r.d, a)
	if err != nil {
		return err
	}
	r.whiteout = i
	if err := i.fillNew(h, r.d, a); err != nil {
		return errors.Join(err, r.fs.dispose(h, i))
	}
	return nil
}

// enter lets the new name lead to the inode. It fails before it changes
// anything.
func (r *renaming) enter() error {
	if r.dst != nil {
		return r.into.replace(r.newName, r.dst.num, r.src)
	}
	return r.into.insert(r.newName, r.src)
}

// complete does all that must follow enter.
func (r *renaming) complete(h *txn, moved []*dirOp) error {
	var err error
	switch {
	case r.flags&RenameExchange != 0:
		err = r.from.replace(r.name, r.src.num, r.dst)
	case r.whiteout != nil:
		err = r.from.replace(r.name, r.src.num, r.whiteout)
	default:
		err = r.from.remove(r.name, r.src)
	}
	if err != nil {
		return err
	}
	for _, o := range moved {
		o.begun(h)
		parent := r.to
		if o.i == r.dst {
			parent = r.d
		}
		if err := o.reparent(parent); err != nil {
			return err
		}
	}
	if err := r.stamp(h, r.src); err != nil {
		return err
	}
	if r.flags&RenameExchange != 0 {
		if err := r.stamp(h, r.dst); err != nil {
			return err
		}
	} else if r.dst != nil {
		if err := r.dst.unlinked(h, r.now); err != nil {
			return err
		}
		r.victim = r.dst
	}
	return r.touch()
}

// stamp sets the time of change of an inode that got another name.
func (r *renaming) stamp(h *txn, i *Inode) error {
	return i.update(h, func(rec disk.Inode) {
		rec.SetCtime(r.now)
		bump(rec)
	})
}

// touch updates the directories: their times, and how many subdirectories
// they have.
func (r *renaming) touch() error {
	left, came := 0, 0
	if r.src.IsDir() {
		left, came = left-1, came+1
	}
	if r.dst != nil && r.dst.IsDir() {
		came--
		if r.flags&RenameExchange != 0 {
			left++
		}
	}
	if r.d == r.to {
		return r.from.touch(r.now, left+came)
	}
	if err := r.from.touch(r.now, left); err != nil {
		return err
	}
	return r.into.touch(r.now, came)
}
