package xattr_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// laid lays a list out and reads it back. It returns the record, the block and
// how many values went to inodes.
func laid(t testing.TB, r xattr.Rules, size int, list []xattr.Entry) (disk.Inode, []byte, int, error) {
	t.Helper()
	record := disk.NewInode(size, 32)
	values := map[disk.InodeNum][]byte{}
	block, err := xattr.Lay(r, record, list, func(p xattr.Pending) (disk.InodeNum, error) {
		if p.Hash != disk.XattrValueHash(r.Seed, p.Value) {
			t.Errorf("hash of %s", p.Name)
		}
		n := disk.InodeNum(1000 + len(values))
		values[n] = p.Value
		return n, nil
	})
	if err != nil {
		if !bytes.Equal(record, disk.NewInode(size, 32)) {
			t.Error("a record of an error was changed")
		}
		return record, block, len(values), err
	}
	model := map[string][]byte{}
	for _, e := range list {
		model[disk.XattrName(e.Index, e.Name)] = e.Value
	}
	checkEdit(t.(*testing.T), 0, record, block, model, values)
	return record, block, len(values), nil
}

func randomEntries(r *rand.Rand, most int) (list []xattr.Entry) {
	seen := map[string]bool{}
	for range r.IntN(12) {
		e := xattr.Entry{Index: []disk.XattrIndex{disk.XattrUser, disk.XattrTrusted, disk.XattrSecurity}[r.IntN(3)],
			Name: fmt.Appendf(nil, "%c%s", 'a'+r.IntN(9), strings.Repeat("n", r.IntN(12)*r.IntN(2)))}
		e.Value = bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN([]int{5, 30, 200, most}[r.IntN(4)]))
		if key := disk.XattrName(e.Index, e.Name); !seen[key] {
			seen[key] = true
			list = append(list, e)
		}
	}
	return list
}

// TestLay lays random lists out: all is there, and the order of the list is
// nothing.
func TestLay(t *testing.T) {
	for _, rules := range []xattr.Rules{{BlockSize: 1024}, {BlockSize: 4096}, {BlockSize: 1024, ValueInodes: true, Seed: 77}} {
		for _, size := range []int{128, 256, 1024} {
			r := rand.New(rand.NewPCG(uint64(rules.BlockSize), uint64(size)))
			full, blocks, inodes := 0, 0, 0
			for range 2000 {
				list := randomEntries(r, rules.BlockSize*5/4)
				before := slices.Clone(list)
				record, block, n, err := laid(t, rules, size, list)
				if !slices.EqualFunc(list, before, func(a, b xattr.Entry) bool { return bytes.Equal(a.Name, b.Name) }) {
					t.Fatal("the list was changed")
				}
				r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				again, blockAgain, _, errAgain := laid(t, rules, size, list)
				if !bytes.Equal(record, again) || !bytes.Equal(block, blockAgain) || (err == nil) != (errAgain == nil) {
					t.Fatalf("another order gives other bytes: %v, %v", err, errAgain)
				}
				switch {
				case errors.Is(err, xattr.ErrNoSpace):
					full++
				case err != nil:
					t.Fatal(err)
				case block != nil:
					blocks++
				}
				inodes += n
			}
			if blocks == 0 || full == 0 && !rules.ValueInodes || inodes == 0 && rules.ValueInodes {
				t.Errorf("%d blocks, %d full, %d inodes", blocks, full, inodes)
			}
		}
	}
}

