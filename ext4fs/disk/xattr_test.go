package disk

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestXattrName_roundTrip(t *testing.T) {
	seen := map[string]XattrIndex{}
	for i := 0; i <= 255; i++ {
		for _, stored := range []string{"", "x", "posix_acl_access", "1.x", "unknown.3.", "\xff\x00"} {
			index := XattrIndex(i)
			full := XattrName(index, []byte(stored))
			if old, ok := seen[full]; ok {
				t.Fatalf("index %d and %d are both %q", old, i, full)
			}
			seen[full] = index
			gotIndex, gotStored, ok := SplitXattrName(full)
			if !ok || gotIndex != index || gotStored != stored {
				t.Errorf("%d %q is %q, splits into %d %q %v", i, stored, full, gotIndex, gotStored, ok)
			}
		}
	}
	for want, parts := range map[string]struct {
		i      XattrIndex
		stored string
	}{"user.x": {1, "x"}, "system.posix_acl_default": {3, ""}, "unknown.3.x": {3, "x"}, "unknown.1.": {1, ""}, "encryption.c": {9, "c"}, "unknown.0.x": {0, "x"},
		"unknown.7.richacl": {7, "richacl"}} {
		if got := XattrName(parts.i, []byte(parts.stored)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSplitXattrName_refuses(t *testing.T) {
	for _, s := range []string{"", "user", "user.", "bogus.x", "unknown.", "unknown.x", "unknown.1.x", "unknown.2.", "unknown.011.x",
		"unknown.256.x", "unknown.11", "unknown.+11.x", "unknown..x"} {
		if i, name, ok := SplitXattrName(s); ok {
			t.Errorf("%q splits into %d %q", s, i, name)
		}
	}
	// a longer name under a prefix that is also a whole name
	if i, name, ok := SplitXattrName("system.posix_acl_accessx"); !ok || i != XattrSystem || name != "posix_acl_accessx" {
		t.Errorf("got %d %q %v", i, name, ok)
	}
}

func TestXattrEntry_roundTrip(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, 64)
	n := PutXattrEntry(b, XattrUser, "hello", 4000, math.MaxUint32, 70000, 0xdeadbeef)
	e := XattrEntry(b)
	if n != 24 || e.Size() != n || !bytes.Equal(b[21:25], []byte{0, 0, 0, 0xff}) {
		t.Errorf("length %d, padding %x", n, b[21:25])
	}
	if e.NameLen() != 5 || e.Index() != XattrUser || e.ValueOffset() != 4000 || e.ValueInode() != math.MaxUint32 ||
		e.ValueSize() != 70000 || e.Hash() != 0xdeadbeef || string(e.Name()) != "hello" || e.IsEnd() {
		t.Errorf("entry %x", b[:n])
	}
	PutXattrEntry(b, XattrACLAccess, "", 0, 0, 0, 0)
	if e.IsEnd() || e.Size() != XattrEntrySize {
		t.Error("an ACL entry without a name is not the end")
	}
}

func TestXattrHash(t *testing.T) {
	for _, tt := range []struct {
		name, value      string
		unsigned, signed uint32
	}{
		{"", "", 0, 0},
		{"a", "", 0x61, 0x61},
		{"ab", "", 0x61<<5 ^ 0x62, 0x61<<5 ^ 0x62},
		{"\x80", "", 0x80, 0xffffff80},
		{"a", "\x01", 0x610000 ^ 1, 0x610000 ^ 1},
		{"a", "\x01\x00\x00\x00\x02", 0x10063, 0x10063}, // 610000^1, turned by 16, ^2
	} {
		got, gotSigned := XattrHash([]byte(tt.name), []byte(tt.value), false), XattrHash([]byte(tt.name), []byte(tt.value), true)
		if got != tt.unsigned || gotSigned != tt.signed {
			t.Errorf("%q=%q: %x, %x; want %x, %x", tt.name, tt.value, got, gotSigned, tt.unsigned, tt.signed)
		}
	}
	if got := XattrInodeHash([]byte("a"), 5, false); got != 0x610005 {
		t.Errorf("value in an inode: %x", got)
	}
	if got := XattrBlockHash([]uint32{1, 2}); got != 0x10002 {
		t.Errorf("block: %x", got)
	}
	if got := XattrBlockHash([]uint32{1, 0, 2}); got != 0 {
		t.Errorf("block with an entry without hash: %x", got)
	}
}

func TestXattrBlock_seal(t *testing.T) {
	b := make([]byte, 1024)
	h := XattrHeader(b)
	h.Init()
	h.SetRefs(3)
	h.SetHash(9)
	if h.Magic() != XattrMagic || h.Refs() != 3 || h.Blocks() != 1 || h.Hash() != 9 {
		t.Errorf("header %x", b[:32])
	}
	SealXattrBlock(7, 1234, b)
	if stored, computed, ok := VerifyXattrBlock(7, 1234, b); !ok || stored != computed || stored != h.Checksum() {
		t.Errorf("stored %x, computed %x", stored, computed)
	}
	if _, _, ok := VerifyXattrBlock(7, 1235, b); ok {
		t.Error("good at another place")
	}
	b[1023]++
	if _, _, ok := VerifyXattrBlock(7, 1234, b); ok {
		t.Error("good after a change")
	}
	if _, _, ok := VerifyXattrBlock(7, 1234, b[:31]); ok {
		t.Error("good when cut")
	}
	SealXattrBlock(7, 1234, b[:31])
}

// Both forms of one ACL, as measured on Linux.
const (
	aclDiskHex = "01000000 01000600 02000700e8030000 04000400 08000500d0070000 10000700 20000400"
	aclCallHex = "02000000 01000600ffffffff 02000700e8030000 04000400ffffffff 08000500d0070000 10000700ffffffff 20000400ffffffff"
)

var aclEntries = []ACLEntry{
	{ACLUserObj, 6, ACLNoID}, {ACLUser, 7, 1000}, {ACLGroupObj, 4, ACLNoID},
	{ACLGroup, 5, 2000}, {ACLMask, 7, ACLNoID}, {ACLOther, 4, ACLNoID},
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestACL_forms(t *testing.T) {
	got, err := DecodeACL(unhex(aclDiskHex))
	if err != nil || !reflect.DeepEqual(got, aclEntries) {
		t.Errorf("on disk: %v, %v", got, err)
	}
	got, err = DecodeCallACL(unhex(aclCallHex))
	if err != nil || !reflect.DeepEqual(got, aclEntries) {
		t.Errorf("system call: %v, %v", got, err)
	}
	if b := EncodeACL(aclEntries); !bytes.Equal(b, unhex(aclDiskHex)) {
		t.Errorf("on disk: %x", b)
	}
	if b := EncodeCallACL(aclEntries); !bytes.Equal(b, unhex(aclCallHex)) {
		t.Errorf("system call: %x", b)
	}
	if err := CheckACL(aclEntries); err != nil {
		t.Error(err)
	}
}

func TestACL_refuses(t *testing.T) {
	for _, s := range []string{"", "010000", "02000000", "01000000 0100", "01000000 01000600 0200",
		"01000000 02000700e80300", "01000000 40000000", "01000000 00000000", "01000000 01000800"} {
		if got, err := DecodeACL(unhex(s)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("on disk %q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "01000000", "02000000 01000600", "02000000 40000000ffffffff"} {
		if got, err := DecodeCallACL(unhex(s)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("system call %q: %v, %v", s, got, err)
		}
	}
	if got, err := DecodeACL(make([]byte, 1<<20)); err == nil {
		t.Errorf("a megabyte: %v", got)
	}
}

func TestCheckACL(t *testing.T) {
	u, g, o := ACLEntry{ACLUserObj, 7, ACLNoID}, ACLEntry{ACLGroupObj, 7, ACLNoID}, ACLEntry{ACLOther, 7, ACLNoID}
	m := ACLEntry{ACLMask, 7, ACLNoID}
	user := func(id uint32) ACLEntry { return ACLEntry{ACLUser, 7, id} }
	for _, tt := range []struct {
		name string
		acl  []ACLEntry
		good bool
	}{
		{"none", nil, true},
		{"least", []ACLEntry{u, g, o}, true},
		{"with mask", []ACLEntry{u, g, m, o}, true},
		{"named", []ACLEntry{u, user(1), user(2), g, m, o}, true},
		{"named without mask", []ACLEntry{u, user(1), g, o}, false},
		{"id twice", []ACLEntry{u, user(1), user(1), g, m, o}, false},
		{"ids not in order", []ACLEntry{u, user(2), user(1), g, m, o}, false},
		{"tags not in order", []ACLEntry{g, u, o}, false},
		{"owner twice", []ACLEntry{u, u, g, o}, false},
		{"no other", []ACLEntry{u, g}, false},
		{"bad tag", []ACLEntry{u, g, o, {0x40, 7, 0}}, false},
		{"bad bits", []ACLEntry{u, g, {ACLOther, 8, 0}}, false},
	} {
		if err := CheckACL(tt.acl); (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzACL(f *testing.F) {
	f.Add(unhex(aclDiskHex))
	f.Add(unhex(aclCallHex))
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := DecodeACL(b); err == nil {
			if !bytes.Equal(EncodeACL(entries), b) {
				t.Errorf("on disk: %x does not survive", b)
			}
			again, err := DecodeCallACL(EncodeCallACL(entries))
			if err != nil || !reflect.DeepEqual(again, entries) {
				t.Errorf("%v becomes %v, %v", entries, again, err)
			}
			_ = CheckACL(entries)
		}
		if entries, err := DecodeCallACL(b); err == nil {
			again, err := DecodeACL(EncodeACL(entries))
			if err != nil || !reflect.DeepEqual(again, entries) {
				t.Errorf("%v becomes %v, %v", entries, again, err)
			}
		}
	})
}
