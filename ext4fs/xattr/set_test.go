package xattr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// entry is one attribute to be put into a place.
type entry struct {
	index  disk.XattrIndex
	name   string
	value  string
	inode  disk.InodeNum
	hash   uint32
	noHash bool
}

// fill writes entries from at on in base, and their values from its end down.
func fill(base []byte, at int, entries []entry) {
	low := len(base)
	for _, e := range entries {
		off := 0
		if e.inode == 0 && e.value != "" {
			low -= disk.XattrValueLen(len(e.value))
			off = low
			copy(base[off:], e.value)
		}
		if e.hash == 0 && !e.noHash {
			e.hash = disk.XattrHash([]byte(e.name), []byte(e.value), false)
		}
		at += disk.PutXattrEntry(base[at:], e.index, e.name, off, e.inode, uint32(len(e.value)), e.hash)
	}
}

func block(entries ...entry) []byte {
	b := make([]byte, 1024)
	disk.XattrHeader(b).Init()
	fill(b, disk.XattrHeaderSize, entries)
	return b
}

func record(size, extra int, entries ...entry) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint16(b[0x80:], uint16(extra))
	binary.LittleEndian.PutUint32(b[0x80+extra:], disk.XattrMagic)
	fill(b[0x84+extra:], 0, entries)
	return b
}

var several = []entry{
	{index: disk.XattrUser, name: "a", value: "x"},
	{index: disk.XattrUser, name: "empty"},
	{index: disk.XattrACLAccess, value: "acl!"},
	{index: disk.XattrSecurity, name: "caf\xc3\xa9", value: "12345"},
	{index: disk.XattrSystem, name: "data", value: "inline"},
	{index: 77, name: "what", value: "?"},
}

var severalNames = []string{"user.a", "user.empty", "system.posix_acl_access", "security.caf\xc3\xa9", "system.data", "unknown.77.what"}

func names(s Set) (out []string) {
	for a := range s.All() {
		out = append(out, a.Name)
	}
	return out
}

func TestParse_both(t *testing.T) {
	inode, err := ParseInode(record(512, 32, several...), Owner{})
	if err != nil {
		t.Fatal(err)
	}
	blk, err := ParseBlock(9, block(several...), Owner{})
	if err != nil {
		t.Fatal(err)
	}
	for where, s := range map[Where]Set{InInode: inode, InBlock: blk} {
		if got := names(s); !slices.Equal(got, severalNames) {
			t.Errorf("%v: %q", where, got)
		}
		i := 0
		for a := range s.All() {
			w := several[i]
			if a.Index != w.index || string(a.Suffix) != w.name || string(a.Value) != w.value || a.Value == nil ||
				a.ValueSize != uint32(len(w.value)) || a.Where != where || !a.HashOK() || a.ValueInode != 0 {
				t.Errorf("%v: %+v", where, a)
			}
			if hidden := i >= 4; a.Hidden() != hidden {
				t.Errorf("%v: %s hidden: %v", where, a.Name, a.Hidden())
			}
			got, ok := s.Lookup(severalNames[i])
			if !ok || got.Name != a.Name || got.Offset != a.Offset || !bytes.Equal(got.Value, a.Value) {
				t.Errorf("%v: Lookup(%q) = %+v, %v", where, severalNames[i], got, ok)
			}
			i++
		}
		for _, n := range []string{"user.b", "user.", "a", "", "trusted.a", "system.posix_acl_default", "unknown.78.what"} {
			if a, ok := s.Lookup(n); ok {
				t.Errorf("%v: Lookup(%q) = %+v", where, n, a)
			}
		}
		for range s.All() { // stops when asked
			break
		}
	}
	if a, _ := inode.Lookup("user.a"); a.Offset != 128+32+4 {
		t.Errorf("offset in the record %d", a.Offset)
	}
	if a, _ := blk.Lookup("user.a"); a.Offset != 32 {
		t.Errorf("offset in the block %d", a.Offset)
	}
}

func TestParse_empty(t *testing.T) {
	plain := make([]byte, 256)
	binary.LittleEndian.PutUint16(plain[0x80:], 32)
	full := make([]byte, 256)
	binary.LittleEndian.PutUint16(full[0x80:], 128)
	three := make([]byte, 163)
	binary.LittleEndian.PutUint16(three[0x80:], 32)
	legacy := make([]byte, 256) // extra size 0: its two bytes are in the magic
	binary.LittleEndian.PutUint32(legacy[0x80:], disk.XattrMagic)
	for name, b := range map[string][]byte{
		"old inode": make([]byte, 128), "no magic": plain, "no room": full, "no room for the magic": three,
		"no extra size": legacy, "magic and end": record(256, 32), "nothing": nil,
	} {
		s, err := ParseInode(b, Owner{})
		if err != nil || len(names(s)) != 0 {
			t.Errorf("%s: %q, %v", name, names(s), err)
		}
		if _, ok := s.Lookup("user.a"); ok {
			t.Errorf("%s: found", name)
		}
	}
	if s, err := ParseBlock(9, block(), Owner{}); err != nil || len(names(s)) != 0 {
		t.Errorf("block: %q, %v", names(s), err)
	}
}

