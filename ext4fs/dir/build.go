package dir

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Form is what all directories of a new file system have in common.
type Form struct {
	BlockSize    int
	DirIndex     bool // feature dir_index: directories of many blocks get a hash tree
	MetadataCsum bool // feature metadata_csum
	Filetype     bool // feature filetype
	LargeDir     bool // feature large_dir

	HashSeed    [4]uint32 // s_hash_seed
	HashVersion disk.HashVersion
	SignedHash  bool // the signed_directory_hash flag
	Strict      bool // s_encoding_flags bit 0

	// Compact fills the leaves of hash trees, for images that are only read.
	// Else a fifth of each stays free, as e2fsck -D leaves it: without room
	// the first names that are added would split every leaf they come to.
	Compact bool
}

// PlanOptions are what differs between directories of one Form.
type PlanOptions struct {
	Casefold bool // the inode's CASEFOLD flag
	// MinBlocks is how many blocks a directory without index has at least;
	// those without names are empty leaves, as in lost+found.
	MinBlocks int
}

// Builder plans whole directories: how many blocks they take and what is in
// which. It needs the names only. It holds memory from one plan to the next and
// is not safe for concurrent use; its plans do not depend on it.
type Builder struct {
	c       Config
	compact bool
	keys    []buildKey
	buf     []byte
}

// buildKey is a name on its way to its place.
type buildKey struct {
	order uint64 // hash, minor hash
	i     uint32
	need  uint32
}

func (k *buildKey) hash() uint32 { return uint32(k.order >> 32) }

// maxBuildNames bounds the names of a planned directory, also where an int has
// 32 bits.
const maxBuildNames = math.MaxInt32

// NewBuilder checks the form. Sizes and hashes that cannot be made are
// ErrInvalid.
func NewBuilder(f Form) (*Builder, error) {
	switch {
	case f.BlockSize < disk.MinBlockSize || f.BlockSize > disk.MaxBlockSize || f.BlockSize&(f.BlockSize-1) != 0:
		return nil, fmt.Errorf("directory blocks of %d bytes: %w", f.BlockSize, ErrInvalid)
	case f.DirIndex && f.HashVersion > disk.HashTEA:
		return nil, fmt.Errorf("directory hash %v: %w", f.HashVersion, ErrInvalid)
	}
	return &Builder{compact: f.Compact, c: Config{
		BlockSize: f.BlockSize, DirIndex: f.DirIndex, MetadataCsum: f.MetadataCsum, Filetype: f.Filetype, LargeDir: f.LargeDir,
		HashSeed: f.HashSeed, HashVersion: f.HashVersion, SignedHash: f.SignedHash, Strict: f.Strict,
	}}, nil
}

// Plan is the shape of one directory. It does not keep the names. Its methods
// are safe for concurrent use.
type Plan struct {
	layout   disk.DirLayout
	filetype bool
	hash     disk.HashVersion
	n        int
	indexed  bool
	total    disk.LogicalNum
	leaves   []planLeaf
	levels   [][]planNode // of nodes, from below the root down
	list     []uint32     // names in the order of the list; nil: as they were given
	place    []uint32     // without index, names in the order of the blocks; nil: as they were given
}

// planLeaf is a leaf: its first name in the order of the blocks.
type planLeaf struct {
	first uint32
	key   uint32
}

// planNode is an index node: its first child in the level below.
type planNode struct {
	first uint32
	key   uint32
}

// Plan plans a directory of n names other than "." and "..", which name gives
// by index, in any order; those in the order of their bytes are the fastest. A
// directory that one block holds gets one, in the order of the names, and any
// without dir_index is like that too. Larger ones get a hash tree: leaves
// evenly filled, and behind the root the nodes, if any, then the leaves.
//
// Errors are ErrInvalid and ErrNameLong for names that cannot be, ErrExist for
// two that are the same (of which one folds to the other, with Casefold), and
// ErrNoSpace for more than an index or a directory can have.
func (b *Builder) Plan(n int, name func(i int) string, o PlanOptions) (*Plan, error) {
	if n < 0 || n > maxBuildNames {
		return nil, fmt.Errorf("%d names: %w", n, ErrNoSpace)
	}
	b.c.Casefold = o.Casefold
	p := &Plan{layout: b.c.layout(), filetype: b.c.Filetype, hash: b.c.HashVersion, n: n}
	used, sorted, err := b.collect(n, name)
	if err != nil {
		return nil, err
	}
	if !sorted {
		slices.SortFunc(b.keys, func(x, y buildKey) int { return strings.Compare(name(int(x.i)), name(int(y.i))) })
		if err := b.twice(name); err != nil {
			return nil, err
		}
	}
	// In one block Linux lists by hash, too.
	linear := !b.c.DirIndex || 2*disk.DirentMinSize+used <= p.layout.LeafEnd()
	if linear {
		if !sorted {
			p.place = b.order()
		}
		b.cutLinear(p)
	}
	if b.c.DirIndex || o.Casefold {
		if err := b.sortHashes(name, o.Casefold); err != nil {
			return nil, err
		}
	}
	if b.c.DirIndex && (!linear || o.MinBlocks <= 1) {
		p.list = b.order()
	} else {
		p.list = p.place
	}
	if !linear {
		p.indexed = true
		if err := b.cutTree(p, used); err != nil {
			return nil, err
		}
	}
	return p, p.finish(o.MinBlocks)
}

