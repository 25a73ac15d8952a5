package dir

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// addition is a name on its way into the directory.
type addition struct {
	query
	inode disk.InodeNum
	typ   uint8
	need  int    // bytes of its record
	hash  uint32 // once the index is known
}

// Insert adds a name, which must not be there yet. typ is one of
// disk.FileTypeRegular and so on; it is dropped without the filetype feature.
//
// Changes of a directory must not run at the same time as other methods of
// its Config, nor as those of another Config of it. They bring the Config up to
// date: Blocks, Indexed, StaleIndex and the inline content. It is worth being
// kept: it learns about the directory.
//
// Errors of the caller's doing are ErrExist, ErrInvalid, ErrNameLong, ErrNoKey
// and ErrNoSpace (index or size have reached their bounds); damage is a *disk.CorruptError or
// *disk.ChecksumError. Those of the Config's functions and of tx are wrapped.
// After an error the directory has the names it had before and is sound, though
// it may have become larger or changed its shape on the way; but for a
// *PartialError, after which the transaction must not be committed.
//
// tx needs InsertCredits, and what InsertAppends calls of Append take.
func (c *Config) Insert(tx cache.Tx, name []byte, ino disk.InodeNum, typ uint8) error {
	n := addition{inode: ino, typ: c.fileType(typ)}
	if err := c.prepare(&n, name, typ); err != nil {
		return err
	}
	return c.insert(tx, &n)
}

func (c *Config) insert(tx cache.Tx, n *addition) error {
	defer c.tidy()
	if c.inline() {
		if done, err := c.insertInline(tx, n); done || err != nil {
			return err
		}
	}
	if c.Indexed {
		return c.insertTree(tx, n, false)
	}
	return c.insertLinear(tx, n)
}

// prepare checks a name and its inode.
func (c *Config) prepare(n *addition, name []byte, typ uint8) error {
	switch {
	case c.Append == nil || c.SetIndexed == nil || c.inline() && (c.SetInline == nil || c.LeaveInline == nil):
		return fmt.Errorf("directory %d was not opened for changes: %w", c.Inode, ErrInvalid)
	case isDots(name):
		return ErrExist
	case c.Encrypted:
		return ErrNoKey
	case len(name) > disk.MaxNameLen:
		return ErrNameLong
	case len(name) == 0 || bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0:
		return fmt.Errorf("name %q: %w", name, ErrInvalid)
	case n.inode == 0 || !c.inRange(n.inode) || typ > disk.FileTypeSymlink:
		return fmt.Errorf("inode %d of type %d: %w", n.inode, typ, ErrInvalid)
	}
	n.name, n.need = name, disk.DirentSize(len(name), false)
	if c.Casefold {
		n.folded, n.fold = casefold.Append(c.scratch().name[:0], name)
		if c.Strict && !n.fold {
			return fmt.Errorf("name %q is not UTF-8: %w", name, ErrInvalid)
		}
	}
	return nil
}

// Remove takes a name out and returns its entry; its Name is not part of a
// block. In an encrypted directory name is a no-key name. It gives
// fs.ErrNotExist like Lookup, and ErrInvalid for "." and "..". The block stays
// even when it was its last name. See Insert for the rest.
func (c *Config) Remove(tx cache.Tx, name []byte) (Entry, error) {
	if isDots(name) {
		return Entry{}, fmt.Errorf("name %q: %w", name, ErrInvalid)
	}
	e, err := c.Lookup(name)
	if err != nil {
		return Entry{}, err
	}
	e.keepName(name)
	if c.inline() {
		return e, c.changeInline(tx, &e, func(l disk.DirLayout, part []byte, off, prev int) {
			l.RemoveDirent(part, off, prev)
		})
	}
	b, prev, err := c.find(&e)
	if err != nil {
		return Entry{}, err
	}
	data, err := c.write(tx, b, TreeLeaf)
	if err != nil {
		return Entry{}, err
	}
	c.layout().RemoveDirent(data, e.Offset, prev)
	return e, nil
}

// Replace points an existing name at another inode, and returns the entry as it
// was. It does so with ".." too, but not with ".". In encrypted directories
// it gives ErrNoKey for others than "..".
func (c *Config) Replace(tx cache.Tx, name []byte, ino disk.InodeNum, typ uint8) (Entry, error) {
	switch {
	case disk.IsDot(name) || ino == 0 || !c.inRange(ino) || typ > disk.FileTypeSymlink:
		return Entry{}, fmt.Errorf("name %q to inode %d of type %d: %w", name, ino, typ, ErrInvalid)
	case c.Encrypted && !disk.IsDotDot(name):
		return Entry{}, ErrNoKey
	}
	old, err := c.Lookup(name)
	if err != nil {
		return Entry{}, err
	}
	old.keepName(name)
	typ = c.fileType(typ)
	if c.inline() {
		return old, c.changeInline(tx, &old, func(_ disk.DirLayout, part []byte, off, _ int) {
			disk.Dirent(part[off:]).SetInode(ino)
			disk.Dirent(part[off:]).SetType(typ)
		})
	}
	kind := TreeLeaf
	if c.Indexed && old.Block == 0 {
		kind = TreeRoot
	}
	b, _, err := c.find(&old)
	if err != nil {
		return Entry{}, err
	}
	data, err := c.write(tx, b, kind)
	if err != nil {
		return Entry{}, err
	}
	disk.Dirent(data[old.Offset:]).SetInode(ino)
	disk.Dirent(data[old.Offset:]).SetType(typ)
	return old, nil
}

