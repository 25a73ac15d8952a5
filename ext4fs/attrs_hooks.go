package ext4fs

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

func (f *FS) xattrRules() xattr.Rules {
	return xattr.Rules{
		BlockSize: f.BlockSize(), Seed: f.seed,
		ValueInodes: f.super.Features.Incompat.Has(disk.IncompatEAInode),
	}
}

// inlineDataName is the stored name of the rest of inline data.
var inlineDataName = []byte("data")

// inlineEdit starts an edit of what is in the record: inline data goes nowhere
// else.
func (i *Inode) inlineEdit() (*xattr.Edit, error) {
	return xattr.NewEdit(i.fs.xattrRules(), i.xattrOwner(), i.whole(), 0, nil)
}

// inlineRoom is how many bytes the rest of inline data may have, -1 where the
// inode has no room for even an empty one. Called with mu.
func (i *Inode) inlineRoom() int {
	e, err := i.inlineEdit()
	if err != nil {
		return -1
	}
	if n := e.MaxInline(); n > 0 {
		return n
	}
	if _, err := e.Set(disk.XattrSystem, inlineDataName, nil, 0); err != nil {
		return -1
	}
	return 0
}

// setInlineValue makes value the rest of inline data, which may be empty; nil
// takes it away. ErrNoSpace comes before anything is changed. Called with mu.
func (i *Inode) setInlineValue(h *txn, value []byte) error {
	e, err := i.inlineEdit()
	if err != nil {
		return err
	}
	if value == nil {
		err = e.Remove(disk.XattrSystem, inlineDataName)
		if err != nil {
			return nil // there is none
		}
	} else if _, err = e.Set(disk.XattrSystem, inlineDataName, value, 0); err != nil {
		return attrError(err)
	}
	if len(e.Dropped()) > 0 {
		return &CorruptError{What: "inline data", Inode: i.num, Detail: "its rest is not in the inode"}
	}
	return i.storeInInode(h, e, func(disk.Inode) {})
}

// dropCredits is what dropXattrs adds, after shedValues. Called with mu.
func (i *Inode) dropCredits() int {
	n := 0
	for _, s := range []func() (xattr.Set, error){i.inodeXattrs, i.blockXattrs} {
		if set, err := s(); err == nil {
			n += countValues(set)
		}
	}
	credits := alloc.AllocCredits + 2 // the record, and the block or its count
	if n > 0 || i.FileACL() != 0 {
		credits += superCredits
	}
	return credits + min(n, manyValues)*valueCredits
}

// dropXattrs gives back what attributes take outside of the inode, which is
// being deleted. It fails before it changes anything. Called with mu.
func (i *Inode) dropXattrs(h *txn) error {
	in, err := i.inodeXattrs()
	if err != nil {
		// What it names is lost; a check finds it.
		i.fs.live.super.noteLater(err)
	}
	return i.dropOuter(h, countValues(in))
}

// dropBlockXattrs is dropXattrs for the attributes that are not in the inode.
func (i *Inode) dropBlockXattrs(h *txn) error { return i.dropOuter(h, 0) }

// dropOuter gives back the attribute block, and the attributes in the inode if
// values of them, that number, are in inodes of their own.
func (i *Inode) dropOuter(h *txn, values int) error {
	if values == 0 && i.FileACL() == 0 {
		return nil
	}
	s := &i.fs.live.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	block, err := i.ownBlock()
	if err != nil {
		return err
	}
	n := values + countValues(block)
	if err := need(h, alloc.AllocCredits+2+superCredits+n*valueCredits); err != nil {
		return err
	}
	st := attrStore{i: i, h: h, payer: ownersOf(i.record()), tolerate: true, record: append(disk.Inode(nil), i.whole()...)}
	if values > 0 {
		clear(st.record[disk.InodeBaseSize+st.record.ExtraSize():])
	}
	if err := st.planPlaces(); err != nil {
		return err
	}
	if err := st.take(); err != nil {
		return err
	}
	if err := st.write(func(disk.Inode) {}); err != nil {
		return i.fs.abort(err)
	}
	return nil
}