func TestParseBlock_checksum(t *testing.T) {
	b := block(several...)
	disk.SealXattrBlock(5, 9, b)
	if _, err := ParseBlock(9, b, Owner{Seed: 5, Verify: true}); err != nil {
		t.Error(err)
	}
	var ce *disk.ChecksumError
	if s, err := ParseBlock(10, b, Owner{Seed: 5, Verify: true, Inode: 12}); !errors.As(err, &ce) || ce.Block != 10 || ce.Inode != 12 || names(s) != nil {
		t.Errorf("moved: %v", err)
	}
	if _, err := ParseBlock(10, b, Owner{Seed: 5}); err != nil {
		t.Errorf("not looked at: %v", err)
	}
}

func TestParse_corrupt(t *testing.T) {
	le := binary.LittleEndian
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte // of a block; entries from 32 on
		want   string
	}{
		{"short", func(b []byte) []byte { return b[:31] }, "31 bytes"},
		{"magic", func(b []byte) []byte { b[0] = 1; return b }, "magic"},
		{"old version", func(b []byte) []byte { b[2] = 1; return b }, "magic"},
		{"two blocks", func(b []byte) []byte { b[8] = 2; return b }, "2 blocks"},
		{"no end", func(b []byte) []byte { return b[:32] }, "without an end"},
		{"entry cut", func(b []byte) []byte { return b[:44] }, "leaves"},
		{"name cut", func(b []byte) []byte { return b[:50] }, "leaves"},
		{"long name", func(b []byte) []byte { b = b[:200]; b[32] = 255; return b }, "leaves"},
		{"zero in name", func(b []byte) []byte { b[48] = 0; return b }, "zero byte"},
		{"value in header", func(b []byte) []byte { le.PutUint16(b[34:], 31); return b }, "overlaps"},
		{"value in entries", func(b []byte) []byte { le.PutUint16(b[34:], 51); return b }, "overlaps"},
		{"value in the end mark", func(b []byte) []byte { le.PutUint16(b[34:], 52); return b }, "overlaps"},
		{"value outside", func(b []byte) []byte { le.PutUint16(b[34:], 1021); return b }, "leaves"},
		{"value far outside", func(b []byte) []byte { le.PutUint16(b[34:], 65535); return b }, "leaves"},
		{"value too long", func(b []byte) []byte { le.PutUint32(b[40:], 1024); return b }, "leaves"},
		{"value padding outside", func(b []byte) []byte { le.PutUint16(b[34:], 1018); le.PutUint32(b[40:], 5); return b }, "leaves"},
		{"value of gigabytes", func(b []byte) []byte { le.PutUint32(b[40:], 1<<32-1); return b }, "value of 4294967295"},
		{"value of gigabytes in an inode", func(b []byte) []byte { le.PutUint32(b[36:], 99); le.PutUint32(b[40:], 1<<31); return b }, "value of"},
	} {
		b := tt.change(block(entry{index: disk.XattrUser, name: "abc", value: "val"}))
		s, err := ParseBlock(9, b, Owner{Inode: 12})
		var ce *disk.CorruptError
		if !errors.As(err, &ce) || ce.Inode != 12 || ce.Block != 9 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if names(s) != nil {
			t.Errorf("%s: %q", tt.name, names(s))
		}
	}
	// A value may lie right behind the end mark, and end right at the end.
	b := block(entry{index: disk.XattrUser, name: "abcd", value: strings.Repeat("v", 1024-56)})
	if s, err := ParseBlock(9, b, Owner{}); err != nil || len(names(s)) != 1 {
		t.Errorf("full block: %v", err)
	}
	for _, extra := range []int{2, 30, 130, 65532} {
		r := record(256, 32)
		le.PutUint16(r[0x80:], uint16(extra))
		if _, err := ParseInode(r, Owner{Inode: 12}); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("extra size %d: %v", extra, err)
		}
	}
	r := record(256, 124)
	if _, err := ParseInode(r, Owner{Inode: 12}); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("magic without room for an end: %v", err)
	}
}

func TestAttr_hash(t *testing.T) {
	name, value := "caf\xc3\xa9", "v"
	signed := disk.XattrHash([]byte(name), []byte(value), true)
	for _, tt := range []struct {
		hash  uint32
		where Where
		want  bool
	}{
		{disk.XattrHash([]byte(name), []byte(value), false), InBlock, true},
		{signed, InBlock, true}, {signed, InInode, true}, {signed + 1, InBlock, false}, {signed + 1, InInode, false},
		{0, InInode, true}, {0, InBlock, false},
	} {
		a := Attr{Suffix: []byte(name), Value: []byte(value), Where: tt.where, Hash: tt.hash}
		if a.HashOK() != tt.want {
			t.Errorf("%+v", tt)
		}
	}
}

