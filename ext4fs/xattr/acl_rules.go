package xattr

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ValidACL tells whether Linux would take the entries as an ACL: owner, named
// users, owning group, named groups, mask, other, in this order; a mask where
// anybody is named, and no one named by the id that stands for none. It gives
// ErrACL. Unlike disk.CheckACL it does not ask for sorted and different ids,
// which only tools do.
func ValidACL(entries []disk.ACLEntry) error {
	var seen, last disk.ACLTag
	for n, e := range entries {
		switch {
		case e.Perm > disk.ACLRead|disk.ACLWrite|disk.ACLExecute:
			return fmt.Errorf("entry %d: permissions 0x%x: %w", n, e.Perm, ErrACL)
		case e.Tag.Named() && e.ID == disk.ACLNoID:
			return fmt.Errorf("entry %d: id %d: %w", n, e.ID, ErrACL)
		case e.Tag < last || e.Tag == last && !e.Tag.Named():
			return fmt.Errorf("entry %d: tag 0x%x after 0x%x: %w", n, uint16(e.Tag), uint16(last), ErrACL)
		case !knownTag(e.Tag):
			return fmt.Errorf("entry %d: tag 0x%x: %w", n, uint16(e.Tag), ErrACL)
		}
		seen, last = seen|e.Tag, e.Tag
	}
	if must := disk.ACLUserObj | disk.ACLGroupObj | disk.ACLOther; seen&must != must {
		return fmt.Errorf("tags 0x%x are not there: %w", uint16(must&^seen), ErrACL)
	}
	if seen&(disk.ACLUser|disk.ACLGroup) != 0 && seen&disk.ACLMask == 0 {
		return fmt.Errorf("named entries and no mask: %w", ErrACL)
	}
	return nil
}

