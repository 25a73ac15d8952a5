package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/pax"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// Tar is the source of FromTar for a file of the host.
func Tar(path string) Source {
	return func(ctx context.Context, t *Tree, at ID, o *Options) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		t.closeWith(f)
		if err := FromTar(ctx, t, at, f, o); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
}

// TarReader is the source of FromTar for a stream.
func TarReader(r io.Reader) Source {
	return func(ctx context.Context, t *Tree, at ID, o *Options) error {
		return FromTar(ctx, t, at, r, o)
	}
}

// FromTar adds the members of a tar stream (v7, ustar, GNU, PAX; plain or
// compressed with gzip, zstd, xz or bzip2) to a directory. Of a regular file,
// and of what has ReadAt and Size, only the headers are read if it is not
// compressed: it must stay as it is, and open, until the tree is closed. All
// else is unpacked into a temporary file (Options.TempDir, MaxBytes). After an
// error r may still be read from until it ends.
//
// The stream is not trusted. A name with a slash in front begins at the
// directory. A name that has ".." in it, a hard link to what is not there or is a
// directory, a file where a directory should
// be on the way, unknown types, owners and device numbers out of range are
// errors: *fs.PathError with the member's name. Symbolic links on the way are
// followed with the directory as the root, as chroot(2) would. What headers
// make the tree keep is bounded: Options.MaxNodes, and 1 GiB of attributes and
// maps of holes (ErrTooMany).
//
// A later member replaces an earlier one of its name; directories are joined.
// Missing ones on the way are made: 0755, owned by root, Options.Time. Times
// of access and change that the stream does not have are those of
// modification. An attribute or ACL that cannot be kept is told to
// Options.Warn.
func FromTar(ctx context.Context, t *Tree, at ID, r io.Reader, o *Options) error {
	a, err := openStream(ctx, r, o)
	if err != nil {
		return err
	}
	u, err := newUnpack(t, at, o)
	if err != nil {
		a.Close()
		return err
	}
	return u.archive(ctx, a)
}

// maxKept bounds what members make the tree keep beside nodes and names, in
// bytes.
const maxKept = 1 << 30

// unpack adds the members of archives, one after the other, to a tree.
type unpack struct {
	t      *Tree
	l      *layer
	from   *tarSource
	source uint32 // its number
	// whiteouts, if not nil, takes names that begin with ".wh." for them.
	whiteouts *whiteouts
	kept      int64

	known   map[string]ID // directories by their way
	lastWay string        // the last of them
	last    ID
	left    map[string]*leftOut // by name
}

// leftOut is a file that the filter left out under its own name. A hard link
// that is not left out makes it after all.
type leftOut struct {
	*found
	id   ID
	made bool
}

func newUnpack(t *Tree, at ID, o *Options) (*unpack, error) {
	l, err := newLayer(t, at, o)
	if err != nil {
		return nil, err
	}
	return &unpack{t: t, l: l}, nil
}

// archive adds what an archive has. The tree closes it.
func (u *unpack) archive(ctx context.Context, a *archive) error {
	u.t.closeWith(a)
	u.from = &tarSource{r: a.r, host: a.host, base: a.base}
	u.source = u.t.addSource(u.from)
	u.forget()
	u.left = nil
	err := u.members(ctx, pax.NewReaderAt(a.r, a.size))
	if err == nil {
		err = a.wait()
	}
	if err == nil && a.length() == 0 {
		err = fmt.Errorf("not a tar archive: it is empty: %w", io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = u.l.finish()
	}
	if err != nil {
		return errors.Join(err, a.Close())
	}
	return nil
}

// members adds all members.
func (u *unpack) members(ctx context.Context, r *pax.Reader) error {
	for n := 0; ; n++ {
		if n&0xff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		h, err := r.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil && n == 0 && errors.Is(err, pax.ErrHeader):
			return fmt.Errorf("not a tar archive: %w", err)
		case err != nil:
			return fmt.Errorf("tar archive after %d members: %w", n, err)
		}
		if err := u.member(h); err != nil {
			return err
		}
	}
}

// memberError names the member that an error is about.
func memberError(name string, err error) error {
	if len(name) > 1024 {
		name = name[:1024] + "..."
	}
	return pathError("tar", name, bare(err))
}

