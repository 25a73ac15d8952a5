package disk

import "fmt"

// A POSIX ACL has two byte forms, both little-endian.
//
//	on disk       le32 version 1; entries le16 tag, le16 perm and, for a named
//	              user or group only, le32 id
//	system call   le32 version 2; entries le16 tag, le16 perm, le32 id, where
//	              unnamed entries have the id 0xffffffff
//
// The first is the value of the attributes with index 2 (access) and 3
// (default); the second is what getxattr and setxattr exchange.
const (
	aclDiskVersion = 1
	aclCallVersion = 2
	aclHeaderSize  = 4
	aclShortEntry  = 4
	aclLongEntry   = 8
	// ACLNoID is the id of entries that name nobody.
	ACLNoID uint32 = 0xffffffff
	// MaxACLEntries is the most entries that a value of 64 KiB can hold.
	MaxACLEntries = 65536 / aclShortEntry
)

// ACLTag says whom an entry is about.
type ACLTag uint16

// ACL tags, in the order entries are kept.
const (
	ACLUserObj  ACLTag = 0x01 // the owner
	ACLUser     ACLTag = 0x02 // a named user
	ACLGroupObj ACLTag = 0x04 // the owning group
	ACLGroup    ACLTag = 0x08 // a named group
	ACLMask     ACLTag = 0x10 // the most that all but owner and other may get
	ACLOther    ACLTag = 0x20
)

// Named reports whether entries with this tag carry an id.
func (t ACLTag) Named() bool { return t == ACLUser || t == ACLGroup }

// Permission bits of an ACL entry.
const (
	ACLRead    uint16 = 4
	ACLWrite   uint16 = 2
	ACLExecute uint16 = 1
)

// ACLEntry is one line of an ACL. ID is ACLNoID for unnamed tags.
type ACLEntry struct {
	Tag  ACLTag
	Perm uint16
	ID   uint32
}

// DecodeACL reads the form on disk. The result keeps the stored order; it is
// checked entry by entry only, use CheckACL for the whole. Trouble is a
// *CorruptError without block and inode.
func DecodeACL(b []byte) ([]ACLEntry, error) {
	if err := aclVersion(b, aclDiskVersion); err != nil {
		return nil, err
	}
	entries := make([]ACLEntry, 0, min((len(b)-aclHeaderSize)/aclShortEntry, 8))
	for at := aclHeaderSize; at < len(b); {
		size := aclShortEntry
		if len(b)-at >= 2 && ACLTag(le.Uint16(b[at:])).Named() {
			size = aclLongEntry
		}
		if len(b)-at < size {
			return nil, aclError(at, "%d bytes left for an entry of %d", len(b)-at, size)
		}
		e := ACLEntry{Tag: ACLTag(le.Uint16(b[at:])), Perm: le.Uint16(b[at+2:]), ID: ACLNoID}
		if size == aclLongEntry {
			e.ID = le.Uint32(b[at+4:])
		}
		if err := checkACLEntry(at, e); err != nil {
			return nil, err
		}
		entries = append(entries, e)
		at += size
	}
	return entries, nil
}

// EncodeACL gives the form on disk.
func EncodeACL(entries []ACLEntry) []byte {
	b := make([]byte, aclHeaderSize, aclHeaderSize+aclLongEntry*len(entries))
	le.PutUint32(b, aclDiskVersion)
	for _, e := range entries {
		b = le.AppendUint16(b, uint16(e.Tag))
		b = le.AppendUint16(b, e.Perm)
		if e.Tag.Named() {
			b = le.AppendUint32(b, e.ID)
		}
	}
	return b
}

// DecodeCallACL reads the form that the system calls exchange. Ids of unnamed
// entries are ignored, as the kernel does. Trouble is a *CorruptError without
// block and inode.
func DecodeCallACL(b []byte) ([]ACLEntry, error) {
	if err := aclVersion(b, aclCallVersion); err != nil {
		return nil, err
	}
	if n := (len(b) - aclHeaderSize) % aclLongEntry; n != 0 {
		return nil, aclError(len(b)-n, "%d bytes left for an entry of %d", n, aclLongEntry)
	}
	entries := make([]ACLEntry, 0, (len(b)-aclHeaderSize)/aclLongEntry)
	for at := aclHeaderSize; at < len(b); at += aclLongEntry {
		e := ACLEntry{Tag: ACLTag(le.Uint16(b[at:])), Perm: le.Uint16(b[at+2:]), ID: ACLNoID}
		if e.Tag.Named() {
			e.ID = le.Uint32(b[at+4:])
		}
		if err := checkACLEntry(at, e); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// EncodeCallACL gives the form that the system calls exchange.
func EncodeCallACL(entries []ACLEntry) []byte {
	b := make([]byte, aclHeaderSize, aclHeaderSize+aclLongEntry*len(entries))
	le.PutUint32(b, aclCallVersion)
	for _, e := range entries {
		id := e.ID
		if !e.Tag.Named() {
			id = ACLNoID
		}
		b = le.AppendUint16(b, uint16(e.Tag))
		b = le.AppendUint16(b, e.Perm)
		b = le.AppendUint32(b, id)
	}
	return b
}

// CheckACL tells whether the entries make a whole ACL: sorted by tag and id,
// no id twice, one entry each for owner, owning group and other, and a mask
// when anybody is named. An empty ACL is whole; it means none. Trouble is a
// *CorruptError without block and inode.
func CheckACL(entries []ACLEntry) error {
	if len(entries) == 0 {
		return nil
	}
	var seen ACLTag
	for i, e := range entries {
		if err := checkACLEntry(0, e); err != nil {
			return err
		}
		if i > 0 {
			p := entries[i-1]
			if e.Tag < p.Tag || e.Tag == p.Tag && (!e.Tag.Named() || e.ID <= p.ID) {
				return aclError(0, "entry %d (tag 0x%x, id %d) is out of order", i, e.Tag, e.ID)
			}
		}
		seen |= e.Tag
	}
	if must := ACLUserObj | ACLGroupObj | ACLOther; seen&must != must {
		return aclError(0, "tags 0x%x are not there", must&^seen)
	}
	if seen&(ACLUser|ACLGroup) != 0 && seen&ACLMask == 0 {
		return aclError(0, "named entries and no mask")
	}
	return nil
}

func aclVersion(b []byte, want uint32) error {
	switch {
	case len(b) < aclHeaderSize:
		return aclError(0, "value of %d bytes", len(b))
	case len(b) > aclHeaderSize+MaxACLEntries*aclLongEntry:
		return aclError(0, "value of %d bytes", len(b))
	case le.Uint32(b) != want:
		return aclError(0, "version %d is not %d", le.Uint32(b), want)
	}
	return nil
}

func checkACLEntry(at int, e ACLEntry) error {
	switch e.Tag {
	case ACLUserObj, ACLUser, ACLGroupObj, ACLGroup, ACLMask, ACLOther:
	default:
		return aclError(at, "tag 0x%x", e.Tag)
	}
	if e.Perm > ACLRead|ACLWrite|ACLExecute {
		return aclError(at, "permissions 0x%x", e.Perm)
	}
	return nil
}

func aclError(at int, format string, args ...any) error {
	return &CorruptError{What: "ACL", Offset: at, Detail: fmt.Sprintf(format, args...)}
}
