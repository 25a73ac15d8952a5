package dump

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of a DirBlock.
const (
	DirLeaf   = "leaf"
	DirRoot   = "htree_root"
	DirNode   = "htree_node"
	DirInline = "inline"
	DirHole   = "hole"
)

// DirBlock is one block of a directory with its records, or one of the two
// parts of an inline directory.
type DirBlock struct {
	Type     string     `json:"type"`
	Inode    uint32     `json:"inode"`
	Logical  uint32     `json:"logical"`
	Block    uint64     `json:"block"`
	Kind     string     `json:"kind" text:"Kind"`
	Checksum Checksum   `json:"checksum" text:"Checksum"`
	Parent   *uint32    `json:"parent,omitempty" text:"Parent inode"` // inline directories
	Entries  []DirEntry `json:"entries"`
	Problems []string   `json:"problems,omitempty"`
}

// States of a DirEntry.
const (
	EntryUsed    = "used"
	EntryUnused  = "unused"   // a record without an inode
	EntryDeleted = "deleted"  // left over in the slack of another record
	EntryLost    = "lost"     // behind a broken record, found by its looks
	EntryTail    = "checksum" // the record that holds the block's checksum
)

// DirEntry is one directory record.
type DirEntry struct {
	Offset  int    `json:"offset"`
	Length  int    `json:"rec_len"`
	Inode   uint32 `json:"inode"`
	NameLen int    `json:"name_len"`
	Kind    Code   `json:"file_type"`
	Name
	State string  `json:"state"`
	Hash  *uint32 `json:"hash,omitempty"`
	Minor *uint32 `json:"minor_hash,omitempty"`
}

// Dir yields the blocks of directory n with all their records, also those that
// are not in use. The only errors are those that leave nothing to show; what is
// wrong with a block stands in its Problems.
func (im *Image) Dir(n disk.InodeNum) iter.Seq2[*DirBlock, error] {
	return func(yield func(*DirBlock, error) bool) {
		i, err := im.inode(n)
		if err != nil {
			yield(nil, err)
			return
		}
		c, err := i.Directory()
		if err != nil {
			yield(nil, err)
			return
		}
		if c.InlineBlock != nil {
			im.inlineDir(i, c, yield)
			return
		}
		w := dirWalk{im: im, c: c, hash: newHasher(c)}
		w.findIndex()
		for l := range c.Blocks {
			if !yield(w.block(l), nil) {
				return
			}
		}
	}
}

// dirWalk is a walk over the blocks of one directory.
type dirWalk struct {
	im    *Image
	c     *dir.Config
	nodes map[disk.LogicalNum]bool // index blocks below the root
	hash  *hasher
}

func (im *Image) dirLayout(c *dir.Config) disk.DirLayout {
	return disk.DirLayout{BlockSize: im.blockSize(), Checksum: im.csum,
		HashInDirent: c.Casefold && c.Encrypted, LargeDir: c.LargeDir}
}

// findIndex notes which blocks are index nodes: a node looks like an empty
// leaf.
func (w *dirWalk) findIndex() {
	if !w.c.Indexed {
		return
	}
	w.nodes = map[disk.LogicalNum]bool{}
	for b, err := range w.c.Tree() {
		switch {
		case err == nil && b.Kind == dir.TreeRoot:
			w.hash.use(b.Info.Hash)
			if b.Info.Levels == 0 {
				return
			}
		case err == nil && b.Kind == dir.TreeNode:
			w.nodes[b.Block] = true
		}
	}
}

func (w *dirWalk) block(l disk.LogicalNum) *DirBlock {
	v := &DirBlock{Type: "dir_block", Inode: uint32(w.c.Inode), Logical: uint32(l), Kind: DirLeaf,
		Checksum: Checksum{State: ChecksumNone}, Entries: []DirEntry{}}
	buf, err := w.c.Read(l)
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
		return v
	}
	if buf == nil {
		v.Kind = DirHole
		return v
	}
	b := buf.Data()
	v.Block = uint64(buf.Block())
	layout := w.im.dirLayout(w.c)
	switch {
	case l == 0 && w.c.Indexed:
		v.Kind = DirRoot
		stored, computed, found := disk.VerifyDX(w.c.Seed, b, disk.DXInfoOffset+int(disk.DecodeDXInfo(b).InfoLength))
		v.Checksum = tailChecksum(w.im.csum, stored, computed, found)
	case w.nodes[l]:
		v.Kind = DirNode
		stored, computed, found := disk.VerifyDX(w.c.Seed, b, disk.DXNodeOffset)
		v.Checksum = tailChecksum(w.im.csum, stored, computed, found)
	default:
		stored, computed, found := disk.VerifyDirBlock(w.c.Seed, b)
		v.Checksum = tailChecksum(w.im.csum, stored, computed, found)
	}
	v.records(w, b, layout, v.Kind == DirLeaf)
	return v
}

func tailChecksum(kept bool, stored, computed uint32, found bool) Checksum {
	if kept && !found {
		return missingChecksum()
	}
	return newChecksum(kept, stored, computed)
}

