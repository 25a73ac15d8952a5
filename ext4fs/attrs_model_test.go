package ext4fs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// attrCases are the shapes of file systems that decide where attributes go and
// who is charged.
var attrCases = []struct {
	name string
	size int64
	mkfs []string
}{
	{"plain", 8 << 20, []string{"-b", "4096"}},
	{"small", 8 << 20, []string{"-b", "1024", "-I", "128"}},
	{"noext_attr", 8 << 20, []string{"-b", "1024", "-O", "^ext_attr,^metadata_csum"}},
	{"values", 16 << 20, []string{"-b", "1024", "-O", "ea_inode"}},
	{"values_quota", 16 << 20, []string{"-b", "1024", "-I", "512", "-O", "ea_inode,quota,project"}},
	{"quota", 8 << 20, []string{"-b", "4096", "-O", "quota,project"}},
	{"bigalloc", 32 << 20, []string{"-b", "1024", "-C", "8192", "-O", "bigalloc,ea_inode,quota,project"}},
	{"inline", 8 << 20, []string{"-b", "1024", "-O", "inline_data,quota,project"}},
	{"nojournal", 8 << 20, []string{"-b", "1024", "-O", "^has_journal,ea_inode,quota"}},
	{"orphan_file", 16 << 20, []string{"-b", "1024", "-O", "orphan_file,ea_inode"}},
	{"ext2", 8 << 20, []string{"-b", "1024", "-O", "^extents,^has_journal,^64bit,^metadata_csum,quota"}},
}

// attrFile is what a file has by the model.
type attrFile struct {
	attrs    map[string]string
	mode     uint16
	uid, gid uint32
	project  uint32
	data     []byte
}

// attrModel changes attributes at random, in the image and beside it.
type attrModel struct {
	t     *testing.T
	dev   device.Writer
	opts  Options
	fs    *FS
	rng   *rand.Rand
	files map[string]*attrFile
	pool  []string
	full  int // sets without space
}

func newAttrModel(t *testing.T, dev device.Writer, seed uint64) *attrModel {
	m := &attrModel{t: t, dev: dev, rng: rand.New(rand.NewPCG(seed, 1)), files: map[string]*attrFile{}}
	for _, n := range []int{0, 1, 3, 10, 33, 64, 100, 300, 700, 950, 1100, 2000, 3900, 5000, 9000, 20000, 65536} {
		m.pool = append(m.pool, string(testimages.Content(uint64(n), n)))
	}
	m.open()
	return m
}

func (m *attrModel) open() {
	m.t.Helper()
	o := m.opts
	o.Write, o.CommitInterval = true, -1
	var err error
	if m.fs, err = Open(m.dev, &o); err != nil {
		m.t.Fatal(err)
	}
}

func (m *attrModel) name() string { return fmt.Sprintf("f%d", m.rng.IntN(12)) }

func (m *attrModel) key() string {
	ns := []string{"user.", "trusted.", "security."}[m.rng.IntN(3)]
	return ns + []string{"a", "bc", "long_name_of_an_attribute", "d", "e", "caf\xe9"}[m.rng.IntN(6)]
}

func (m *attrModel) inode(name string) *Inode {
	m.t.Helper()
	root, err := m.fs.Root()
	if err != nil {
		m.t.Fatal(err)
	}
	n, err := root.Lookup(name)
	if err != nil {
		m.t.Fatal(name, err)
	}
	i, err := m.fs.Inode(n)
	if err != nil {
		m.t.Fatal(name, err)
	}
	return i
}

// must fails the test for errors that are none of want.
func (m *attrModel) must(err error, want ...syscall.Errno) bool {
	m.t.Helper()
	if err == nil {
		return true
	}
	for _, e := range want {
		if errors.Is(err, e) {
			return false
		}
	}
	m.t.Fatal(err)
	return false
}

func (m *attrModel) step() {
	name := m.name()
	f := m.files[name]
	if f == nil {
		m.create(name)
		return
	}
	i := m.inode(name)
	switch m.rng.IntN(20) {
	case 0:
		root, err := m.fs.Root()
		m.must(err)
		if i.IsDir() {
			m.must(root.Rmdir(name))
		} else {
			m.must(root.Unlink(name))
		}
		delete(m.files, name)
	case 1:
		f.mode = f.mode&disk.ModeType | uint16(m.rng.IntN(01000))
		const key = "system.posix_acl_access"
		if value, ok := f.attrs[key]; ok {
			acl, err := disk.DecodeCallACL([]byte(value))
			m.must(err)
			acl, err = xattr.ChmodACL(acl, f.mode)
			m.must(err)
			f.attrs[key] = string(disk.EncodeCallACL(acl))
		}
		m.must(i.SetAttr(&SetAttr{Valid: AttrMode, Mode: f.mode}))
	case 2:
		f.uid, f.gid = uint32(m.rng.IntN(5)), uint32(m.rng.IntN(70000))
		m.must(i.SetAttr(&SetAttr{Valid: AttrUID | AttrGID, UID: f.uid, GID: f.gid}))
	case 3:
		p := uint32(m.rng.IntN(4))
		if m.must(i.SetAttr(&SetAttr{Valid: AttrProject, Project: p}), syscall.EOPNOTSUPP) {
			f.project = p
		}
	case 4:
		m.acl(i, f)
	case 5:
		m.write(i, f)
	case 6, 7, 8, 9:
		key := m.key()
		err := i.RemoveXattr(key)
		_, had := f.attrs[key]
		if had != (err == nil) || !had && !errors.Is(err, ErrNoAttr) {
			m.t.Fatalf("remove %s of %s: %v, it was there: %v", key, name, err, had)
		}
		delete(f.attrs, key)
	default:
		key, value := m.key(), m.pool[m.rng.IntN(len(m.pool))]
		if m.must(i.SetXattr(key, []byte(value), 0), syscall.ENOSPC) {
			f.attrs[key] = value
		} else {
			m.full++
		}
	}
}

