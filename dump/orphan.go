package dump

import (
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Orphans is the inodes that recovery has to delete or truncate: the list
// that starts in the superblock, and the orphan file.
type Orphans struct {
	Type     string        `json:"type"`
	List     []OrphanInode `json:"list"`
	File     uint32        `json:"file,omitempty" text:"Orphan file inode,omitempty"`
	Present  bool          `json:"orphan_present" text:"Orphan file in use"`
	Blocks   []OrphanBlock `json:"blocks,omitempty"`
	Problems []string      `json:"problems,omitempty"`
}

// OrphanInode is one inode of the list.
type OrphanInode struct {
	Inode uint32 `json:"inode"`
	Links uint32 `json:"links"`
	Size  int64  `json:"size"`
	Next  uint32 `json:"next"`
}

// OrphanBlock is one block of the orphan file.
type OrphanBlock struct {
	Logical  uint32       `json:"logical"`
	Block    uint64       `json:"block"`
	Magic    uint32       `json:"magic"`
	Checksum Checksum     `json:"checksum"`
	Slots    int          `json:"slots"`
	Used     []OrphanSlot `json:"used"`
	Problem  string       `json:"problem,omitempty"`
}

// OrphanSlot is one slot in use.
type OrphanSlot struct {
	Slot  int    `json:"slot"`
	Inode uint32 `json:"inode"`
}

// Orphans returns the orphan list and the content of the orphan file.
func (im *Image) Orphans() (*Orphans, error) {
	if err := im.geometry(); err != nil {
		return nil, err
	}
	v := &Orphans{Type: "orphans", List: []OrphanInode{},
		Present: im.super.Features.ROCompat.Has(disk.ROCompatOrphanPresent)}
	v.list(im)
	if im.super.Features.Compat.Has(disk.CompatOrphanFile) {
		v.File = uint32(im.super.OrphanFileInode)
		if err := v.file(im); err != nil {
			v.Problems = append(v.Problems, problem(err))
		}
	}
	return v, nil
}

// list follows the chain; an inode that was seen before ends it.
func (v *Orphans) list(im *Image) {
	seen := map[disk.InodeNum]bool{}
	for n := im.super.LastOrphan; n != 0; {
		if seen[n] {
			v.Problems = append(v.Problems, fmt.Sprintf("the list runs in a circle at inode %d", n))
			return
		}
		seen[n] = true
		i, err := im.inode(n)
		if err != nil {
			v.Problems = append(v.Problems, problem(err))
			return
		}
		next := disk.InodeNum(i.Raw().DeletionTime())
		v.List = append(v.List, OrphanInode{uint32(n), uint32(i.Raw().Links()), i.Size(), uint32(next)})
		n = next
	}
}

// maxOrphanBlocks bounds what is shown of an orphan file: mke2fs makes no
// more than 512 blocks.
const maxOrphanBlocks = 1 << 16

func (v *Orphans) file(im *Image) error {
	i, err := im.inode(im.super.OrphanFileInode)
	if err != nil {
		return err
	}
	m, err := i.Map()
	if err != nil {
		return err
	}
	blocks := i.Size() / int64(im.blockSize())
	if blocks > maxOrphanBlocks {
		v.Problems = append(v.Problems, fmt.Sprintf("orphan file of %d blocks, the first %d are shown", blocks, maxOrphanBlocks))
		blocks = maxOrphanBlocks
	}
	for l := range disk.LogicalNum(blocks) {
		e, err := m.Find(l)
		if err != nil {
			return err
		}
		b := OrphanBlock{Logical: uint32(l), Used: []OrphanSlot{}, Checksum: Checksum{State: ChecksumNone}}
		if e.Flags&extent.FlagHole != 0 {
			b.Problem = "a hole"
		} else {
			b.read(im, i, e.Physical+disk.BlockNum(l-e.Logical))
		}
		v.Blocks = append(v.Blocks, b)
	}
	return nil
}

func (b *OrphanBlock) read(im *Image, i *ext4fs.Inode, block disk.BlockNum) {
	b.Block = uint64(block)
	data, err := im.block(block)
	if err != nil {
		b.Problem = problem(err)
		return
	}
	o := disk.OrphanBlock(data)
	b.Magic, b.Slots = o.Magic(), o.Slots()
	if b.Magic != disk.OrphanBlockMagic {
		b.Problem = fmt.Sprintf("magic 0x%08x is not 0x%08x", b.Magic, disk.OrphanBlockMagic)
		return
	}
	stored, computed := o.Checksum(im.inodeSeed(i), block)
	b.Checksum = newChecksum(im.csum, stored, computed)
	for n := range b.Slots {
		if ino := o.Slot(n); ino != 0 {
			b.Used = append(b.Used, OrphanSlot{n, uint32(ino)})
		}
	}
}

// WriteText writes the list and the blocks of the file.
func (v *Orphans) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.linef("Orphan list: %d inodes", len(v.List))
		p.block(func() {
			if len(v.List) > 0 {
				rows := [][]string{{"inode", "links", "size", "next"}}
				for _, o := range v.List {
					rows = append(rows, []string{utoa(o.Inode), utoa(o.Links), utoa(uint64(o.Size)), utoa(o.Next)})
				}
				p.table("rrrr", rows)
			}
		})
		p.fields(v)
		if len(v.Blocks) > 0 {
			rows := [][]string{{"logical", "block", "slots", "used", "checksum", "inodes"}}
			for i := range v.Blocks {
				b := &v.Blocks[i]
				list := b.Problem
				for _, s := range b.Used {
					list += fmt.Sprintf(" %d:%d", s.Slot, s.Inode)
				}
				rows = append(rows, []string{utoa(b.Logical), utoa(b.Block), utoa(uint(b.Slots)),
					utoa(uint(len(b.Used))), b.Checksum.String(), list})
			}
			p.block(func() { p.table("rrrr", rows) })
		}
		p.problems(v.Problems)
	})
}
