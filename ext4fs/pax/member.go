package pax

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// Errors of a member, which say nothing about the others.
var (
	// ErrType: the type of the member is not one of files.
	ErrType = errors.New("unknown type of file")
	// ErrDotDot: the name has an element "..", and may lead anywhere.
	ErrDotDot = errors.New(`the name has ".." in it`)
	// ErrOwner: an id does not fit 32 bits.
	ErrOwner = errors.New("no valid owner")
	// ErrDevice: a device number is none that Linux has.
	ErrDevice = errors.New("no valid device number")
)

// FileType returns the type that a member has in i_mode; a hard link counts as
// a regular file. 0 without an error is what stands for no file.
func (h *Header) FileType() (uint16, error) {
	switch h.Type {
	case TypeRegular, TypeContiguous, TypeLink:
		return disk.ModeRegular, nil
	case TypeSymlink:
		return disk.ModeSymlink, nil
	case TypeChar:
		return disk.ModeChar, nil
	case TypeBlock:
		return disk.ModeBlock, nil
	case TypeDir, TypeDumpDir:
		return disk.ModeDir, nil
	case TypeFIFO:
		return disk.ModeFIFO, nil
	case TypeVolume:
		return 0, nil
	}
	return disk.ModeRegular, fmt.Errorf("type %q of tar: %w", h.Type, ErrType)
}

// Owner returns the ids of user and group. An error matches ErrOwner.
func (h *Header) Owner() (uid, gid uint32, err error) {
	if h.UID < 0 || h.GID < 0 || h.UID > math.MaxUint32 || h.GID > math.MaxUint32 {
		return 0, 0, fmt.Errorf("owner %d:%d: %w", h.UID, h.GID, ErrOwner)
	}
	return uint32(h.UID), uint32(h.GID), nil
}

// Device returns the numbers of a device node, within the 12 and 20 bits that
// Linux has for them. An error matches ErrDevice.
func (h *Header) Device() (major, minor uint32, err error) {
	if h.Major < 0 || h.Minor < 0 || h.Major >= 1<<12 || h.Minor >= 1<<20 {
		return 0, 0, fmt.Errorf("device %d:%d: %w", h.Major, h.Minor, ErrDevice)
	}
	return uint32(h.Major), uint32(h.Minor), nil
}

// SplitName takes a name apart, without the elements that mean nothing: none
// left is the top of the archive, which is the root of absolute names too. The
// error is ErrDotDot.
func SplitName(name string) ([]string, error) {
	list := make([]string, 0, strings.Count(name, "/")+1)
	for el := range strings.SplitSeq(name, "/") {
		switch el {
		case "", ".":
		case "..":
			return nil, ErrDotDot
		default:
			list = append(list, el)
		}
	}
	return list, nil
}

// Keywords of attributes.
const (
	keyXattr      = "SCHILY.xattr."
	keyLibXattr   = "LIBARCHIVE.xattr."
	keyACLAccess  = "SCHILY.acl.access"
	keyACLDefault = "SCHILY.acl.default"
	keySELinux    = "RHT.security.selinux"

	nameAccess  = "system.posix_acl_access"
	nameDefault = "system.posix_acl_default"
	nameSELinux = "security.selinux"
)

// Xattr is an extended attribute. POSIX ACLs have the form that the system
// calls have.
type Xattr struct {
	Name  string // with its prefix: "user.comment"
	Value []byte
}

