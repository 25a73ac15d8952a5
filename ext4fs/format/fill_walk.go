package format

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

// content is what a tree comes to in file systems of one shape: block and
// inode size, features and hash seed. Nothing in it has a place on the device
// yet, so that it serves for trials with several sizes.
//
// Files are known by their place in the walk, which begins at the root, lists
// each directory as Linux does and descends where it comes to one. Place 1 is
// lost+found's. Files get inodes and blocks in this order.
type content struct {
	t  *tree.Tree
	o  *Options
	sb disk.Superblock // only the shape counts

	order []tree.ID  // by place
	place []uint32   // by ID; noPlace
	root  *tree.Node // a copy, changed as the options say
	lost  tree.Node  // lost+found when the tree has none: lostID
	// aux is, by place, for a directory its number in dirs, for a regular
	// file its number in holes + 1; with inlineBit in inline.
	aux   []uint32
	dirs  []dirRec
	holes [][]span
	// inline are the regular files that lie in their inodes, of inlineBytes
	// in all.
	inline      []inlineFile
	inlineBytes int64
	inlineStart []int64 // where each inlineChunk of them begins in inlineBuf

	known  knownSpans
	attrs  *attrs
	owners []owner
	demand demand
	large  bool   // some file has 2 GiB or more
	files  uint64 // regular files with data
	bytes  int64  // of data to be read
}

const (
	noPlace   = ^uint32(0)
	lostPlace = 1
	// lostID stands for a lost+found that the tree does not have.
	lostID = tree.LostFound
	// inlineBit marks what lies in its inode.
	inlineBit = 1 << 31

	lostFound = "lost+found"
)

// span is a run of a file's blocks that hold data.
type span struct {
	first disk.LogicalNum
	n     uint32
}

// inlineFile is a file that lies in its inode, and where its bytes are in the
// content of its chunk. There may be very many of them.
type inlineFile struct {
	place uint32
	off   uint32
}

// inlineChunk is how many such files have one start: 32 bits hold their content,
// since each is shorter than an inode, and that at most 64 KiB.
const inlineChunk = 1 << 16

// addInline adds a file that lies in its inode.
func (c *content) addInline(at uint32, size int64) {
	if len(c.inline)%inlineChunk == 0 {
		c.inlineStart = append(c.inlineStart, c.inlineBytes)
	}
	c.inline = append(c.inline, inlineFile{at, uint32(c.inlineBytes - c.inlineStart[len(c.inlineStart)-1])})
	c.inlineBytes += size
}

// inlineOffset is where the bytes of such a file are in the content of all.
func (c *content) inlineOffset(at uint32) int64 {
	i := c.aux[at] &^ inlineBit
	return c.inlineStart[i/inlineChunk] + int64(c.inline[i].off)
}

// dirRec is what a directory comes to.
type dirRec struct {
	place, parent uint32
	blocks        disk.LogicalNum
	subdirs       uint32
	inline        uint32 // length of the value of system.data, of an inline directory
	indexed       bool
}

// demand counts what is to be taken from the space, in clusters.
type demand struct {
	meta uint64 // directories, links, attributes, maps
	data uint64
}

// newContent walks the tree.
func newContent(ctx context.Context, o *Options, sb *disk.Superblock, t *tree.Tree, root *tree.Node, known knownSpans) (*content, error) {
	c := &content{t: t, o: o, sb: *sb, root: root, known: known}
	c.attrs = newAttrs(c)
	c.place = make([]uint32, t.Len())
	for i := range c.place {
		c.place[i] = noPlace
	}
	if err := c.findLostFound(); err != nil {
		return nil, err
	}
	if err := c.walk(ctx); err != nil {
		return nil, err
	}
	c.findOwners()
	return c, nil
}

// findLostFound gives the two directories that every file system has their
// places.
func (c *content) findLostFound() error {
	id, ok := c.t.Lookup(tree.Root, lostFound)
	if !ok {
		id = lostID
		now := tree.TimeOf(c.o.Time)
		c.lost = tree.Node{Mode: disk.ModeDir | 0o700, Links: 1, Atime: now, Mtime: now, Ctime: now}
	} else if !c.t.Node(id).IsDir() {
		return &FileError{Path: "/" + lostFound, Err: tree.ErrNotDir}
	}
	c.order = make([]tree.ID, 0, c.t.Len()+1)
	c.aux = make([]uint32, 0, c.t.Len()+1)
	c.seat(tree.Root)
	c.seat(id)
	return nil
}

