package ext4fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// treeFormats are the feature sets that the model test runs on.
var treeFormats = []struct {
	name string
	args []string
}{
	{"4k", []string{"-N", "4096"}},
	{"1k", []string{"-b", "1024", "-N", "4096"}},
	{"orphan_file", []string{"-b", "1024", "-O", "orphan_file", "-N", "4096"}},
	{"plain", []string{"-O", "^metadata_csum,^64bit,^flex_bg", "-N", "4096"}},
	{"ext3", []string{"-t", "ext3", "-b", "1024", "-N", "4096"}},
	{"ext2", []string{"-t", "ext2", "-b", "1024", "-N", "4096"}},
	{"no_index", []string{"-b", "1024", "-O", "^dir_index,^dir_nlink,^filetype", "-N", "4096"}},
	{"inline", []string{"-O", "inline_data", "-N", "4096"}},
	{"inline1k", []string{"-b", "1024", "-I", "512", "-O", "inline_data,orphan_file", "-N", "4096"}},
	{"casefold", []string{"-b", "1024", "-O", "casefold", "-N", "4096"}},
	{"bigalloc", []string{"-b", "1024", "-C", "8192", "-O", "bigalloc", "-N", "4096"}},
	{"64k", []string{"-b", "65536", "-N", "4096"}},
	{"isize128", []string{"-I", "128", "-O", "^extra_isize", "-N", "4096"}},
}

// treeNode is an inode as it should be.
type treeNode struct {
	mode         uint16
	uid, gid     uint32
	links        int
	target       string
	major, minor uint32
	data         []byte
	fold         bool
	parent       *treeNode
	names        map[string]*treeName // of a directory, by key
}

type treeName struct {
	text string
	node *treeNode
}

func (n *treeNode) isDir() bool { return n.mode&disk.ModeType == disk.ModeDir }

func (n *treeNode) key(name string) string {
	if n.fold {
		if b, ok := casefold.Append(nil, []byte(name)); ok {
			return string(b)
		}
	}
	return name
}

func (n *treeNode) get(name string) *treeNode {
	if e := n.names[n.key(name)]; e != nil {
		return e.node
	}
	return nil
}

func (n *treeNode) put(name string, child *treeNode) {
	if e := n.names[n.key(name)]; e != nil {
		e.node = child // keeps its spelling
		return
	}
	n.names[n.key(name)] = &treeName{name, child}
}

func (n *treeNode) drop(name string) { delete(n.names, n.key(name)) }

// treeModel is a file system and what should be in it.
type treeModel struct {
	t      testing.TB
	f      *FS
	rng    *rand.Rand
	root   *treeNode
	opened []treeOpen
	ops    int
	log    []string
}

// treeOpen is an inode that is held.
type treeOpen struct {
	i *Inode
	n *treeNode
}

func newTreeModel(t testing.TB, f *FS, seed uint64) *treeModel {
	root := &treeNode{mode: disk.ModeDir | 0o755, links: 3, names: make(map[string]*treeName)}
	root.parent = root
	lost := &treeNode{mode: disk.ModeDir | 0o700, links: 2, parent: root, names: make(map[string]*treeName)}
	root.put("lost+found", lost)
	return &treeModel{t: t, f: f, rng: rand.New(rand.NewPCG(seed, 1)), root: root}
}

// dirs lists all directories with their paths.
func (m *treeModel) dirs() (paths []string, nodes []*treeNode) {
	var walk func(path string, n *treeNode)
	walk = func(path string, n *treeNode) {
		paths, nodes = append(paths, path), append(nodes, n)
		for _, k := range slices.Sorted(maps.Keys(n.names)) {
			if e := n.names[k]; e.node.isDir() && e.text != "lost+found" {
				walk(path+"/"+e.text, e.node)
			}
		}
	}
	walk("", m.root)
	return paths, nodes
}

func (m *treeModel) dir() (*Inode, *treeNode, string) {
	paths, nodes := m.dirs()
	k := m.rng.IntN(len(paths))
	i, err := m.f.Lookup(paths[k])
	if err != nil {
		m.fatal("lookup of directory %q: %v", paths[k], err)
	}
	return i, nodes[k], paths[k]
}

