package xattr

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrACLText says that a text is not one of an ACL.
var ErrACLText = errors.New("not an ACL")

// IDs turns names into ids for text. A nil function knows no names; numbers
// always count.
type IDs struct {
	User  func(name string) (uint32, bool)
	Group func(name string) (uint32, bool)
}

// ACLTextEntry is one entry of an ACL's text.
type ACLTextEntry struct {
	Default bool
	Entry   disk.ACLEntry
	NoPerm  bool // the text has no permissions, as setfacl -x takes it
	// CondExec: X was among the permissions, which means x for directories
	// and where anybody may execute.
	CondExec bool
}

// ParseACLEntries reads entries as setfacl(1) takes them: "user:NAME:rwx" and
// the like, with "default:" before or not, shortened to one letter or not,
// separated by commas or line ends. Comments and blanks do not count.
// Permissions may be missing where noPerm is set.
func ParseACLEntries(text string, ids IDs, noPerm bool) ([]ACLTextEntry, error) {
	var list []ACLTextEntry
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.Split(line, ",") {
			word = strings.TrimSpace(word)
			if word == "" {
				continue
			}
			e, err := parseACLEntry(word, ids, noPerm)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// ParseACL reads the text of one ACL with all its entries, of which some may
// begin with "default:", which does not count. The entries come in the order
// that Linux wants.
func ParseACL(text string, ids IDs) ([]disk.ACLEntry, error) {
	list, err := ParseACLEntries(text, ids, false)
	if err != nil {
		return nil, err
	}
	var entries []disk.ACLEntry
	for _, e := range list {
		entries = append(entries, e.Entry)
	}
	SortACL(entries)
	return entries, ValidACL(entries)
}

// SortACL puts entries into the order that Linux wants.
func SortACL(entries []disk.ACLEntry) {
	slices.SortStableFunc(entries, func(a, b disk.ACLEntry) int {
		if c := cmp.Compare(a.Tag, b.Tag); c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
}

func parseACLEntry(word string, ids IDs, noPerm bool) (ACLTextEntry, error) {
	e := ACLTextEntry{Entry: disk.ACLEntry{ID: disk.ACLNoID}}
	fields := strings.Split(word, ":")
	for n := range fields {
		fields[n] = UnescapeOctal(strings.TrimSpace(fields[n]))
	}
	if isWord(fields[0], "default") {
		e.Default, fields = true, fields[1:]
	}
	if len(fields) == 0 {
		return e, ErrACLText
	}
	tag, fields := fields[0], fields[1:]
	var qualifier string
	switch {
	case isWord(tag, "user"), isWord(tag, "group"):
		if len(fields) > 0 {
			qualifier, fields = fields[0], fields[1:]
		}
	case isWord(tag, "mask"), isWord(tag, "other"):
		// "m:rwx" and "m::rwx" are the same.
		if len(fields) > 0 && fields[0] == "" {
			fields = fields[1:]
		}
	default:
		// Without a tag it is a user: "NAME:rwx".
		tag, qualifier = "user", tag
	}
	if len(fields) == 2 && qualifier != "" {
		// star and libarchive append the number that belongs to the name.
		qualifier, fields = fields[1], fields[:1]
	}
	if err := e.tag(tag, qualifier, ids); err != nil {
		return e, err
	}
	switch {
	case len(fields) == 0 && noPerm:
		e.NoPerm = true
		return e, nil
	case len(fields) == 0:
		return e, fmt.Errorf("no permissions: %w", ErrACLText)
	case len(fields) > 1:
		return e, ErrACLText
	}
	if fields[0] == "" && noPerm {
		e.NoPerm = true
		return e, nil
	}
	return e, e.perm(fields[0])
}

// isWord reports whether s is the word or its first letter.
func isWord(s, word string) bool { return s == word || s == word[:1] }

func (e *ACLTextEntry) tag(tag, qualifier string, ids IDs) error {
	lookup := ids.User
	switch tag[0] {
	case 'u':
		e.Entry.Tag = disk.ACLUserObj
		if qualifier != "" {
			e.Entry.Tag = disk.ACLUser
		}
	case 'g':
		lookup = ids.Group
		e.Entry.Tag = disk.ACLGroupObj
		if qualifier != "" {
			e.Entry.Tag = disk.ACLGroup
		}
	case 'm':
		e.Entry.Tag = disk.ACLMask
	case 'o':
		e.Entry.Tag = disk.ACLOther
	}
	if qualifier == "" {
		return nil
	}
	if lookup != nil {
		if id, ok := lookup(qualifier); ok {
			e.Entry.ID = id
			return nil
		}
	}
	id, err := strconv.ParseUint(qualifier, 10, 32)
	if err != nil || uint32(id) == disk.ACLNoID {
		return fmt.Errorf("unknown name %q: %w", qualifier, ErrACLText)
	}
	e.Entry.ID = uint32(id)
	return nil
}

func (e *ACLTextEntry) perm(s string) error {
	if len(s) == 1 && s[0] >= '0' && s[0] <= '7' {
		e.Entry.Perm = uint16(s[0] - '0')
		return nil
	}
	if s == "" {
		return fmt.Errorf("no permissions: %w", ErrACLText)
	}
	for _, c := range s {
		switch c {
		case 'r':
			e.Entry.Perm |= disk.ACLRead
		case 'w':
			e.Entry.Perm |= disk.ACLWrite
		case 'x':
			e.Entry.Perm |= disk.ACLExecute
		case 'X':
			e.CondExec = true
		case '-':
		default:
			return fmt.Errorf("permissions %q: %w", s, ErrACLText)
		}
	}
	return nil
}

// UnescapeOctal undoes the \NNN, \\ and \" of what getfacl and getfattr print.
func UnescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}