// seat gives the next place to a node.
func (c *content) seat(id tree.ID) uint32 {
	at := uint32(len(c.order))
	c.order = append(c.order, id)
	c.aux = append(c.aux, 0)
	if id != lostID {
		c.place[id] = at
	}
	return at
}

func (c *content) placeOf(id tree.ID) uint32 {
	if id == lostID {
		return lostPlace
	}
	return c.place[id]
}

// node is what is at a place.
func (c *content) node(at uint32) *tree.Node {
	switch id := c.order[at]; {
	case at == 0:
		return c.root
	case id != lostID:
		return c.t.Node(id)
	}
	return &c.lost
}

func (c *content) path(at uint32) string {
	if id := c.order[at]; id != lostID {
		return c.t.Path(id)
	}
	return "/" + lostFound
}

// entries lists the directory at a place, by name.
func (c *content) entries(at uint32) []tree.Entry {
	id := c.order[at]
	if id == lostID {
		return nil
	}
	list := c.t.Entries(id)
	if id == tree.Root && c.order[lostPlace] == lostID {
		i, _ := slices.BinarySearchFunc(list, lostFound, func(e tree.Entry, s string) int { return strings.Compare(e.Name, s) })
		list = slices.Insert(list, i, tree.Entry{Name: lostFound, ID: lostID})
	}
	return list
}

// frame is a directory that the walk is in.
type frame struct {
	rec     uint32
	next    int
	plan    *dir.Plan
	entries []tree.Entry
}

