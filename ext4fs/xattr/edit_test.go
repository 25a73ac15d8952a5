package xattr_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

func isError(err, target error) bool { return errors.Is(err, target) }

func TestSplitName(t *testing.T) {
	for name, c := range map[string]struct {
		index  disk.XattrIndex
		stored string
		err    error
	}{
		"user.x":                    {disk.XattrUser, "x", nil},
		"trusted.a.b":               {disk.XattrTrusted, "a.b", nil},
		"security.selinux":          {disk.XattrSecurity, "selinux", nil},
		"system.posix_acl_access":   {disk.XattrACLAccess, "", nil},
		"system.posix_acl_default":  {disk.XattrACLDefault, "", nil},
		"system.posix_acl_accessX":  {0, "", syscall.EOPNOTSUPP},
		"system.data":               {0, "", syscall.EOPNOTSUPP},
		"system.richacl":            {0, "", syscall.EOPNOTSUPP},
		"encryption.c":              {0, "", syscall.EOPNOTSUPP},
		"unknown.20.x":              {0, "", syscall.EOPNOTSUPP},
		"nothing":                   {0, "", syscall.EOPNOTSUPP},
		"user.":                     {0, "", syscall.EINVAL},
		"user.a\x00":                {0, "", syscall.EINVAL},
		"":                          {0, "", syscall.ERANGE},
		strings.Repeat("user.", 60): {0, "", syscall.ERANGE},
	} {
		index, stored, err := xattr.SplitName(name)
		if index != c.index || string(stored) != c.stored || c.err == nil && err != nil || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%q: %d, %q, %v", name, index, stored, err)
		}
		if err == nil && disk.XattrName(index, stored) != name {
			t.Errorf("%q comes back as %q", name, disk.XattrName(index, stored))
		}
	}
}

// Random changes against a map: what is set is there, once, and hashes,
// order and bounds are right at every step.
func TestEdit_model(t *testing.T) {
	for _, rules := range []xattr.Rules{{BlockSize: 1024}, {BlockSize: 4096}, {BlockSize: 1024, ValueInodes: true, Seed: 77}} {
		for _, size := range []int{128, 256, 512} {
			t.Run(fmt.Sprintf("%d/%d", rules.BlockSize, size), func(t *testing.T) { editModelRun(t, rules, size) })
		}
	}
}

func editModelRun(t *testing.T, rules xattr.Rules, size int) {
	r := rand.New(rand.NewPCG(uint64(rules.BlockSize), uint64(size)))
	record, block := disk.NewInode(size, 32), []byte(nil)
	model, values := map[string][]byte{}, map[disk.InodeNum][]byte{}
	next, full := disk.InodeNum(100), 0
	for step := range 4000 {
		e, err := xattr.NewEdit(rules, xattr.Owner{Inode: 12}, record, 7, block)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + r.IntN(3) { // several changes in one edit
			name := fmt.Sprintf("%c%s", 'a'+r.IntN(9), strings.Repeat("n", r.IntN(12)*r.IntN(2)))
			index := []disk.XattrIndex{disk.XattrUser, disk.XattrTrusted, disk.XattrSecurity}[r.IntN(3)]
			key := disk.XattrName(index, []byte(name))
			if r.IntN(3) == 0 {
				err := e.Remove(index, []byte(name))
				if _, ok := model[key]; ok != (err == nil) {
					t.Fatalf("step %d: remove %s: %v", step, key, err)
				}
				delete(model, key)
				continue
			}
			value := bytes.Repeat([]byte{byte(step)}, r.IntN([]int{9, 70, 400, rules.BlockSize + 9}[r.IntN(4)]))
			changed, err := e.Set(index, []byte(name), value, 0)
			if errors.Is(err, xattr.ErrNoSpace) {
				full++
				continue
			}
			if err != nil || !changed && !bytes.Equal(model[key], value) {
				t.Fatalf("step %d: set %s, %d bytes: %v, %v", step, key, len(value), changed, err)
			}
			model[key] = value
		}
		for _, d := range e.Dropped() {
			delete(values, d.Inode)
		}
		for len(e.Pending()) > 0 {
			p := e.Pending()[0]
			values[next] = p.Value
			e.Resolve(p, next)
			next++
		}
		in, out := e.Changed()
		was, wasBlock := bytes.Clone(record), block
		if err := e.WriteInode(record); err != nil {
			t.Fatal(err)
		}
		if block, err = e.Block(); err != nil {
			t.Fatal(err)
		}
		if in != !bytes.Equal(was, record) || out != !bytes.Equal(wasBlock, block) {
			t.Fatalf("step %d: changed says %v, %v", step, in, out)
		}
		checkEdit(t, step, record, block, model, values)
	}
	if full == 0 && !rules.ValueInodes {
		t.Error("it was never full")
	}
}

func checkEdit(t *testing.T, step int, record disk.Inode, block []byte, model map[string][]byte, values map[disk.InodeNum][]byte) {
	t.Helper()
	o := xattr.Owner{Inode: 12}
	var sets []xattr.Set
	in, err := xattr.ParseInode(record, o)
	if err != nil {
		t.Fatal(err)
	}
	sets = append(sets, in)
	if block != nil {
		b, err := xattr.ParseBlock(7, block, o)
		if err != nil {
			t.Fatal(err)
		}
		if !xattr.Same(b, b) || xattr.Same(b, xattr.Set{}) {
			t.Fatal("Same")
		}
		sets = append(sets, b)
	}
	found, inodes := 0, 0
	for n, s := range sets {
		var hashes []uint32
		for a := range s.All() {
			found++
			value := a.Value
			if a.ValueInode != 0 {
				value = values[a.ValueInode]
				inodes++
				if a.Hash != disk.XattrInodeHash(a.Suffix, disk.XattrValueHash(77, value), false) {
					t.Fatalf("step %d: %s: hash", step, a.Name)
				}
			}
			want, ok := model[a.Name]
			if !ok || !bytes.Equal(value, want) || !a.HashOK() {
				t.Fatalf("step %d: %s: %d bytes, want %d; hash %08x", step, a.Name, len(value), len(want), a.Hash)
			}
			hashes = append(hashes, a.Hash)
		}
		if n == 1 && disk.XattrHeader(block).Hash() != disk.XattrBlockHash(hashes) {
			t.Fatalf("step %d: hash of the block", step)
		}
	}
	if found != len(model) || inodes != len(values) {
		t.Fatalf("step %d: %d attributes, want %d; %d values in inodes, want %d", step, found, len(model), inodes, len(values))
	}
}