// name makes one up: mostly short ones that exist already, some long ones so
// that directories grow, and some that no directory takes.
func (m *treeModel) name(d *treeNode) string {
	switch r := m.rng.IntN(100); {
	case r < 30 && len(d.names) > 0:
		keys := slices.Sorted(maps.Keys(d.names))
		name := d.names[keys[m.rng.IntN(len(keys))]].text
		if name == "lost+found" {
			return "found"
		}
		if d.fold && m.rng.IntN(2) == 0 {
			return strings.ToUpper(name)
		}
		return name
	case r < 85:
		return string(rune('a'+m.rng.IntN(20))) + string(rune('a'+m.rng.IntN(4)))
	case r < 95:
		return strings.Repeat(string(rune('a'+m.rng.IntN(26))), 60+m.rng.IntN(196))
	case r < 97:
		return strings.Repeat("long", 64)
	case r < 98:
		return "."
	case r < 99:
		return ".."
	}
	return "ä" + string(rune('a'+m.rng.IntN(4)))
}

func (m *treeModel) fatal(format string, args ...any) {
	m.t.Helper()
	last := slices.Clone(m.log[max(0, len(m.log)-8):])
	for k, line := range last {
		last[k] = line[:min(len(line), 200)]
	}
	m.t.Fatalf("operation %d: %s\nlast operations:\n%s", m.ops, fmt.Sprintf(format, args...), strings.Join(last, "\n"))
}

// expect compares the outcome of an operation.
func (m *treeModel) expect(err error, want syscall.Errno, format string, args ...any) bool {
	m.t.Helper()
	m.ops++
	m.log = append(m.log, fmt.Sprintf(format, args...)+fmt.Sprintf(" -> %v", err))
	if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
		m.fatal("%s: %v, want %v", fmt.Sprintf(format, args...), err, want)
	}
	return err == nil
}

// checkName is the errno of a name that nothing can have.
func badTreeName(name string) syscall.Errno {
	if len(name) > 255 {
		return syscall.ENAMETOOLONG
	}
	return 0
}

func (m *treeModel) step() {
	switch r := m.rng.IntN(100); {
	case r < 22:
		m.create(disk.ModeRegular)
	case r < 32:
		m.create(disk.ModeDir)
	case r < 38:
		m.create(disk.ModeSymlink)
	case r < 42:
		m.create([]uint16{disk.ModeChar, disk.ModeBlock, disk.ModeFIFO, disk.ModeSocket}[m.rng.IntN(4)])
	case r < 48:
		m.link()
	case r < 62:
		m.unlink()
	case r < 68:
		m.rmdir()
	case r < 86:
		m.rename()
	case r < 90:
		m.write()
	case r < 94:
		m.hold()
	case r < 97:
		m.release()
	default:
		m.tmpfile()
	}
}

func (m *treeModel) create(kind uint16) {
	d, n, path := m.dir()
	name := m.name(n)
	a := &NewNode{Mode: kind | uint16(m.rng.IntN(0o1000)), UID: m.rng.Uint32N(70000), GID: m.rng.Uint32N(70000), Umask: 0o022}
	child := &treeNode{mode: kind | a.Mode&0o777&^0o022, uid: a.UID, gid: a.GID, links: 1}
	switch kind {
	case disk.ModeDir:
		a.Mode |= disk.ModeSetgid * uint16(m.rng.IntN(2))
		child.mode |= a.Mode & disk.ModeSetgid
		child.links, child.names, child.parent, child.fold = 2, make(map[string]*treeName), n, n.fold
		if n.mode&disk.ModeSetgid != 0 {
			child.mode |= disk.ModeSetgid
		}
	case disk.ModeSymlink:
		a.Target = strings.Repeat("t", 1+m.rng.IntN(200))
		child.target, child.mode = a.Target, kind|0o777
	case disk.ModeChar, disk.ModeBlock:
		a.Major, a.Minor = m.rng.Uint32N(600), m.rng.Uint32N(600)
		child.major, child.minor = a.Major, a.Minor
	}
	if n.mode&disk.ModeSetgid != 0 {
		child.gid = n.gid
	}
	want := badTreeName(name)
	if isDotName(name) || n.get(name) != nil {
		want = syscall.EEXIST
	}
	_, err := d.Create(name, a)
	if m.expect(err, want, "create %o %s/%s", a.Mode, path, name) {
		n.put(name, child)
		if kind == disk.ModeDir {
			n.links++
		}
	}
}

