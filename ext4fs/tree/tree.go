package tree

import (
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// DefaultMaxNodes is how many nodes and names a tree may have unless
// Options.MaxNodes says otherwise.
const DefaultMaxNodes = indexMost - 1

// Tree is what an image is to hold. One goroutine may change it at a time, or
// any number may read it: Node, Entries, Lookup, Path, Target, Xattrs, Spans,
// Open.
type Tree struct {
	nodes chunked[Node]
	links chunked[link]
	names arena
	index index

	sets     chunked[[]Xattr]
	setIndex map[uint64]uint32 // hash of a set: its number
	lostSet  uint32            // of LostFound

	sources []source
	given   chunked[Content]
	closers []io.Closer

	max          int
	contentHoles bool
}

// New returns a tree that has nothing but a root directory: 0755, owned by
// root, of the beginning of 1970.
func New() *Tree {
	t := &Tree{max: DefaultMaxNodes, setIndex: make(map[uint64]uint32)}
	t.index.seed = maphash.MakeSeed()
	t.sources = []source{(*givenContent)(t)}
	t.nodes.add(Node{Mode: disk.ModeDir | 0o755, Links: 1})
	return t
}

// Len is the number of nodes: IDs are below it. Those that have been removed
// count too; their Links are 0.
func (t *Tree) Len() int { return t.nodes.n }

// Node gives a node of the tree, whose attributes may be changed, but for its
// type and Links. It stays valid.
func (t *Tree) Node(id ID) *Node { return t.nodes.at(uint32(id)) }

// Add makes a node with a name in a directory. Links does not count. A
// symbolic link wants SetTarget, a regular file SetContent: until then it is a
// hole of Size bytes. Errors are ErrExist, ErrNotDir, ErrName, ErrNameTooLong,
// ErrType and ErrTooMany.
func (t *Tree) Add(dir ID, name string, n Node) (ID, error) {
	if err := n.valid(); err != nil {
		return 0, err
	}
	if t.nodes.n >= t.max {
		return 0, ErrTooMany
	}
	n.Links, n.link, n.xattrs, n.source, n.ref, n.bits = 0, 0, 0, 0, 0, 0
	if !n.IsRegular() {
		n.Size = 0
	}
	if !n.IsDevice() {
		n.Major, n.Minor = 0, 0
	}
	id := ID(t.nodes.n)
	at, err := t.name(dir, name, id)
	if err != nil {
		return 0, err
	}
	n.Links, n.link = 1, at
	t.nodes.add(n)
	return id, nil
}

// name lets a name lead to a node, which need not be there yet.
func (t *Tree) name(dir ID, name string, id ID) (uint32, error) {
	if err := CheckName(name); err != nil {
		return 0, err
	}
	d, err := t.dir(dir)
	if err != nil {
		return 0, err
	}
	hash := t.index.hash(dir, name)
	if at, ok := t.index.find(t, hash, dir, name); ok {
		l := t.links.at(at)
		if l.id != noID {
			return 0, ErrExist
		}
		l.id = id
		d.setDir(d.head(), d.count()+1)
		return at, nil
	}
	if t.links.n >= min(t.max, indexMost-1) {
		return 0, ErrTooMany
	}
	ref, err := t.names.add(name)
	if err != nil {
		return 0, err
	}
	at := t.links.add(link{name: ref, dir: dir, id: id, next: d.head(), hash: hash})
	d.setDir(at+1, d.count()+1)
	t.index.add(t, hash, at)
	return at, nil
}

// dir gives a directory that is in the tree.
func (t *Tree) dir(id ID) (*Node, error) {
	if int(id) >= t.nodes.n {
		return nil, ErrNotExist
	}
	d := t.Node(id)
	switch {
	case d.Links == 0:
		return nil, ErrNotExist
	case !d.IsDir():
		return nil, ErrNotDir
	}
	return d, nil
}

// CheckName reports whether a file can have such a name: ErrName,
// ErrNameTooLong.
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == "..", strings.ContainsAny(name, "/\x00"):
		return ErrName
	case len(name) > disk.MaxNameLen:
		return ErrNameTooLong
	}
	return nil
}

// Link gives a node one more name: a hard link. Directories have one name:
// ErrIsDir.
func (t *Tree) Link(dir ID, name string, to ID) error {
	if int(to) >= t.nodes.n || t.Node(to).Links == 0 {
		return ErrNotExist
	}
	n := t.Node(to)
	if n.IsDir() {
		return ErrIsDir
	}
	if _, err := t.name(dir, name, to); err != nil {
		return err
	}
	n.Links++
	return nil
}

