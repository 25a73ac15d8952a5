package ext4fs

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unsafe"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// maxLinks is how many links an inode can have, as in Linux.
const maxLinks = 65000

// dirOp is a directory that one operation looks up names in and changes. Who
// has it holds the inode's mu to change.
type dirOp struct {
	i *Inode
	c *dir.Config
	h *txn // set by begun
	// found are the names that were looked for, the last ones, and where: the
	// changes begin there.
	found [2]foundName
}

type foundName struct {
	name string
	spot dir.Spot
}

// openDir starts an operation on a directory, which must still exist. The
// caller holds mu to change.
func (i *Inode) openDir() (*dirOp, error) {
	if err := i.liveDir(); err != nil {
		return nil, err
	}
	return i.openAnyDir()
}

// liveDir says why no name can be in the directory.
func (i *Inode) liveDir() error {
	switch {
	case !i.IsDir():
		return ErrNotDir
	case i.gone():
		return ErrNotExist
	}
	return nil
}

// openAnyDir is openDir for one that may have no links yet. What was learned
// about the directory before is kept, as long as its record says the same.
func (i *Inode) openAnyDir() (*dirOp, error) {
	if o := i.names.Load(); o != nil && o.current() {
		o.h, o.found = nil, [2]foundName{}
		return o, nil
	}
	o, err := i.newDirOp()
	if err == nil {
		i.names.Store(o)
	}
	return o, err
}

// knownDir is the directory for who looks names up only, and shares mu to do so.
func (i *Inode) knownDir() (*dir.Config, error) {
	o := i.names.Load()
	if o != nil && o.current() {
		return o.c, nil
	}
	fresh, err := i.newDirOp()
	if err != nil {
		return nil, err
	}
	if fresh.c.InlineBlock == nil { // else it is as good as the record at this moment
		i.names.CompareAndSwap(o, fresh)
	}
	return fresh.c, nil
}

// current reports whether the inode is as the last operation has left it.
func (o *dirOp) current() bool {
	i, c := o.i, o.c
	flags := i.Flags()
	return !flags.Has(disk.FlagInlineData) && c.InlineBlock == nil &&
		i.Size()>>i.fs.blockShift() == int64(c.Blocks) && c.Indexed == i.indexed() &&
		c.Casefold == (flags.Has(disk.FlagCasefold) && i.fs.super.Features.Incompat.Has(disk.IncompatCasefold)) &&
		c.Encrypted == flags.Has(disk.FlagEncrypt) && c.Seed == i.seed()
}

func (i *Inode) newDirOp() (*dirOp, error) {
	c, err := i.Directory()
	if err != nil {
		return nil, err
	}
	o := &dirOp{i: i, c: c}
	c.Read = i.changedDirBlock
	c.Prefetch = i.prefetchChanged
	c.StaleIndex = i.Flags().Has(disk.FlagIndex) && !c.Indexed
	c.SetIndexed = func(_ cache.Tx, on bool) error { return o.setIndexed(on) }
	c.Append = func(cache.Tx) (disk.LogicalNum, disk.BlockNum, error) { return i.growDir(o.h) }
	c.SetInline = func(_ cache.Tx, block, value []byte) error { return o.setInline(block, value) }
	c.LeaveInline = func(cache.Tx) error { return i.dropInline(o.h) }
	if c.InlineBlock != nil {
		c.MaxInlineValue = i.inlineRoom()
	}
	return o, nil
}

// dirRun finds the run of logical block l. It serves who holds mu, and so the
// map as it is changed.
func (i *Inode) dirRun(l disk.LogicalNum) (extent.Extent, error) {
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	c, err := i.changer()
	if err != nil {
		return extent.Extent{}, err
	}
	return c.Find(l)
}

// prefetchChanged is prefetchDir for who holds mu.
func (i *Inode) prefetchChanged(l disk.LogicalNum, n int) {
	if e, err := i.dirRun(l); err == nil && e.Flags == 0 {
		in := l - e.Logical
		i.fs.cache.Prefetch(e.Physical+disk.BlockNum(in), min(n, int(e.Len-uint32(in))))
	}
}

// changedDirBlock is readDirBlock for who holds mu.
func (i *Inode) changedDirBlock(l disk.LogicalNum) (*cache.Buffer, error) {
	e, err := i.dirRun(l)
	if err != nil {
		return nil, err
	}
	return i.dirBlockIn(e, l)
}

// begun tells the handle that changes go to.
func (o *dirOp) begun(h *txn) { o.h = h }

func (o *dirOp) setIndexed(on bool) error {
	return o.i.update(o.h, func(r disk.Inode) {
		if on {
			r.SetFlags(r.Flags() | disk.FlagIndex)
		} else {
			r.SetFlags(r.Flags() &^ disk.FlagIndex)
		}
	})
}

