package xattr

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Where says in which of its two places an attribute is.
type Where uint8

// Places.
const (
	InInode Where = iota
	InBlock
)

// String is "inode" or "block".
func (w Where) String() string {
	if w == InBlock {
		return "block"
	}
	return "inode"
}

// Attr is one extended attribute.
type Attr struct {
	Name   string          // with its prefix: "user.x"
	Index  disk.XattrIndex // the prefix as stored
	Suffix []byte          // the name as stored; aliases the place
	Where  Where
	Offset int // of the entry in its place, from the record's or block's start

	// Value aliases the place; nil when ValueInode holds it.
	Value      []byte
	ValueInode disk.InodeNum
	ValueSize  uint32
	Hash       uint32 // as stored
}

// Hidden reports whether the kernel keeps the attribute out of its lists:
// inline data, encryption contexts, and prefixes it has no handler for.
func (a *Attr) Hidden() bool {
	switch a.Index {
	case disk.XattrUser, disk.XattrACLAccess, disk.XattrACLDefault, disk.XattrTrusted, disk.XattrSecurity, disk.XattrGNU:
		return false
	}
	return true
}

// HashOK reports whether the stored hash fits name and value. In an inode 0
// stands for no hash. The bytes of the name may have been taken as signed or
// unsigned. Of a value in an inode nothing can be said here, so it passes;
// see VerifyValue.
func (a *Attr) HashOK() bool {
	if a.ValueInode != 0 || a.Hash == 0 && a.Where == InInode {
		return true
	}
	return a.Hash == disk.XattrHash(a.Suffix, a.Value, false) || a.Hash == disk.XattrHash(a.Suffix, a.Value, true)
}

// ValueInode is what VerifyValue needs of the inode that holds a value.
type ValueInode struct {
	Hash       uint32        // i_atime, the low word
	Parent     disk.InodeNum // i_mtime; means something only for old Lustre values
	Generation uint32
}

// Owner is whose attributes are read and how.
type Owner struct {
	Inode      disk.InodeNum
	Generation uint32 // for VerifyValue
	Seed       uint32 // the file system's
	Verify     bool   // check the block's checksum: metadata_csum is on
}

// VerifyValue checks the content of a value inode against its length, the
// hash that the inode stores and the hash in the entry. Values that Lustre
// wrote have no hashes but name their owner in the inode, which is accepted.
// Trouble is a *disk.CorruptError or *disk.ChecksumError that names the value
// inode. o.Verify does not matter: these hashes exist without metadata_csum.
func (a *Attr) VerifyValue(o Owner, v ValueInode, value []byte) error {
	if uint64(len(value)) != uint64(a.ValueSize) {
		return &disk.CorruptError{
			What: "value of " + a.Name, Inode: a.ValueInode,
			Detail: fmt.Sprintf("%d bytes where inode %d has %d", len(value), o.Inode, a.ValueSize),
		}
	}
	sum := disk.XattrValueHash(o.Seed, value)
	entryOK := a.Hash == disk.XattrInodeHash(a.Suffix, v.Hash, false) || a.Hash == disk.XattrInodeHash(a.Suffix, v.Hash, true)
	if sum == v.Hash && entryOK {
		return nil
	}
	if v.Parent == o.Inode && v.Generation == o.Generation {
		return nil
	}
	e := &disk.ChecksumError{What: "value of " + a.Name, Inode: a.ValueInode, Stored: v.Hash, Computed: sum}
	if sum == v.Hash {
		e.What = "entry of " + a.Name
		e.Inode = o.Inode
		e.Stored, e.Computed = a.Hash, disk.XattrInodeHash(a.Suffix, sum, false)
	}
	return e
}