// member adds one member.
func (u *unpack) member(h *pax.Header) error {
	names, err := u.names(h.Name)
	if err != nil {
		return memberError(h.Name, err)
	}
	if u.whiteouts != nil {
		if done, err := u.whiteout(h, names); done || err != nil {
			return err
		}
	}
	kind, err := h.FileType()
	if kind == 0 && err == nil {
		return nil
	}
	path := joined(h.Name, names)
	chosen := u.l.filter.path(path, kind == disk.ModeDir)
	if chosen == chooseOut && (err != nil || h.Type == pax.TypeLink || kind == disk.ModeDir) {
		return nil
	}
	if err != nil {
		return memberError(h.Name, err)
	}
	if h.Type == pax.TypeLink {
		err = u.link(names, path, h)
	} else {
		err = u.file(names, path, kind, chosen, h)
	}
	if err != nil {
		return memberError(h.Name, err)
	}
	return nil
}

// joined is names with slashes between; most often the name is that already.
func joined(name string, names []string) string {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	size := len(names) - 1
	for _, el := range names {
		size += len(el)
	}
	if size == len(name) {
		return name
	}
	return strings.Join(names, "/")
}

// names takes a member's name apart.
func (u *unpack) names(name string) ([]string, error) {
	names, err := pax.SplitName(name)
	if err == nil && len(names) > maxDepth {
		err = ErrNameTooLong
	}
	return names, err
}

// file adds a member that is no hard link.
func (u *unpack) file(names []string, path string, kind uint16, chosen choice, h *pax.Header) error {
	f, err := u.found(kind, path, h)
	if err != nil {
		return err
	}
	f.tentative = chosen == chooseMaybe
	if chosen == chooseOut {
		if u.left == nil {
			u.left = make(map[string]*leftOut)
		}
		u.left[path] = &leftOut{found: f}
		return u.keep(int64(len(path)) + 256)
	}
	if len(names) == 0 {
		if chosen == chooseMaybe {
			return nil
		}
		u.touched(u.l.at)
		return u.l.root(f)
	}
	dir, err := u.parent(names, path)
	if err != nil {
		return err
	}
	_, err = u.put(dir, names[len(names)-1], f)
	return err
}

// put adds a file, over what is there.
func (u *unpack) put(dir ID, name string, f *found) (ID, error) {
	if old, ok := u.t.Lookup(dir, name); ok {
		if n := u.t.Node(old); n.IsDir() != f.IsDir() || n.IsSymlink() {
			u.forget() // what was a way may be none now
		}
	}
	id, err := u.l.put(dir, name, f)
	if err == nil && f.IsDir() {
		u.touched(id)
	}
	return id, err
}

// link gives a file that came before another name.
func (u *unpack) link(names []string, path string, h *pax.Header) error {
	target, err := u.names(h.Link)
	if err == nil && (len(names) == 0 || len(target) == 0) {
		err = ErrIsDir
	}
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Link, err)
	}
	dir, err := u.parent(names, path)
	if err != nil {
		return err
	}
	name := names[len(names)-1]
	if f, ok := u.left[strings.Join(target, "/")]; ok {
		if f.made && u.t.Node(f.id).Links > 0 {
			return u.linkTo(dir, name, f.id)
		}
		again := *f.found // the rules change it
		f.id, err = u.put(dir, name, &again)
		f.made = err == nil
		return err
	}
	to, err := u.walk(target[:len(target)-1], false)
	ok := false
	if err == nil {
		to, ok = u.t.Lookup(to, target[len(target)-1])
		if !ok {
			err = ErrNotExist
		} else if u.t.Node(to).IsDir() {
			err = ErrIsDir
		}
	}
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Link, err)
	}
	return u.linkTo(dir, name, to)
}

// linkTo adds a name of a node, over what is there.
func (u *unpack) linkTo(dir ID, name string, to ID) error {
	if old, ok := u.t.Lookup(dir, name); ok && (u.t.Node(old).IsDir() || u.t.Node(old).IsSymlink()) {
		u.forget()
	}
	if err := u.l.link(dir, name, to); err != nil {
		return err
	}
	if u.whiteouts != nil && to < u.whiteouts.mark {
		u.whiteouts.links[entryKey{dir, name}] = true
	}
	return nil
}