// keepName makes the entry's name independent of its block, without a copy if
// it is the one that was asked for.
func (e *Entry) keepName(name []byte) {
	if bytes.Equal(e.Name, name) {
		e.Name = name
	} else {
		e.Name = slices.Clone(e.Name)
	}
}

// find reads the block of an entry that was looked up and gives the place of
// the record before it, -1 if it is the first one. The block is fit to be
// changed.
func (c *Config) find(e *Entry) (b *cache.Buffer, prev int, err error) {
	if b, err = c.leafOrIndex(e.Block); err == nil && b == nil {
		err = c.holeError(e.Block)
	}
	if err != nil {
		return nil, 0, err
	}
	l := c.layout()
	end := l.LeafEnd()
	if c.Indexed && e.Block == 0 {
		l.Checksum, end = false, c.BlockSize
	}
	prev, last := -1, -1
	it := l.Iter(b.Data())
	found := false
	for it.Next() {
		if it.Offset() == e.Offset {
			prev, found = last, true
		}
		last = it.Offset()
	}
	if cerr := it.Err(); cerr != nil {
		return nil, 0, c.locate(cerr, b)
	}
	if it.End() != end || !found {
		return nil, 0, c.endError(b, it.End())
	}
	return b, prev, nil
}

// endError is the error of a leaf whose records do not end where they should:
// at a checksum record if there are checksums. Linux refuses to change such a
// block too.
func (c *Config) endError(b *cache.Buffer, end int) error {
	detail := fmt.Sprintf("the entries end at %d, not at %d", end, c.layout().LeafEnd())
	if c.MetadataCsum && !disk.HasDirTail(b.Data()) {
		detail = "there is no room for a checksum; the directory needs a rebuild (e2fsck -D)"
	}
	return &disk.CorruptError{What: "directory block", Block: b.Block(), Inode: c.Inode, Detail: detail}
}

// Init makes "." and ".." of a new directory: of an inline one if InlineBlock
// is set, whatever it holds, else in a first block.
func (c *Config) Init(tx cache.Tx, parent disk.InodeNum) error {
	if c.inline() {
		return c.initInline(tx, parent)
	}
	if c.Blocks != 0 || c.Append == nil {
		return fmt.Errorf("directory %d has %d blocks: %w", c.Inode, c.Blocks, ErrInvalid)
	}
	_, data, err := c.grow(tx, TreeLeaf)
	if err != nil {
		return err
	}
	l := c.layout()
	l.InitDots(data, c.Inode, parent, c.fileType(disk.FileTypeDir), l.LeafEnd())
	c.Indexed, c.placed = false, true
	return nil
}

// Empty reports whether there is nothing but "." and "..". Trouble on the way
// is an error: what cannot be read may hold names.
func (c *Config) Empty() (bool, error) {
	dots := 0
	for e, err := range c.Entries() {
		if err != nil {
			return false, err
		}
		if !isDots(e.Name) {
			return false, nil
		}
		dots++
	}
	if dots != 2 {
		return false, &disk.CorruptError{What: "directory", Inode: c.Inode, Detail: "\".\" or \"..\" is missing"}
	}
	return true, nil
}

// InsertCredits is how many blocks of the directory one Insert, or Init, adds
// to the transaction at most; what the Config's functions add comes on top.
func (c *Config) InsertCredits() int {
	switch {
	case !c.Indexed && !c.inline() && c.Blocks != 1:
		return 1
	case !c.Indexed:
		return 3 // root and two leaves
	}
	// The path to the leaf, the leaf, and a new block beside each but the root.
	return 2*(c.layout().DXLevels()+1) + 1
}

// InsertAppends is how often one Insert, or Init, calls Append at most.
func (c *Config) InsertAppends() int {
	switch {
	case c.inline():
		return 3
	case !c.Indexed && c.Blocks != 1:
		return 1
	case !c.Indexed:
		return 2
	}
	return c.layout().DXLevels() + 1
}

// RemoveCredits is like InsertCredits for Remove.
func (c *Config) RemoveCredits() int { return 1 }

// ReplaceCredits is like InsertCredits for Replace.
func (c *Config) ReplaceCredits() int { return 1 }
