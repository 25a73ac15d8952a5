package dump

import (
	"fmt"
	"io"
	"iter"

	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// HtreeBlock is one block of a directory's hash tree.
type HtreeBlock struct {
	Type     string   `json:"type"`
	Inode    uint32   `json:"inode"`
	Kind     string   `json:"kind"` // root, node or leaf
	Level    int      `json:"level" text:"Level"`
	Logical  uint32   `json:"logical" text:"Logical block"`
	Block    uint64   `json:"block" text:"Block"`
	Checksum Checksum `json:"checksum" text:"Checksum"`

	// What the parent says of the block: hashes from Low on, and below High
	// where that is known. Continued: names of hash Low began before.
	Low       uint32  `json:"low" text:"Lowest hash,hex"`
	High      *uint32 `json:"high,omitempty" text:"Next block's hash,hex"`
	Continued bool    `json:"continued" text:"Continues a hash"`

	Root    *HtreeRoot   `json:"root,omitempty"`
	Limit   *int         `json:"limit,omitempty" text:"Room"`
	Count   *int         `json:"count,omitempty" text:"Entries"`
	Entries []HtreeEntry `json:"entries,omitempty"`
	Leaf    *HtreeLeaf   `json:"leaf,omitempty"`

	Problems []string `json:"problems,omitempty"`
}

// HtreeRoot is what the root says of the tree.
type HtreeRoot struct {
	Reserved   uint32 `json:"reserved" text:"Reserved word,hex"`
	Hash       Code   `json:"hash_version" text:"Hash version"`
	HashName   string `json:"hash" text:"Hash in use"`
	InfoLength int    `json:"info_length" text:"Info length"`
	Levels     int    `json:"indirect_levels" text:"Levels of nodes"`
	Flags      uint32 `json:"flags" text:"Index flags,hex"`
}

// HtreeEntry is one entry of a root or node.
type HtreeEntry struct {
	Hash    uint32 `json:"hash"` // as stored: bit 0 says that a hash goes on
	Logical uint32 `json:"logical"`
}

// HtreeLeaf is what is in a leaf.
type HtreeLeaf struct {
	Names   int     `json:"names"`
	Used    int     `json:"used_bytes"`
	MinHash *uint32 `json:"min_hash,omitempty"`
	MaxHash *uint32 `json:"max_hash,omitempty"`
}

// Htree yields the blocks of directory n's hash tree, each before what it
// points to. The only errors are those that leave nothing to show.
func (im *Image) Htree(n disk.InodeNum) iter.Seq2[*HtreeBlock, error] {
	return func(yield func(*HtreeBlock, error) bool) {
		i, err := im.inode(n)
		if err != nil {
			yield(nil, err)
			return
		}
		c, err := i.Directory()
		if err == nil && (!c.Indexed || c.InlineBlock != nil) {
			err = ErrNotIndexed
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for b, err := range c.Tree() {
			if !yield(im.htreeBlock(c, &b, err), nil) {
				return
			}
		}
	}
}

func (im *Image) htreeBlock(c *dir.Config, b *dir.TreeBlock, err error) *HtreeBlock {
	v := &HtreeBlock{Type: "htree_block", Inode: uint32(c.Inode), Kind: b.Kind.String(), Level: b.Level,
		Logical: uint32(b.Block), Block: uint64(b.Physical), Low: b.Low &^ 1, Continued: b.Low&1 != 0}
	switch b.Checksum {
	case dir.ChecksumMissing:
		v.Checksum = missingChecksum()
	default:
		v.Checksum = newChecksum(b.Checksum != dir.ChecksumNone, b.Stored, b.Computed)
	}
	if !b.Last {
		high := b.High
		v.High = &high
	}
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
	}
	switch b.Kind {
	case dir.TreeRoot:
		v.Root = &HtreeRoot{Reserved: b.Info.Reserved, Hash: Code{uint32(b.Info.Hash), b.Info.Hash.String()},
			HashName:   effectiveHash(c, b.Info.Hash).String(),
			InfoLength: int(b.Info.InfoLength), Levels: int(b.Info.Levels), Flags: uint32(b.Info.Flags)}
		v.index(b)
	case dir.TreeNode:
		v.index(b)
	default:
		v.leaf(b)
	}
	return v
}

func (v *HtreeBlock) index(b *dir.TreeBlock) {
	if b.Entries == nil {
		return
	}
	limit, count := b.Limit, b.Count
	v.Limit, v.Count = &limit, &count
	for i := range count {
		v.Entries = append(v.Entries, HtreeEntry{b.Entries.Key(i), uint32(b.Entries.Block(i))})
		if i > 1 && b.Entries.Key(i)&^1 < b.Entries.Key(i-1)&^1 {
			v.Problems = append(v.Problems, fmt.Sprintf("entry %d: hash 0x%08x after 0x%08x", i, b.Entries.Key(i), b.Entries.Key(i-1)))
		}
	}
}

func (v *HtreeBlock) leaf(b *dir.TreeBlock) {
	v.Leaf = &HtreeLeaf{Names: b.Names, Used: b.Used}
	if b.Names == 0 {
		return
	}
	low, high := b.MinHash, b.MaxHash
	v.Leaf.MinHash, v.Leaf.MaxHash = &low, &high
	if low < v.Low {
		v.Problems = append(v.Problems, fmt.Sprintf("a name has hash 0x%08x, the block begins at 0x%08x", low, v.Low))
	}
	if !b.Last && (high > b.High&^1 || high == b.High&^1 && b.High&1 == 0) {
		v.Problems = append(v.Problems, fmt.Sprintf("a name has hash 0x%08x, the next block begins at 0x%08x", high, b.High&^1))
	}
}

// WriteText writes the block in lines.
func (v *HtreeBlock) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.indent = 2 * v.Level
		if v.Leaf != nil {
			v.printLeaf(p)
			return
		}
		p.linef("Hash tree of directory %d, %s", v.Inode, v.Kind)
		p.block(func() {
			p.fields(v)
			p.fields(v.Root)
			if len(v.Entries) > 0 {
				rows := [][]string{{"hash", "logical"}}
				for _, e := range v.Entries {
					rows = append(rows, []string{fmt.Sprintf("%08x", e.Hash), utoa(e.Logical)})
				}
				p.table(" r", rows)
			}
			p.problems(v.Problems)
		})
	})
}

