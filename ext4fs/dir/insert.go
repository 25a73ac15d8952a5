package dir

import (
	"io/fs"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// work is memory that changes use again and again.
type work struct {
	block  []byte
	pieces []piece
	name   [512]byte // folded, of the new name
	fold   [512]byte // and of another
}

func (c *Config) scratch() *work {
	if c.work == nil {
		c.work = works.Get().(*work)
	}
	return c.work
}

// works are shared by all directories: a Config lives as long as its inode is
// in memory, and few of them are changed at the same time.
var works = sync.Pool{New: func() any { return new(work) }}

// tidy gives back what scratch gave, at the end of a change.
func (c *Config) tidy() {
	if c.work != nil {
		works.Put(c.work)
		c.work = nil
	}
}

// room is what a walk over a block found.
type room struct {
	off  int // of the first record with room for the new one, or -1
	last int // of the last record
	used int // bytes that the entries need
}

// scan looks for the name and for room in the records of block b, which must
// end at end. The first skip records are not for others to share. It gives
// ErrExist when the name is there. b is nil for parts of inline directories.
func (c *Config) scan(l disk.DirLayout, data []byte, b *cache.Buffer, end int, n *addition, skip int) (room, error) {
	if !n.fold {
		if s := l.Scan(data, n.name, n.need, skip, true); s.Sound && s.Found >= 0 {
			return room{off: -1}, ErrExist
		} else if s.Sound && s.End == end {
			return room{s.Room, max(s.Last, 0), s.Used}, nil
		}
	}
	r := room{off: -1}
	it := l.Iter(data)
	for i := 0; it.Next(); i++ {
		d := it.Dirent()
		used := 0
		if d.Inode() != 0 {
			if (n.fold || d.NameLen() == len(n.name)) && c.same(n, d.Name()) {
				return r, ErrExist
			}
			// New names are not for directories with hashes in the entries.
			used = disk.DirentSize(d.NameLen(), false)
			r.used += used
		}
		if r.off < 0 && len(d)-used >= n.need && i >= skip {
			r.off = it.Offset()
		}
		r.last = it.Offset()
	}
	if err := it.Err(); err != nil {
		return r, c.locate(err, b)
	}
	if it.End() != end {
		if b == nil {
			return r, c.inlineError(it.End(), "the entries do not end with their part")
		}
		return r, c.endError(b, it.End())
	}
	return r, nil
}

// scanLeaf scans a block.
func (c *Config) scanLeaf(b *cache.Buffer, n *addition, skip int) (room, error) {
	l := c.layout()
	return c.scan(l, b.Data(), b, l.LeafEnd(), n, skip)
}

// same reports whether a name of the directory is the new one.
func (c *Config) same(n *addition, name []byte) bool {
	if string(name) == string(n.name) {
		return true
	}
	return n.fold && casefold.EqualFolded(n.folded, name, c.scratch().fold[:0])
}

// put writes the new record to the room found in a block.
func (c *Config) put(tx cache.Tx, b *cache.Buffer, off int, n *addition) error {
	data, err := c.write(tx, b, TreeLeaf)
	if err == nil {
		c.layout().InsertDirent(data, off, n.inode, n.typ, n.name)
	}
	return err
}

// insertLinear inserts without an index: in the first block that has room,
// after all were looked through for the name.
func (c *Config) insertLinear(tx cache.Tx, n *addition) error {
	var at *cache.Buffer
	var off int
	for l := disk.LogicalNum(0); l < c.Blocks; l++ {
		b, err := c.linearBlock(l)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		skip := 0
		if l == 0 {
			skip = 1 // ".." comes right after "."
		}
		r, err := c.scanLeaf(b, n, skip)
		if err != nil {
			return err
		}
		if r.off >= 0 && at == nil {
			at, off = b, r.off
		}
	}
	if c.Blocks == 0 {
		return c.holeError(0)
	}
	if err := c.dropStaleIndex(tx); err != nil {
		return err
	}
	switch {
	case at != nil:
		return c.put(tx, at, off, n)
	case c.Blocks == 1 && c.DirIndex && c.HashVersion <= disk.HashTEA:
		return c.makeIndex(tx, n)
	}
	_, data, err := c.grow(tx, TreeLeaf)
	if err == nil {
		c.layout().InsertDirent(data, 0, n.inode, n.typ, n.name)
	}
	return err
}

// linearBlock reads a block of a linear directory; nil for a hole that may
// be.
func (c *Config) linearBlock(l disk.LogicalNum) (*cache.Buffer, error) {
	if c.Prefetch != nil && l%prefetchRun == 0 {
		c.Prefetch(l, int(min(prefetchRun, c.Blocks-l)))
	}
	b, err := c.read(l)
	switch {
	case err != nil:
		return nil, err
	case b != nil:
		return b, c.verifyLeaf(b)
	case !c.LargeDir || l == 0:
		return nil, c.holeError(l)
	}
	return nil, nil
}

// dropStaleIndex clears the INDEX flag where there is no dir_index feature:
// the index is not kept up to date, and must not be believed later.
func (c *Config) dropStaleIndex(tx cache.Tx) error {
	if !c.StaleIndex {
		return nil
	}
	if err := c.SetIndexed(tx, false); err != nil {
		return err
	}
	c.StaleIndex = false
	return nil
}

// insertTree inserts with the index. split says that the leaf is to be split
// even if there is room: as Linux does when it makes the index.
func (c *Config) insertTree(tx cache.Tx, n *addition, split bool) error {
	var w walk
	// Each round but the last splits one index block, or adds a level.
	for round := range disk.DXMaxLevels + 3 {
		w = walk{}
		if err := w.open(c); err != nil {
			return err
		}
		n.hash, _ = c.hashName(w.info.Hash, n.name)
		if err := w.seek(n.hash); err != nil {
			return err
		}
		b, err := w.read()
		if err != nil {
			return err
		}
		if c.isNode(b) {
			return w.corrupt("it leads to index block " + utoa(w.leaf()) + " as a leaf")
		}
		r, err := c.scanLeaf(b, n, 0)
		if err != nil {
			return err
		}
		if round == 0 {
			if err := c.elsewhere(w, n); err != nil {
				return err
			}
		}
		switch {
		case !split && r.off >= 0:
			return c.put(tx, b, r.off, n)
		case !split && r.used+n.need <= c.layout().LeafEnd():
			return c.repack(tx, b, n)
		case !w.full(w.depth):
			return c.splitLeaf(tx, &w, b, n)
		}
		if err := c.growIndex(tx, &w); err != nil {
			return err
		}
	}
	return w.corrupt("it stays full")
}

// isNode reports whether what should be a leaf is an index block. Without
// checksums it would do as an empty leaf else, and be written over.
func (c *Config) isNode(b *cache.Buffer) bool {
	l := c.layout()
	if !l.IsDXNode(b.Data()) {
		return false
	}
	_, err := l.DXNode(b.Data())
	return err == nil
}

// elsewhere gives ErrExist when the name is in another leaf than the one that
// the walk led to: names of its hash may go on in the next ones, and those of
// casefolded directories may have been hashed in another way.
func (c *Config) elsewhere(w walk, n *addition) error {
	for {
		if key, ok := w.nextKey(); !ok || key&^1 != n.hash {
			break
		}
		if err := w.next(); err != nil {
			return err
		}
		b, err := w.read()
		if err != nil {
			return err
		}
		if _, err := c.scanLeaf(b, n, 0); err != nil {
			return err
		}
	}
	if !c.Casefold || c.NoFallback || c.placed {
		return nil
	}
	// What is inserted from now on is placed well, so one look will do.
	if c.placed = c.wellPlaced(); c.placed {
		return nil
	}
	switch _, err := c.linear(&n.query, nil); err {
	case nil:
		return ErrExist
	case fs.ErrNotExist:
		return nil
	default:
		return err
	}
}

// wellPlaced reports whether every name of the tree is in the leaf where its
// hash is looked up.
func (c *Config) wellPlaced() bool {
	for b, err := range c.Tree() {
		if err != nil {
			return false
		}
		if b.Kind == TreeLeaf && b.Names > 0 && (b.MinHash < b.Low&^1 || !b.Last && b.MaxHash >= b.High) {
			return false
		}
	}
	return true
}