// TestLay_asEdit: what fits into the inode is as an Edit would have it.
func TestLay_asEdit(t *testing.T) {
	list := []xattr.Entry{
		{Index: disk.XattrSystem, Name: []byte("data"), Value: []byte("rest of inline data.")},
		{Index: disk.XattrUser, Name: []byte("empty")},
		{Index: disk.XattrUser, Name: []byte("value"), Value: []byte("odd")},
		{Index: disk.XattrSecurity, Name: []byte("selinux"), Value: []byte("system_u:object_r:etc_t:s0\x00")},
	}
	record, want := disk.NewInode(512, 32), disk.NewInode(512, 32)
	if block, err := xattr.Lay(xattr.Rules{BlockSize: 4096}, record, list, nil); block != nil || err != nil {
		t.Fatal(block, err)
	}
	e, err := xattr.NewEdit(xattr.Rules{BlockSize: 4096}, xattr.Owner{}, want, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if _, err := e.Set(a.Index, a.Name, a.Value, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.WriteInode(want); err != nil || !bytes.Equal(record, want) {
		t.Errorf("%x\ninstead of\n%x", record[160:], want[160:])
	}
	if n := testing.AllocsPerRun(100, func() {
		clear(record[160:])
		if _, err := xattr.Lay(xattr.Rules{BlockSize: 4096}, record, list, nil); err != nil {
			t.Error(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

// TestLay_inline: inline data goes before the others, up to the room told.
func TestLay_inline(t *testing.T) {
	for _, size := range []int{128, 160, 180, 192, 256, 1024} {
		record := disk.NewInode(size, 28)
		if size == 128 {
			record = disk.NewInode(size, 0)
		}
		room := xattr.InlineRoom(record)
		if e, err := xattr.NewEdit(xattr.Rules{BlockSize: 1024}, xattr.Owner{}, record, 0, nil); err != nil || e.MaxInline() != max(room, 0) {
			t.Errorf("%d bytes: room %d, Edit says %d, %v", size, room, e.MaxInline(), err)
		}
		list := []xattr.Entry{{Index: disk.XattrSecurity, Name: []byte("selinux"), Value: make([]byte, 40)},
			{Index: disk.XattrSystem, Name: []byte("data"), Value: make([]byte, max(room, 0))}}
		block, err := xattr.Lay(xattr.Rules{BlockSize: 1024}, record, list, nil)
		if room < 0 {
			if !errors.Is(err, xattr.ErrNoSpace) {
				t.Errorf("%d bytes: %v", size, err)
			}
			continue
		}
		if err != nil || block == nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		list[1].Value = make([]byte, room+1)
		if _, err := xattr.Lay(xattr.Rules{BlockSize: 1024}, disk.NewInode(size, 28), list, nil); !errors.Is(err, xattr.ErrNoSpace) {
			t.Errorf("%d bytes, one too many: %v", size, err)
		}
	}
}

// TestLay_secondTry: where the usual order leaves something out, another one
// does not.
func TestLay_secondTry(t *testing.T) {
	list := []xattr.Entry{
		{Index: disk.XattrUser, Name: []byte("a"), Value: make([]byte, 8)},
		{Index: disk.XattrUser, Name: []byte("b"), Value: make([]byte, 60)},
		{Index: disk.XattrUser, Name: []byte("c"), Value: make([]byte, 940)},
	}
	if _, _, _, err := laid(t, xattr.Rules{BlockSize: 1024}, 256, list); err != nil {
		t.Error(err)
	}
}

func TestLay_refuses(t *testing.T) {
	user := func(name string, n int) xattr.Entry {
		return xattr.Entry{Index: disk.XattrUser, Name: []byte(name), Value: make([]byte, n)}
	}
	broken := errors.New("broken")
	none := func(xattr.Pending) (disk.InodeNum, error) { return 0, nil }
	fails := func(xattr.Pending) (disk.InodeNum, error) { return 0, broken }
	for _, tt := range []struct {
		list  []xattr.Entry
		inode func(xattr.Pending) (disk.InodeNum, error)
		err   error
	}{
		{[]xattr.Entry{user("a", 3), user("b", 3), user("a", 1)}, nil, xattr.ErrExist},
		{[]xattr.Entry{user("a\x00", 3)}, nil, xattr.ErrName},
		{[]xattr.Entry{user(strings.Repeat("n", 256), 3)}, nil, xattr.ErrNameRange},
		{[]xattr.Entry{{Name: []byte("x")}}, nil, xattr.ErrNameRange},
		{[]xattr.Entry{user("a", 65537)}, nil, xattr.ErrTooBig},
		{[]xattr.Entry{user("a", 5000)}, nil, xattr.ErrNoSpace},
		{[]xattr.Entry{user("a", 5000)}, none, xattr.ErrName},
		{[]xattr.Entry{user("a", 5000)}, fails, broken},
	} {
		_, err := xattr.Lay(xattr.Rules{BlockSize: 1024, ValueInodes: true}, disk.NewInode(256, 32), tt.list, tt.inode)
		if !errors.Is(err, tt.err) {
			t.Errorf("%v instead of %v", err, tt.err)
		}
	}
}

func TestNewEntry(t *testing.T) {
	acl := disk.EncodeCallACL([]disk.ACLEntry{{Tag: disk.ACLUserObj, Perm: 7, ID: disk.ACLNoID}, {Tag: disk.ACLUser, Perm: 4, ID: 5},
		{Tag: disk.ACLGroupObj, Perm: 5, ID: disk.ACLNoID}, {Tag: disk.ACLMask, Perm: 6, ID: disk.ACLNoID}, {Tag: disk.ACLOther, Perm: 0, ID: disk.ACLNoID}})
	least := disk.EncodeCallACL([]disk.ACLEntry{{Tag: disk.ACLUserObj, Perm: 6, ID: disk.ACLNoID},
		{Tag: disk.ACLGroupObj, Perm: 4, ID: disk.ACLNoID}, {Tag: disk.ACLOther, Perm: 4, ID: disk.ACLNoID}})
	const access, def = "system.posix_acl_access", "system.posix_acl_default"
	for _, tt := range []struct {
		name    string
		value   []byte
		mode    uint16
		newMode uint16
		ok      bool
		err     error
	}{
		{"user.x", []byte("v"), 0o100644, 0o100644, true, nil},
		{"user.x", nil, 0o120777, 0o120777, false, xattr.ErrNotUser},
		{"security.selinux", []byte("v"), 0o120777, 0o120777, true, nil},
		{access, acl, 0o100777, 0o100760, true, nil},
		{access, least, 0o100777, 0o100644, false, nil},
		{access, nil, 0o100777, 0o100777, false, nil},
		{access, []byte("x"), 0o100777, 0o100777, false, xattr.ErrACL},
		{def, acl, 0o040700, 0o040700, true, nil},
		{def, acl, 0o100700, 0o100700, false, xattr.ErrNotDir},
		{"bogus", nil, 0o100644, 0o100644, false, xattr.ErrNamespace},
		{"user.big", make([]byte, 65537), 0o100644, 0o100644, false, xattr.ErrTooBig},
	} {
		e, mode, ok, err := xattr.NewEntry(tt.name, tt.value, tt.mode)
		if mode != tt.newMode || ok != tt.ok || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %+v, %o, %v, %v", tt.name, e, mode, ok, err)
		}
		if ok && strings.HasPrefix(tt.name, "system") {
			if entries, err := disk.DecodeACL(e.Value); err != nil || len(entries) != 5 {
				t.Errorf("%s: %v, %v", tt.name, entries, err)
			}
		}
	}
}

func BenchmarkLay(b *testing.B) {
	label := xattr.Entry{Index: disk.XattrSecurity, Name: []byte("selinux"), Value: []byte("system_u:object_r:etc_t:s0\x00")}
	big := xattr.Entry{Index: disk.XattrUser, Name: []byte("big"), Value: make([]byte, 300)}
	for name, list := range map[string][]xattr.Entry{"inode": {label}, "block": {label, big}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			record := disk.NewInode(256, 32)
			for b.Loop() {
				clear(record[160:])
				if _, err := xattr.Lay(xattr.Rules{BlockSize: 4096}, record, list, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
