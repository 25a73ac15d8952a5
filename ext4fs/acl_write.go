package ext4fs

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// storedAttr returns the stored value of an attribute, and whether there is
// one. Called with mu.
func (i *Inode) storedAttr(index disk.XattrIndex, name string) ([]byte, bool, error) {
	for _, set := range []func() (xattr.Set, error){i.inodeXattrs, i.blockXattrs} {
		s, err := set()
		if err != nil {
			return nil, false, err
		}
		for a := range s.All() {
			if a.Index == index && string(a.Suffix) == name {
				value, err := i.XattrValue(&a)
				return value, err == nil, err
			}
		}
	}
	return nil, false, nil
}

// acl returns one of the inode's ACLs, nil if there is none. Called with mu.
func (i *Inode) acl(index disk.XattrIndex) ([]disk.ACLEntry, error) {
	value, ok, err := i.storedAttr(index, "")
	if !ok || err != nil {
		return nil, err
	}
	entries, err := disk.DecodeACL(value)
	if err != nil {
		return nil, fmt.Errorf("ACL of inode %d: %w", i.num, err)
	}
	return entries, nil
}

// chmodACL is the change of the access ACL that goes with a new mode, nil if
// there is no ACL. Called with mu.
func (i *Inode) chmodACL(mode uint16) (*attrChange, error) {
	entries, err := i.acl(disk.XattrACLAccess)
	if err != nil || entries == nil {
		return nil, err
	}
	entries, err = xattr.ChmodACL(entries, mode)
	if err != nil {
		return nil, &CorruptError{What: "ACL", Inode: i.num, Detail: err.Error()}
	}
	c := &attrChange{index: disk.XattrACLAccess}
	c.storeACL(entries)
	return c, nil
}
