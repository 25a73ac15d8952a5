package xattr

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Entry is an attribute on its way to a new inode.
type Entry struct {
	Index disk.XattrIndex
	Name  []byte // as stored
	Value []byte // as stored: ACLs in the form of the disk
}

// NewEntry makes an entry of what a setxattr call with this full name and value
// would store in a new inode with this i_mode. It gives the mode that the inode
// has then: an access ACL changes it, and may be all in it. ok is false where
// nothing is to be stored. Errors are those of the call.
func NewEntry(name string, value []byte, mode uint16) (e Entry, newMode uint16, ok bool, err error) {
	index, suffix, err := SplitName(name)
	if err == nil {
		err = CheckUser(index, mode)
	}
	if err == nil && len(value) > MaxValue {
		err = ErrTooBig
	}
	if err != nil {
		return Entry{}, mode, false, fmt.Errorf("attribute %q: %w", name, err)
	}
	e = Entry{Index: index, Name: suffix, Value: value}
	if index != disk.XattrACLAccess && index != disk.XattrACLDefault {
		return e, mode, true, nil
	}
	entries, err := ParseCallACL(value)
	switch {
	case err == nil && index == disk.XattrACLAccess:
		newMode, entries, err = SetAccessACL(mode, entries, false)
	case err == nil:
		newMode, err = mode, SetDefaultACL(mode, entries)
	}
	if err != nil {
		return Entry{}, mode, false, fmt.Errorf("attribute %q: %w", name, err)
	}
	if len(entries) == 0 {
		return Entry{}, newMode, false, nil
	}
	e.Value = disk.EncodeACL(entries)
	return e, newMode, true, nil
}

// InlineRoom is how many bytes of system.data a new inode has room for, whose
// record is given with its extra size; -1 when there is not even room for an
// empty value.
func InlineRoom(record disk.Inode) int {
	free := (len(inlineArea(record)) - disk.XattrPad) &^ (disk.XattrPad - 1)
	return max(free-disk.XattrEntryLen(len(inlineName)), -1)
}

// inlineArea is where the attributes of a new inode go, behind their magic; nil
// if the record has no room for any.
func inlineArea(record disk.Inode) []byte {
	if len(record) <= oldInodeSize {
		return nil
	}
	extra := record.ExtraSize()
	at := oldInodeSize + extra
	if extra == 0 || extra%disk.XattrPad != 0 || at+disk.XattrInodeHeaderSize+disk.XattrPad > len(record) {
		return nil
	}
	return record[at+disk.XattrInodeHeaderSize:]
}

// Lay writes the attributes of a new inode: what there is room for into its
// record, behind the extra fields, where nothing must be yet; the rest into a
// block, which it returns, or nil. Values that need inodes of their own, with
// r.ValueInodes, are told to inode, which gives the number; a value that is
// equal to another one should get the same. Who only plans may give any number
// but 0: what goes where does not depend on it, nor on the order of the list.
// Equal lists in records of one form give equal blocks, so that inodes can share
// one; it has one reference and no checksum, see SealBlock.
//
// system.data, which must be in the inode, comes first, then as many others as
// there is room for, in the order of index, length of name and name, or, if not
// all get a place that way, the largest first. Errors are ErrNoSpace, ErrExist
// for two of one name, ErrNameRange, ErrName, ErrTooBig, and those of inode.
func Lay(r Rules, record disk.Inode, list []Entry, inode func(p Pending) (disk.InodeNum, error)) (block []byte, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	r.ValueInodes = r.ValueInodes && inode != nil
	var few [8]Entry
	sorted := append(few[:0], list...)
	slices.SortFunc(sorted, compareEntries)
	need := 0
	for i := range sorted {
		e := &sorted[i]
		if err := e.check(); err != nil {
			return nil, err
		}
		if i > 0 && compareEntries(sorted[i-1], *e) == 0 {
			return nil, fmt.Errorf("attribute %q: %w", disk.XattrName(e.Index, e.Name), ErrExist)
		}
		need += e.size()
	}
	if base := inlineArea(record); need+disk.XattrPad <= len(base) {
		layInode(base, sorted)
		binary.LittleEndian.PutUint32(record[len(record)-len(base)-disk.XattrInodeHeaderSize:], disk.XattrMagic)
		return nil, nil
	}
	e, err := layEdit(r, record, sorted)
	if err != nil {
		slices.SortStableFunc(sorted, func(a, b Entry) int {
			if a.inline() != b.inline() {
				return compareEntries(a, b)
			}
			return cmp.Compare(b.size(), a.size())
		})
		if e, err = layEdit(r, record, sorted); err != nil {
			return nil, err
		}
	}
	for pending := e.Pending(); len(pending) > 0; pending = e.Pending() {
		n, err := inode(pending[0])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break // WriteInode says so
		}
		e.Resolve(pending[0], n)
	}
	if err := e.WriteInode(record); err != nil {
		return nil, err
	}
	return e.Block()
}

// layEdit sets the attributes one by one.
func layEdit(r Rules, record disk.Inode, list []Entry) (*Edit, error) {
	e, err := NewEdit(r, Owner{}, record, 0, nil)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		if _, err := e.Set(a.Index, a.Name, a.Value, Create); err != nil {
			return nil, fmt.Errorf("attribute %q of %d bytes: %w", disk.XattrName(a.Index, a.Name), len(a.Value), err)
		}
	}
	return e, nil
}

// layInode writes attributes that all fit to an empty area of zeros, as an Edit
// would do it one by one.
func layInode(base []byte, list []Entry) {
	at, low := 0, len(base)
	for i := range list {
		e := &list[i]
		offset := 0
		if size := disk.XattrValueLen(len(e.Value)); size > 0 {
			low -= size
			offset = low
			copy(base[low:], e.Value)
		}
		at += disk.PutXattrEntry(base[at:], e.Index, string(e.Name), offset, 0, uint32(len(e.Value)), 0)
	}
}

// size is the room that the entry takes with its value.
func (e *Entry) size() int {
	return disk.XattrEntryLen(len(e.Name)) + disk.XattrValueLen(len(e.Value))
}

func (e *Entry) inline() bool {
	return e.Index == disk.XattrSystem && string(e.Name) == inlineName
}

func (e *Entry) check() error {
	var err error
	switch {
	case len(e.Name) > MaxName || e.Index == 0:
		err = ErrNameRange
	case bytes.IndexByte(e.Name, 0) >= 0:
		err = ErrName
	case len(e.Value) > MaxValue:
		err = ErrTooBig
	default:
		return nil
	}
	return fmt.Errorf("attribute %q: %w", disk.XattrName(e.Index, e.Name), err)
}

// compareEntries puts inline data first; the rest have the order of a block.
func compareEntries(a, b Entry) int {
	switch {
	case a.inline() != b.inline():
		if a.inline() {
			return -1
		}
		return 1
	case a.Index != b.Index:
		return cmp.Compare(a.Index, b.Index)
	case len(a.Name) != len(b.Name):
		return cmp.Compare(len(a.Name), len(b.Name))
	}
	return bytes.Compare(a.Name, b.Name)
}

// SealBlock completes an attribute block that so many inodes refer to, at most
// disk.XattrMaxRefs, for its place; sums is whether the file system has
// metadata_csum, whose seed is given.
func SealBlock(block []byte, bn disk.BlockNum, refs uint32, seed uint32, sums bool) {
	disk.XattrHeader(block).SetRefs(refs)
	if sums {
		disk.SealXattrBlock(seed, bn, block)
	}
}