func TestAttr_verifyValue(t *testing.T) {
	value := bytes.Repeat([]byte("large "), 1000)
	sum := disk.XattrValueHash(5, value)
	good := Attr{Name: "user.x", Suffix: []byte("x"), ValueInode: 99, ValueSize: 6000, Hash: disk.XattrInodeHash([]byte("x"), sum, false)}
	owner := Owner{Inode: 12, Generation: 3, Seed: 5}
	inode := ValueInode{Hash: sum, Parent: 1, Generation: 1}
	if !good.HashOK() {
		t.Error("a value elsewhere cannot be bad here")
	}
	for _, tt := range []struct {
		name   string
		change func(a *Attr, o *Owner, v *ValueInode, value *[]byte)
		want   error
	}{
		{"good", func(*Attr, *Owner, *ValueInode, *[]byte) {}, nil},
		{"short", func(a *Attr, o *Owner, v *ValueInode, value *[]byte) { *value = (*value)[:5999] }, disk.ErrCorrupt},
		{"content", func(a *Attr, o *Owner, v *ValueInode, value *[]byte) { (*value)[0]++ }, disk.ErrChecksum},
		{"seed", func(a *Attr, o *Owner, v *ValueInode, value *[]byte) { o.Seed++ }, disk.ErrChecksum},
		{"inode", func(a *Attr, o *Owner, v *ValueInode, value *[]byte) { v.Hash++ }, disk.ErrChecksum},
		{"entry", func(a *Attr, o *Owner, v *ValueInode, value *[]byte) { a.Hash++ }, disk.ErrChecksum},
		{"Lustre", func(a *Attr, o *Owner, v *ValueInode, value *[]byte) {
			a.Hash, v.Hash, v.Parent, v.Generation = 0, 7, 12, 3
		}, nil},
		{"not its Lustre", func(a *Attr, o *Owner, v *ValueInode, value *[]byte) {
			a.Hash, v.Hash, v.Parent, v.Generation = 0, 7, 12, 4
		}, disk.ErrChecksum},
	} {
		a, o, v, b := good, owner, inode, bytes.Clone(value)
		tt.change(&a, &o, &v, &b)
		if err := a.VerifyValue(o, v, b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestLookup_doesNotAllocate(t *testing.T) {
	s, err := ParseBlock(9, block(several...), Owner{})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := s.Lookup("system.data"); !ok {
			t.Error("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzXattr(f *testing.F) {
	f.Add(block(several...), true)
	f.Add(record(256, 32, several[:2]...), false)
	f.Add(record(1024, 32, several...), false)
	f.Add(block(entry{index: disk.XattrTrusted, name: "big", value: "x", inode: 77}), true)
	f.Fuzz(func(t *testing.T, b []byte, isBlock bool) {
		before := bytes.Clone(b)
		var s Set
		var err error
		if isBlock {
			s, err = ParseBlock(9, b, Owner{})
		} else {
			s, err = ParseInode(b, Owner{})
		}
		count := 0
		for a := range s.All() {
			count++
			if a.ValueInode == 0 && len(a.Value) != int(a.ValueSize) || a.ValueInode != 0 && a.Value != nil {
				t.Fatalf("%+v", a)
			}
			_ = a.HashOK()
			_ = a.Hidden()
			if _, ok := s.Lookup(a.Name); !ok {
				t.Fatalf("%q is not found", a.Name)
			}
			_, _ = disk.DecodeACL(a.Value)
			_, _ = DecodeCapability(a.Value)
		}
		if err != nil && count > 0 || count > len(b)/disk.XattrEntrySize {
			t.Fatalf("%d attributes, %v", count, err)
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the bytes were changed")
		}
	})
}

func BenchmarkParseBlock(b *testing.B) {
	var entries []entry
	for i := range 40 {
		entries = append(entries, entry{index: disk.XattrUser, name: fmt.Sprintf("attribute-%03d", i), value: strings.Repeat("v", 40)})
	}
	blk := make([]byte, 4096)
	disk.XattrHeader(blk).Init()
	fill(blk, disk.XattrHeaderSize, entries)
	disk.SealXattrBlock(5, 9, blk)
	for _, verify := range []bool{false, true} {
		b.Run(fmt.Sprintf("verify=%v", verify), func(b *testing.B) {
			b.SetBytes(4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseBlock(9, blk, Owner{Seed: 5, Verify: verify}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("list", func(b *testing.B) {
		s, err := ParseBlock(9, blk, Owner{})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			n := 0
			for a := range s.All() {
				n += len(a.Name)
			}
		}
	})
}