// printLeaf writes a leaf in one line: there are many.
func (v *HtreeBlock) printLeaf(p *printer) {
	line := fmt.Sprintf("leaf %d (block %d): hashes from %08x", v.Logical, v.Block, v.Low)
	if v.Continued {
		line += ", which began before"
	}
	if v.High != nil {
		line += fmt.Sprintf(", next %08x", *v.High)
	}
	line += fmt.Sprintf("; %d names, %d bytes", v.Leaf.Names, v.Leaf.Used)
	if v.Leaf.MinHash != nil {
		line += fmt.Sprintf(", hashes %08x to %08x", *v.Leaf.MinHash, *v.Leaf.MaxHash)
	}
	p.linef("%s; checksum %s", line, v.Checksum)
	p.block(func() { p.problems(v.Problems) })
}

// hasher gives the hashes of a directory's names.
type hasher struct {
	c       *dir.Config
	version disk.HashVersion
	ok      bool
}

// newHasher is for a directory without an index; use says its hash if it has
// one.
func newHasher(c *dir.Config) *hasher {
	h := &hasher{c: c}
	h.use(c.HashVersion)
	return h
}

func (h *hasher) use(v disk.HashVersion) {
	h.version = effectiveHash(h.c, v)
	h.ok = !h.c.Casefold || !h.c.Encrypted
}

func effectiveHash(c *dir.Config, v disk.HashVersion) disk.HashVersion {
	if c.SignedHash {
		return v
	}
	return v.Unsigned()
}

// add computes the hash of an entry whose record does not keep it.
func (h *hasher) add(e *DirEntry, d disk.Dirent) {
	name := d.Name()
	if !h.ok || e.Hash != nil || disk.IsDot(name) || disk.IsDotDot(name) {
		return
	}
	if h.c.Casefold {
		if folded, ok := casefold.Append(nil, name); ok {
			name = folded
		}
	}
	if hash, minor, ok := disk.DirHash(h.version, &h.c.HashSeed, name); ok {
		e.Hash, e.Minor = &hash, &minor
	}
}