// found makes of a header what goes into the tree.
func (u *unpack) found(kind uint16, path string, h *pax.Header) (*found, error) {
	f := &found{}
	f.Mode = kind | uint16(h.Mode)&^disk.ModeType
	if kind == disk.ModeSymlink {
		f.Mode = kind | disk.ModePerm // as Linux makes them
	}
	var err error
	if f.UID, f.GID, err = h.Owner(); err != nil {
		return nil, err
	}
	f.Mtime = TimeOf(h.Mtime)
	f.Atime, f.Ctime = f.Mtime, f.Mtime
	if !h.Atime.IsZero() {
		f.Atime = TimeOf(h.Atime)
	}
	if !h.Ctime.IsZero() {
		f.Ctime = TimeOf(h.Ctime)
	}
	switch kind {
	case disk.ModeSymlink:
		f.target = h.Link
		if f.target == "" || len(f.target) > maxTarget {
			return nil, fmt.Errorf("target of %d bytes: %w", len(f.target), ErrTarget)
		}
	case disk.ModeChar, disk.ModeBlock:
		if f.Major, f.Minor, err = h.Device(); err != nil {
			return nil, err
		}
	case disk.ModeRegular:
		f.Size = h.Size
		if h.Size > 0 {
			f.source = u.source + 1
			f.ref, f.holes = u.from.add(h), h.Sparse
		}
		if err := u.keep(int64(len(h.Pieces)) * 16); err != nil {
			return nil, err
		}
	}
	return f, u.attributes(f, path, h)
}

// maxTarget is the longest target that Linux takes.
const maxTarget = 4095

// keep counts what the tree has to keep.
func (u *unpack) keep(n int64) error {
	if u.kept += n; u.kept > maxKept {
		return fmt.Errorf("attributes and maps of holes of more than %d bytes: %w", int64(maxKept), ErrTooMany)
	}
	return nil
}

// attributes takes over the extended attributes that ext4 can have.
func (u *unpack) attributes(f *found, path string, h *pax.Header) error {
	list, err := h.Xattrs(u.l.o.IDs)
	if err != nil && !u.l.o.NoXattrs {
		u.l.warn(path, err)
	}
	if group, lost := h.LostACL(u.l.o.IDs); lost && !f.IsSymlink() {
		f.Mode = f.Mode&^0o070 | group<<3
	}
	for _, x := range list {
		x := Xattr(x)
		if u.l.o.NoXattrs && x.Name != xattrAccess {
			continue // the ACL changes the mode
		}
		ok, err := f.attribute(&x)
		if err != nil {
			u.l.warn(path, fmt.Errorf("attribute %s: %w", x.Name, err))
		} else if ok {
			f.xattrs = append(f.xattrs, x)
			if err := u.keep(int64(len(x.Name) + len(x.Value) + 64)); err != nil {
				return err
			}
		}
	}
	return nil
}

// attribute checks an attribute, and applies an ACL to the mode. ok is false if
// nothing is left to be kept.
func (f *found) attribute(x *Xattr) (ok bool, err error) {
	index, _, err := xattr.SplitName(x.Name)
	if err != nil {
		return false, err
	}
	if err := xattr.CheckUser(index, f.Mode); err != nil {
		return false, err
	}
	if x.Name != xattrAccess && x.Name != xattrDefault {
		if len(x.Value) > xattr.MaxValue {
			return false, fmt.Errorf("%d bytes: %w", len(x.Value), xattr.ErrTooBig)
		}
		return true, nil
	}
	entries, err := xattr.ParseCallACL(x.Value)
	if err != nil {
		return false, err
	}
	if x.Name == xattrDefault {
		err = xattr.SetDefaultACL(f.Mode, entries)
	} else if f.IsSymlink() {
		err = ErrType
	} else {
		f.Mode, entries, err = xattr.SetAccessACL(f.Mode, entries, false)
	}
	if err != nil || len(entries) == 0 {
		return false, err
	}
	x.Value = disk.EncodeCallACL(entries)
	return true, nil
}

// maxKnown bounds the directories that are remembered.
const maxKnown = 4096

func (u *unpack) forget() { u.known, u.lastWay, u.last = nil, "", u.l.at }

// parent gives the directory that a member goes into, and makes it if need be.
// path is names joined.
func (u *unpack) parent(names []string, path string) (ID, error) {
	if len(names) == 1 {
		return u.l.at, nil
	}
	way := path[:len(path)-len(names[len(names)-1])-1]
	if way == u.lastWay {
		return u.last, nil
	}
	dir, ok := u.known[way]
	if !ok {
		var err error
		if dir, err = u.walk(names[:len(names)-1], true); err != nil {
			return 0, err
		}
		if u.known == nil || len(u.known) >= maxKnown {
			u.known = make(map[string]ID)
		}
		u.known[way] = dir
	}
	u.lastWay, u.last = way, dir
	return dir, nil
}

