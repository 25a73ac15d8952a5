package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/host"
)

// maxDepth bounds how deep directories may be.
const maxDepth = 4096

// Dir is the source FromDir.
func Dir(path string) Source {
	return func(ctx context.Context, t *Tree, at ID, o *Options) error {
		return FromDir(ctx, t, at, path, o)
	}
}

// FromDir adds what is in a directory of the host to a directory of the tree,
// which gets the attributes of that one. The host's directory must stay as it
// is until the tree is closed. Errors name the path on the host; one that
// happens in the tree, the path there.
func FromDir(ctx context.Context, t *Tree, at ID, path string, o *Options) error {
	l, err := newLayer(t, at, o)
	if err != nil {
		return err
	}
	root, err := host.OpenRoot(path)
	if err != nil {
		return err
	}
	t.closeWith(root)
	s := &hostSource{root: root, paths: paths{t: t}}
	m := &hostMerge{
		layer: l, ctx: ctx, scan: newScanner(root, path, l), paths: &s.paths,
		source: t.addSource(s) + 1, links: make(map[host.ID]ID),
	}
	defer m.scan.stop()
	top := m.scan.top
	if err := m.root(top); err != nil {
		return err
	}
	if err := m.dir(top, at, s.paths.root()); err != nil {
		return err
	}
	return l.finish()
}

// hostSource is a directory of the host as a source of content.
type hostSource struct {
	root  *host.Root
	paths paths
}

func (s *hostSource) open(ref uint64, n *Node) (File, error) {
	f, err := s.root.File(s.paths.path(ref), n.Size, ErrChanged)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *hostSource) spans(ref uint64, n *Node) ([]Span, error) {
	f, err := s.root.File(s.paths.path(ref), n.Size, ErrChanged)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, _, ok := f.Host()
	if !ok {
		return nil, nil
	}
	spans := []Span{}
	for s, err := range host.Spans(h, n.Size) {
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// paths knows files of a source by a directory's number and where their name
// is among the tree's: eight bytes for each, whatever becomes of the tree.
type paths struct {
	t    *Tree
	dirs chunked[pathDir]
}

type pathDir struct {
	up   uint32
	name uint32 // in Tree.names
}

// root is the number of the source's root, the first.
func (p *paths) root() uint32 { return p.dirs.add(pathDir{}) }

// dir gives a directory its number. at and name are where it has just been put,
// which may be a symbolic link that leads to it.
func (p *paths) dir(up uint32, at ID, name string) uint32 {
	return p.dirs.add(pathDir{up: up, name: p.name(at, name)})
}

// name is where a name that is in the tree is kept.
func (p *paths) name(at ID, name string) uint32 {
	i, _ := p.t.index.find(p.t, p.t.index.hash(at, name), at, name)
	return p.t.links.at(i).name
}

// ref is what a file is known by.
func (p *paths) ref(dir uint32, at ID, name string) uint64 {
	return uint64(dir)<<32 | uint64(p.name(at, name))
}

// path is the path of a file from the source's root.
func (p *paths) path(ref uint64) string {
	names := []string{p.t.names.text(uint32(ref))}
	for at := uint32(ref >> 32); at != 0; {
		d := p.dirs.at(at)
		names = append(names, p.t.names.text(d.name))
		at = d.up
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// scanned is a file of the host.
type scanned struct {
	found
	name  string
	id    host.ID
	links uint64
	sub   *scanDir // of a directory that is entered
	err   error
	warns []error
}

// scanDir is a directory that is to be read, or has been.
type scanDir struct {
	path    string // from the source's root
	choice  choice
	depth   int
	attrs   *scanned // of the root only
	entries []scanned
	err     error // of the directory itself
	state   scanState
}

var errDeep = fmt.Errorf("more than %d directories deep: %w", maxDepth, ErrTooMany)

// errVanished is told of files that went away while the directory was read.
var errVanished = fmt.Errorf("vanished while the directory was read: %w", ErrNotExist)

// hostMerge puts what is read into the tree, in an order that does not depend
// on who read when: a directory's names sorted, then one directory in it after
// the other.
type hostMerge struct {
	*layer
	ctx    context.Context
	scan   *scanner
	paths  *paths
	source uint32
	links  map[host.ID]ID
}

func (m *hostMerge) root(d *scanDir) error {
	m.scan.wait(d)
	if d.err != nil {
		return m.failed(d.path, d.err)
	}
	m.warnings(d.path, d.attrs.warns)
	if d.attrs.err != nil {
		return m.failed(d.path, d.attrs.err)
	}
	return m.layer.root(&d.attrs.found)
}

// failed names a file of the host.
func (m *hostMerge) failed(path string, err error) error {
	return pathError("read", m.scan.name(path), bare(err))
}

func (m *hostMerge) warnings(path string, list []error) {
	for _, err := range list {
		m.warn(m.scan.name(path), err)
	}
}

func joinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// dir puts what is in a directory.
func (m *hostMerge) dir(d *scanDir, id ID, number uint32) error {
	m.scan.wait(d)
	if d.err != nil {
		return m.failed(d.path, d.err)
	}
	type below struct {
		sub    *scanDir
		id     ID
		number uint32
	}
	var subs []below
	for i := range d.entries {
		e := &d.entries[i]
		if err := m.ctx.Err(); err != nil {
			return err
		}
		at, err := m.entry(d, e, id, number)
		if err != nil {
			return err
		}
		if e.sub != nil && at != noID {
			subs = append(subs, below{e.sub, at, m.paths.dir(number, id, e.name)})
		}
	}
	m.scan.merged(d)
	for _, s := range subs {
		if err := m.dir(s.sub, s.id, s.number); err != nil {
			return err
		}
	}
	return nil
}

// entry puts one file; noID if there is nothing to put.
func (m *hostMerge) entry(d *scanDir, e *scanned, dir ID, number uint32) (ID, error) {
	if len(e.warns) > 0 {
		m.warnings(joinPath(d.path, e.name), e.warns)
	}
	if errors.Is(e.err, errVanished) {
		return noID, nil
	}
	if e.err != nil {
		return 0, m.failed(joinPath(d.path, e.name), e.err)
	}
	several := e.links > 1 && !e.IsDir()
	if several {
		if to, ok := m.links[e.id]; ok && m.t.Node(to).Links > 0 {
			return to, m.layer.link(dir, e.name, to)
		}
	}
	id, err := m.put(dir, e.name, &e.found)
	if err != nil {
		return 0, err
	}
	if several {
		m.links[e.id] = id
	}
	if e.IsRegular() {
		m.t.setContent(id, m.source-1, m.paths.ref(number, dir, e.name), e.holes)
	}
	return id, nil
}

// wantedXattr reports whether ext4 has a place for an attribute.
func wantedXattr(name string) bool {
	for _, space := range []string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, space) {
			return true
		}
	}
	return name == xattrAccess || name == xattrDefault
}