func (m *treeModel) link() {
	d, n, path := m.dir()
	name := m.name(n)
	_, from, fromPath := m.dir()
	old := m.name(from)
	target := from.get(old)
	if target == nil {
		return
	}
	i, err := m.f.LookupNoFollow(fromPath + "/" + old)
	if err != nil {
		m.fatal("lookup %s/%s: %v", fromPath, old, err)
	}
	want := badTreeName(name)
	switch {
	case isDotName(name) || n.get(name) != nil:
		want = syscall.EEXIST
	case want == 0 && target.isDir():
		want = syscall.EPERM
	}
	if m.expect(d.Link(name, i), want, "link %s/%s %s/%s", fromPath, old, path, name) {
		target.links++
		n.put(name, target)
	}
}

func (m *treeModel) unlink() {
	d, n, path := m.dir()
	name := m.name(n)
	want := badTreeName(name)
	old := n.get(name)
	switch {
	case isDotName(name):
		want = syscall.EISDIR
	case want == 0 && old == nil:
		want = syscall.ENOENT
	case want == 0 && old.isDir():
		want = syscall.EISDIR
	}
	if m.expect(d.Unlink(name), want, "unlink %s/%s", path, name) {
		old.links--
		n.drop(name)
	}
}

func (m *treeModel) rmdir() {
	d, n, path := m.dir()
	name := m.name(n)
	want := badTreeName(name)
	old := n.get(name)
	switch {
	case name == ".":
		want = syscall.EINVAL
	case name == "..":
		want = syscall.ENOTEMPTY
	case want != 0:
	case old == nil:
		want = syscall.ENOENT
	case !old.isDir():
		want = syscall.ENOTDIR
	case len(old.names) > 0:
		want = syscall.ENOTEMPTY
	}
	if m.expect(d.Rmdir(name), want, "rmdir %s/%s", path, name) {
		old.links = 0
		n.links--
		n.drop(name)
	}
}

// below reports whether n is d or below it.
func (n *treeNode) below(d *treeNode) bool {
	for {
		if n == d {
			return true
		}
		if n.parent == n || n.parent == nil {
			return false
		}
		n = n.parent
	}
}

func (m *treeModel) rename() {
	from, n, path := m.dir()
	to, toNode, toPath := m.dir()
	if m.rng.IntN(2) == 0 {
		to, toNode, toPath = from, n, path
	}
	name, newName := m.name(n), m.name(toNode)
	flags := []RenameFlags{0, 0, 0, RenameNoReplace, RenameExchange, RenameWhiteout, RenameWhiteout | RenameNoReplace}[m.rng.IntN(7)]
	src, dst := n.get(name), toNode.get(newName)
	want := m.renameErrno(n, toNode, name, newName, flags, src, dst)
	ok := m.expect(from.Rename(name, to, newName, flags), want, "rename %s/%s %s/%s %d", path, name, toPath, newName, flags)
	if !ok || src == dst {
		return
	}
	m.renamed(n, toNode, name, newName, flags, src, dst)
}

func (m *treeModel) renameErrno(n, to *treeNode, name, newName string, flags RenameFlags, src, dst *treeNode) syscall.Errno {
	switch {
	case isDotName(name):
		return syscall.EBUSY
	case isDotName(newName) && flags&RenameNoReplace != 0:
		return syscall.EEXIST
	case isDotName(newName):
		return syscall.EBUSY
	case badTreeName(name) != 0:
		return syscall.ENAMETOOLONG
	case src == nil:
		return syscall.ENOENT
	case badTreeName(newName) != 0:
		return syscall.ENAMETOOLONG
	case dst == nil && flags&RenameExchange != 0:
		return syscall.ENOENT
	case dst != nil && flags&RenameNoReplace != 0:
		return syscall.EEXIST
	case src.isDir() && to.below(src):
		return syscall.EINVAL
	case dst != nil && dst.isDir() && n.below(dst) && flags&RenameExchange != 0:
		return syscall.EINVAL
	case dst != nil && dst.isDir() && n.below(dst):
		return syscall.ENOTEMPTY
	case src == dst || dst == nil || flags&RenameExchange != 0:
		return 0
	case src.isDir() && !dst.isDir():
		return syscall.ENOTDIR
	case !src.isDir() && dst.isDir():
		return syscall.EISDIR
	case src.isDir() && len(dst.names) > 0:
		return syscall.ENOTEMPTY
	}
	return 0
}

