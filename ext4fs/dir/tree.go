package dir

import (
	"iter"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// TreeKind says what a block of a hash tree is.
type TreeKind uint8

// Kinds of blocks.
const (
	TreeRoot TreeKind = iota
	TreeNode
	TreeLeaf
)

func (k TreeKind) String() string {
	return [...]string{"root", "node", "leaf"}[min(k, TreeLeaf)]
}

// ChecksumState says how a block's checksum is.
type ChecksumState uint8

// States of a checksum.
const (
	ChecksumNone    ChecksumState = iota // the file system has none
	ChecksumGood                         // it fits
	ChecksumBad                          // it does not
	ChecksumMissing                      // the block has no place for it
)

func (s ChecksumState) String() string {
	return [...]string{"none", "good", "bad", "missing"}[min(s, ChecksumMissing)]
}

// TreeBlock is one block of a hash tree.
type TreeBlock struct {
	Kind     TreeKind
	Block    disk.LogicalNum
	Physical disk.BlockNum
	Level    int // 0 is the root
	// Slot is the place in the parent's array.
	Slot int
	// Low is the raw key of the block; bit 0 says that names of this hash
	// began in the block before. High is the raw key of the next block; there
	// is none when Last.
	Low, High uint32
	Last      bool

	Checksum         ChecksumState
	Stored, Computed uint32

	// Of a root.
	Info disk.DXInfo
	// Of a root or node.
	Limit, Count int
	Entries      disk.DXEntries
	// Of a leaf: how many names, the bytes that their records need, and the
	// lowest and highest hash.
	Names, Used      int
	MinHash, MaxHash uint32
}

// Tree yields the blocks of the directory's hash tree, each index block before
// what it points to. Checksums are looked at whether Verify is set or not, and
// are no errors here. A block that is impossible is yielded with an error, as
// far as it is known, and nothing below it. A block that was seen before is
// not followed again.
func (c *Config) Tree() iter.Seq2[TreeBlock, error] {
	return func(yield func(TreeBlock, error) bool) {
		t := treeWalk{c: c, yield: yield, seen: map[disk.LogicalNum]bool{}}
		if c.inline() || !c.Indexed || c.Blocks == 0 {
			return
		}
		t.block(TreeBlock{Kind: TreeRoot, Last: true}, 0)
	}
}

type treeWalk struct {
	c      *Config
	yield  func(TreeBlock, error) bool
	seen   map[disk.LogicalNum]bool
	info   disk.DXInfo
	levels int
}

// block shows one block and what is below it.
func (t *treeWalk) block(b TreeBlock, depth int) bool {
	if b.Block >= t.c.Blocks {
		return t.yield(b, t.corrupt("it points to block "+utoa(b.Block)+" of "+utoa(t.c.Blocks)))
	}
	if t.seen[b.Block] {
		return t.yield(b, t.corrupt("block "+utoa(b.Block)+" is used twice"))
	}
	t.seen[b.Block] = true
	buf, err := t.c.read(b.Block)
	if err == nil && buf == nil {
		err = t.corrupt("block " + utoa(b.Block) + " is a hole")
	}
	if err != nil {
		return t.yield(b, err)
	}
	b.Physical = buf.Block()
	b.Level = depth
	if b.Kind == TreeLeaf {
		return t.leaf(b, buf)
	}
	return t.index(b, buf, depth)
}

func (t *treeWalk) corrupt(detail string) error {
	return &disk.CorruptError{What: whatIndex, Inode: t.c.Inode, Detail: detail}
}

func (t *treeWalk) index(b TreeBlock, buf *cache.Buffer, depth int) bool {
	off := disk.DXNodeOffset
	var cerr *disk.CorruptError
	if b.Kind == TreeRoot {
		off = rootArray(buf.Data())
		b.Info, b.Entries, cerr = t.c.layout().DXRoot(buf.Data())
		t.info, t.levels = b.Info, int(b.Info.Levels)
	} else {
		b.Entries, cerr = t.c.layout().DXNode(buf.Data())
	}
	b.setChecksum(t.c, func() (uint32, uint32, bool) { return disk.VerifyDX(t.c.Seed, buf.Data(), off) })
	if cerr != nil {
		return t.yield(b, t.c.locate(cerr, buf))
	}
	b.Limit, b.Count = b.Entries.Limit(), b.Entries.Count()
	if !t.yield(b, nil) {
		return false
	}
	kind := TreeNode
	if depth == t.levels {
		kind = TreeLeaf
	}
	for i := range b.Count {
		child := TreeBlock{Kind: kind, Block: b.Entries.Block(i), Level: depth + 1, Slot: i,
			Low: b.Entries.Key(i), High: b.High, Last: b.Last && i == b.Count-1}
		if i == 0 {
			child.Low = b.Low
		}
		if i+1 < b.Count {
			child.High = b.Entries.Key(i + 1)
		}
		if !t.block(child, depth+1) {
			return false
		}
	}
	return true
}

func (t *treeWalk) leaf(b TreeBlock, buf *cache.Buffer) bool {
	c := t.c
	b.setChecksum(c, func() (uint32, uint32, bool) { return disk.VerifyDirBlock(c.Seed, buf.Data()) })
	inDirent := c.Casefold && c.Encrypted
	b.MinHash = ^uint32(0)
	it := c.layout().Iter(buf.Data())
	for it.Next() {
		d := it.Dirent()
		if d.Inode() == 0 {
			continue
		}
		b.Names++
		b.Used += disk.DirentSize(d.NameLen(), inDirent)
		var h uint32
		if inDirent {
			h, _, _ = d.Hash()
		} else {
			h, _ = c.hashName(t.info.Hash, d.Name())
		}
		b.MinHash, b.MaxHash = min(b.MinHash, h), max(b.MaxHash, h)
	}
	if b.Names == 0 {
		b.MinHash = 0
	}
	var err error
	if e := it.Err(); e != nil {
		err = c.locate(e, buf)
	}
	return t.yield(b, err)
}

func (b *TreeBlock) setChecksum(c *Config, verify func() (stored, computed uint32, found bool)) {
	if !c.MetadataCsum {
		return
	}
	var found bool
	b.Stored, b.Computed, found = verify()
	switch {
	case !found:
		b.Checksum = ChecksumMissing
	case b.Stored == b.Computed:
		b.Checksum = ChecksumGood
	default:
		b.Checksum = ChecksumBad
	}
}