func (m *attrModel) create(name string) {
	root, err := m.fs.Root()
	m.must(err)
	n := &NewNode{Mode: disk.ModeRegular | 0o644, UID: uint32(m.rng.IntN(5)), GID: uint32(m.rng.IntN(3))}
	f := &attrFile{attrs: map[string]string{}, mode: n.Mode, uid: n.UID, gid: n.GID}
	if m.rng.IntN(4) == 0 {
		n.Mode, f.mode = disk.ModeDir|0o755, disk.ModeDir|0o755
	}
	for range m.rng.IntN(3) {
		// Larger ones can be too many for one transaction of a small journal.
		key, value := m.key(), m.pool[m.rng.IntN(len(m.pool)-3)]
		n.Xattrs = append(n.Xattrs, Xattr{key, []byte(value)})
		f.attrs[key] = value
	}
	if _, err := root.Create(name, n); m.must(err, syscall.ENOSPC) {
		m.files[name] = f
	} else {
		m.full++
	}
}

func (m *attrModel) write(i *Inode, f *attrFile) {
	if !i.IsRegular() {
		return
	}
	p := testimages.Content(m.rng.Uint64(), m.rng.IntN(9000))
	if m.rng.IntN(2) == 0 {
		p = p[:min(len(p), 70)]
	}
	m.must(i.SetAttr(&SetAttr{Valid: AttrSize}))
	f.data = nil
	n, err := i.WriteAt(p, 0)
	m.must(err, syscall.ENOSPC)
	f.data = p[:n]
}

func (m *attrModel) acl(i *Inode, f *attrFile) {
	acl := []disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: uint16(m.rng.IntN(8)), ID: disk.ACLNoID},
		{Tag: disk.ACLUser, Perm: 7, ID: uint32(m.rng.IntN(3))},
		{Tag: disk.ACLGroupObj, Perm: 5, ID: disk.ACLNoID},
		{Tag: disk.ACLMask, Perm: uint16(m.rng.IntN(8)), ID: disk.ACLNoID},
		{Tag: disk.ACLOther, Perm: uint16(m.rng.IntN(8)), ID: disk.ACLNoID},
	}
	value := disk.EncodeCallACL(acl)
	if m.must(i.SetXattr("system.posix_acl_access", value, 0), syscall.ENOSPC) {
		f.attrs["system.posix_acl_access"] = string(value)
		f.mode = f.mode&^0o777 | acl[0].Perm<<6 | acl[3].Perm<<3 | acl[4].Perm
	}
	if !i.IsDir() {
		if err := i.SetXattr("system.posix_acl_default", value, 0); !errors.Is(err, syscall.EACCES) {
			m.t.Fatal("default ACL of a file:", err)
		}
	}
}

// check compares everything.
func (m *attrModel) check(fsys *FS) {
	m.t.Helper()
	root, err := fsys.Root()
	m.must(err)
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		f := m.files[name]
		n, err := root.Lookup(name)
		m.must(err)
		i, err := fsys.Inode(n)
		m.must(err)
		list, err := i.Xattrs()
		m.must(err)
		got := map[string]string{}
		for _, x := range list {
			got[x.Name] = string(x.Value)
		}
		if !maps.Equal(got, f.attrs) {
			m.t.Fatalf("%s: has %d attributes %v, want %d %v", name, len(got), slices.Sorted(maps.Keys(got)), len(f.attrs), slices.Sorted(maps.Keys(f.attrs)))
		}
		st := i.Stat()
		if st.RawMode != f.mode || st.UID != f.uid || st.GID != f.gid || st.Project != f.project {
			m.t.Fatalf("%s: mode %o uid %d gid %d project %d, want %o %d %d %d", name, st.RawMode, st.UID, st.GID, st.Project, f.mode, f.uid, f.gid, f.project)
		}
		if i.IsRegular() {
			data, err := fsys.ReadFile(name)
			m.must(err)
			if !bytes.Equal(data, f.data) {
				m.t.Fatalf("%s: other data", name)
			}
		}
	}
}

func (m *attrModel) close() {
	m.t.Helper()
	m.must(m.fs.Close())
	fsckDevice(m.t, m.dev)
	ro, err := Open(m.dev, nil)
	m.must(err)
	m.check(ro)
	m.must(ro.Close())
}

// TestAttrsModel changes attributes, owners and modes at random, and has
// e2fsck count references and quotas.
func TestAttrsModel(t *testing.T) {
	steps := 1500
	if testing.Short() {
		steps = 300
	}
	for n, c := range attrCases {
		t.Run(c.name, func(t *testing.T) {
			m := newAttrModel(t, loadRAM(t, formatFile(t, c.size, c.mkfs...)), uint64(n))
			for n := range steps {
				m.step()
				if n%100 == 99 {
					m.check(m.fs)
				}
				if n%400 == 399 {
					m.close()
					m.open()
				}
			}
			m.close()
			t.Logf("%d times no space", m.full)
		})
	}
}
