package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Load makes a tree of what the sources have, each over the ones before: a
// directory over a directory joins them and has the attributes of the later
// one; in all other cases the later one replaces the earlier, with all that
// was in it. Then the device tables and labels are applied. The caller closes
// the tree.
func Load(ctx context.Context, o Options, sources ...Source) (*Tree, error) {
	t := New()
	err := t.load(ctx, &o, sources)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Tree) load(ctx context.Context, o *Options, sources []Source) error {
	if o.MaxNodes > 0 {
		t.max = min(o.MaxNodes, DefaultMaxNodes)
	}
	t.contentHoles = o.ContentHoles
	o.spooled = new(atomic.Int64)
	root := t.Node(Root)
	root.Atime, root.Mtime, root.Ctime = o.Time, o.Time, o.Time
	if _, err := newFilter(o); err != nil {
		return err
	}
	for _, s := range sources {
		if err := s(ctx, t, Root, o); err != nil {
			return err
		}
	}
	return t.Apply(ctx, o)
}

// obey takes over the options that are the tree's for good.
func (t *Tree) obey(o *Options) {
	if o.MaxNodes > 0 {
		t.max = min(o.MaxNodes, DefaultMaxNodes)
	}
	t.contentHoles = t.contentHoles || o.ContentHoles
}

// Apply applies the rules that are about the whole tree: device tables,
// labels, times. Load does it; who adds sources one by one does it after them.
func (t *Tree) Apply(ctx context.Context, o *Options) error {
	for _, d := range o.Devtables {
		if err := d.Apply(ctx, t, o); err != nil {
			return err
		}
	}
	for id := range ID(t.nodes.n) {
		o.times(t.Node(id))
	}
	t.settle()
	if o.SELinux != nil {
		return o.SELinux.Label(ctx, t)
	}
	return ctx.Err()
}

// times applies the rules about times.
func (o *Options) times(n *Node) {
	if o.MtimeOnly {
		n.Atime, n.Ctime = n.Mtime, n.Mtime
	}
	if o.ClampTime == nil {
		return
	}
	for _, t := range []*Time{&n.Atime, &n.Mtime, &n.Ctime} {
		if t.Compare(*o.ClampTime) > 0 {
			*t = *o.ClampTime
		}
	}
}

// layer is one source on its way into the tree.
type layer struct {
	t         *Tree
	o         *Options
	at        ID // where the source's root goes
	filter    *filter
	tentative []ID // directories that stay if something is put into them

	files, bytes int64
}

func newLayer(t *Tree, at ID, o *Options) (*layer, error) {
	t.obey(o)
	f, err := newFilter(o)
	return &layer{t: t, o: o, at: at, filter: f}, err
}

// found is a file of a source.
type found struct {
	Node          // all but Links
	target string // of a symbolic link
	xattrs []Xattr
	// content of a regular file, see Tree.setContent; source is that number
	// + 1, 0 for none.
	source uint32
	ref    uint64
	holes  bool
	// tentative: a directory that is wanted only for what is in it.
	tentative bool
	// unowned: the source tells no owners. Root's are not translated.
	unowned bool
}

// put adds a file under the rules, over what is there. dir is a directory of
// the tree.
func (l *layer) put(dir ID, name string, f *found) (ID, error) {
	if err := l.rules(f); err != nil {
		return 0, pathError("add", l.t.join(dir, name), err)
	}
	id, err := l.place(dir, name, f)
	if err != nil {
		return 0, pathError("add", l.t.join(dir, name), err)
	}
	l.count(f.Size, func() string { return l.t.join(dir, name) })
	return id, nil
}

// count tells how far the job is.
func (l *layer) count(size int64, path func() string) {
	l.files++
	l.bytes += size
	if l.o.Progress != nil && l.files&0xff == 0 {
		l.o.Progress(ProgressInfo{Files: l.files, Bytes: l.bytes, Path: path()})
	}
}

func (l *layer) warn(path string, err error) {
	if l.o.Warn != nil {
		l.o.Warn(path, err)
	}
}

