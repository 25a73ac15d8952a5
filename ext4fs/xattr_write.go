package ext4fs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// XattrFlags limit what SetXattr does.
type XattrFlags uint8

// Flags of SetXattr.
const (
	XattrCreate  XattrFlags = 1 << iota // the attribute must not exist: ErrExist
	XattrReplace                        // the attribute must exist: ErrNoAttr
	// XattrKillSetgid takes the set-group-id bit away together with the
	// setting of an access ACL: the caller is neither in the file's group nor
	// privileged.
	XattrKillSetgid
)

// SetXattr gives the inode an extended attribute. The name has its prefix; ACLs
// are in the form of the system calls, where no entries take the ACL away. An
// access ACL also sets the mode, and is not kept where that says it all. As in
// Linux, Create and Replace do not count for ACLs.
//
// Errors: those for name and value of package xattr, with the errno of the
// system call; ErrExist, ErrNoAttr; ErrNoSpace, ErrQuota; ErrNotPermitted
// (immutable, append-only, user attributes on special files, inodes of the file
// system's own); ErrNotSupported for names that the file system keeps for
// itself. What security.capability holds is not looked at.
func (i *Inode) SetXattr(name string, value []byte, flags XattrFlags) error {
	index, suffix, err := xattr.SplitName(name)
	if errors.Is(err, xattr.ErrNameRange) {
		return err
	}
	if len(value) > xattr.MaxValue {
		return fmt.Errorf("%s: %d bytes: %w", name, len(value), xattr.ErrTooBig)
	}
	var c *attrChange
	if err == nil {
		if c, err = newAttrChange(index, suffix, value, flags); err != nil {
			return attrError(err)
		}
	}
	return i.setAttr(name, c, err)
}

// RemoveXattr takes an extended attribute away. ErrNoAttr says that there is
// none, but for ACLs, as in Linux. Other errors are those of SetXattr.
func (i *Inode) RemoveXattr(name string) error {
	index, suffix, err := xattr.SplitName(name)
	if errors.Is(err, xattr.ErrNameRange) {
		return err
	}
	return i.setAttr(name, &attrChange{index: index, name: suffix, remove: true, quiet: isACL(index)}, err)
}

func isACL(index disk.XattrIndex) bool {
	return index == disk.XattrACLAccess || index == disk.XattrACLDefault
}

// setAttr makes one change. With bad, the name is wrong, which Linux says last.
func (i *Inode) setAttr(name string, c *attrChange, bad error) error {
	if err := i.fs.mayChange(); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.mayChangeAttrs(); err != nil {
		return err
	}
	if strings.HasPrefix(name, disk.XattrUser.Prefix()) {
		if err := xattr.CheckUser(disk.XattrUser, i.record().Mode()); err != nil {
			return fmt.Errorf("%s of inode %d: %w", name, i.num, attrError(err))
		}
	}
	if bad != nil {
		return attrError(bad)
	}
	if c.remove && isACL(c.index) && i.IsSymlink() {
		return fmt.Errorf("%s of inode %d: %w", name, i.num, ErrNotSupported)
	}
	mode, err := c.resolveACL(i.record().Mode())
	if err != nil {
		return fmt.Errorf("%s of inode %d: %w", name, i.num, attrError(err))
	}
	err = i.changeAttrs(func(e *xattr.Edit) (bool, error) { return c.apply(e) }, mode)
	if err != nil {
		return fmt.Errorf("%s of inode %d: %w", name, i.num, err)
	}
	return i.syncIfAsked()
}

// mayChangeAttrs says why attributes, owner and mode cannot be changed. Called
// with mu.
func (i *Inode) mayChangeAttrs() error {
	if err := i.mayChangeAny(); err != nil {
		return err
	}
	if flags := i.Flags() & (disk.FlagImmutable | disk.FlagAppend); flags != 0 {
		return fmt.Errorf("inode %d is %s: %w", i.num, flags, ErrNotPermitted)
	}
	return nil
}

// mayChangeAny says why nothing of the inode can be changed by a user. Called
// with mu.
func (i *Inode) mayChangeAny() error {
	switch {
	case i.deleted:
		return fmt.Errorf("inode %d: %w", i.num, ErrNotExist)
	case i.fs.isSpecial(i.num), i.isSystemFile(), i.Flags().Has(disk.FlagEAInode):
		return fmt.Errorf("inode %d is the file system's: %w", i.num, ErrNotPermitted)
	case i.record().Mode()&disk.ModeType == 0:
		return fmt.Errorf("inode %d is not in use: %w", i.num, ErrNotExist)
	}
	return nil
}

// syncIfAsked makes a change durable where the inode has the flag for it.
// Called with mu, and no handle.
func (i *Inode) syncIfAsked() error {
	if !i.Flags().Has(disk.FlagSync) {
		return nil
	}
	return i.fsyncUnheld()
}

