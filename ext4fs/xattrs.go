package ext4fs

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// Xattr is one extended attribute in the form that the system calls use.
type Xattr struct {
	Name  string // with its prefix: "user.comment"
	Value []byte
}

// Xattrs returns the attributes as Linux shows them to root, sorted by name:
// POSIX ACLs in their system call form, without the internal ones (inline
// data, encryption contexts).
func (i *Inode) Xattrs() ([]Xattr, error) {
	i.lockRead()
	defer i.unlockRead()
	raw, err := i.rawXattrs()
	var list []Xattr
	for _, a := range raw {
		if a.Hidden() {
			continue
		}
		value, err := i.xattrValue(&a)
		if err != nil {
			return list, err
		}
		list = append(list, Xattr{a.Name, value})
	}
	slices.SortFunc(list, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// Xattr returns one attribute's value in the form that the system calls use.
// It gives ErrNoAttr where there is none of that name; internal attributes may
// be asked for too.
func (i *Inode) Xattr(name string) ([]byte, error) {
	i.lockRead()
	defer i.unlockRead()
	a, ok, err := i.findXattr(name)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, noAttr(name)
	}
	return i.xattrValue(&a)
}

// ModeWithoutACL is the i_mode that a copy has which leaves out the access ACL:
// the group may do there what the ACL lets the owning group do, not all that its
// mask lets some do. With an error, of an ACL that cannot be read, it is the mode
// as it stands.
func (i *Inode) ModeWithoutACL() (uint16, error) {
	i.lockRead()
	defer i.unlockRead()
	mode := i.record().Mode()
	if mode&disk.ModeType == disk.ModeSymlink || mode&0o070 == 0 {
		return mode, nil
	}
	entries, err := i.acl(disk.XattrACLAccess)
	return xattr.WithoutACL(mode, entries), err
}

// noAttr is an ErrNoAttr that knows the name. Most who ask for an attribute
// hear that there is none: it costs no more than that.
type noAttr string

func (n noAttr) Error() string { return fmt.Sprintf("%s: %v", string(n), ErrNoAttr) }
func (n noAttr) Unwrap() error { return ErrNoAttr }

// findXattr finds an attribute in the inode or its block.
func (i *Inode) findXattr(name string) (a xattr.Attr, ok bool, err error) {
	s, err := i.inodeXattrs()
	if err != nil {
		return a, false, err
	}
	if a, ok = s.Lookup(name); ok {
		return a, true, nil
	}
	if s, err = i.blockXattrs(); err != nil {
		return a, false, err
	}
	a, ok = s.Lookup(name)
	return a, ok, nil
}

// RawXattrs returns all attributes as they are stored, those in the inode
// first. Value is nil where an inode of its own holds it; XattrValue reads it.
// With an error it returns what could be read before it.
func (i *Inode) RawXattrs() ([]xattr.Attr, error) {
	i.lockRead()
	defer i.unlockRead()
	return i.rawXattrs()
}

func (i *Inode) rawXattrs() ([]xattr.Attr, error) {
	in, err := i.inodeXattrs()
	if err != nil {
		return nil, err
	}
	list := slices.Collect(in.All())
	block, err := i.blockXattrs()
	if err != nil {
		return list, err
	}
	return slices.AppendSeq(list, block.All()), nil
}

func (i *Inode) xattrOwner() xattr.Owner {
	return xattr.Owner{Inode: i.num, Generation: i.record().Generation(), Seed: i.fs.seed, Verify: i.fs.verify()}
}

// inodeXattrs are those in the record. Called with mu.
func (i *Inode) inodeXattrs() (xattr.Set, error) {
	if i.node != nil && i.long.Load() == nil && len(i.record()) < i.fs.super.InodeSize() {
		if x := int(i.record().RawExtraSize()); x%4 == 0 && x <= i.fs.super.InodeSize()-disk.InodeBaseSize {
			return xattr.Set{}, nil // behind the fields is nothing
		}
	}
	return xattr.ParseInode(i.whole(), i.xattrOwner())
}

func (i *Inode) blockXattrs() (xattr.Set, error) {
	n := i.FileACL()
	if n == 0 {
		return xattr.Set{}, nil
	}
	_, set, err := i.attrBlock(n)
	return set, err
}

// xattrValue is XattrValue with ACLs in the system call form.
func (i *Inode) xattrValue(a *xattr.Attr) ([]byte, error) {
	value, err := i.XattrValue(a)
	if err != nil || a.Index != disk.XattrACLAccess && a.Index != disk.XattrACLDefault {
		return value, err
	}
	acl, err := disk.DecodeACL(value)
	if err != nil {
		return nil, fmt.Errorf("%s of inode %d: %w", a.Name, i.num, err)
	}
	return disk.EncodeCallACL(acl), nil
}

// XattrValue returns the stored value of one of the inode's RawXattrs, also
// when it is kept in an inode of its own, which is checked then.
func (i *Inode) XattrValue(a *xattr.Attr) ([]byte, error) {
	if a.ValueInode == 0 {
		return a.Value, nil
	}
	v, err := i.fs.Inode(a.ValueInode)
	if err != nil {
		return nil, fmt.Errorf("value of %s of inode %d: %w", a.Name, i.num, err)
	}
	if !v.IsRegular() || !v.Flags().Has(disk.FlagEAInode) || v.Flags().Has(disk.FlagInlineData) {
		return nil, &CorruptError{What: "value of " + a.Name, Inode: i.num,
			Detail: fmt.Sprintf("inode %d is not a value inode", a.ValueInode)}
	}
	if v.Size() != int64(a.ValueSize) || a.ValueSize > disk.XattrMaxValue {
		return nil, &CorruptError{What: "value of " + a.Name, Inode: i.num,
			Detail: fmt.Sprintf("%d bytes in inode %d, the entry says %d", v.Size(), a.ValueInode, a.ValueSize)}
	}
	value := make([]byte, a.ValueSize)
	if n, err := v.ReadAt(value, 0); n < len(value) || err != nil && err != io.EOF {
		return nil, fmt.Errorf("value of %s of inode %d: %w", a.Name, i.num, err)
	}
	if i.fs.opts.IgnoreChecksums {
		return value, nil
	}
	hash, _, parent := v.record().RawTimes()
	err = a.VerifyValue(i.xattrOwner(), xattr.ValueInode{
		Hash: hash, Parent: disk.InodeNum(parent), Generation: v.record().Generation(),
	}, value)
	if err == nil && i.fs.live != nil {
		i.fs.live.shared.values.Add(hash, uint64(v.num)) // others may share it
	}
	return value, err
}

// inlineValue is the part of inline data that does not fit into i_block: the
// attribute system.data, nil where there is none.
func (i *Inode) inlineValue() ([]byte, error) {
	set, err := i.inodeXattrs()
	if err != nil {
		return nil, err
	}
	a, ok := set.Lookup("system.data")
	if !ok {
		return nil, nil
	}
	if a.ValueInode != 0 {
		return nil, &CorruptError{What: "inline data", Inode: i.num, Detail: "its rest is not in the inode"}
	}
	return a.Value, nil
}

// inlineData returns the bytes kept in the inode: i_block, and what follows it
// in the attribute. They may be more than the size says.
func (i *Inode) inlineData() ([]byte, error) {
	rest, err := i.inlineValue()
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, disk.InodeBlockSize+len(rest))
	data = append(append(data, i.record().Block()...), rest...)
	if i.Size() > int64(len(data)) {
		return nil, &CorruptError{What: "inline data", Inode: i.num,
			Detail: fmt.Sprintf("size %d, but only %d bytes are there", i.Size(), len(data))}
	}
	return data, nil
}
