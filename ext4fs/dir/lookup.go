package dir

import (
	"fmt"
	"io/fs"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// query is a name that is looked for.
type query struct {
	name   []byte
	fold   bool   // compare foldings
	folded []byte // when fold
	noKey  *noKey // in encrypted directories
	spot   *Spot  // what a change wants to know besides
}

// Lookup finds a name. It gives fs.ErrNotExist when there is none, and
// something that matches fs.ErrInvalid for a name that is not UTF-8 in a
// directory with strict encoding.
//
// In an indexed directory it hashes the name and reads the few blocks that
// may hold it. In a casefolded one the kernel looks through all blocks
// afterwards, because some kernels folded differently, unless the file system
// forbids it (NoFallback); so does this.
func (c *Config) Lookup(name []byte) (Entry, error) { return c.lookup(name, nil) }

func (c *Config) lookup(name []byte, spot *Spot) (Entry, error) {
	if len(name) == 0 {
		return Entry{}, fs.ErrNotExist
	}
	q := query{name: name, spot: spot}
	if isDots(name) {
		return c.lookupDots(&q)
	}
	var key noKey
	var keyBuf [noKeyMax]byte
	var foldBuf [512]byte
	switch {
	case c.Encrypted:
		var ok bool
		if key, ok = decodeNoKey(name, &keyBuf); !ok {
			return Entry{}, fs.ErrNotExist
		}
		q.noKey = &key
	case len(name) > disk.MaxNameLen:
		return Entry{}, fs.ErrNotExist
	case c.Casefold:
		q.folded, q.fold = casefold.Append(foldBuf[:0], name)
		if c.Strict && !q.fold {
			return Entry{}, fmt.Errorf("name %q is not UTF-8: %w", name, fs.ErrInvalid)
		}
	}
	switch {
	case c.inline():
		return c.inlineLookup(&q)
	case !c.Indexed:
		return c.linear(&q, nil)
	}
	return c.hashed(&q)
}

// hashed looks in the hash tree.
func (c *Config) hashed(q *query) (Entry, error) {
	e, found, err := c.tree(q)
	switch {
	case found:
		return e, err
	case err == nil && c.Casefold && !c.NoFallback && !c.placed:
		return c.linear(q, nil)
	case err == nil:
		return Entry{}, fs.ErrNotExist
	case c.withoutIndex(err):
		return c.linear(q, nil)
	}
	return Entry{}, err
}

// tree walks over the leaves that may hold the name.
func (c *Config) tree(q *query) (e Entry, found bool, err error) {
	var w walk
	if err := w.open(c); err != nil {
		return e, false, err
	}
	var hash uint32
	if q.noKey != nil {
		hash = c.noKeyHash(q.noKey, w.info.Hash)
	} else {
		hash, _ = c.hashName(w.info.Hash, q.name)
	}
	if err := w.seek(hash); err != nil {
		return e, false, err
	}
	for {
		b, err := w.read()
		if err != nil {
			return e, false, err
		}
		if e, found, err = c.search(b, w.leaf(), q); found || err != nil {
			return e, found, err
		}
		// Names of this hash go on in the next leaf if its key says so.
		if key, ok := w.nextKey(); !ok || key&^1 != hash {
			return e, false, nil
		}
		if err := w.next(); err != nil {
			return e, false, err
		}
	}
}

// search looks through one block.
func (c *Config) search(b *cache.Buffer, l disk.LogicalNum, q *query) (Entry, bool, error) {
	if !q.fold && q.noKey == nil {
		if s := c.scanFor(b, l, q); s.Sound && s.Found < 0 {
			return Entry{}, false, nil
		} else if s.Sound {
			d := disk.Dirent(b.Data()[s.Found:])
			e := c.entry(d, l, s.Found)
			if c.Encrypted {
				c.addHash(&e, d, c.indexHash())
			}
			return e, true, c.check(&e, b.Block(), true)
		}
	}
	it := c.layout().Iter(b.Data())
	d, ok := q.find(&it)
	if !ok {
		if err := it.Err(); err != nil {
			return Entry{}, false, c.locate(err, b)
		}
		return Entry{}, false, nil
	}
	e := c.entry(d, l, it.Offset())
	if c.Encrypted {
		c.addHash(&e, d, c.indexHash())
	}
	return e, true, c.check(&e, b.Block(), true)
}

// find goes on to the record that matches.
func (q *query) find(it *disk.DirentIter) (disk.Dirent, bool) {
	if !q.fold && q.noKey == nil {
		for it.Next() {
			if d := it.Dirent(); d.NameLen() == len(q.name) && string(d.Name()) == string(q.name) && d.Inode() != 0 {
				return d, true
			}
		}
		return nil, false
	}
	var scratch [512]byte
	for it.Next() {
		d := it.Dirent()
		if d.Inode() == 0 {
			continue
		}
		name := d.Name()
		if q.noKey != nil {
			if q.noKey.match(name) && !isDots(name) {
				return d, true
			}
		} else if string(name) == string(q.name) || casefold.EqualFolded(q.folded, name, scratch[:0]) {
			return d, true
		}
	}
	return nil, false
}

// linear looks through all blocks. Trouble with some does not keep it from
// the others: it is reported when the name is not found there.
func (c *Config) linear(q *query, first error) (Entry, error) {
	if c.Indexed && q.spot != nil {
		q.spot.state = spotPoor // the index would say where a new name goes
	}
	holes := 0
	for l := disk.LogicalNum(0); l < c.Blocks; l++ {
		if c.Prefetch != nil && l%prefetchRun == 0 {
			c.Prefetch(l, int(min(prefetchRun, c.Blocks-l)))
		}
		b, err := c.leafOrIndex(l)
		switch {
		case err == nil && b == nil:
			if holes++; !c.LargeDir || l == 0 || holes > maxHoles {
				err = c.holeError(l)
			}
			if holes > maxHoles {
				l = c.Blocks - 1 // the last round
			}
		case err == nil:
			holes = 0
			var e Entry
			var found bool
			if e, found, err = c.search(b, l, q); found {
				return e, err
			}
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fs.ErrNotExist
	}
	return Entry{}, first
}

// lookupDots finds "." and "..", which are only in block 0 and never folded,
// hashed or encrypted.
func (c *Config) lookupDots(q *query) (Entry, error) {
	if c.inline() {
		return c.inlineDots(q.name), nil
	}
	if c.Blocks == 0 {
		return Entry{}, fs.ErrNotExist
	}
	b, err := c.leafOrIndex(0)
	if err == nil && b == nil {
		err = c.holeError(0)
	}
	if err != nil {
		return Entry{}, err
	}
	e, found, err := c.search(b, 0, q)
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	return e, err
}
