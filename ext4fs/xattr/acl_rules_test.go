package xattr_test

import (
	"errors"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

const noID = disk.ACLNoID

func acl(words ...uint32) (list []disk.ACLEntry) {
	for n := 0; n+2 < len(words); n += 3 {
		list = append(list, disk.ACLEntry{Tag: disk.ACLTag(words[n]), Perm: uint16(words[n+1]), ID: words[n+2]})
	}
	return list
}

func TestSetAccessACL(t *testing.T) {
	plain := acl(1, 6, noID, 4, 5, noID, 0x20, 1, noID)
	named := acl(1, 7, noID, 2, 7, 1000, 4, 0, noID, 0x10, 3, noID, 0x20, 4, noID)
	for _, c := range []struct {
		in   []disk.ACLEntry
		mode uint16
		out  []disk.ACLEntry
	}{{plain, 0o102651, nil}, {named, 0o102734, named}, {nil, 0o102000, nil}} {
		mode, out, err := xattr.SetAccessACL(0o102000, c.in, false)
		if mode != c.mode || !reflect.DeepEqual(out, c.out) || err != nil {
			t.Errorf("%v: 0%o, %v, %v", c.in, mode, out, err)
		}
	}
	if mode, _, _ := xattr.SetAccessACL(0o102000, plain, true); mode != 0o100651 {
		t.Errorf("set-group-id stays: 0%o", mode)
	}
}

func TestValidACL(t *testing.T) {
	for name, c := range map[string]struct {
		in []disk.ACLEntry
		ok bool
	}{
		"minimal":        {acl(1, 6, noID, 4, 5, noID, 0x20, 1, noID), true},
		"mask alone":     {acl(1, 6, noID, 4, 5, noID, 0x10, 2, noID, 0x20, 1, noID), true},
		"user twice":     {acl(1, 6, noID, 2, 1, 5, 2, 1, 5, 4, 5, noID, 0x10, 2, noID, 0x20, 1, noID), true},
		"none":           {nil, false},
		"no mask":        {acl(1, 6, noID, 2, 1, 5, 4, 5, noID, 0x20, 1, noID), false},
		"order":          {acl(4, 5, noID, 1, 6, noID, 0x20, 1, noID), false},
		"two owners":     {acl(1, 6, noID, 1, 6, noID, 4, 5, noID, 0x20, 1, noID), false},
		"tag":            {acl(1, 6, noID, 3, 1, noID, 4, 5, noID, 0x20, 1, noID), false},
		"tag 0":          {acl(0, 6, noID, 1, 6, noID, 4, 5, noID, 0x20, 1, noID), false},
		"permissions":    {acl(1, 8, noID, 4, 5, noID, 0x20, 1, noID), false},
		"nobody's id":    {acl(1, 6, noID, 2, 1, noID, 4, 5, noID, 0x10, 2, noID, 0x20, 1, noID), false},
		"without others": {acl(1, 6, noID, 4, 5, noID), false},
	} {
		if err := xattr.ValidACL(c.in); (err == nil) != c.ok || err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseCallACL(t *testing.T) {
	good := disk.EncodeCallACL(acl(1, 6, noID, 4, 5, noID, 0x20, 1, noID))
	for name, c := range map[string]struct {
		in  []byte
		n   int
		err error
	}{
		"good": {good, 3, nil}, "nothing": {nil, 0, nil}, "header": {good[:4], 0, nil},
		"short": {good[:3], 0, syscall.EINVAL}, "cut": {good[:9], 0, syscall.EINVAL},
		"disk form": {disk.EncodeACL(acl(1, 6, noID)), 0, syscall.EOPNOTSUPP},
		"bad tag":   {append(slices.Clone(good), 9, 0, 0, 0, 0, 0, 0, 0), 0, syscall.EINVAL},
	} {
		list, err := xattr.ParseCallACL(c.in)
		if c.err == nil && (err != nil || len(list) != c.n) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
}

func TestInheritACL(t *testing.T) {
	def := acl(1, 7, noID, 2, 7, 1000, 4, 5, noID, 0x10, 7, noID, 0x20, 5, noID)
	mode, access, child, err := xattr.InheritACL(0o100666, 0o077, def)
	want := acl(1, 6, noID, 2, 7, 1000, 4, 5, noID, 0x10, 6, noID, 0x20, 4, noID)
	if mode != 0o100664 || !reflect.DeepEqual(access, want) || child != nil || err != nil {
		t.Errorf("file: 0%o, %v, %v, %v", mode, access, child, err)
	}
	mode, access, child, err = xattr.InheritACL(0o041777, 0o077, def)
	if mode != 0o041775 || !reflect.DeepEqual(child, def) || access == nil || err != nil {
		t.Errorf("directory: 0%o, %v, %v, %v", mode, access, child, err)
	}
	if mode, access, _, _ = xattr.InheritACL(0o120777, 0o077, def); mode != 0o120777 || access != nil {
		t.Errorf("symbolic link: 0%o, %v", mode, access)
	}
	if mode, access, _, _ = xattr.InheritACL(0o104666, 0o7022, nil); mode != 0o104644 || access != nil {
		t.Errorf("no default: 0%o, %v", mode, access)
	}
	if _, _, _, err := xattr.InheritACL(0o100666, 0, acl(1, 7, noID)); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if _, err := xattr.ChmodACL(acl(1, 7, noID), 0o777); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if err := xattr.SetDefaultACL(0o100644, def); !errors.Is(err, syscall.EACCES) {
		t.Error(err)
	}
}