func (c *content) walk(ctx context.Context) error {
	b, err := c.newBuilder()
	if err != nil {
		return err
	}
	stack := make([]frame, 0, 32)
	enter := func(at, parent uint32) error {
		f, err := c.enter(b, at, parent)
		if err != nil {
			return &FileError{Path: c.path(at), Err: err}
		}
		stack = append(stack, f)
		return ctx.Err()
	}
	if err := enter(0, 0); err != nil {
		return err
	}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.next == len(f.entries) {
			stack = stack[:len(stack)-1]
			continue
		}
		id := f.entries[f.plan.At(f.next)].ID
		f.next++
		at := c.placeOf(id)
		switch {
		case at == noPlace:
			at = c.seat(id)
		case at != lostPlace:
			continue // one more name of it
		}
		if !c.node(at).IsDir() {
			err = c.measure(at)
		} else if err = c.addSubdir(f.rec); err == nil {
			err = enter(at, c.dirs[f.rec].place)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newBuilder makes what plans directories.
func (c *content) newBuilder() (*dir.Builder, error) {
	f := c.sb.Features
	return dir.NewBuilder(dir.Form{
		BlockSize: c.sb.BlockSize(), DirIndex: f.Compat.Has(disk.CompatDirIndex), MetadataCsum: c.sb.HasMetadataCsum(),
		Filetype: f.Incompat.Has(disk.IncompatFiletype), LargeDir: f.Incompat.Has(disk.IncompatLargeDir),
		HashSeed: c.sb.HashSeed, HashVersion: disk.HashVersion(c.sb.DefHashVersion),
		SignedHash: c.sb.Flags&disk.SuperFlagUnsignedHash == 0, Strict: c.sb.EncodingFlags&1 != 0,
	})
}

// planDir plans the blocks of the directory at a place.
func (c *content) planDir(b *dir.Builder, at uint32, entries []tree.Entry) (*dir.Plan, error) {
	var o dir.PlanOptions
	if at == lostPlace {
		o.MinBlocks = int((&plan{sb: c.sb}).lostFoundBlocks())
	}
	return b.Plan(len(entries), func(i int) string { return entries[i].Name }, o)
}

// enter measures a directory.
func (c *content) enter(b *dir.Builder, at, parent uint32) (frame, error) {
	f := frame{rec: uint32(len(c.dirs)), entries: c.entries(at)}
	room, err := c.attrs.add(at)
	if err != nil {
		return f, err
	}
	if f.plan, err = c.planDir(b, at, f.entries); err != nil {
		return f, err
	}
	r := dirRec{place: at, parent: parent, indexed: f.plan.Indexed(), blocks: f.plan.Blocks()}
	c.aux[at] = f.rec
	// Linux mounts no root without blocks, and a checker wants some in
	// lost+found.
	if at > lostPlace && room >= 0 && c.inlineData() {
		n, ok := dir.InlineSize(len(f.entries), func(i int) string { return f.entries[i].Name }, room)
		if ok {
			r.blocks, r.indexed, r.inline = 0, false, uint32(n)
			c.aux[at] |= inlineBit
		}
	}
	c.demand.meta += c.clusters(uint64(r.blocks))
	c.dirs = append(c.dirs, r)
	return f, nil
}

// measure measures a file that is not a directory.
func (c *content) measure(at uint32) error {
	room, err := c.attrs.add(at)
	n := c.node(at)
	switch {
	case err != nil:
	case n.Links > maxLinks:
		err = fmt.Errorf("%d names: %w", n.Links, errLinks)
	case n.IsSymlink():
		err = c.measureSymlink(at)
	case n.IsRegular():
		err = c.measureFile(at, room)
	case n.IsDevice() && (n.Major > maxMajor || n.Minor > maxMinor):
		err = fmt.Errorf("device %d:%d: %w", n.Major, n.Minor, errDevice)
	}
	if err != nil {
		return &FileError{Path: c.path(at), Err: err}
	}
	return nil
}

const (
	maxLinks = 65000
	// fastSymlink is the length from which on a target needs a block.
	fastSymlink = 60
	// Linux has room for these numbers of devices.
	maxMajor, maxMinor = 1<<12 - 1, 1<<20 - 1
)

func (c *content) measureSymlink(at uint32) error {
	n := len(c.t.Target(c.order[at]))
	if n == 0 || n >= c.sb.BlockSize() || int64(n) != c.node(at).Size {
		return fmt.Errorf("target of %d bytes: %w", n, errTarget)
	}
	if n >= fastSymlink {
		c.demand.meta++
	}
	return nil
}

var (
	errLinks  = disk.NewKind("too many names", syscall.EMLINK)
	errDevice = disk.NewKind("no such device number", fs.ErrInvalid, syscall.EINVAL)
	errTarget = disk.NewKind("a symbolic link's target is empty or longer than a block", syscall.ENAMETOOLONG)
	errSpans  = disk.NewKind("data beyond the end or out of order", fs.ErrInvalid, syscall.EINVAL)
)

// measureFile finds out what blocks of a regular file hold data.
func (c *content) measureFile(at uint32, room int) error {
	n := c.node(at)
	if n.Size == 0 {
		return nil
	}
	c.files++
	if room >= 0 && c.inlineData() && n.Size <= int64(inlineBlock+room) {
		c.aux[at] = inlineBit | uint32(len(c.inline))
		c.addInline(at, n.Size)
		c.bytes += n.Size
		return nil
	}
	if n.Size > c.maxSize() {
		return errTooBig
	}
	c.large = c.large || n.Size >= 1<<31
	list, err := c.known.spans(c.t, c.order[at])
	if err != nil {
		return err
	}
	blocks := c.blocksOf(n.Size)
	if list == nil {
		c.demand.data += c.clusters(blocks)
		c.bytes += n.Size
		return c.countMap(span{0, uint32(blocks)})
	}
	spans, err := c.blockSpans(list, n.Size)
	if err != nil {
		return err
	}
	if len(spans) == 1 && spans[0] == (span{0, uint32(blocks)}) {
		spans = nil
	}
	if spans != nil || len(list) == 0 {
		c.holes = append(c.holes, spans)
		c.aux[at] = uint32(len(c.holes))
	} else {
		spans = []span{{0, uint32(blocks)}}
	}
	bs := int64(c.sb.BlockSize())
	for _, s := range spans {
		c.demand.data += c.clusters(uint64(s.n))
		c.bytes += min(int64(s.n)*bs, n.Size-int64(s.first)*bs)
	}
	return c.countMap(spans...)
}

// blocksOf is how many blocks so many bytes take.
func (c *content) blocksOf(size int64) uint64 {
	bs := uint64(c.sb.BlockSize())
	return (uint64(size) + bs - 1) / bs
}

func (c *content) clusters(blocks uint64) uint64 {
	r := uint64(c.sb.ClusterRatio())
	return (blocks + r - 1) / r
}

// blockSpans gives the blocks that hold data. Whole clusters count as data, up
// to the end of the file, so that no cluster is mapped in part.
func (c *content) blockSpans(list []tree.Span, size int64) ([]span, error) {
	ratio := uint64(c.sb.ClusterRatio())
	unit, blocks := ratio*uint64(c.sb.BlockSize()), c.blocksOf(size)
	var spans []span
	end, behind := int64(0), uint64(0)
	for _, s := range list {
		if s.Off < end || s.Len < 0 || s.Off > size || s.Len > size-s.Off {
			return nil, fmt.Errorf("%d bytes at %d of %d: %w", s.Len, s.Off, size, errSpans)
		}
		if s.Len == 0 {
			continue
		}
		end = s.Off + s.Len
		from := max(uint64(s.Off)/unit*ratio, behind)
		behind = min((uint64(end)+unit-1)/unit*ratio, blocks)
		if from >= behind {
			continue
		}
		if k := len(spans) - 1; k >= 0 && uint64(spans[k].first)+uint64(spans[k].n) == from {
			spans[k].n += uint32(behind - from)
			continue
		}
		spans = append(spans, span{disk.LogicalNum(from), uint32(behind - from)})
	}
	return spans, nil
}

// inlineData reports whether files may lie in their inodes.
func (c *content) inlineData() bool { return c.sb.Features.Incompat.Has(disk.IncompatInlineData) }

// extents reports whether files have extent trees, and not pointer blocks.
func (c *content) extents() bool { return c.sb.Features.Incompat.Has(disk.IncompatExtents) }

// spansOf are the blocks of a regular file that hold data. A file without holes
// has one, for which there is room.
func (c *content) spansOf(at uint32, room *[1]span) []span {
	switch a := c.aux[at]; {
	case a&inlineBit != 0 || c.node(at).Size == 0:
		return nil
	case a == 0:
		room[0] = span{0, uint32(c.blocksOf(c.node(at).Size))}
		return room[:]
	default:
		return c.holes[a-1]
	}
}

// addSubdir counts a directory in a directory.
func (c *content) addSubdir(rec uint32) error {
	d := &c.dirs[rec]
	d.subdirs++
	if d.subdirs+2 > maxLinks && !(d.indexed && c.sb.Features.ROCompat.Has(disk.ROCompatDirNlink)) {
		return &FileError{Path: c.path(d.place), Err: fmt.Errorf("%d directories without dir_nlink: %w", d.subdirs, errLinks)}
	}
	return nil
}

// maxSize is the longest that a file can be.
func (c *content) maxSize() int64 {
	bs := int64(c.sb.BlockSize())
	blocks := int64(disk.MaxLogical)
	if !c.extents() {
		n := bs / 4
		blocks = min(blocks, 12+n+n*n+n*n*n)
	}
	if !c.sb.Features.ROCompat.Has(disk.ROCompatHugeFile) {
		// i_blocks has 32 bits for sectors, some of which are of maps.
		blocks = min(blocks, (1<<32-1)*512/bs)
	}
	return blocks * bs
}

// countMap counts the blocks of a map that are needed however the file lies.
func (c *content) countMap(spans ...span) error {
	var list [1]extent.Extent
	runs := list[:0]
	for _, s := range spans {
		runs = append(runs, extent.Extent{Logical: s.first, Physical: 1, Len: s.n})
	}
	n := 0
	if c.extents() {
		var err error
		if n, err = extent.Pieces(runs); err != nil || n <= disk.ExtentRootMax {
			return err
		}
		if n, err = extent.TreeBlocks(n, c.sb.BlockSize()); err != nil {
			return err
		}
	} else {
		if k := len(spans) - 1; k < 0 || uint64(spans[k].first)+uint64(spans[k].n) <= 12 {
			return nil
		}
		var err error
		if n, err = indirect.MapBlocks(runs, c.sb.BlockSize()); err != nil {
			return err
		}
	}
	c.demand.meta += uint64(n)
	return nil
}

// warn tells of what the image has not as the tree has it.
func (c *content) warn(at uint32, err error) {
	if c.o.Warn != nil {
		c.o.Warn(c.path(at), err)
	}
}

// require sets the features that the content needs, where every kernel would do
// it by itself.
func (c *content) require(sb *disk.Superblock) {
	if len(c.attrs.list) > 0 {
		sb.Features.Compat |= disk.CompatExtAttr
	}
	if c.large && sb.RevLevel > 0 {
		sb.Features.ROCompat |= disk.ROCompatLargeFile
	}
}

// knownSpans remembers where files have data: to find out, a source may have to
// read them.
type knownSpans map[tree.ID][]tree.Span

// costly is the size from which on the answer is remembered in any case.
const costly = 1 << 20

func (k knownSpans) spans(t *tree.Tree, id tree.ID) ([]tree.Span, error) {
	if list, ok := k[id]; ok {
		return list, nil
	}
	list, err := t.Spans(id)
	if err == nil && (list != nil || t.Node(id).Size >= costly) {
		k[id] = list
	}
	return list, err
}

// owner is somebody who has files.
type owner struct{ uid, gid uint32 }

// findOwners lists all owners, once each.
func (c *content) findOwners() {
	seen := make(map[owner]bool)
	for at := range c.order {
		n := c.node(uint32(at))
		o := owner{n.UID, n.GID}
		if !seen[o] {
			seen[o] = true
			c.owners = append(c.owners, o)
		}
	}
}
