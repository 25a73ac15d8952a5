package tree

import (
	"bytes"
	"errors"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

func TestIDMap_parseAndMap(t *testing.T) {
	m, err := ParseIDMap("0:100000:65536, 70000:5\n")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint32]int64{0: 100000, 65535: 165535, 65536: -1, 70000: 5, 70001: -1, maxID: -1} {
		got, ok := m.Map(id)
		if ok != (want >= 0) || ok && int64(got) != want {
			t.Errorf("%d: %d, %v", id, got, ok)
		}
	}
	all := must(ParseIDMap("0:0:4294967295"))
	if got, ok := all.Map(maxID); !ok || got != maxID {
		t.Error("the last id")
	}
	for _, bad := range []string{"", "1", "1:2:0", "1:2:3:4", "a:b:c", "1:2:4294967295", "-1:0:1", "4294967295:0:1", "0:+1:1", ","} {
		if _, err := ParseIDMap(bad); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseOwner(t *testing.T) {
	for text, want := range map[string]Owner{"1:2": {1, 2}, "7": {7, -1}, ":8": {-1, 8}, "9:": {9, -1}} {
		if got, err := ParseOwner(text); err != nil || *got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", ":", "root:root", "1:2:3", "-1:0", "4294967295:0"} {
		if _, err := ParseOwner(bad); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRules_ownersOfAttributes(t *testing.T) {
	acl := func(ids ...uint32) []byte {
		list := []disk.ACLEntry{{Tag: disk.ACLUserObj, Perm: 7}}
		for _, id := range ids {
			list = append(list, disk.ACLEntry{Tag: disk.ACLUser, Perm: 5, ID: id})
		}
		return disk.EncodeCallACL(append(list, disk.ACLEntry{Tag: disk.ACLGroupObj, Perm: 5},
			disk.ACLEntry{Tag: disk.ACLGroup, Perm: 1, ID: 7}, disk.ACLEntry{Tag: disk.ACLMask, Perm: 5}, disk.ACLEntry{Tag: disk.ACLOther}))
	}
	capability := func(root byte) []byte {
		b := make([]byte, 24)
		b[3], b[5], b[20] = 3, 4, root
		return b
	}
	o := &Options{UIDMap: IDMap{{From: 10, To: 20, Count: 2}, {From: 0, To: 100, Count: 1}, {From: 11, To: 5, Count: 1}}, GIDMap: IDMap{{From: 0, To: 0, Count: 10}}}
	l := &layer{t: New(), o: o}
	attrs := []Xattr{{xattrAccess, acl(10, 11)}, {xattrCapability, capability(10)}, {"user.x", []byte("x")}}
	f := &found{Node: regular(0), xattrs: attrs}
	if err := l.rules(f); err != nil {
		t.Fatal(err)
	}
	if f.UID != 100 || f.GID != 0 {
		t.Errorf("owner %d:%d", f.UID, f.GID)
	}
	if !bytes.Equal(f.xattrs[0].Value, acl(20, 21)) {
		t.Errorf("ACL %x", f.xattrs[0].Value)
	}
	if !bytes.Equal(f.xattrs[1].Value, capability(20)) {
		t.Errorf("capability %x", f.xattrs[1].Value)
	}
	if !bytes.Equal(attrs[0].Value, acl(10, 11)) {
		t.Error("the source's attributes were changed")
	}
	_, err := l.put(Root, "file", &found{Node: Node{Mode: disk.ModeRegular, UID: 1}})
	if !errors.Is(err, ErrUnmapped) || err.Error() != "add /file: user 1: the id is not in the map" {
		t.Errorf("unmapped: %v", err)
	}
	_, err = l.put(Root, "file", &found{Node: regular(0), xattrs: []Xattr{{xattrAccess, acl(12)}}})
	if !errors.Is(err, ErrUnmapped) {
		t.Errorf("unmapped in an ACL: %v", err)
	}
	o.SetOwner = &Owner{UID: 3, GID: -1}
	f = &found{Node: Node{Mode: disk.ModeRegular, UID: 1, GID: 2}}
	if err := l.rules(f); err != nil || f.UID != 3 || f.GID != 2 {
		t.Errorf("set: %d:%d, %v", f.UID, f.GID, err)
	}
}

func TestRules_chmod(t *testing.T) {
	acl := func(mask uint16) []byte {
		return disk.EncodeCallACL([]disk.ACLEntry{{Tag: disk.ACLUserObj, Perm: 6}, {Tag: disk.ACLUser, Perm: 7, ID: 1},
			{Tag: disk.ACLGroupObj, Perm: 5}, {Tag: disk.ACLMask, Perm: mask}, {Tag: disk.ACLOther}})
	}
	l := &layer{t: New(), o: &Options{Chmod: func(mode uint16) uint16 { return mode &^ 0o070 }}}
	f := &found{Node: Node{Mode: disk.ModeRegular | 0o670}, xattrs: []Xattr{{xattrAccess, acl(7)}}}
	if err := l.rules(f); err != nil {
		t.Fatal(err)
	}
	if f.Mode != disk.ModeRegular|0o600 || !bytes.Equal(f.xattrs[0].Value, acl(0)) {
		t.Errorf("mode 0%o, ACL %x", f.Mode, f.xattrs[0].Value)
	}
	f = &found{Node: Node{Mode: disk.ModeSymlink | 0o777}}
	if err := l.rules(f); err != nil || f.Mode != disk.ModeSymlink|0o777 {
		t.Errorf("link: 0%o, %v", f.Mode, err)
	}
	l.o.Chmod = func(uint16) uint16 { return disk.ModeDir | 0o111 }
	f = &found{Node: regular(0)}
	if err := l.rules(f); err != nil || f.Mode != disk.ModeRegular|0o111 {
		t.Errorf("type: 0%o, %v", f.Mode, err)
	}
}

func TestRules_ownersThatNobodyTold(t *testing.T) {
	l := &layer{t: New(), o: &Options{UIDMap: IDMap{{From: 5, To: 6, Count: 1}}, GIDMap: IDMap{{From: 5, To: 6, Count: 1}}}}
	id, _, err := l.mkdir(Root, "made")
	if err != nil || l.t.Node(id).UID != 0 {
		t.Errorf("%+v, %v", l.t.Node(id), err)
	}
	l.o.SetOwner = &Owner{UID: 7, GID: -1}
	id, _, err = l.mkdir(Root, "too")
	if err != nil || l.t.Node(id).UID != 7 || l.t.Node(id).GID != 0 {
		t.Errorf("%+v, %v", l.t.Node(id), err)
	}
}