// shedValues takes most values that are in inodes away, in transactions of
// their own, where they are too many for the one that dropXattrs is part of:
// the inode is being deleted. Called with mu, and no handle.
func (i *Inode) shedValues() error {
	for {
		in, _ := i.inodeXattrs() // dropXattrs tells
		shared := &i.fs.live.shared
		shared.mu.Lock()
		block, err := i.ownBlock()
		shared.mu.Unlock()
		if err != nil {
			return err
		}
		n := countValues(in) + countValues(block)
		if n <= manyValues {
			return nil
		}
		if err := i.shedSome(in, block); err != nil {
			return err
		}
		i.fs.reapValues()
	}
}

// ownBlock returns the attributes in the inode's block, none if others share
// it. Called with shared.
func (i *Inode) ownBlock() (xattr.Set, error) {
	n := i.FileACL()
	if n == 0 {
		return xattr.Set{}, nil
	}
	buf, set, err := i.attrBlock(n)
	if err == nil && disk.XattrHeader(buf.Data()).Refs() > 1 {
		set = xattr.Set{}
	}
	return set, err
}

// shedSome takes some values away.
func (i *Inode) shedSome(sets ...xattr.Set) (err error) {
	var list []xattr.Attr
	for _, s := range sets {
		for a := range s.All() {
			if a.ValueInode != 0 && len(list) < manyValues {
				list = append(list, a)
			}
		}
	}
	edit := func(e *xattr.Edit) (bool, error) {
		for _, a := range list {
			if err := e.Remove(a.Index, a.Suffix); err != nil {
				return false, err
			}
		}
		return true, nil
	}
	credits, _, err := i.planAttrs(edit)
	if err != nil {
		return err
	}
	h, err := i.begin(credits)
	if err != nil {
		return err
	}
	defer func() { err = i.fs.end(h, err) }()
	return i.editAttrs(h, edit, nil)
}

// inheritACL gives a new inode the ACLs that it has from its directory's
// default ACL, and returns its mode. Called with mu of both.
func (i *Inode) inheritACL(h *txn, dir *Inode, mode uint16) (uint16, error) {
	def, err := dir.acl(disk.XattrACLDefault)
	if err != nil {
		return mode, err
	}
	mode, access, childDef, err := xattr.InheritACL(mode, 0, def)
	if err != nil {
		return mode, fmt.Errorf("default ACL of inode %d: %w", dir.num, err)
	}
	if len(access) == 0 && len(childDef) == 0 {
		return mode, nil
	}
	return mode, i.editAttrs(h, func(e *xattr.Edit) (bool, error) {
		for _, x := range []struct {
			index disk.XattrIndex
			acl   []disk.ACLEntry
		}{{disk.XattrACLDefault, childDef}, {disk.XattrACLAccess, access}} {
			if len(x.acl) == 0 {
				continue
			}
			if _, err := e.Set(x.index, nil, disk.EncodeACL(x.acl), 0); err != nil {
				return false, err
			}
		}
		return true, nil
	}, nil)
}

// setXattrs gives a new inode attributes, in the form of the system calls. It
// does all or nothing. Called with mu.
func (i *Inode) setXattrs(h *txn, list []Xattr) error {
	mode := i.record().Mode()
	changes := make([]*attrChange, 0, len(list))
	for _, x := range list {
		index, name, err := xattr.SplitName(x.Name)
		if err == nil {
			err = xattr.CheckUser(index, mode)
		}
		var c *attrChange
		if err == nil {
			c, err = newAttrChange(index, name, x.Value, 0)
		}
		if err == nil {
			mode, err = c.resolveACL(mode)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", x.Name, attrError(err))
		}
		changes = append(changes, c)
	}
	return i.editAttrs(h, func(e *xattr.Edit) (bool, error) {
		for _, c := range changes {
			if _, err := c.apply(e); err != nil {
				return false, err
			}
		}
		return true, nil
	}, func(r disk.Inode) { r.SetMode(mode) })
}