// attrChange is one attribute that is to be set or removed.
type attrChange struct {
	index  disk.XattrIndex
	name   []byte
	value  []byte
	flags  xattr.Flag
	remove bool
	quiet  bool // to remove what is not there is no error

	entries   []disk.ACLEntry // of an ACL to be set
	isACL     bool
	dropSetID bool
}

// newAttrChange is for an attribute to be set, with an ACL taken apart.
func newAttrChange(index disk.XattrIndex, name, value []byte, flags XattrFlags) (*attrChange, error) {
	c := &attrChange{index: index, name: name, value: value}
	if !isACL(index) {
		if flags&XattrCreate != 0 {
			c.flags |= xattr.Create
		}
		if flags&XattrReplace != 0 {
			c.flags |= xattr.Replace
		}
		return c, nil
	}
	var err error
	c.isACL, c.dropSetID = true, flags&XattrKillSetgid != 0
	c.entries, err = xattr.ParseCallACL(value)
	return c, err
}

// resolveACL makes of an ACL what is to be stored, and gives the mode that
// follows from it.
func (c *attrChange) resolveACL(mode uint16) (uint16, error) {
	if !c.isACL {
		return mode, nil
	}
	entries := c.entries
	if mode&disk.ModeType == disk.ModeSymlink {
		return mode, ErrNotSupported
	}
	var err error
	if c.index == disk.XattrACLDefault {
		err = xattr.SetDefaultACL(mode, entries)
	} else {
		mode, entries, err = xattr.SetAccessACL(mode, entries, c.dropSetID)
	}
	if err != nil {
		return mode, err
	}
	c.storeACL(entries)
	return mode, nil
}

// storeACL makes the change one to this ACL, none if there are no entries.
func (c *attrChange) storeACL(entries []disk.ACLEntry) {
	c.remove, c.quiet = len(entries) == 0, true
	if !c.remove {
		c.value = disk.EncodeACL(entries)
	}
}

// apply makes the change in an edit, and reports whether it is one.
func (c *attrChange) apply(e *xattr.Edit) (bool, error) {
	if !c.remove {
		return e.Set(c.index, c.name, c.value, c.flags)
	}
	err := e.Remove(c.index, c.name)
	if c.quiet && errors.Is(err, xattr.ErrNoAttr) {
		return false, nil
	}
	return err == nil, err
}

// attrError makes the errors of package xattr this package's.
func attrError(err error) error {
	if errors.Is(err, xattr.ErrExist) {
		return errAttrExists
	}
	for _, p := range [...]struct{ from, to error }{
		{xattr.ErrNoSpace, ErrNoSpace}, {xattr.ErrNotUser, ErrNotPermitted}, {xattr.ErrNamespace, ErrNotSupported},
	} {
		if errors.Is(err, p.from) {
			return fmt.Errorf("%w: %w", p.to, err)
		}
	}
	return err
}

// attrEdit makes a change in an edit and reports whether it is one. It may be
// called again with another edit of the same attributes.
type attrEdit func(e *xattr.Edit) (changed bool, err error)

// changeAttrs changes attributes and the mode in an operation of its own. The
// change time is set if anything changes. Called with mu.
func (i *Inode) changeAttrs(edit attrEdit, mode uint16) error {
	err := i.fs.withSpace(func() error { return i.changeAttrsOnce(edit, mode) })
	i.fs.reapValues()
	return err
}

func (i *Inode) changeAttrsOnce(edit attrEdit, mode uint16) (err error) {
	credits, changed, err := i.planAttrs(edit)
	if err != nil {
		return err
	}
	if !changed && mode == i.record().Mode() {
		return nil
	}
	h, err := i.fs.begin(credits)
	if err != nil {
		return err
	}
	defer func() { err = i.fs.end(h, err) }()
	now := i.fs.now()
	return i.editAttrs(h, edit, func(r disk.Inode) {
		r.SetMode(mode)
		r.SetCtime(now)
		bump(r)
	})
}

// planAttrs tries the change, and tells the credits for it and whether it is
// one.
func (i *Inode) planAttrs(edit attrEdit) (credits int, changed bool, err error) {
	e, refs, err := i.openAttrs(false)
	if err != nil {
		return 0, false, err
	}
	if changed, err = edit(e); err != nil {
		return 0, false, attrError(err)
	}
	return i.attrsCredits(e, refs), changed, nil
}

// manyValues is from how many values in inodes on they are not all counted
// anew in one transaction.
const manyValues = 16

// attrsCredits bounds what storing the edit adds to a transaction, where the
// inode's attribute block has so many references.
func (i *Inode) attrsCredits(e *xattr.Edit, refs uint32) int {
	f := i.fs
	// The record, the superblock, one block less and another more.
	credits := f.baseCredits() + 2*alloc.AllocCredits + 3
	for _, p := range e.Pending() {
		credits += f.newValueCredits(len(p.Value))
	}
	n := len(e.Dropped())
	if _, block := e.Changed(); block && i.FileACL() != 0 {
		// The block may give way to another one, and then its references go.
		if in, err := i.blockXattrs(); err == nil {
			if k := countValues(in); k <= manyValues || refs > 1 {
				n += 2 * k
			}
		}
	}
	return credits + n*valueCredits
}