func (m *treeModel) renamed(n, to *treeNode, name, newName string, flags RenameFlags, src, dst *treeNode) {
	count := func(d, child *treeNode, by int) {
		if child != nil && child.isDir() {
			d.links += by
		}
	}
	count(n, src, -1)
	count(to, src, 1)
	count(to, dst, -1)
	to.put(newName, src)
	if src.isDir() {
		src.parent = to
	}
	switch {
	case flags&RenameExchange != 0:
		count(n, dst, 1)
		n.put(name, dst)
		if dst.isDir() {
			dst.parent = n
		}
		return
	case flags&RenameWhiteout != 0:
		n.put(name, &treeNode{mode: disk.ModeChar, links: 1, gid: n.gid * uint32(n.mode&disk.ModeSetgid/disk.ModeSetgid)})
	default:
		n.drop(name)
	}
	if dst != nil {
		dst.links--
		if dst.isDir() {
			dst.links = 0
		}
	}
}

func (m *treeModel) file() (*Inode, *treeNode) {
	_, n, path := m.dir()
	for _, k := range slices.Sorted(maps.Keys(n.names)) {
		if e := n.names[k]; e.node.mode&disk.ModeType == disk.ModeRegular && m.rng.IntN(3) == 0 {
			i, err := m.f.Lookup(path + "/" + e.text)
			if err != nil {
				m.fatal("lookup %s/%s: %v", path, e.text, err)
			}
			return i, e.node
		}
	}
	return nil, nil
}

func (m *treeModel) write() {
	i, n := m.file()
	if i == nil {
		return
	}
	data := bytes.Repeat([]byte{byte(m.rng.IntN(256))}, m.rng.IntN(5000))
	_, err := i.WriteAt(data, 0)
	m.expect(err, 0, "write %d bytes to inode %d", len(data), i.num)
	n.data = append(data, n.data[min(len(data), len(n.data)):]...)
}

// hold opens a file or directory.
func (m *treeModel) hold() {
	i, n := m.file()
	if m.rng.IntN(4) == 0 {
		i, n, _ = m.dir()
	}
	if i != nil && len(m.opened) < 10 && i.Acquire() {
		m.opened = append(m.opened, treeOpen{i, n})
	}
}

func (m *treeModel) release() {
	if len(m.opened) == 0 {
		return
	}
	k := m.rng.IntN(len(m.opened))
	o := m.opened[k]
	m.opened = slices.Delete(m.opened, k, k+1)
	if !o.n.isDir() && o.n.mode&disk.ModeType == disk.ModeRegular {
		m.sameData(o.i, o.n, "held inode")
	}
	m.expect(o.i.Release(), 0, "release inode %d of %d links", o.i.num, o.n.links)
}

func (m *treeModel) tmpfile() {
	d, n, path := m.dir()
	a := &NewNode{Mode: disk.ModeRegular | 0o600}
	i, err := d.Tmpfile(a)
	if !m.expect(err, 0, "tmpfile in %s", path) {
		return
	}
	node := &treeNode{mode: a.Mode}
	if n.mode&disk.ModeSetgid != 0 {
		node.gid = n.gid
	}
	name := m.name(n)
	want := badTreeName(name)
	if isDotName(name) || n.get(name) != nil {
		want = syscall.EEXIST
	}
	if m.rng.IntN(2) == 0 && m.expect(d.Link(name, i), want, "link tmpfile to %s/%s", path, name) {
		node.links = 1
		n.put(name, node)
	}
	m.opened = append(m.opened, treeOpen{i, node})
}

func (m *treeModel) sameData(i *Inode, n *treeNode, what string) {
	got := make([]byte, len(n.data)+1)
	k, err := i.ReadAt(got, 0)
	if err != nil && err != io.EOF || !bytes.Equal(got[:k], n.data) {
		m.fatal("%s %d: %d bytes (%v), want %d", what, i.num, k, err, len(n.data))
	}
}

// compare walks through the file system and the model.
func (m *treeModel) compare(f *FS) {
	root, err := f.Root()
	if err != nil {
		m.fatal("%v", err)
	}
	m.compareDir("", root, m.root)
}

