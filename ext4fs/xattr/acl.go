package xattr

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Names turns ids into names for text. A nil function, or one that returns "",
// leaves the number.
type Names struct {
	User  func(id uint32) string
	Group func(id uint32) string
}

// ACLFile is what getfacl's text says of a file besides its ACLs.
type ACLFile struct {
	Path     string
	UID, GID uint32
	Mode     fs.FileMode
}

// ACLText gives the text that getfacl prints for a file, up to the empty line
// that follows. Without an access ACL the entries come from the mode.
func ACLText(f ACLFile, access, def []disk.ACLEntry, names Names) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# file: %s\n", escape(f.Path, "\\"))
	fmt.Fprintf(&b, "# owner: %s\n", idText(f.UID, names.User))
	fmt.Fprintf(&b, "# group: %s\n", idText(f.GID, names.Group))
	if flags := modeFlags(f.Mode); flags != "---" {
		fmt.Fprintf(&b, "# flags: %s\n", flags)
	}
	if len(access) == 0 {
		access = ModeACL(f.Mode)
	}
	writeACL(&b, "", access, names)
	writeACL(&b, "default:", def, names)
	b.WriteByte('\n')
	return b.String()
}

// EntriesText gives one line per entry, each with the prefix in front
// ("default:" for a default ACL). What the mask takes away is told in a
// comment.
func EntriesText(prefix string, entries []disk.ACLEntry, names Names) string {
	var b strings.Builder
	writeACL(&b, prefix, entries, names)
	return b.String()
}

// ModeACL is the ACL that permission bits stand for.
func ModeACL(m fs.FileMode) []disk.ACLEntry {
	p := uint16(m.Perm())
	return []disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: p >> 6 & 7, ID: disk.ACLNoID},
		{Tag: disk.ACLGroupObj, Perm: p >> 3 & 7, ID: disk.ACLNoID},
		{Tag: disk.ACLOther, Perm: p & 7, ID: disk.ACLNoID},
	}
}

func writeACL(b *strings.Builder, prefix string, entries []disk.ACLEntry, names Names) {
	mask := uint16(7)
	for _, e := range entries {
		if e.Tag == disk.ACLMask {
			mask = e.Perm
		}
	}
	for _, e := range entries {
		b.WriteString(prefix)
		masked := false
		switch e.Tag {
		case disk.ACLUserObj:
			b.WriteString("user::")
		case disk.ACLUser:
			b.WriteString("user:" + idText(e.ID, names.User) + ":")
			masked = true
		case disk.ACLGroupObj:
			b.WriteString("group::")
			masked = true
		case disk.ACLGroup:
			b.WriteString("group:" + idText(e.ID, names.Group) + ":")
			masked = true
		case disk.ACLMask:
			b.WriteString("mask::")
		case disk.ACLOther:
			b.WriteString("other::")
		default:
			fmt.Fprintf(b, "0x%x:%d:", uint16(e.Tag), e.ID)
		}
		b.WriteString(permText(e.Perm))
		if masked && e.Perm&^mask != 0 {
			b.WriteString("\t#effective:" + permText(e.Perm&mask))
		}
		b.WriteByte('\n')
	}
}

func permText(p uint16) string {
	t := []byte("rwx")
	for i := range t {
		if p&(4>>i) == 0 {
			t[i] = '-'
		}
	}
	return string(t)
}

func modeFlags(m fs.FileMode) string {
	t := []byte("sst")
	for i, bit := range []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky} {
		if m&bit == 0 {
			t[i] = '-'
		}
	}
	return string(t)
}

func idText(id uint32, name func(uint32) string) string {
	if name != nil {
		if s := name(id); s != "" {
			return escape(s, "\\:= \t#,")
		}
	}
	return strconv.FormatUint(uint64(id), 10)
}

// escape writes line breaks and the bytes in special as octal, a backslash
// twice, so that every line of the text stays one line.
func escape(s, special string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '\\':
			b.WriteString(`\\`)
		case c == '\n' || c == '\r' || strings.IndexByte(special, c) >= 0:
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