func TestEdit_limits(t *testing.T) {
	e, err := xattr.NewEdit(xattr.Rules{BlockSize: 1024}, xattr.Owner{Inode: 12}, disk.NewInode(256, 32), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.MaxInline(); got != 68 {
		t.Errorf("room for inline data: %d", got)
	}
	if _, err := e.Set(disk.XattrUser, bytes.Repeat([]byte("n"), 256), nil, 0); !errors.Is(err, syscall.ERANGE) {
		t.Error(err)
	}
	if _, err := e.Set(disk.XattrUser, []byte("n"), make([]byte, 65537), 0); !errors.Is(err, syscall.E2BIG) {
		t.Error(err)
	}
	if _, err := e.Set(disk.XattrUser, []byte("n"), make([]byte, 1024), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if _, err := e.Set(disk.XattrUser, []byte("n"), nil, xattr.Replace); !errors.Is(err, xattr.ErrNoAttr) {
		t.Error(err)
	}
	if _, err := e.Set(disk.XattrSystem, []byte("data"), make([]byte, 69), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Error("inline data left the inode", err)
	}
	if _, err := e.Set(disk.XattrSystem, []byte("data"), make([]byte, 60), 0); err != nil || e.MaxInline() != 68 {
		t.Error(err, e.MaxInline())
	}
	if _, err := e.Set(disk.XattrUser, []byte("n"), nil, xattr.Create); err != nil {
		t.Error(err)
	}
	if _, err := e.Set(disk.XattrUser, []byte("n"), []byte("x"), xattr.Create); !errors.Is(err, syscall.EEXIST) {
		t.Error(err)
	}
}

// An entry in a shared block leaves its reference to the others.
func TestEdit_droppedOfSharedBlock(t *testing.T) {
	rules := xattr.Rules{BlockSize: 1024, ValueInodes: true}
	e, _ := xattr.NewEdit(rules, xattr.Owner{Inode: 12}, disk.NewInode(128, 0), 0, nil)
	if _, err := e.Set(disk.XattrUser, []byte("n"), make([]byte, 5000), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Block(); err == nil {
		t.Error("a block with a value that waits")
	}
	e.Resolve(e.Pending()[0], 50)
	b, err := e.Block()
	if err != nil {
		t.Fatal(err)
	}
	for _, refs := range []uint32{1, 2} {
		disk.XattrHeader(b).SetRefs(refs)
		e, err := xattr.NewEdit(rules, xattr.Owner{Inode: 12}, disk.NewInode(128, 0), 9, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Remove(disk.XattrUser, []byte("n")); err != nil {
			t.Fatal(err)
		}
		d := e.Dropped()
		if len(d) != 1 || d[0] != (xattr.Dropped{Inode: 50, Size: 5000, Shared: refs > 1}) {
			t.Errorf("%d references: %+v", refs, d)
		}
		if _, changed := e.Changed(); !changed {
			t.Error("not changed")
		}
		if left, err := e.Block(); left != nil || err != nil {
			t.Error("a block without attributes", err)
		}
	}
}

// Bytes of any kind give an error or an edit, never a panic, and what comes
// out of it can be read.
func FuzzEdit(f *testing.F) {
	record, block := disk.NewInode(256, 32), []byte(nil)
	rules := xattr.Rules{BlockSize: 1024, ValueInodes: true}
	e, _ := xattr.NewEdit(rules, xattr.Owner{Inode: 12}, record, 0, nil)
	for n := range 30 {
		e.Set(disk.XattrUser, []byte{'a' + byte(n)}, make([]byte, n*7), 0)
	}
	for len(e.Pending()) > 0 {
		e.Resolve(e.Pending()[0], 50)
	}
	e.WriteInode(record)
	block, _ = e.Block()
	f.Add([]byte(record), block, byte('c'), uint16(40))
	f.Fuzz(func(t *testing.T, record, block []byte, name byte, size uint16) {
		if len(record) != 128 && len(record) != 256 {
			return
		}
		o := xattr.Owner{Inode: 12}
		e, err := xattr.NewEdit(rules, o, bytes.Clone(record), 9, block)
		if err != nil {
			return
		}
		e.Set(disk.XattrUser, []byte{name}, make([]byte, size), 0)
		e.Remove(disk.XattrUser, []byte{name + 1})
		e.Set(disk.XattrSystem, []byte("data"), make([]byte, size%64), 0)
		for len(e.Pending()) > 0 {
			e.Resolve(e.Pending()[0], 50)
		}
		if err := e.WriteInode(record); err != nil {
			t.Fatal(err)
		}
		if _, err := xattr.ParseInode(record, o); err != nil {
			t.Error(err)
		}
		if b, err := e.Block(); err != nil {
			t.Fatal(err)
		} else if b != nil {
			if _, err := xattr.ParseBlock(9, b, o); err != nil {
				t.Error(err)
			}
		}
	})
}
