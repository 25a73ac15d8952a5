package dump

import (
	"fmt"
	"io"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Bitmap is a block or inode bitmap as ranges of blocks or inode numbers.
type Bitmap struct {
	Type     string   `json:"type"` // block_bitmap or inode_bitmap
	Group    uint32   `json:"group" text:"Group"`
	Block    uint64   `json:"block" text:"In block"`
	Uninit   bool     `json:"uninit" text:"Not initialised"`
	Checksum Checksum `json:"checksum" text:"Checksum"`
	Bits     int      `json:"bits" text:"Bits"`
	UsedBits int      `json:"used_bits" text:"Bits set"`
	Padding  string   `json:"padding" text:"Padding"`
	Used     []Range  `json:"used" text:"Used"`
	Free     []Range  `json:"free" text:"Free"`
	Problems []string `json:"problems,omitempty"`
}

// Bitmaps returns the block bitmap and the inode bitmap of group g. A bitmap
// that is not initialised is shown as it is to be taken: as the format builds
// it.
func (im *Image) Bitmaps(g disk.GroupNum) (blocks, inodes *Bitmap, err error) {
	v, err := im.Group(g)
	if err != nil {
		return nil, nil, err
	}
	s := &im.super
	blocks = &Bitmap{Type: "block_bitmap", Group: uint32(g), Block: v.BlockBitmap, Checksum: v.BlockBitmapChecksum}
	bm, err := im.fs.BlockBitmap(g)
	blocks.fill(bm, err, v.Blocks, uint64(s.ClusterRatio()))
	inodes = &Bitmap{Type: "inode_bitmap", Group: uint32(g), Block: v.InodeBitmap, Checksum: v.InodeBitmapChecksum}
	bm, err = im.fs.InodeBitmap(g)
	inodes.fill(bm, err, v.Inodes, 1)
	return blocks, inodes, nil
}

// fill takes the runs of bm apart; a bit stands for unit numbers of the range.
func (v *Bitmap) fill(bm *ext4fs.Bitmap, err error, all Range, unit uint64) {
	v.Used, v.Free = []Range{}, []Range{}
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
		return
	}
	v.Bits, v.Uninit = bm.Len, bm.Uninit
	span := func(first, end int) Range {
		return Range{all.First + uint64(first)*unit, min(all.First+uint64(end)*unit-1, all.Last)}
	}
	at := 0
	for first, n := range bm.Runs {
		if first > at {
			v.Used = append(v.Used, span(at, first))
		}
		v.Free = append(v.Free, span(first, first+n))
		v.UsedBits -= n
		at = first + n
	}
	if at < bm.Len {
		v.Used = append(v.Used, span(at, bm.Len))
	}
	v.UsedBits += bm.Len
	v.Padding = padding(bm)
}

// padding says whether the bits behind the last one that counts are set, as
// they must be.
func padding(bm *ext4fs.Bitmap) string {
	clear, total := 0, 8*len(bm.Bits)-bm.Len
	for n := bm.Len; n < 8*len(bm.Bits); n++ {
		if !bm.Has(n) {
			clear++
		}
	}
	switch {
	case total <= 0:
		return "none"
	case clear == 0:
		return fmt.Sprintf("%d bits, all set", total)
	}
	return fmt.Sprintf("%d bits, %d of them not set", total, clear)
}

// WriteText writes the bitmap in lines.
func (v *Bitmap) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.linef("%s of group %d", strings.Replace(v.Type, "_", " ", 1), v.Group)
		p.block(func() {
			p.fields(v)
			p.problems(v.Problems)
		})
	})
}