// setInline stores the changed content of an inline directory.
func (o *dirOp) setInline(block, value []byte) error {
	if err := o.i.setInlineValue(o.h, nonNil(value)); err != nil {
		return err
	}
	o.i.resetMap()
	return o.i.update(o.h, func(r disk.Inode) {
		r.SetFlags(r.Flags()&^disk.FlagExtents | disk.FlagInlineData)
		copy(r.Block(), block)
		r.SetSize(int64(disk.InodeBlockSize + len(value)))
	})
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// find looks a name up. It gives ErrNotExist where there is none.
func (o *dirOp) find(name string) (dir.Entry, error) {
	e, spot, err := o.c.Find(nameBytes(name))
	o.found[1] = o.found[0]
	o.found[0] = foundName{name, spot}
	return e, o.i.lookupError(name, e, err)
}

// lookupError judges what a lookup in the directory gave.
func (i *Inode) lookupError(name string, e dir.Entry, err error) error {
	switch {
	case err == nil && e.Inode == 0:
		return &CorruptError{What: "directory entry", Inode: i.num, Detail: fmt.Sprintf("%q is inode 0", name)}
	case err == nil:
		return nil
	case err == fs.ErrNotExist || errors.Is(err, fs.ErrNotExist):
		return ErrNotExist
	case errors.Is(err, fs.ErrInvalid):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// spot is where the name was found, or room for it; the zero value where it was
// not looked for. It is good for one change.
func (o *dirOp) spot(name string) (s dir.Spot) {
	for k := range o.found {
		if f := &o.found[k]; f.name == name {
			s, *f = f.spot, foundName{}
			break
		}
	}
	return s
}

// nameBytes gives the bytes of a name, which nobody changes, without a copy.
func nameBytes(name string) []byte { return unsafe.Slice(unsafe.StringData(name), len(name)) }

// child returns the inode that a name of the directory leads to. Links of no
// directory may lead to itself, to inodes that the file system keeps for
// itself, or to deleted ones.
func (o *dirOp) child(name string) (*Inode, error) {
	e, err := o.find(name)
	if err != nil {
		return nil, err
	}
	bad := func(why string) error {
		return &CorruptError{What: "directory entry", Inode: o.i.num, Detail: fmt.Sprintf("%q is inode %d, %s", name, e.Inode, why)}
	}
	f := o.i.fs
	switch {
	case e.Inode == o.i.num:
		return nil, bad("the directory itself")
	case f.isSpecial(e.Inode):
		return nil, bad("which the file system keeps for itself")
	case e.Inode > f.inodes:
		return nil, bad(fmt.Sprintf("the last one is %d", f.inodes))
	}
	i, err := f.Inode(e.Inode)
	if err == nil && i.record().Links() == 0 {
		err = bad("which is deleted")
	}
	return i, err
}

// isSpecial reports whether no directory entry may lead to the inode.
func (f *FS) isSpecial(n disk.InodeNum) bool {
	s := &f.super
	switch {
	case n == disk.RootInode:
		return false
	case n < s.FirstInode:
		return true
	}
	feat := &s.Features
	return feat.ROCompat.Has(disk.ROCompatQuota) && (n == s.UserQuotaInode || n == s.GroupQuotaInode || n == s.ProjectQuotaInode) ||
		feat.Compat.Has(disk.CompatOrphanFile) && n == s.OrphanFileInode
}

// checkName says why no entry can have the name.
func checkName(name string) error {
	switch {
	case name == "":
		return ErrNotExist
	case len(name) > disk.MaxNameLen:
		return ErrNameLong
	case strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0:
		return ErrInvalid
	}
	return nil
}

func isDotName(name string) bool { return name == "." || name == ".." }

// mayAdd checks that a new name can be made: it is legal and free, and the
// directory takes new ones.
func (o *dirOp) mayAdd(name string) error {
	if isDotName(name) {
		return ErrExist
	}
	if err := checkName(name); err != nil {
		return err
	}
	if o.i.Flags().Has(disk.FlagEncrypt) {
		return ErrNoKey
	}
	switch _, err := o.find(name); {
	case err == nil:
		return ErrExist
	case err != ErrNotExist:
		return err
	}
	return o.mayWrite()
}

// mayWrite checks that names can be added.
func (o *dirOp) mayWrite() error {
	if o.i.Flags().Has(disk.FlagImmutable) {
		return fmt.Errorf("directory %d is immutable: %w", o.i.num, ErrNotPermitted)
	}
	return nil
}

// mayRemove checks that a name of the directory, which leads to i, can be
// taken away. Its caller holds i.mu.
func (o *dirOp) mayRemove(i *Inode) error {
	if err := o.mayWrite(); err != nil {
		return err
	}
	switch {
	case o.i.Flags().Has(disk.FlagAppend):
		return fmt.Errorf("directory %d is append-only: %w", o.i.num, ErrNotPermitted)
	case i.Flags()&(disk.FlagImmutable|disk.FlagAppend) != 0:
		return fmt.Errorf("inode %d is %s: %w", i.num, i.Flags()&(disk.FlagImmutable|disk.FlagAppend), ErrNotPermitted)
	}
	return nil
}

// mayLink checks that the directory's link count can grow by one, for a new
// subdirectory.
func (o *dirOp) mayLink() error {
	s := &o.i.fs.super
	if o.i.record().Links() >= maxLinks && !(s.Features.ROCompat.Has(disk.ROCompatDirNlink) && o.i.indexed()) {
		return ErrLinks
	}
	return nil
}

// gone reports whether the inode has no names any more. The caller holds mu.
func (i *Inode) gone() bool {
	return i.node != nil && (i.deleted || i.record().Links() == 0)
}

// indexed reports whether the directory has a hash tree.
func (i *Inode) indexed() bool {
	return i.Flags().Has(disk.FlagIndex) && i.fs.super.Features.Compat.Has(disk.CompatDirIndex)
}

// addLink counts one more link in a record: of a directory with a hash tree
// too many are 1, and stay so.
func addLink(r disk.Inode, indexed bool) {
	n := uint32(r.Links()) + 1
	if indexed && (n > maxLinks || n == 2) {
		n = 1
	}
	r.SetLinks(uint16(min(n, 0xffff)))
}

// dropLink counts one link less.
func dropLink(r disk.Inode) {
	n := r.Links()
	if r.Mode()&disk.ModeType == disk.ModeDir && n <= 2 || n == 0 {
		return
	}
	r.SetLinks(n - 1)
}

// bump counts a change.
func bump(r disk.Inode) { r.SetVersion(r.Version() + 1) }

// touch notes in the directory's record that its names have changed; links is
// how many subdirectories it has more, at most one either way.
func (o *dirOp) touch(now time.Time, links int) error {
	indexed := o.i.indexed()
	return o.i.update(o.h, func(r disk.Inode) {
		r.SetMtime(now)
		r.SetCtime(now)
		bump(r)
		switch {
		case links > 0:
			addLink(r, indexed)
		case links < 0:
			dropLink(r)
		}
	})
}

// insert enters a name.
func (o *dirOp) insert(name string, i *Inode) error {
	err := o.c.InsertAt(o.h, o.spot(name), nameBytes(name), i.num, disk.EntryType(i.record().Mode()))
	if err == nil {
		return nil
	}
	o.i.names.Store(nil)
	if part := (*dir.PartialError)(nil); errors.As(err, &part) {
		return o.i.fs.abort(err)
	}
	if errors.Is(err, fs.ErrExist) {
		return ErrExist
	}
	return noSpace(err)
}

// insertCredits is what insert adds to a transaction.
func (o *dirOp) insertCredits() int {
	return o.c.InsertCredits() + o.c.InsertAppends()*o.i.growDirCredits() + 1
}

// remove takes a name away, which leads to i.
func (o *dirOp) remove(name string, i *Inode) error {
	e, err := o.c.RemoveAt(o.h, o.spot(name), nameBytes(name))
	if err == nil && e.Inode != i.num {
		return o.mistaken(name, i.num, e.Inode)
	}
	return err
}

// mistaken aborts: an entry was changed that is not the one that was found.
func (o *dirOp) mistaken(name string, want, is disk.InodeNum) error {
	return o.i.fs.abort(&CorruptError{What: "directory entry", Inode: o.i.num, Detail: fmt.Sprintf("%q was inode %d, now %d", name, want, is)})
}

// replace lets a name that leads to old lead to i.
func (o *dirOp) replace(name string, old disk.InodeNum, i *Inode) error {
	e, err := o.c.ReplaceAt(o.h, o.spot(name), nameBytes(name), i.num, disk.EntryType(i.record().Mode()))
	if err == nil && e.Inode != old {
		return o.mistaken(name, old, e.Inode)
	}
	return err
}

// reparent lets the directory's ".." lead to parent.
func (o *dirOp) reparent(parent *Inode) error {
	_, err := o.c.Replace(o.h, nameBytes(".."), parent.num, disk.FileTypeDir)
	return err
}

// parent returns the number that ".." leads to. It takes mu to read.
func (i *Inode) parent() (disk.InodeNum, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if err := i.liveDir(); err != nil {
		return 0, err
	}
	c, err := i.knownDir()
	if err != nil {
		return 0, err
	}
	e, err := c.Lookup(nameBytes(".."))
	return e.Inode, i.lookupError("..", e, err)
}

// syncDir makes a change of names durable where the directories ask for it.
func (f *FS) syncDir(dirs ...*Inode) error {
	for _, d := range dirs {
		if d.Flags()&(disk.FlagSync|disk.FlagDirSync) == 0 {
			continue
		}
		if err := d.fsyncUnheld(); err != nil {
			return err
		}
	}
	return nil
}
