package tree

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strings"
)

// Xattr is an extended attribute. Name is the full one ("user.note"); the
// value of an ACL ("system.posix_acl_access", "system.posix_acl_default") has
// the form of the system calls.
type Xattr struct {
	Name  string
	Value []byte
}

// Names of attributes that have a meaning here.
const (
	xattrAccess     = "system.posix_acl_access"
	xattrDefault    = "system.posix_acl_default"
	xattrCapability = "security.capability"
	xattrSELinux    = "security.selinux"
)

// LostFound stands for the lost+found that a file system gets in its root when
// the tree has none. It is no node, but Xattrs, XattrSet and SetXattrs take it.
const LostFound = noID - 1

const lostFound = "lost+found"

// setOf is where a node has the number of its set of attributes, 0 for none.
func (t *Tree) setOf(id ID) *uint32 {
	if id == LostFound {
		return &t.lostSet
	}
	return &t.Node(id).xattrs
}

// Xattrs gives a node's extended attributes, sorted by name. Nodes with the
// same ones share the slice: it is not to be changed.
func (t *Tree) Xattrs(id ID) []Xattr {
	set := *t.setOf(id)
	if set == 0 {
		return nil
	}
	return *t.sets.at(set - 1)
}

// XattrSet is a number that nodes with the same extended attributes have in
// common, 0 for none.
func (t *Tree) XattrSet(id ID) uint32 { return *t.setOf(id) }

// SetXattrs sets all extended attributes of a node. The slice is the tree's
// from then on. Of several with one name the last counts.
func (t *Tree) SetXattrs(id ID, list []Xattr) {
	set := t.setOf(id)
	if len(list) == 0 {
		*set = 0
		return
	}
	*set = t.set(tidy(list)) + 1
}

// tidy sorts attributes by name and drops all but the last of a name.
func tidy(list []Xattr) []Xattr {
	slices.SortStableFunc(list, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	kept := list[:0]
	for i, x := range list {
		if i+1 < len(list) && list[i+1].Name == x.Name {
			continue
		}
		kept = append(kept, x)
	}
	return kept
}

// set finds or makes a set of attributes.
func (t *Tree) set(list []Xattr) uint32 {
	var h maphash.Hash
	h.SetSeed(t.index.seed)
	for _, x := range list {
		h.WriteString(x.Name)
		h.WriteByte(0)
		maphash.WriteComparable(&h, len(x.Value))
		h.Write(x.Value)
	}
	sum := h.Sum64()
	at, ok := t.setIndex[sum]
	if ok && slices.EqualFunc(*t.sets.at(at), list, sameXattr) {
		return at
	}
	at = t.sets.add(list)
	t.setIndex[sum] = at
	return at
}

func sameXattr(a, b Xattr) bool { return a.Name == b.Name && bytes.Equal(a.Value, b.Value) }
