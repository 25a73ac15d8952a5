package xattr_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// aclModel is what the rules say of every inode of a tree.
type aclModel struct {
	t     *testing.T
	r     *rand.Rand
	top   string
	nodes []*aclNode
}

type aclNode struct {
	path        string
	mode        uint16
	access, def []disk.ACLEntry
}

// Random ACLs, modes, creations and umasks: the kernel and the rules agree on
// every mode, every ACL and every error.
func TestACL_kernel(t *testing.T) {
	testimages.RequireLoop(t)
	img := filepath.Join(testimages.Scratch(t), "acl.img")
	testimages.Mkfs(t, img, 32<<20)
	testimages.WithMount(t, img, "", func(dir string) {
		m := &aclModel{t: t, r: rand.New(rand.NewPCG(3, 4)), top: dir}
		if err := unix.Mkdir(dir+"/top", 0o755); err != nil {
			t.Fatal(err)
		}
		m.nodes = []*aclNode{{path: "top", mode: disk.ModeDir | 0o755}}
		if err := unix.Chmod(dir+"/top", 0o755); err != nil {
			t.Fatal(err)
		}
		for step := range 6000 {
			m.step(step)
		}
		if len(m.nodes) < 300 {
			t.Errorf("%d nodes", len(m.nodes))
		}
		m.getfacl()
	})
	testimages.Fsck(t, img)
}

func (m *aclModel) step(step int) {
	n := m.nodes[m.r.IntN(len(m.nodes))]
	p := filepath.Join(m.top, n.path)
	var what string
	var mine, kernel error
	switch m.r.IntN(5) {
	case 0:
		what = "access ACL"
		mine, kernel = m.setAccess(n, p)
	case 1:
		what = "default ACL"
		mine, kernel = m.setDefault(n, p)
	case 2:
		what = "chmod"
		mine, kernel = m.chmod(n, p)
	default:
		what = "create"
		n, mine, kernel = m.create(n, p, step)
	}
	if !sameACLErrno(mine, kernel) {
		m.t.Fatalf("step %d: %s: %s: %v, the kernel has %v", step, n.path, what, mine, kernel)
	}
	m.check(n, fmt.Sprintf("step %d: %s", step, what))
}

func sameACLErrno(mine, kernel error) bool {
	if kernel == unix.EACCES || kernel == unix.EOPNOTSUPP {
		return isError(mine, kernel)
	}
	return sameErrno(mine, kernel)
}

// entries makes an ACL, most of the time a right one.
func (m *aclModel) entries() []disk.ACLEntry {
	r := m.r
	if r.IntN(12) == 0 {
		return nil
	}
	perm := func() uint16 { return uint16(r.IntN(8)) }
	list := []disk.ACLEntry{{Tag: disk.ACLUserObj, Perm: perm(), ID: noID}}
	named := 0
	for _, tag := range []disk.ACLTag{disk.ACLUser, disk.ACLGroupObj, disk.ACLGroup} {
		if tag == disk.ACLGroupObj {
			list = append(list, disk.ACLEntry{Tag: tag, Perm: perm(), ID: noID})
			continue
		}
		for range r.IntN(4) * r.IntN(2) {
			list = append(list, disk.ACLEntry{Tag: tag, Perm: perm(), ID: uint32(1000 + 10*named + r.IntN(10))})
			named++
		}
	}
	if named > 0 || r.IntN(4) == 0 {
		list = append(list, disk.ACLEntry{Tag: disk.ACLMask, Perm: perm(), ID: noID})
	}
	list = append(list, disk.ACLEntry{Tag: disk.ACLOther, Perm: perm(), ID: noID})
	return m.spoil(list)
}

func (m *aclModel) spoil(list []disk.ACLEntry) []disk.ACLEntry {
	n := m.r.IntN(len(list))
	switch m.r.IntN(30) {
	case 0:
		return slices.Delete(list, n, n+1)
	case 1:
		list[0], list[n] = list[n], list[0]
	case 2:
		list[n].Perm |= 8
	case 3:
		list[n].Tag = disk.ACLTag(m.r.IntN(40))
	case 4:
		list[n].ID = noID
	case 5:
		return slices.Insert(list, n, list[n])
	}
	return list
}

// value is what setxattr gets; now and then it is not well formed.
func (m *aclModel) value(list []disk.ACLEntry) []byte {
	b := disk.EncodeCallACL(list)
	switch m.r.IntN(40) {
	case 0:
		return b[:m.r.IntN(len(b))]
	case 1:
		b[0] = 1
	}
	return b
}