// valueCredits is what a changed reference count adds: the value inode, and
// what notes an orphan.
const valueCredits = 2

// countValues counts the values that are in inodes.
func countValues(set xattr.Set) int {
	n := 0
	for a := range set.All() {
		if a.ValueInode != 0 {
			n++
		}
	}
	return n
}

// attrCreditsFor bounds what setting a new inode's attribute with a value of so
// many bytes adds.
func (f *FS) attrCreditsFor(size int) int {
	credits := attrCredits + 1
	if f.xattrRules().ValueInodes {
		credits += f.newValueCredits(size)
	}
	return credits
}

// openAttrs starts an edit of the inode's attributes, and tells how many
// references their block has. locked says that shared is held. Called with mu.
func (i *Inode) openAttrs(locked bool) (e *xattr.Edit, refs uint32, err error) {
	f, n := i.fs, i.FileACL()
	if n == 0 {
		e, err = xattr.NewEdit(f.xattrRules(), i.xattrOwner(), i.whole(), 0, nil)
		return e, 0, err
	}
	buf, _, err := i.attrBlock(n)
	if err != nil {
		return nil, 0, err
	}
	s := &f.live.shared
	if !locked {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	head := disk.XattrHeader(buf.Data())
	refs = max(head.Refs(), 1)
	if refs < disk.XattrMaxRefs {
		s.blocks.Add(head.Hash(), uint64(n))
	}
	e, err = xattr.NewEdit(f.xattrRules(), i.xattrOwner(), i.whole(), n, buf.Data())
	return e, refs, err
}

// attrBlockTag marks attribute blocks whose checksum was found good. It covers
// no owner: any may have the block.
const attrBlockTag uint64 = 1 << 63

// attrBlock reads an attribute block of the inode and checks it: its checksum
// only as long as nobody has changed it, since what is in a transaction gets
// its own later. The reference count may change unless shared is held.
func (i *Inode) attrBlock(n disk.BlockNum) (*cache.Buffer, xattr.Set, error) {
	bad := func(why string) (*cache.Buffer, xattr.Set, error) {
		return nil, xattr.Set{}, &CorruptError{What: "attribute block", Inode: i.num, Block: n, Detail: why}
	}
	switch {
	case uint64(n) <= uint64(i.fs.super.FirstDataBlock):
		return bad("it is the superblock's")
	case uint64(n) >= i.fs.super.Blocks():
		return bad("outside the file system")
	}
	buf, err := i.fs.cache.Get(n)
	if err != nil {
		return nil, xattr.Set{}, fmt.Errorf("attributes of inode %d: %w", i.num, err)
	}
	o := i.xattrOwner()
	o.Verify = o.Verify && !buf.Verified(attrBlockTag)
	set, err := xattr.ParseBlock(n, buf.Data(), o)
	if err != nil {
		return nil, set, err
	}
	if o.Verify {
		buf.SetVerified(attrBlockTag)
		if i.fs.live != nil {
			i.fs.live.shared.blocks.Add(disk.XattrHeader(buf.Data()).Hash(), uint64(n))
		}
	}
	return buf, set, nil
}

// editAttrs makes the change as part of h, together with also in the record.
// It fails before it changes anything. also may be nil. Called with mu.
func (i *Inode) editAttrs(h *txn, edit attrEdit, also func(r disk.Inode)) error {
	return i.editAttrsFor(h, edit, also, ownersOf(i.record()))
}

// editAttrsFor is editAttrs where others than the record's owners are charged:
// those that the inode gets in the same operation.
func (i *Inode) editAttrsFor(h *txn, edit attrEdit, also func(r disk.Inode), payer quota.Owners) error {
	e, _, err := i.openAttrs(false)
	if err != nil {
		return err
	}
	if _, err := edit(e); err != nil {
		return attrError(err)
	}
	if also == nil {
		also = func(disk.Inode) {}
	}
	if _, block := e.Changed(); !block && len(e.Pending()) == 0 && len(e.Dropped()) == 0 {
		return i.storeInInode(h, e, also)
	}
	s := &i.fs.live.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	// Whether the block is shared may have changed in between.
	e, refs, err := i.openAttrs(true)
	if err != nil {
		return err
	}
	if _, err := edit(e); err != nil {
		return attrError(err)
	}
	st := attrStore{i: i, h: h, e: e, oldRefs: refs, payer: payer}
	return st.run(also)
}

// storeInInode stores an edit that touches nothing but the record.
func (i *Inode) storeInInode(h *txn, e *xattr.Edit, also func(r disk.Inode)) error {
	if err := e.WriteInode(append(disk.Inode(nil), i.whole()...)); err != nil {
		return err
	}
	if inode, _ := e.Changed(); inode {
		if err := i.fs.live.super.setCompat(h, disk.CompatExtAttr); err != nil {
			return err
		}
	}
	return i.update(h, func(r disk.Inode) {
		_ = e.WriteInode(r) // it went well on the copy
		also(r)
	})
}