// ParseCallACL reads the value that setxattr got for an ACL. No value and one
// without entries stand for no ACL, which is nil. Errors are those of the
// system call: ErrACLVersion and ErrACL. Whether the entries make an ACL is
// for SetAccessACL and SetDefaultACL to say, as Linux does it after other
// checks.
func ParseCallACL(value []byte) ([]disk.ACLEntry, error) {
	const header, size, version = 4, 8, 2
	le := binary.LittleEndian
	switch {
	case len(value) == 0:
		return nil, nil
	case len(value) < header:
		return nil, fmt.Errorf("%d bytes: %w", len(value), ErrACL)
	case le.Uint32(value) != version:
		return nil, fmt.Errorf("version %d: %w", le.Uint32(value), ErrACLVersion)
	case (len(value)-header)%size != 0 || len(value) > MaxValue:
		return nil, fmt.Errorf("%d bytes: %w", len(value), ErrACL)
	}
	var entries []disk.ACLEntry
	for b := value[header:]; len(b) > 0; b = b[size:] {
		e := disk.ACLEntry{Tag: disk.ACLTag(le.Uint16(b)), Perm: le.Uint16(b[2:]), ID: disk.ACLNoID}
		if e.Tag.Named() {
			e.ID = le.Uint32(b[4:])
		}
		if !knownTag(e.Tag) || e.Tag.Named() && e.ID == disk.ACLNoID {
			return nil, fmt.Errorf("tag 0x%x, id %d: %w", uint16(e.Tag), e.ID, ErrACL)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func knownTag(t disk.ACLTag) bool {
	switch t {
	case disk.ACLUserObj, disk.ACLUser, disk.ACLGroupObj, disk.ACLGroup, disk.ACLMask, disk.ACLOther:
		return true
	}
	return false
}

// perm bits of the three classes in i_mode.
const (
	userPerm, groupPerm, otherPerm = 0o700, 0o070, 0o007

	userShift, groupShift = 6, 3
)

// ACLMode gives the permission bits, 0 to 0777, that an ACL stands for, and
// whether they say all of it: then there is no need for the ACL. The bits of
// the group are the mask's where there is one.
func ACLMode(entries []disk.ACLEntry) (perm uint16, all bool) {
	all = true
	for _, e := range entries {
		switch e.Tag {
		case disk.ACLUserObj:
			perm |= e.Perm << userShift
		case disk.ACLGroupObj:
			perm |= e.Perm << groupShift
		case disk.ACLOther:
			perm |= e.Perm
		case disk.ACLMask:
			perm = perm&^groupPerm | e.Perm<<groupShift
			all = false
		default:
			all = false
		}
	}
	return perm, all
}

// SetAccessACL gives what becomes of a file with this i_mode when it gets an
// access ACL: its new i_mode, and the ACL to store, nil for none: it may be
// all in the mode. No entries take the ACL away, and the mode stays.
// dropSetgid says that the caller is neither in the file's group nor
// privileged: the set-group-id bit goes then. Trouble is ErrACL.
func SetAccessACL(mode uint16, entries []disk.ACLEntry, dropSetgid bool) (uint16, []disk.ACLEntry, error) {
	if len(entries) == 0 {
		return mode, nil, nil
	}
	if err := ValidACL(entries); err != nil {
		return mode, nil, err
	}
	perm, all := ACLMode(entries)
	mode = mode&^disk.ModePerm | perm
	if dropSetgid {
		mode &^= disk.ModeSetgid
	}
	if all {
		return mode, nil, nil
	}
	return mode, entries, nil
}

// SetDefaultACL checks a default ACL for an inode with this i_mode: only
// directories have one, ErrNotDir, and it must be an ACL, ErrACL. No entries,
// which take it away, are fine anywhere.
func SetDefaultACL(mode uint16, entries []disk.ACLEntry) error {
	if len(entries) == 0 {
		return nil
	}
	if mode&disk.ModeType != disk.ModeDir {
		return ErrNotDir
	}
	return ValidACL(entries)
}

// ChmodACL is the access ACL after chmod gave the file this i_mode: owner and
// other take their bits from it, and so does the mask or, without one, the
// owning group. entries stay as they are. Trouble, an ACL with neither, is
// ErrACL.
func ChmodACL(entries []disk.ACLEntry, mode uint16) ([]disk.ACLEntry, error) {
	entries = slices.Clone(entries)
	group := -1
	for n := range entries {
		switch e := &entries[n]; e.Tag {
		case disk.ACLUserObj:
			e.Perm = mode & userPerm >> userShift
		case disk.ACLOther:
			e.Perm = mode & otherPerm
		case disk.ACLMask:
			group = n
		case disk.ACLGroupObj:
			if group < 0 {
				group = n
			}
		}
	}
	if group < 0 {
		return nil, fmt.Errorf("neither mask nor group: %w", ErrACL)
	}
	entries[group].Perm = mode & groupPerm >> groupShift
	return entries, nil
}

// WithoutACL is the i_mode of a file that is left without this access ACL: the
// group has in it what the ACL gives the owning group. The bits of a mode beside
// an ACL are its mask, which would let the group do what is meant for others that
// the ACL names.
func WithoutACL(mode uint16, entries []disk.ACLEntry) uint16 {
	for _, e := range entries {
		if e.Tag == disk.ACLGroupObj {
			mode &= e.Perm<<groupShift | ^uint16(groupPerm)
		}
	}
	return mode
}

// InheritACL gives what a new inode gets in a directory with this default ACL,
// nil if there is none: its i_mode, its access ACL and, for a directory, its
// default ACL, nil where there is nothing to store. mode is the wanted i_mode
// with the type, before the umask: with a default ACL the umask does not
// count. Symbolic links get neither ACL, and keep their mode. Trouble is
// ErrACL.
func InheritACL(mode, umask uint16, def []disk.ACLEntry) (_ uint16, access, childDef []disk.ACLEntry, err error) {
	switch {
	case mode&disk.ModeType == disk.ModeSymlink:
		return mode, nil, nil, nil
	case len(def) == 0:
		return mode &^ (umask & disk.ModePerm), nil, nil, nil
	}
	if mode, access, err = maskACL(def, mode); err != nil {
		return mode, nil, nil, err
	}
	if mode&disk.ModeType == disk.ModeDir {
		childDef = slices.Clone(def)
	}
	return mode, access, childDef, nil
}

// maskACL gives to nobody more than mode has, and takes from mode what nobody
// is given. The ACL is nil when the mode says all of it.
func maskACL(def []disk.ACLEntry, mode uint16) (uint16, []disk.ACLEntry, error) {
	entries := slices.Clone(def)
	perm, group, all := mode&disk.ModePerm, -1, true
	for n := range entries {
		switch e := &entries[n]; e.Tag {
		case disk.ACLUserObj:
			e.Perm &= mode & userPerm >> userShift
			perm = perm&^userPerm | e.Perm<<userShift
		case disk.ACLOther:
			e.Perm &= mode & otherPerm
			perm = perm&^otherPerm | e.Perm
		case disk.ACLMask:
			group, all = n, false
		case disk.ACLGroupObj:
			if group < 0 {
				group = n
			}
		default:
			all = false
		}
	}
	if group < 0 {
		return mode, nil, fmt.Errorf("neither mask nor group: %w", ErrACL)
	}
	e := &entries[group]
	e.Perm &= mode & groupPerm >> groupShift
	perm = perm&^groupPerm | e.Perm<<groupShift
	mode = mode&^disk.ModePerm | perm
	if all {
		return mode, nil, nil
	}
	return mode, entries, nil
}