func (m *aclModel) setAccess(n *aclNode, p string) (mine, kernel error) {
	value := m.value(m.entries())
	kernel = unix.Lsetxattr(p, "system.posix_acl_access", value, 0)
	entries, err := xattr.ParseCallACL(value)
	if err != nil {
		return err, kernel
	}
	mode, access, err := xattr.SetAccessACL(n.mode, entries, false)
	if err == nil {
		n.mode, n.access = mode, access
	}
	return err, kernel
}

func (m *aclModel) setDefault(n *aclNode, p string) (mine, kernel error) {
	value := m.value(m.entries())
	kernel = unix.Lsetxattr(p, "system.posix_acl_default", value, 0)
	entries, err := xattr.ParseCallACL(value)
	if err != nil {
		return err, kernel
	}
	if err = xattr.SetDefaultACL(n.mode, entries); err == nil {
		n.def = entries
	}
	return err, kernel
}

func (m *aclModel) chmod(n *aclNode, p string) (mine, kernel error) {
	perm := uint16(m.r.IntN(0o10000))
	kernel = unix.Chmod(p, uint32(perm))
	n.mode = n.mode&disk.ModeType | perm
	if n.access != nil {
		n.access, mine = xattr.ChmodACL(n.access, n.mode)
	}
	return mine, kernel
}

func (m *aclModel) create(dir *aclNode, p string, step int) (_ *aclNode, mine, kernel error) {
	if dir.mode&disk.ModeType != disk.ModeDir {
		return dir, nil, nil
	}
	umask := uint16(m.r.IntN(0o1000))
	perm := uint16(m.r.IntN(0o1000))
	n := &aclNode{path: fmt.Sprintf("%s/%d", dir.path, step)}
	if strings.Count(n.path, "/") > 12 {
		return dir, nil, nil
	}
	p = fmt.Sprintf("%s/%d", p, step)
	old := unix.Umask(int(umask))
	defer unix.Umask(old)
	typ := disk.ModeRegular
	switch m.r.IntN(4) {
	case 0, 1:
		typ = disk.ModeDir
		kernel = unix.Mkdir(p, uint32(perm))
	case 2:
		typ = disk.ModeFIFO
		kernel = unix.Mknod(p, unix.S_IFIFO|uint32(perm), 0)
	default:
		var fd int
		if fd, kernel = unix.Open(p, unix.O_CREAT|unix.O_WRONLY, uint32(perm)); kernel == nil {
			unix.Close(fd)
		}
	}
	n.mode, n.access, n.def, mine = xattr.InheritACL(typ|perm, umask, dir.def)
	if typ == disk.ModeDir {
		n.mode |= dir.mode & disk.ModeSetgid
	}
	m.nodes = append(m.nodes, n)
	return n, mine, kernel
}

func (m *aclModel) check(n *aclNode, what string) {
	m.t.Helper()
	p := filepath.Join(m.top, n.path)
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		m.t.Fatal(err)
	}
	if uint16(st.Mode) != n.mode {
		m.t.Fatalf("%s: %s: mode 0%o, the kernel has 0%o", what, n.path, n.mode, st.Mode)
	}
	for name, entries := range map[string][]disk.ACLEntry{"system.posix_acl_access": n.access, "system.posix_acl_default": n.def} {
		buf := make([]byte, 4096)
		size, err := unix.Lgetxattr(p, name, buf)
		if err != nil && err != unix.ENODATA && err != unix.EOPNOTSUPP {
			m.t.Fatal(err)
		}
		var want []byte
		if entries != nil {
			want = disk.EncodeCallACL(entries)
		}
		if !bytes.Equal(buf[:max(size, 0)], want) {
			m.t.Fatalf("%s: %s: %s is\n%x, the kernel's\n%x", what, n.path, name, want, buf[:max(size, 0)])
		}
	}
}

// getfacl compares a part of the tree with what the tool prints.
func (m *aclModel) getfacl() {
	testimages.RequireTool(m.t, "getfacl")
	for n, node := range m.nodes {
		if n%17 != 0 {
			continue
		}
		text := testimages.Run(m.t, "getfacl", "-n", "-p", filepath.Join(m.top, node.path))
		f := xattr.ACLFile{Path: filepath.Join(m.top, node.path), Mode: disk.FileMode(node.mode)}
		if want := xattr.ACLText(f, node.access, node.def, xattr.Names{}); text != want {
			m.t.Errorf("%s:\n%s, getfacl has\n%s", node.path, want, text)
		}
	}
}
