package xattr_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// What the kernel makes of random changes, on as many files at once, is byte
// for byte what an Edit makes of them, and every error is the same.
func TestEdit_kernel(t *testing.T) {
	testimages.RequireLoop(t)
	for name, c := range map[string]struct {
		args  []string
		steps int
	}{
		"1k":         {[]string{"-b", "1024"}, 1500},
		"4k":         {[]string{"-b", "4096"}, 1500},
		"128":        {[]string{"-b", "1024", "-I", "128"}, 800},
		"big inode":  {[]string{"-b", "4096", "-I", "1024"}, 1500},
		"values 1k":  {[]string{"-b", "1024", "-O", "ea_inode"}, 800},
		"values 4k":  {[]string{"-b", "4096", "-O", "ea_inode"}, 800},
		"no sums":    {[]string{"-b", "2048", "-O", "^metadata_csum"}, 800},
		"inline 256": {[]string{"-b", "4096", "-O", "inline_data"}, 800},
	} {
		t.Run(name, func(t *testing.T) {
			img := filepath.Join(testimages.Scratch(t), "edit.img")
			testimages.Mkfs(t, img, 32<<20, c.args...)
			m := newEditModel(t, img)
			testimages.WithMount(t, img, "", func(dir string) { m.run(dir, c.steps) })
			testimages.Fsck(t, img)
			m.compare(img)
		})
	}
}

const editFiles = 12

// editModel is what the edits make of every file's record and block.
type editModel struct {
	t      *testing.T
	r      *rand.Rand
	rules  xattr.Rules
	record [editFiles]disk.Inode
	block  [editFiles][]byte
	num    [editFiles]disk.InodeNum
	inline bool
}

func newEditModel(t *testing.T, img string) *editModel {
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Super()
	m := &editModel{t: t, r: rand.New(rand.NewPCG(7, uint64(s.BlockSize()+s.InodeSize())))}
	m.rules = xattr.Rules{
		BlockSize: s.BlockSize(), ValueInodes: s.Features.Incompat.Has(disk.IncompatEAInode), Seed: s.Seed(),
	}
	m.inline = s.Features.Incompat.Has(disk.IncompatInlineData)
	for n := range m.record {
		m.record[n] = disk.NewInode(s.InodeSize(), int(s.WantExtraIsize))
	}
	return m
}

func (m *editModel) run(dir string, steps int) {
	for n := range editFiles {
		p := filepath.Join(dir, fmt.Sprintf("f%d", n))
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			m.t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil {
			m.t.Fatal(err)
		}
		m.num[n] = disk.InodeNum(st.Ino)
		if m.inline && n%2 == 0 {
			m.writeInline(p, n)
		}
	}
	names := []string{"user.a", "user.b", "user.caf\xc3\xa9", "user.aLongerNameThanTheOthers", "trusted.x", "trusted.yy",
		"security.e4", "security.longer", "user.z1", "user.z2", "user.z3", "gnu.q", "other.x", "user.", "system.data"}
	for step := range steps {
		n := m.r.IntN(editFiles)
		m.step(step, filepath.Join(dir, fmt.Sprintf("f%d", n)), n, names[m.r.IntN(len(names))])
	}
}

func (m *editModel) writeInline(p string, n int) {
	data := bytes.Repeat([]byte{'i'}, 20+10*n)
	if err := os.WriteFile(p, data, 0o644); err != nil {
		m.t.Fatal(err)
	}
	e := m.edit(n)
	rest := []byte{}
	if len(data) > disk.InodeBlockSize {
		rest = data[disk.InodeBlockSize:]
		if len(rest) > e.MaxInline() {
			return // the kernel took a block
		}
	}
	if _, err := e.Set(disk.XattrSystem, []byte("data"), rest, 0); err != nil {
		m.t.Fatal(err)
	}
	m.keep(n, e)
}

func (m *editModel) edit(n int) *xattr.Edit {
	e, err := xattr.NewEdit(m.rules, xattr.Owner{Inode: m.num[n]}, m.record[n], 0, m.block[n])
	if err != nil {
		m.t.Fatal(err)
	}
	return e
}