// records takes the records of b apart; with slack, what lies in the unused
// part of records too.
func (v *DirBlock) records(w *dirWalk, b []byte, layout disk.DirLayout, slack bool) {
	it := layout.Iter(b)
	for it.Next() {
		d := it.Dirent()
		e := newDirEntry(d, it.Offset(), len(d), layout.HashInDirent)
		if d.Inode() == 0 {
			e.State = EntryUnused
		} else {
			w.hash.add(&e, d)
		}
		v.Entries = append(v.Entries, e)
		if d.Inode() > w.im.super.Inodes() {
			v.Problems = append(v.Problems, fmt.Sprintf("inode %d at byte %d, the last one is %d", d.Inode(), it.Offset(), w.im.super.Inodes()))
		}
		if slack {
			used := disk.DirentHeaderSize
			if d.Inode() != 0 {
				used = disk.DirentSize(d.NameLen(), layout.HashInDirent)
			} else if d.NameLen() > 0 {
				used = 0
			}
			v.find(w, d[used:], it.Offset()+used, EntryDeleted, layout)
		}
	}
	end := len(b)
	if layout.Checksum && disk.HasDirTail(b) {
		end -= disk.DirTailSize
	}
	if err := it.Err(); err != nil {
		v.Problems = append(v.Problems, problem(err))
		if slack && err.Offset < end {
			v.find(w, b[err.Offset:end], err.Offset, EntryLost, layout)
		}
	}
	if n := end; n < len(b) {
		v.Entries = append(v.Entries, DirEntry{Offset: n, Length: disk.DirTailSize, State: EntryTail,
			Kind: Code{uint32(disk.FileTypeChecksum), "checksum"}})
	}
}

// find looks for records in bytes that are in no good record, and that lie at
// byte at of the block: what an earlier use of the space left in the slack of
// another record (current kernels clear what they remove), or what comes
// behind a broken one.
func (v *DirBlock) find(w *dirWalk, b []byte, at int, state string, layout disk.DirLayout) {
	for off := 0; len(b)-off >= disk.DirentMinSize; {
		x := disk.Dirent(b[off:])
		n, size := x.NameLen(), disk.DirRecLen(le.Uint16(x[4:]), layout.BlockSize)
		need := disk.DirentSize(n, layout.HashInDirent)
		// A broken record may have lost its length, and is told by the rest.
		fits := size >= need && size&3 == 0 || state == EntryLost && off == 0
		if x.Inode() == 0 || x.Inode() > w.im.super.Inodes() || n == 0 || x.Type() > disk.FileTypeSymlink ||
			!fits || need > len(x) || !plausibleName(x[disk.DirentHeaderSize:][:n]) {
			off += 4
			continue
		}
		e := newDirEntry(x[:need:need], at+off, size, layout.HashInDirent)
		e.State = state
		v.Entries = append(v.Entries, e)
		off += need
	}
}

func plausibleName(name []byte) bool {
	for _, c := range name {
		if c == 0 || c == '/' {
			return false
		}
	}
	return true
}

func newDirEntry(d disk.Dirent, off, length int, hash bool) DirEntry {
	e := DirEntry{Offset: off, Length: length, Inode: uint32(d.Inode()), NameLen: d.NameLen(),
		Kind: newCode(uint32(d.Type()), fileTypes...), State: EntryUsed}
	if d.NameLen() <= len(d)-disk.DirentHeaderSize {
		e.Name = newName(d.Name())
	}
	if h, m, ok := d.Hash(); ok && hash && d.Inode() != 0 && !disk.IsDot(d.Name()) && !disk.IsDotDot(d.Name()) {
		e.Hash, e.Minor = &h, &m
	}
	return e
}

// inlineDir shows the two parts of an inline directory.
func (im *Image) inlineDir(i *ext4fs.Inode, c *dir.Config, yield func(*DirBlock, error) bool) {
	w := dirWalk{im: im, c: c, hash: newHasher(c)}
	layout := disk.DirLayout{BlockSize: im.blockSize()}
	parent := le.Uint32(c.InlineBlock)
	head := &DirBlock{Type: "dir_block", Inode: uint32(i.Number()), Kind: DirInline,
		Checksum: Checksum{State: ChecksumNone}, Parent: &parent, Entries: []DirEntry{}}
	head.records(&w, c.InlineBlock[4:], layout, true)
	if !yield(head, nil) || len(c.InlineValue) == 0 {
		return
	}
	rest := &DirBlock{Type: "dir_block", Inode: uint32(i.Number()), Logical: 1, Kind: DirInline,
		Checksum: Checksum{State: ChecksumNone}, Entries: []DirEntry{}}
	rest.records(&w, c.InlineValue, layout, true)
	yield(rest, nil)
}

// WriteText writes the block as a table of its records.
func (v *DirBlock) WriteText(w io.Writer) error {
	return render(w, func(p *printer) { v.print(p) })
}

func (v *DirBlock) print(p *printer) {
	where := fmt.Sprintf("logical block %d, block %d", v.Logical, v.Block)
	if v.Kind == DirInline {
		where = []string{"block array of the inode", "attribute system.data"}[min(v.Logical, 1)]
	}
	if v.Inode == 0 {
		p.linef("Directory block %d", v.Block)
	} else {
		p.linef("Directory %d, %s", v.Inode, where)
	}
	p.block(func() {
		p.fields(v)
		rows := [][]string{{"offset", "rec_len", "inode", "len", "type", "hash", "state", "name"}}
		for i := range v.Entries {
			e := &v.Entries[i]
			hash := "-"
			if e.Hash != nil {
				hash = fmt.Sprintf("%08x", *e.Hash)
				if e.Minor != nil {
					hash += fmt.Sprintf(":%08x", *e.Minor)
				}
			}
			rows = append(rows, []string{utoa(uint(e.Offset)), utoa(uint(e.Length)), utoa(e.Inode), utoa(uint(e.NameLen)),
				e.Kind.Name, hash, e.State, e.Name.String()})
		}
		if len(v.Entries) > 0 {
			p.table("rrrr", rows)
		}
		p.problems(v.Problems)
	})
}

// ErrNotIndexed: the directory has no hash tree.
var ErrNotIndexed = errors.New("the directory has no index")

var fileTypes = []string{"unknown", "regular", "directory", "character", "block", "fifo", "socket", "symlink"}