func (m *treeModel) compareDir(path string, d *Inode, n *treeNode) {
	seen := make(map[string]disk.InodeNum)
	for e, err := range d.Entries() {
		if err != nil {
			m.fatal("%s: %v", path, err)
		}
		seen[string(e.Name)] = e.Inode
	}
	if seen["."] != d.num {
		m.fatal("%s: '.' is inode %d, want %d", path, seen["."], d.num)
	}
	delete(seen, ".")
	delete(seen, "..")
	for _, e := range n.names {
		num, ok := seen[e.text]
		if !ok {
			m.fatal("%s/%s is missing", path, e.text)
		}
		delete(seen, e.text)
		i, err := d.fs.Inode(num)
		if err != nil {
			m.fatal("%s/%s: %v", path, e.text, err)
		}
		if got, err := d.Lookup(e.text); err != nil || got != num {
			m.fatal("lookup %s/%s: %d %v, want %d", path, e.text, got, err, num)
		}
		m.compareInode(path+"/"+e.text, i, e.node)
		if e.node.isDir() {
			if up, err := i.Lookup(".."); err != nil || up != d.num {
				m.fatal("%s/%s/..: %d %v, want %d", path, e.text, up, err, d.num)
			}
			m.compareDir(path+"/"+e.text, i, e.node)
		}
	}
	for name := range seen {
		m.fatal("%s/%s should not be there", path, name)
	}
}

func (m *treeModel) compareInode(path string, i *Inode, n *treeNode) {
	st := i.Stat()
	if st.RawMode != n.mode || int(st.Links) != n.links || st.UID != n.uid || st.GID != n.gid || st.Major != n.major || st.Minor != n.minor {
		m.fatal("%s (inode %d): mode %o links %d owner %d:%d device %d:%d, want %o %d %d:%d %d:%d", path, i.num,
			st.RawMode, st.Links, st.UID, st.GID, st.Major, st.Minor, n.mode, n.links, n.uid, n.gid, n.major, n.minor)
	}
	if st.Dtime != 0 {
		m.fatal("%s (inode %d): deletion time %d", path, i.num, st.Dtime)
	}
	switch st.Mode.Type() {
	case fs.ModeSymlink:
		if got, err := i.Readlink(); err != nil || got != n.target {
			m.fatal("%s: target %q %v, want %q", path, got, err, n.target)
		}
	case 0:
		m.sameData(i, n, path)
	}
}

func TestNamesModel(t *testing.T) {
	ops := 1500
	if testing.Short() {
		ops = 300
	}
	for _, format := range treeFormats {
		t.Run(format.name, func(t *testing.T) {
			t.Parallel()
			dev := formatRAM(t, 48<<20, format.args...)
			f := openWrite(t, dev)
			m := newTreeModel(t, f, 7)
			if format.name == "casefold" {
				m.foldRoot()
			}
			for range ops {
				m.step()
			}
			m.compare(f)
			for len(m.opened) > 2 { // the rest is held at the close
				m.release()
			}
			closeWrite(t, f)
			fsckDevice(t, dev)
			again, err := Open(dev, nil)
			if err != nil {
				t.Fatal(err)
			}
			m.compare(again)
		})
	}
}

// foldRoot makes a casefolded directory in which all goes on.
func (m *treeModel) foldRoot() {
	root, err := m.f.Root()
	if err != nil {
		m.fatal("%v", err)
	}
	i, err := root.Create("fold", &NewNode{Mode: disk.ModeDir | 0o755})
	if err != nil {
		m.fatal("%v", err)
	}
	err = i.change(func(h *txn) error {
		return i.update(h, func(r disk.Inode) { r.SetFlags(r.Flags() | disk.FlagCasefold) })
	})
	if err != nil {
		m.fatal("%v", err)
	}
	m.root.links++
	m.root.put("fold", &treeNode{mode: disk.ModeDir | 0o755, links: 2, parent: m.root, fold: true, names: make(map[string]*treeName)})
}

// formatRAM makes a file system in memory.
func formatRAM(t testing.TB, size int64, args ...string) *device.RAM {
	t.Helper()
	return loadRAM(t, formatFile(t, size, args...))
}

var _ = testimages.Fsck