func (m *editModel) keep(n int, e *xattr.Edit) {
	for len(e.Pending()) > 0 {
		e.Resolve(e.Pending()[0], 99)
	}
	if err := e.WriteInode(m.record[n]); err != nil {
		m.t.Fatal(err)
	}
	b, err := e.Block()
	if err != nil {
		m.t.Fatal(err)
	}
	m.block[n] = b
}

func (m *editModel) value() []byte {
	limit := []int{1, 8, 40, 100, 300, m.rules.BlockSize + 200}[m.r.IntN(6)]
	if !m.rules.ValueInodes {
		limit = min(limit, m.rules.BlockSize)
	}
	v := make([]byte, m.r.IntN(limit+1))
	fill := byte(m.r.IntN(4)) // few contents, so that values are shared
	for i := range v {
		v[i] = fill
	}
	return v
}

func (m *editModel) step(step int, p string, n int, name string) {
	e := m.edit(n)
	index, stored, mine := xattr.SplitName(name)
	var kernel error
	what := "remove"
	if m.r.IntN(4) == 0 {
		kernel = unix.Lremovexattr(p, name)
		if mine == nil {
			mine = e.Remove(index, stored)
		}
	} else {
		v, flags := m.value(), m.r.IntN(8)
		if flags > 2 {
			flags = 0
		}
		what = fmt.Sprintf("set %d bytes, flags %d", len(v), flags)
		kernel = unix.Lsetxattr(p, name, v, flags)
		if mine == nil {
			_, mine = e.Set(index, stored, v, xattr.Flag(flags))
		}
	}
	if !sameErrno(mine, kernel) {
		m.t.Fatalf("step %d, file %d, %s: %s: %v, the kernel has %v", step, n, name, what, mine, kernel)
	}
	if mine == nil {
		m.keep(n, e)
	}
}

func sameErrno(mine, kernel error) bool {
	if mine == nil || kernel == nil {
		return mine == kernel
	}
	for _, e := range []error{unix.ENOSPC, unix.ERANGE, unix.E2BIG, unix.EOPNOTSUPP, unix.EINVAL, unix.EEXIST} {
		if kernel == e {
			return isError(mine, e)
		}
	}
	return kernel == unix.ENODATA && isError(mine, xattr.ErrNoAttr)
}

func (m *editModel) compare(img string) {
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	blocks := 0
	for n := range m.record {
		i, err := f.Inode(m.num[n])
		if err != nil {
			m.t.Fatal(err)
		}
		at := disk.InodeBaseSize + i.Raw().ExtraSize()
		plainInodes(i.Raw()[at:], disk.XattrInodeHeaderSize)
		plainInodes(m.record[n][at:], disk.XattrInodeHeaderSize)
		if at < len(i.Raw()) && !bytes.Equal(i.Raw()[at:], m.record[n][at:]) {
			m.t.Errorf("file %d: record\n%x, the kernel's\n%x", n, m.record[n][at:], i.Raw()[at:])
		}
		if (i.FileACL() != 0) != (m.block[n] != nil) {
			m.t.Errorf("file %d: block %d and mine has %d bytes", n, i.FileACL(), len(m.block[n]))
			continue
		}
		if m.block[n] == nil {
			continue
		}
		blocks++
		b, err := f.Block(i.FileACL())
		if err != nil {
			m.t.Fatal(err)
		}
		b = bytes.Clone(b)
		disk.XattrHeader(b).SetRefs(1)
		binary.LittleEndian.PutUint32(b[0x10:], 0)
		plainInodes(b, disk.XattrHeaderSize)
		plainInodes(m.block[n], disk.XattrHeaderSize)
		if !bytes.Equal(b, m.block[n]) {
			m.t.Errorf("file %d: block\n%x, the kernel's\n%x", n, m.block[n], b)
		}
	}
	if blocks == 0 {
		m.t.Error("no file has an attribute block")
	}
}

// plainInodes makes all value inodes the same number.
func plainInodes(b []byte, at int) {
	if len(b) < at+4 || binary.LittleEndian.Uint32(b) != disk.XattrMagic {
		return
	}
	for e := disk.XattrEntry(b[at:]); !e.IsEnd(); e = e[e.Size():] {
		if e.ValueInode() != 0 {
			e.SetValueInode(1)
		}
	}
}
