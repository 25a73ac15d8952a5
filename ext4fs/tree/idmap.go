package tree

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// IDRange translates the ids From, From+1, ... to To, To+1, ..., Count of
// them, as a line of /proc/PID/uid_map does.
type IDRange struct{ From, To, Count uint32 }

// IDMap translates ids. Of ranges that overlap the first counts.
type IDMap []IDRange

// Map translates an id; ok is false if the map says nothing of it.
func (m IDMap) Map(id uint32) (to uint32, ok bool) {
	for _, r := range m {
		if id >= r.From && id-r.From < r.Count {
			return r.To + (id - r.From), true
		}
	}
	return 0, false
}

// ParseIDMap reads ranges "FROM:TO:COUNT", separated by commas or blanks;
// without a count it is one id. Errors are ErrSyntax.
func ParseIDMap(text string) (IDMap, error) {
	m := IDMap{}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' }) {
		r, err := parseIDRange(word)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		m = append(m, r)
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("no range FROM:TO:COUNT: %w", ErrSyntax)
	}
	return m, nil
}

func parseIDRange(word string) (IDRange, error) {
	parts := strings.Split(word, ":")
	if len(parts) != 2 && len(parts) != 3 {
		return IDRange{}, fmt.Errorf("not FROM:TO:COUNT: %w", ErrSyntax)
	}
	n := [3]uint32{2: 1}
	for i, p := range parts {
		v, err := parseID(p)
		if i == 2 && p == "4294967295" { // all ids
			v, err = maxID+1, nil
		}
		if err != nil {
			return IDRange{}, err
		}
		n[i] = v
	}
	r := IDRange{From: n[0], To: n[1], Count: n[2]}
	// The last id of 32 bits stands for none.
	if r.Count == 0 || r.Count > maxID-r.From+1 || r.Count > maxID-r.To+1 {
		return IDRange{}, errRange
	}
	return r, nil
}

const maxID = 1<<32 - 2

func parseID(text string) (uint32, error) {
	if text == "" || text[0] < '0' || text[0] > '9' {
		return 0, fmt.Errorf("%q is not a number: %w", text, ErrSyntax)
	}
	v, err := strconv.ParseUint(text, 10, 32)
	if err != nil || v > maxID {
		return 0, fmt.Errorf("%q: %w", text, errRange)
	}
	return uint32(v), nil
}

// ParseOwner reads "USER:GROUP", "USER" or ":GROUP", all numbers: names mean
// different numbers on different machines. What is not given stays. Errors are
// ErrSyntax.
func ParseOwner(text string) (*Owner, error) {
	user, group, _ := strings.Cut(text, ":")
	o := &Owner{UID: -1, GID: -1}
	if user == "" && group == "" {
		return nil, fmt.Errorf("%q is not USER:GROUP: %w", text, ErrSyntax)
	}
	for _, p := range []struct {
		text string
		to   *int64
	}{{user, &o.UID}, {group, &o.GID}} {
		if p.text == "" {
			continue
		}
		id, err := parseID(p.text)
		if err != nil {
			return nil, err
		}
		*p.to = int64(id)
	}
	return o, nil
}

// owners applies the rules about owners.
func (o *Options) owners(f *found) error {
	if err := mapTo(&f.UID, o.UIDMap, f.unowned || o.SetOwner != nil && o.SetOwner.UID >= 0, "user"); err != nil {
		return err
	}
	if err := mapTo(&f.GID, o.GIDMap, f.unowned || o.SetOwner != nil && o.SetOwner.GID >= 0, "group"); err != nil {
		return err
	}
	if s := o.SetOwner; s != nil {
		if s.UID >= 0 {
			f.UID = uint32(s.UID)
		}
		if s.GID >= 0 {
			f.GID = uint32(s.GID)
		}
	}
	if o.UIDMap == nil && o.GIDMap == nil || len(f.xattrs) == 0 {
		return nil
	}
	f.xattrs = slices.Clone(f.xattrs) // others may have the same slice
	for i := range f.xattrs {
		if err := o.mapXattr(&f.xattrs[i]); err != nil {
			return fmt.Errorf("%s: %w", f.xattrs[i].Name, err)
		}
	}
	return nil
}

func mapTo(id *uint32, m IDMap, overridden bool, what string) error {
	if m == nil || overridden {
		return nil
	}
	to, ok := m.Map(*id)
	if !ok {
		return fmt.Errorf("%s %d: %w", what, *id, ErrUnmapped)
	}
	*id = to
	return nil
}

// mapXattr translates the ids in an attribute.
func (o *Options) mapXattr(x *Xattr) error {
	switch x.Name {
	case xattrAccess, xattrDefault:
		return o.mapACL(x)
	case xattrCapability:
		return o.mapCapability(x)
	}
	return nil
}

func (o *Options) mapACL(x *Xattr) error {
	list, err := disk.DecodeCallACL(x.Value)
	if err != nil {
		return err
	}
	for i := range list {
		switch list[i].Tag {
		case disk.ACLUser:
			err = mapTo(&list[i].ID, o.UIDMap, false, "user")
		case disk.ACLGroup:
			err = mapTo(&list[i].ID, o.GIDMap, false, "group")
		}
		if err != nil {
			return err
		}
	}
	xattr.SortACL(list)
	x.Value = disk.EncodeCallACL(list)
	return nil
}

// mapCapability translates the user of the name space that a capability of
// revision 3 is for.
func (o *Options) mapCapability(x *Xattr) error {
	c, err := xattr.DecodeCapability(x.Value)
	if err != nil || c.Revision < 3 || o.UIDMap == nil {
		return err
	}
	if err := mapTo(&c.RootID, o.UIDMap, false, "user"); err != nil {
		return err
	}
	x.Value = binary.LittleEndian.AppendUint32(slices.Clone(x.Value[:20]), c.RootID)
	return nil
}

// groupBits are those of the owning group in a mode.
const groupBits = 0o070

// withoutACL is the mode of a file that is left without its attributes.
func withoutACL(mode uint16, list []Xattr) uint16 {
	for _, x := range list {
		if x.Name != xattrAccess {
			continue
		}
		entries, err := xattr.ParseCallACL(x.Value)
		if err != nil {
			return mode // no ACL of Linux
		}
		return xattr.WithoutACL(mode, entries)
	}
	return mode
}

// ChmodACL makes the access ACL among attributes say what the mode says, as
// chmod(2) does. The list is copied where it changes; an ACL that Linux would
// not take stays.
func ChmodACL(list []Xattr, mode uint16) []Xattr {
	for i, x := range list {
		if x.Name != xattrAccess {
			continue
		}
		entries, err := disk.DecodeCallACL(x.Value)
		if err == nil {
			entries, err = xattr.ChmodACL(entries, mode)
		}
		if err != nil {
			return list // no ACL of Linux: left as it is
		}
		list = slices.Clone(list)
		list[i].Value = disk.EncodeCallACL(entries)
		return list
	}
	return list
}