// Xattrs finds extended attributes and ACLs in the extended headers, sorted by
// name. ids knows the names in ACLs; numbers always count. With an error it
// gives the attributes that are sound.
func (h *Header) Xattrs(ids xattr.IDs) (list []Xattr, bad error) {
	add := func(key, value string) {
		x, err := h.xattr(key, value, ids)
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", excerpt(key), err))
		} else if x.Name != "" {
			list = append(list, x)
		}
	}
	for key, value := range h.local {
		add(key, value)
	}
	if h.global != nil {
		for _, key := range h.global.xattrs {
			if _, ok := h.local[key]; !ok {
				add(key, h.global.values[key])
			}
		}
		for _, key := range []string{keyACLAccess, keyACLDefault, keySELinux} {
			if _, ok := h.local[key]; !ok {
				add(key, h.global.values[key])
			}
		}
	}
	slices.SortFunc(list, func(a, b Xattr) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return bytes.Compare(a.Value, b.Value) // keywords may decode to the same name
	})
	return slices.CompactFunc(list, func(a, b Xattr) bool { return a.Name == b.Name }), bad
}

// xattr makes an attribute of a record; without a name it is none, or one that
// another record says better.
func (h *Header) xattr(key, value string, ids xattr.IDs) (x Xattr, err error) {
	has := func(key string) bool { _, ok := h.Record(key); return ok }
	switch {
	case strings.HasPrefix(key, keyXattr):
		name := keyDecoder.Replace(key[len(keyXattr):])
		if name == nameAccess && h.tellsACL(keyACLAccess, ids) || name == nameDefault && h.tellsACL(keyACLDefault, ids) {
			return x, nil // the text has what was meant
		}
		return Xattr{name, []byte(value)}, nil
	case strings.HasPrefix(key, keyLibXattr):
		name := unescape(key[len(keyLibXattr):])
		if has(keyXattr + name) {
			return x, nil
		}
		data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
		return Xattr{name, data}, err
	case value == "":
		return x, nil
	case key == keySELinux:
		if has(keyXattr + nameSELinux) {
			return x, nil
		}
		return Xattr{nameSELinux, []byte(value)}, nil
	case key == keyACLAccess, key == keyACLDefault:
		name := nameAccess
		if key == keyACLDefault {
			name = nameDefault
		}
		entries, err := xattr.ParseACL(value, ids)
		if err != nil && has(keyXattr+name) {
			return x, nil // the attribute has it in numbers
		}
		if err != nil {
			return x, err
		}
		return Xattr{name, disk.EncodeCallACL(entries)}, nil
	}
	return x, nil
}

// tellsACL reports whether there is the text of an ACL that can be understood.
// GNU tar puts the names that its host knows into it, whatever it was asked.
func (h *Header) tellsACL(key string, ids xattr.IDs) bool {
	text, ok := h.Record(key)
	if !ok {
		return false
	}
	_, err := xattr.ParseACL(text, ids)
	return err == nil
}

// LostACL reports whether the member has an access ACL that Xattrs cannot give,
// because nobody knows a name in its text, and what the owning group may do by
// it, of disk.ACLRead, ACLWrite and ACLExecute. The bits that the mode has for
// the group are the mask of the ACL: without the ACL they would be too much.
func (h *Header) LostACL(ids xattr.IDs) (group uint16, lost bool) {
	text, ok := h.Record(keyACLAccess)
	if !ok || h.tellsACL(keyACLAccess, ids) {
		return 0, false
	}
	for _, prefix := range []string{keyXattr, keyLibXattr} {
		if _, ok := h.Record(prefix + nameAccess); ok {
			return 0, false // in numbers
		}
	}
	anybody := func(string) (uint32, bool) { return 0, true }
	entries, err := xattr.ParseACLEntries(text, xattr.IDs{User: anybody, Group: anybody}, false)
	if err != nil {
		return 0, false // not an ACL at all
	}
	const all = disk.ACLRead | disk.ACLWrite | disk.ACLExecute
	mask := uint16(all)
	for _, e := range entries {
		switch e.Entry.Tag {
		case disk.ACLGroupObj:
			group, lost = e.Entry.Perm, true
		case disk.ACLMask:
			mask = e.Entry.Perm
		}
	}
	return group & mask, lost
}

// keyDecoder undoes how GNU tar writes names that have an equals sign.
var keyDecoder = strings.NewReplacer("%3D", "=", "%25", "%")

// unescape undoes the %XX of libarchive.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