// collect checks the names and fills keys. It returns what the records need,
// and whether names are in order.
func (b *Builder) collect(n int, name func(i int) string) (used int, sorted bool, err error) {
	b.keys = slices.Grow(b.keys[:0], n)
	sorted = true
	last := ""
	hashed := b.c.DirIndex || b.c.Casefold
	for i := range n {
		s := name(i)
		if err := b.check(s); err != nil {
			return 0, false, err
		}
		if i > 0 && s <= last {
			if s == last {
				return 0, false, existError(s)
			}
			sorted = false
		}
		last = s
		k := buildKey{i: uint32(i), need: uint32(disk.DirentSize(len(s), false))}
		if hashed {
			b.buf = append(b.buf[:0], s...)
			hash, minor := b.c.hashName(b.c.HashVersion, b.buf)
			k.order = uint64(hash)<<32 | uint64(minor)
		}
		used += int(k.need)
		b.keys = append(b.keys, k)
	}
	return used, sorted, nil
}

func existError(s string) error { return fmt.Errorf("name %q: %w", s, ErrExist) }

// check says what is wrong with a name.
func (b *Builder) check(s string) error {
	switch {
	case s == "." || s == "..":
		return existError(s)
	case len(s) > disk.MaxNameLen:
		return fmt.Errorf("name %q: %w", s, ErrNameLong)
	case len(s) == 0 || strings.IndexByte(s, '/') >= 0 || strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("name %q: %w", s, ErrInvalid)
	case b.c.Casefold && b.c.Strict && !casefold.Valid([]byte(s)):
		return fmt.Errorf("name %q is not UTF-8: %w", s, ErrInvalid)
	}
	return nil
}

// twice finds names that are the same, in keys sorted by name.
func (b *Builder) twice(name func(i int) string) error {
	for i := 1; i < len(b.keys); i++ {
		if s := name(int(b.keys[i].i)); s == name(int(b.keys[i-1].i)) {
			return existError(s)
		}
	}
	return nil
}

// order is the names in the order of keys.
func (b *Builder) order() []uint32 {
	list := make([]uint32, len(b.keys))
	for i := range b.keys {
		list[i] = b.keys[i].i
	}
	return list
}

// sortHashes puts keys into the order of hash, minor hash and name.
func (b *Builder) sortHashes(name func(i int) string, fold bool) error {
	slices.SortFunc(b.keys, func(x, y buildKey) int {
		switch {
		case x.order < y.order:
			return -1
		case x.order > y.order:
			return 1
		}
		return strings.Compare(name(int(x.i)), name(int(y.i)))
	})
	if !fold {
		return nil
	}
	// Names with one folding have one hash.
	for i := 0; i < len(b.keys); {
		j := i + 1
		for j < len(b.keys) && b.keys[j].order == b.keys[i].order {
			j++
		}
		if j-i > 1 {
			if err := sameFolding(b.keys[i:j], name); err != nil {
				return err
			}
		}
		i = j
	}
	return nil
}

// sameFolding gives ErrExist when two of the names have one folding.
func sameFolding(keys []buildKey, name func(i int) string) error {
	type folded struct {
		text []byte
		i    uint32
	}
	list := make([]folded, 0, len(keys))
	for _, k := range keys {
		if f, ok := casefold.Append(nil, []byte(name(int(k.i)))); ok {
			list = append(list, folded{f, k.i})
		}
	}
	slices.SortStableFunc(list, func(a, b folded) int { return bytes.Compare(a.text, b.text) })
	for i := 1; i < len(list); i++ {
		if bytes.Equal(list[i].text, list[i-1].text) {
			return fmt.Errorf("name %q is %q in another case: %w", name(int(list[i].i)), name(int(list[i-1].i)), ErrExist)
		}
	}
	return nil
}

// cutLinear spreads the names over blocks without index, one after the other.
func (b *Builder) cutLinear(p *Plan) {
	end := p.layout.LeafEnd()
	at := 2 * disk.DirentMinSize
	p.leaves = append(make([]planLeaf, 0, 1), planLeaf{})
	for i := range b.keys {
		need := int(b.keys[i].need)
		if at+need > end {
			p.leaves = append(p.leaves, planLeaf{first: uint32(i)})
			at = 0
		}
		at += need
	}
}

