package format

import (
	"crypto/sha256"
	"errors"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// attrs are the extended attributes of all files. Files with the same ones
// have a set in common: the same bytes in the inode and, as far as 1024 may
// share one, the same block.
type attrs struct {
	c      *content
	sets   map[attrKey]*attrSet
	list   []*attrSet // in the order of the walk
	blocks []attrBlock
	values []attrValue
	byHash map[[sha256.Size]byte]uint32 // in values

	blockOf []uint32 // by place, as far as needed: number in blocks + 1
	room    int      // for system.data in an inode without attributes
}

// attrKey is what a set depends on: an ACL sets bits of the mode, or the mode
// those of the ACL.
type attrKey struct {
	set   uint32 // the tree's number
	mode  uint16
	chmod bool // Options.RootMode has made the mode
}

// attrSet is what inodes with certain attributes have in common.
type attrSet struct {
	mode    uint16
	entries []xattr.Entry
	body    []byte   // in the inode, behind the extra fields; not before seal
	block   bool     // some are in a block
	last    uint32   // its number in blocks + 1; 0: none yet
	inBody  []uint32 // value inodes of entries in the inode: numbers in values
	inBlock []uint32
	room    int    // for system.data beside the set, -1: none
	charged uint64 // clusters that value inodes cost each owner
}

// attrBlock is one block of attributes.
type attrBlock struct {
	set  *attrSet
	refs uint32
}

// attrValue is a value that an inode of its own holds.
type attrValue struct {
	value []byte
	size  int
	refs  uint64
	hash  uint32 // not before seal
}

func newAttrs(c *content) *attrs {
	a := &attrs{c: c, sets: map[attrKey]*attrSet{}, byHash: map[[sha256.Size]byte]uint32{}}
	a.room = xattr.InlineRoom(a.record())
	return a
}

func (a *attrs) record() disk.Inode {
	return disk.NewInode(a.c.sb.InodeSize(), int(a.c.sb.WantExtraIsize))
}

func (a *attrs) rules(seed uint32) xattr.Rules {
	return xattr.Rules{
		BlockSize:   a.c.sb.BlockSize(),
		ValueInodes: a.c.sb.Features.Incompat.Has(disk.IncompatEAInode), Seed: seed,
	}
}

// of gives the set of the file at a place, nil if it has none.
func (a *attrs) of(at uint32) *attrSet {
	k := a.key(at)
	if k.set == 0 {
		return nil
	}
	return a.sets[k]
}

func (a *attrs) key(at uint32) attrKey {
	return attrKey{a.c.t.XattrSet(a.c.order[at]), a.c.node(at).Mode, at == 0 && a.c.o.RootMode != nil}
}

// add counts the attributes of the file at a place. It tells how long a value
// of system.data may be in its inode, -1 if there can be none.
func (a *attrs) add(at uint32) (room int, err error) {
	k := a.key(at)
	if k.set == 0 {
		return a.room, nil
	}
	s := a.of(at)
	if s == nil {
		if s, err = a.newSet(at); err != nil {
			return 0, err
		}
		a.sets[k] = s
		a.list = append(a.list, s)
	}
	for _, v := range s.inBody {
		a.values[v].refs++
	}
	if s.block {
		a.addBlock(at, s)
	}
	return s.room, nil
}

// addBlock gives the file at a place a share of a block.
func (a *attrs) addBlock(at uint32, s *attrSet) {
	if s.last == 0 || a.blocks[s.last-1].refs == disk.XattrMaxRefs {
		a.blocks = append(a.blocks, attrBlock{set: s})
		s.last = uint32(len(a.blocks))
		a.c.demand.meta++
		for _, v := range s.inBlock {
			a.values[v].refs++
		}
	}
	a.blocks[s.last-1].refs++
	for len(a.blockOf) <= int(at) {
		a.blockOf = append(a.blockOf, 0)
	}
	a.blockOf[at] = s.last
}

// xattrs are the attributes of the file at a place.
func (a *attrs) xattrs(at uint32) []tree.Xattr {
	list := a.c.t.Xattrs(a.c.order[at])
	if at == 0 && a.c.o.RootMode != nil {
		list = tree.ChmodACL(list, a.c.root.Mode)
	}
	return list
}

// newSet finds out where the attributes of the file at a place go.
func (a *attrs) newSet(at uint32) (*attrSet, error) {
	s := &attrSet{mode: a.c.node(at).Mode, room: -1}
	for _, x := range a.xattrs(at) {
		e, mode, ok, err := xattr.NewEntry(x.Name, x.Value, s.mode)
		switch {
		case errors.Is(err, xattr.ErrNamespace):
			// Other file systems have more kinds of attributes.
			a.c.warn(at, err)
			continue
		case err != nil:
			return nil, err
		}
		s.mode = mode
		if ok {
			s.entries = append(s.entries, e)
		}
	}
	record := a.record()
	block, err := xattr.Lay(a.rules(0), record, s.entries, func(p xattr.Pending) (disk.InodeNum, error) {
		v := a.value(p.Value)
		s.charged += a.c.clusters(a.c.blocksOf(int64(len(p.Value))))
		return disk.InodeNum(v + 1), nil
	})
	if err != nil {
		return nil, err
	}
	s.block = block != nil
	if !s.block && len(s.inBody) == 0 {
		s.room = a.room
		for i := range s.entries {
			s.room -= disk.XattrEntryLen(len(s.entries[i].Name)) + disk.XattrValueLen(len(s.entries[i].Value))
		}
		s.room = max(s.room, -1)
	}
	return s, s.findValues(record, block)
}

// findValues tells where the entries are whose values have inodes; these have
// their number in values + 1.
func (s *attrSet) findValues(record disk.Inode, block []byte) error {
	in, err := xattr.ParseInode(record, xattr.Owner{})
	if err != nil {
		return err
	}
	for x := range in.All() {
		if x.ValueInode != 0 {
			s.inBody = append(s.inBody, uint32(x.ValueInode-1))
		}
	}
	if block == nil {
		return nil
	}
	if in, err = xattr.ParseBlock(0, block, xattr.Owner{}); err != nil {
		return err
	}
	for x := range in.All() {
		if x.ValueInode != 0 {
			s.inBlock = append(s.inBlock, uint32(x.ValueInode-1))
		}
	}
	return nil
}

// value gives the number of a value inode with that content.
func (a *attrs) value(p []byte) uint32 {
	sum := sha256.Sum256(p)
	if v, ok := a.byHash[sum]; ok {
		return v
	}
	v := uint32(len(a.values))
	a.values = append(a.values, attrValue{value: p, size: len(p)})
	a.byHash[sum] = v
	a.c.demand.meta += a.c.clusters(a.c.blocksOf(int64(len(p))))
	return v
}

// seal makes the bytes of all sets, now that inodes have their numbers and
// checksums their seed.
func (a *attrs) seal(seed uint32, first disk.InodeNum) error {
	for _, s := range a.list {
		record := a.record()
		_, err := xattr.Lay(a.rules(seed), record, s.entries, func(p xattr.Pending) (disk.InodeNum, error) {
			v := a.byHash[sha256.Sum256(p.Value)]
			a.values[v].hash = p.Hash
			return first + disk.InodeNum(v), nil
		})
		if err != nil {
			return err
		}
		s.body = record[disk.InodeBaseSize+record.ExtraSize():]
	}
	return nil
}

// lay is xattr.Lay with the numbers of value inodes, the first of which is
// given. It is safe for concurrent use.
func (a *attrs) lay(seed uint32, first disk.InodeNum, record disk.Inode, list []xattr.Entry) ([]byte, error) {
	return xattr.Lay(a.rules(seed), record, list, func(p xattr.Pending) (disk.InodeNum, error) {
		return first + disk.InodeNum(a.byHash[sha256.Sum256(p.Value)]), nil
	})
}

// inlineEntry is the attribute that holds what has no room in i_block of inline
// data.
func inlineEntry(value []byte) xattr.Entry {
	return xattr.Entry{Index: disk.XattrSystem, Name: []byte("data"), Value: value}
}

// inlineBlock is how much inline data i_block holds.
const inlineBlock = 60