// place adds a file, or joins a directory with the one that is there, or with
// that behind a symbolic link.
func (l *layer) place(dir ID, name string, f *found) (ID, error) {
	t := l.t
	old, ok := t.Lookup(dir, name)
	if ok && f.IsDir() && t.Node(old).IsDir() {
		l.dirAttrs(old, f)
		return old, nil
	}
	if ok && l.o.KeepDirSymlinks && f.IsDir() && t.Node(old).IsSymlink() {
		if behind, ok := l.dirBehind(dir, name); ok {
			return behind, nil
		}
	}
	if ok {
		if err := t.Remove(dir, name); err != nil {
			return 0, err
		}
	}
	id, err := t.Add(dir, name, f.Node)
	if err != nil {
		return 0, err
	}
	if len(f.xattrs) > 0 {
		t.SetXattrs(id, f.xattrs)
	}
	switch {
	case f.IsSymlink():
		err = t.SetTarget(id, f.target)
	case f.IsRegular() && f.source != 0:
		t.setContent(id, f.source-1, f.ref, f.holes)
	case f.IsDir() && f.tentative:
		t.Node(id).bits |= bitTentative
		l.tentative = append(l.tentative, id)
	}
	return id, err
}

// dirAttrs gives a directory that is there other attributes.
func (l *layer) dirAttrs(id ID, f *found) {
	n := l.t.Node(id)
	n.Mode, n.UID, n.GID = f.Mode, f.UID, f.GID
	n.Atime, n.Mtime, n.Ctime = f.Atime, f.Mtime, f.Ctime
	n.bits &^= bitMade
	if !f.tentative {
		n.bits &^= bitTentative
	}
	l.t.SetXattrs(id, f.xattrs)
}

// root gives the directory that the source goes into the attributes of the
// source's root.
func (l *layer) root(f *found) error {
	if !f.IsDir() {
		return ErrNotDir
	}
	if err := l.rules(f); err != nil {
		return pathError("add", l.t.Path(l.at), err)
	}
	l.dirAttrs(l.at, f)
	return nil
}

// link adds a hard link, over what is there.
func (l *layer) link(dir ID, name string, to ID) error {
	old, ok := l.t.Lookup(dir, name)
	if ok && old == to {
		return nil
	}
	var err error
	if ok {
		err = l.t.Remove(dir, name)
	}
	if err == nil {
		err = l.t.Link(dir, name, to)
	}
	if err != nil {
		return pathError("link", l.t.join(dir, name), err)
	}
	l.count(0, func() string { return l.t.join(dir, name) })
	return nil
}

// mkdir gives a directory of that name: the one that is there, or one that
// is made in place of what is, with attributes that nobody told. ok tells that
// it was there.
func (l *layer) mkdir(dir ID, name string) (id ID, ok bool, err error) {
	if id, ok := l.t.Lookup(dir, name); ok && l.t.Node(id).IsDir() {
		return id, true, nil
	}
	f := &found{Node: l.o.made(disk.ModeDir | 0o755), unowned: true}
	if err := l.rules(f); err != nil {
		return 0, false, pathError("add", l.t.join(dir, name), err)
	}
	id, err = l.place(dir, name, f)
	if err != nil {
		return 0, false, pathError("add", l.t.join(dir, name), err)
	}
	l.t.Node(id).bits |= bitMade
	return id, false, nil
}

// made is a node that no source tells anything of.
func (o *Options) made(mode uint16) Node {
	return Node{Mode: mode, Atime: o.Time, Mtime: o.Time, Ctime: o.Time}
}

// finish ends a source: directories that turned out to be empty of what was
// wanted go.
func (l *layer) finish() error {
	for i := len(l.tentative) - 1; i >= 0; i-- { // those inside come first
		id := l.tentative[i]
		n := l.t.Node(id)
		if n.Links == 0 || n.bits&bitTentative == 0 {
			continue
		}
		n.bits &^= bitTentative
		if n.count() > 0 {
			continue
		}
		at, ok := l.t.nameOf(id)
		if !ok {
			continue
		}
		if err := l.t.Remove(at.dir, l.t.names.text(at.name)); err != nil {
			return err
		}
	}
	l.tentative = nil
	if l.o.Progress != nil {
		l.o.Progress(ProgressInfo{Files: l.files, Bytes: l.bytes})
	}
	return nil
}

// bare drops the name from an error, which is told beside it.
func bare(err error) error {
	var pe *fs.PathError
	for errors.As(err, &pe) {
		err = pe.Err
	}
	return err
}

// rules applies what is about one file to it.
func (l *layer) rules(f *found) error {
	o := l.o
	if o.NoXattrs {
		f.Mode = withoutACL(f.Mode, f.xattrs)
		f.xattrs = nil
	}
	if err := o.owners(f); err != nil {
		return err
	}
	if o.Chmod != nil && !f.IsSymlink() {
		old := f.Mode
		f.Mode = o.Chmod(old)&^disk.ModeType | old&disk.ModeType
		if f.Mode != old {
			f.xattrs = ChmodACL(f.xattrs, f.Mode)
		}
	}
	o.times(&f.Node)
	return nil
}

var errRange = fmt.Errorf("number out of range: %w", ErrSyntax)
