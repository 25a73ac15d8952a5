package dir

import (
	"io/fs"
	"math"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Spot is where Find has found a name, or room for it. It lets the change that
// follows begin there, and not look for the name again. The zero value says
// nothing, which is always right.
type Spot struct {
	state spotState
	block disk.LogicalNum
	off   int // of the entry, or of the record with room
	prev  int // of the record before the entry, -1 if there is none
	room  int // bytes that were looked for
	entry disk.InodeNum
	shape uint32
}

type spotState uint8

const (
	spotNone  spotState = iota
	spotSeen            // a leaf was looked at, and has no room
	spotRoom            // there is none of the name, but room
	spotEntry           // it is there
	spotPoor            // something is odd: the change must look itself
)

// Find is Lookup for who is going to change the directory: where the name is
// there, Remove and Replace begin at the Spot, where it is not, Insert does. It
// is good for one of them; changes of other names may come before it.
func (c *Config) Find(name []byte) (Entry, Spot, error) {
	s := Spot{shape: c.shape, room: disk.DirentSize(len(name), false)}
	e, err := c.lookup(name, &s)
	switch {
	case err == nil && s.state == spotEntry && s.block == e.Block && s.off == e.Offset:
		s.entry = e.Inode
	case err == fs.ErrNotExist && s.state == spotRoom:
	default:
		s = Spot{}
	}
	return e, s, err
}

// scanFor scans a block for the name, and fills in the query's spot.
func (c *Config) scanFor(b *cache.Buffer, l disk.LogicalNum, q *query) disk.DirScan {
	spot := q.spot
	if spot == nil {
		return c.layout().Scan(b.Data(), q.name, math.MaxInt, 0, true)
	}
	skip := 0
	if l == 0 {
		skip = 1 // ".." comes right after "."
	}
	s := c.layout().Scan(b.Data(), q.name, spot.room, skip, false)
	fit := s.Sound && s.End == c.layout().LeafEnd() && !(c.Indexed && (l == 0 || c.isNode(b)))
	switch {
	case spot.state == spotPoor:
	case !fit:
		spot.state = spotPoor
	case s.Found >= 0:
		spot.state, spot.block, spot.off, spot.prev = spotEntry, l, s.Found, s.Prev
	case spot.state != spotNone && (c.Indexed || spot.state == spotRoom):
		// A new name goes to the first leaf of its hash, or the first block
		// with room.
	case s.Room >= 0:
		spot.state, spot.block, spot.off = spotRoom, l, s.Room
	default:
		spot.state = spotSeen
	}
	return s
}

// InsertAt is Insert of a name that Find has not found.
func (c *Config) InsertAt(tx cache.Tx, s Spot, name []byte, ino disk.InodeNum, typ uint8) error {
	n := addition{inode: ino, typ: c.fileType(typ)}
	if err := c.prepare(&n, name, typ); err != nil {
		return err
	}
	if s.state == spotRoom && s.shape == c.shape && s.room == n.need && !n.fold && !c.inline() && !c.StaleIndex {
		b, err := c.spotBlock(&s)
		if err != nil {
			return err
		}
		if b != nil && c.hasRoom(b.Data(), s.off, n.need) {
			return c.put(tx, b, s.off, &n)
		}
	}
	return c.insert(tx, &n)
}

// RemoveAt is Remove of a name that Find has found.
func (c *Config) RemoveAt(tx cache.Tx, s Spot, name []byte) (Entry, error) {
	b, err := c.entryAt(&s, name)
	if err != nil {
		return Entry{}, err
	}
	if b == nil {
		return c.Remove(tx, name)
	}
	e := c.entry(disk.Dirent(b.Data()[s.off:]), s.block, s.off)
	e.Name = name
	data, err := c.write(tx, b, TreeLeaf)
	if err != nil {
		return Entry{}, err
	}
	c.layout().RemoveDirent(data, s.off, s.prev)
	return e, nil
}

// ReplaceAt is Replace of a name that Find has found.
func (c *Config) ReplaceAt(tx cache.Tx, s Spot, name []byte, ino disk.InodeNum, typ uint8) (Entry, error) {
	b, err := c.entryAt(&s, name)
	if err != nil {
		return Entry{}, err
	}
	if b == nil || ino == 0 || !c.inRange(ino) || typ > disk.FileTypeSymlink {
		return c.Replace(tx, name, ino, typ)
	}
	old := c.entry(disk.Dirent(b.Data()[s.off:]), s.block, s.off)
	old.Name = name
	data, err := c.write(tx, b, TreeLeaf)
	if err != nil {
		return Entry{}, err
	}
	disk.Dirent(data[s.off:]).SetInode(ino)
	disk.Dirent(data[s.off:]).SetType(c.fileType(typ))
	return old, nil
}

// spotBlock reads the block of a spot, nil if there is none any more.
func (c *Config) spotBlock(s *Spot) (*cache.Buffer, error) {
	if s.block >= c.Blocks {
		return nil, nil
	}
	b, err := c.read(s.block)
	if err != nil || b == nil {
		return nil, err
	}
	return b, c.verifyLeaf(b)
}

// hasRoom reports whether the record at off has room for one of need bytes.
func (c *Config) hasRoom(data []byte, off, need int) bool {
	n, used, ok := c.recordAt(data, off)
	return ok && n-used >= need
}

// recordAt gives the length of the record at off, and what its entry needs of
// it.
func (c *Config) recordAt(data []byte, off int) (n, used int, ok bool) {
	end := c.layout().LeafEnd()
	if off < 0 || off > end-disk.DirentMinSize {
		return 0, 0, false
	}
	d := disk.Dirent(data[off:])
	n = disk.DirRecLen(uint16(d[4])|uint16(d[5])<<8, c.BlockSize)
	if d.Inode() != 0 {
		used = disk.DirentSize(d.NameLen(), false)
	}
	return n, used, n >= max(used, disk.DirentMinSize) && n <= end-off
}

// entryAt reads the block of a spot with an entry, and gives nil if it is not
// there: others may have been inserted before it since, or have moved it.
func (c *Config) entryAt(s *Spot, name []byte) (*cache.Buffer, error) {
	if s.state != spotEntry || s.shape != c.shape || c.inline() || isDots(name) || c.Encrypted {
		return nil, nil
	}
	b, err := c.spotBlock(s)
	if err != nil || b == nil {
		return nil, err
	}
	data := b.Data()
	_, used, ok := c.recordAt(data, s.off)
	if d := disk.Dirent(data[s.off:]); !ok || used == 0 || d.Inode() != s.entry || string(d.Name()) != string(name) {
		return nil, nil
	}
	if s.prev < 0 {
		if s.off != 0 {
			return nil, nil
		}
		return b, nil
	}
	if n, _, ok := c.recordAt(data, s.prev); !ok || s.prev+n != s.off {
		return nil, nil
	}
	return b, nil
}