// cutTree spreads the names, which need so many bytes, over leaves and gives
// these an index. If that is too large for one it tries with full leaves.
func (b *Builder) cutTree(p *Plan, used int) error {
	b.cutLeaves(p, used, b.compact)
	err := p.index(false)
	if err != nil {
		b.cutLeaves(p, used, true)
		err = p.index(true)
	}
	return err
}

// cutLeaves cuts the names into leaves: full ones, or such that all have a
// fifth of their room left, and the last as much as the others. Names of one
// hash stay together unless that costs the leaf half its share.
func (b *Builder) cutLeaves(p *Plan, used int, full bool) {
	end := p.layout.LeafEnd()
	goal := end * 4 / 5
	p.leaves = p.leaves[:0]
	for i := 0; i < len(b.keys); {
		k := planLeaf{first: uint32(i), key: b.keys[i].hash()}
		switch {
		case i == 0:
			k.key = 0
		case b.keys[i-1].hash() == k.key:
			k.key |= 1
		}
		p.leaves = append(p.leaves, k)
		share := end
		if !full {
			share = used / ((used + goal - 1) / goal)
		}
		from, size := i, 0
		for ; i < len(b.keys); i++ {
			need := int(b.keys[i].need)
			if size+need > end || !full && i > from && size+need/2 > share {
				break
			}
			size += need
		}
		if i < len(b.keys) {
			i, size = b.hashStart(from, i, size, share/2)
		}
		used -= size
	}
}

// hashStart moves a cut back to where a hash begins, if at least so many bytes
// stay before it.
func (b *Builder) hashStart(from, cut, size, least int) (int, int) {
	i, left := cut, size
	for i > from && b.keys[i-1].hash() == b.keys[cut].hash() {
		i--
		if left -= int(b.keys[i].need); left < least {
			return cut, size
		}
	}
	return i, left
}

// index makes the levels of nodes above the leaves. Nodes keep some room, too,
// unless they are to be full or that makes one more level.
func (p *Plan) index(full bool) error {
	p.levels = nil
	rootLimit, limit := p.layout.DXLimit(disk.DXInfoOffset+disk.DXInfoSize), p.layout.DXLimit(disk.DXNodeOffset)
	child := func(i int) uint32 { return p.leaves[i].key }
	for n := len(p.leaves); n > rootLimit; {
		if len(p.levels) == p.layout.DXLevels() {
			return fmt.Errorf("%d leaves: %w", len(p.leaves), ErrNoSpace)
		}
		goal := limit * 4 / 5
		count, least := (n+goal-1)/goal, (n+limit-1)/limit
		if full || least <= rootLimit && count > rootLimit {
			count = max(least, min(count, rootLimit))
		}
		level := make([]planNode, count)
		for i := range level {
			first := uint64(n) * uint64(i) / uint64(count)
			level[i] = planNode{uint32(first), child(int(first))}
		}
		p.levels = append(p.levels, level)
		child = func(i int) uint32 { return level[i].key }
		n = count
	}
	slices.Reverse(p.levels)
	return nil
}

// finish counts the blocks.
func (p *Plan) finish(least int) error {
	n := uint64(len(p.leaves))
	if p.indexed {
		n++
		for _, level := range p.levels {
			n += uint64(len(level))
		}
	} else if least > 0 {
		n = max(n, uint64(least))
	}
	// An index keeps 28 bits of a block's number, and an inode 32 bits of a
	// directory's size, without large_dir.
	most := uint64(1)<<32 - 1
	if p.indexed {
		most = disk.DXBlockMask + 1
	}
	if !p.layout.LargeDir {
		most = min(most, (1<<32-1)>>bits.TrailingZeros(uint(p.layout.BlockSize)))
	}
	if n > most {
		return fmt.Errorf("%d directory blocks: %w", n, ErrNoSpace)
	}
	p.total = disk.LogicalNum(n)
	return nil
}

// Blocks is how many blocks the directory has.
func (p *Plan) Blocks() disk.LogicalNum { return p.total }

// Size is the directory's size in bytes.
func (p *Plan) Size() int64 { return int64(p.total) * int64(p.layout.BlockSize) }

// Indexed reports whether it has a hash tree: the inode needs the INDEX flag
// then.
func (p *Plan) Indexed() bool { return p.indexed }

// Levels is how many levels of nodes the tree has below its root.
func (p *Plan) Levels() int { return len(p.levels) }

// Len is how many names there are, without "." and "..".
func (p *Plan) Len() int { return p.n }

// At is which of the names that were given comes at place k, below Len, when
// Linux lists the directory: those of a hash tree, and of one block with
// dir_index, by hash. (Of names with equal hashes, which are in the order of
// their bytes here, it may list the others the other way round.)
func (p *Plan) At(k int) int {
	if p.list == nil {
		return k
	}
	return int(p.list[k])
}