// walk goes along names from the top, see layer.walk.
func (u *unpack) walk(names []string, create bool) (ID, error) {
	return u.l.walk(u.l.at, names, create)
}

// lookup finds a file, through symbolic links also where the last name is one.
func (u *unpack) lookup(name string) (ID, error) {
	names, err := u.names(name)
	dir := u.l.at
	for links := 0; ; links++ {
		if err == nil && len(names) == 0 {
			err = ErrIsDir
		}
		if err == nil {
			dir, err = u.l.walk(dir, names[:len(names)-1], false)
		}
		if err != nil {
			return 0, err
		}
		id, ok := u.t.Lookup(dir, names[len(names)-1])
		if !ok {
			return 0, ErrNotExist
		}
		if !u.t.Node(id).IsSymlink() {
			return id, nil
		}
		if links >= maxFollow {
			return 0, ErrLoop
		}
		target := u.t.Target(id)
		if strings.HasPrefix(target, "/") {
			dir = u.l.at
		}
		names = strings.Split(strings.TrimRight(target, "/"), "/")
	}
}

// tarSource gives the content of members: ref is where it begins in the
// archive, or, with the first bit set, the number of a sparse one.
type tarSource struct {
	r      io.ReaderAt
	host   *os.File
	base   int64 // of the archive in host
	sparse []sparsePlace
}

// sparsePlace is the content of a sparse member.
type sparsePlace struct {
	off    int64
	pieces []pax.Span
}

const sparseRef = 1 << 63

func (s *tarSource) add(h *pax.Header) uint64 {
	if !h.Sparse {
		return uint64(h.Offset)
	}
	s.sparse = append(s.sparse, sparsePlace{h.Offset, h.Pieces})
	return sparseRef | uint64(len(s.sparse)-1)
}

func (s *tarSource) open(ref uint64, n *Node) (File, error) {
	if ref&sparseRef != 0 {
		p := s.sparse[ref&^sparseRef]
		return sectionFile{newPieces(s.r, p), n.Size}, nil
	}
	return &tarFile{sectionFile{io.NewSectionReader(s.r, int64(ref), n.Size), n.Size}, s, int64(ref)}, nil
}

func (s *tarSource) spans(ref uint64, _ *Node) ([]Span, error) {
	if ref&sparseRef == 0 {
		return nil, nil
	}
	p := s.sparse[ref&^sparseRef]
	spans := make([]Span, len(p.pieces))
	for i, x := range p.pieces {
		spans[i] = Span(x)
	}
	return spans, nil
}

// tarFile is a member that lies in the archive as it is.
type tarFile struct {
	sectionFile
	s   *tarSource
	off int64
}

// Host tells where the member is in the file that the archive is in.
func (f *tarFile) Host() (*os.File, int64, bool) {
	return f.s.host, f.s.base + f.off, f.s.host != nil
}

// piecesReader reads a sparse member.
type piecesReader struct {
	r      io.ReaderAt
	pieces []pax.Span
	at     []int64 // where the pieces are in r
}

func newPieces(r io.ReaderAt, p sparsePlace) *piecesReader {
	at := make([]int64, len(p.pieces))
	off := p.off
	for i, x := range p.pieces {
		at[i] = off
		off += x.Len
	}
	return &piecesReader{r, p.pieces, at}
}

// ReadAt reads on beyond the last piece as well: zeros.
func (s *piecesReader) ReadAt(p []byte, off int64) (int, error) {
	i := sort.Search(len(s.pieces), func(i int) bool { return s.pieces[i].Off+s.pieces[i].Len > off })
	for done := 0; done < len(p); {
		rest := p[done:]
		at := off + int64(done)
		if i < len(s.pieces) && s.pieces[i].Off <= at {
			x := s.pieces[i]
			rest = rest[:min(int64(len(rest)), x.Off+x.Len-at)]
			if err := device.ReadFull(s.r, rest, s.at[i]+at-x.Off); err != nil {
				return done, err
			}
			i++
		} else {
			if i < len(s.pieces) {
				rest = rest[:min(int64(len(rest)), s.pieces[i].Off-at)]
			}
			clear(rest)
		}
		done += len(rest)
	}
	return len(p), nil
}
