package dir

import (
	"iter"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// prefetchRun is how many blocks are announced at once.
const prefetchRun = 64

// maxHoles bounds a run of holes in a directory: no writer makes one, and a
// size made up of holes must not keep a reader busy.
const maxHoles = 1 << 16

// Entries yields all entries in the order of the directory's blocks, "." and
// ".." among them. Trouble with a block is yielded with an Entry that has only
// Block set, trouble with an entry together with that entry. It allocates
// nothing per entry.
func (c *Config) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if c.inline() {
			c.inlineEach(func(e Entry, err error, _ disk.Dirent) bool { return yield(e, err) })
			return
		}
		v := c.indexHash()
		holes := 0
		for l := disk.LogicalNum(0); l < c.Blocks; l++ {
			if c.Prefetch != nil && l%prefetchRun == 0 {
				c.Prefetch(l, int(min(prefetchRun, c.Blocks-l)))
			}
			b, err := c.leafOrIndex(l)
			if err != nil {
				if !yield(Entry{Block: l}, err) {
					return
				}
				continue
			}
			if b == nil {
				if holes++; holes > maxHoles {
					yield(Entry{Block: l}, c.holeError(l))
					return
				}
				if (!c.LargeDir || l == 0) && !yield(Entry{Block: l}, c.holeError(l)) {
					return
				}
				continue
			}
			if holes = 0; l > 0 && c.Indexed && c.layout().IsDXNode(b.Data()) {
				continue
			}
			if !c.blockEntries(b, l, v, yield) {
				return
			}
		}
	}
}

// blockEntries yields the entries of one block.
func (c *Config) blockEntries(b *cache.Buffer, l disk.LogicalNum, v disk.HashVersion, yield func(Entry, error) bool) bool {
	layout := c.layout()
	if l == 0 && c.Indexed {
		// A root has no checksum record; what looks like one is left over
		// from the time before the index.
		layout.Checksum = false
	}
	it := layout.Iter(b.Data())
	for n := 0; it.Next(); n++ {
		d := it.Dirent()
		if d.Inode() == 0 {
			continue
		}
		e := c.entry(d, l, it.Offset())
		if c.Encrypted {
			c.addHash(&e, d, v)
		}
		if !yield(e, c.check(&e, b.Block(), dotsAt(e.Name, l, n))) {
			return false
		}
	}
	if err := it.Err(); err != nil {
		return yield(Entry{Block: l, Offset: it.End()}, c.locate(err, b))
	}
	return true
}

// leafOrIndex reads a block whose kind only its content tells, and checks its
// checksum.
func (c *Config) leafOrIndex(l disk.LogicalNum) (*cache.Buffer, error) {
	b, err := c.read(l)
	if b == nil || err != nil {
		return nil, err
	}
	switch {
	case c.Indexed && l == 0:
		err = c.verifyIndex(b, rootArray(b.Data()))
	case c.Indexed && c.layout().IsDXNode(b.Data()):
		err = c.verifyIndex(b, disk.DXNodeOffset)
	default:
		err = c.verifyLeaf(b)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (c *Config) holeError(l disk.LogicalNum) error {
	return &disk.CorruptError{What: "directory", Inode: c.Inode, Detail: "block " + utoa(l) + " is a hole"}
}

// indexHash is the hash of the index, or the default when there is none or it
// cannot be read: then it shows elsewhere.
func (c *Config) indexHash() disk.HashVersion {
	if !c.Indexed || !c.Encrypted || c.Casefold {
		return c.HashVersion
	}
	if b, err := c.read(0); err == nil && b != nil {
		return disk.DecodeDXInfo(b.Data()).Hash
	}
	return c.HashVersion
}