// Remove takes a name away, and with the last name the node; with a directory
// goes all that is in it. ErrNotExist if there is no such name.
func (t *Tree) Remove(dir ID, name string) error {
	d, err := t.dir(dir)
	if err != nil {
		return err
	}
	at, ok := t.index.find(t, t.index.hash(dir, name), dir, name)
	if !ok || t.links.at(at).id == noID {
		return ErrNotExist
	}
	id := t.unlink(d, at)
	todo := []ID{id}
	for len(todo) > 0 {
		id, todo = todo[len(todo)-1], todo[:len(todo)-1]
		n := t.Node(id)
		if n.Links != 0 || !n.IsDir() {
			continue
		}
		for at := n.head(); at != 0; at = t.links.at(at - 1).next {
			if t.links.at(at-1).id != noID {
				todo = append(todo, t.unlink(n, at-1))
			}
		}
		// The links stay behind, dead, and no new ones come: nobody can name
		// this directory any more.
	}
	return nil
}

// unlink takes a link out of its directory.
func (t *Tree) unlink(d *Node, at uint32) ID {
	l := t.links.at(at)
	id := l.id
	l.id = noID
	d.setDir(d.head(), d.count()-1)
	t.Node(id).Links--
	return id
}

// Lookup finds a name in a directory.
func (t *Tree) Lookup(dir ID, name string) (ID, bool) {
	at, ok := t.index.find(t, t.index.hash(dir, name), dir, name)
	if !ok || t.links.at(at).id == noID {
		return 0, false
	}
	return t.links.at(at).id, true
}

// LookupPath finds a node by its path from the root; slashes at the beginning
// and the end do not count. Symbolic links are not followed.
func (t *Tree) LookupPath(path string) (ID, bool) {
	id := Root
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		next, ok := t.Lookup(id, name)
		if !ok {
			return 0, false
		}
		id = next
	}
	return id, true
}

// Entries lists a directory, sorted by the bytes of the names. A node that is
// no directory has none.
func (t *Tree) Entries(dir ID) []Entry {
	d := t.Node(dir)
	if !d.IsDir() || d.count() == 0 {
		return nil
	}
	list := make([]Entry, 0, d.count())
	for at := d.head(); at != 0; {
		l := t.links.at(at - 1)
		if l.id != noID {
			list = append(list, Entry{t.names.text(l.name), l.id})
		}
		at = l.next
	}
	// Links are chained the latest first; most sources come in order.
	slices.Reverse(list)
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Count is the number of names in a directory.
func (t *Tree) Count(dir ID) int {
	if d := t.Node(dir); d.IsDir() {
		return int(d.count())
	}
	return 0
}

// Parent is the directory that a node is in; of a node with several names one
// of them. The root is its own.
func (t *Tree) Parent(id ID) ID {
	if l, ok := t.nameOf(id); ok {
		return l.dir
	}
	return Root
}

// Path is the path of a node from the root, which is "/"; of a node with
// several names one of them, and "" if it has none any more.
func (t *Tree) Path(id ID) string {
	if id == Root {
		return "/"
	}
	var parts []string
	for id != Root {
		l, ok := t.nameOf(id)
		if !ok {
			return ""
		}
		parts = append(parts, t.names.text(l.name))
		id = l.dir
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// join is the path of a name in a directory.
func (t *Tree) join(dir ID, name string) string {
	return strings.TrimSuffix(t.Path(dir), "/") + "/" + name
}

// nameOf finds a name of a node. The one that it remembers may be gone.
func (t *Tree) nameOf(id ID) (*link, bool) {
	n := t.Node(id)
	if id == Root || n.Links == 0 {
		return nil, false
	}
	if l := t.links.at(n.link); l.id == id {
		return l, true
	}
	for at := range uint32(t.links.n) {
		if l := t.links.at(at); l.id == id {
			return l, true
		}
	}
	return nil, false
}

// settle lets nodes that have lost the name they remember remember another.
func (t *Tree) settle() {
	for at := range uint32(t.links.n) {
		l := t.links.at(at)
		if l.id == noID {
			continue
		}
		n := t.Node(l.id)
		if t.links.at(n.link).id != l.id {
			n.link = at
		}
	}
}

// Target is what a symbolic link leads to, "" for other nodes.
func (t *Tree) Target(id ID) string {
	n := t.Node(id)
	if !n.IsSymlink() || n.Size == 0 {
		return ""
	}
	return t.names.text(uint32(n.ref))
}

// SetTarget sets what a symbolic link leads to, and its Size. A target has 1
// to 65535 bytes, none of them zero: ErrTarget.
func (t *Tree) SetTarget(id ID, target string) error {
	n := t.Node(id)
	if !n.IsSymlink() {
		return ErrType
	}
	if target == "" || len(target) > maxText || strings.IndexByte(target, 0) >= 0 {
		return ErrTarget
	}
	ref, err := t.names.add(target)
	if err != nil {
		return err
	}
	n.ref, n.Size = uint64(ref), int64(len(target))
	return nil
}

// closeWith lets Close close c as well.
func (t *Tree) closeWith(c io.Closer) { t.closers = append(t.closers, c) }

// Close closes the sources: no content can be opened any more.
func (t *Tree) Close() error {
	var errs []error
	for _, c := range slices.Backward(t.closers) {
		errs = append(errs, c.Close())
	}
	t.closers = nil
	return errors.Join(errs...)
}
