package dump

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// FreeSpace is how the free space is cut up.
type FreeSpace struct {
	Type        string      `json:"type"`
	BlockSize   int         `json:"block_size" text:"Block size"`
	Blocks      uint64      `json:"blocks" text:"Blocks"`
	FreeBlocks  uint64      `json:"free_blocks" text:"Free blocks"`
	SuperFree   uint64      `json:"superblock_free_blocks" text:"Free by the superblock"`
	FreePercent float64     `json:"free_percent" text:"Free percent"`
	Chunks      uint64      `json:"chunks" text:"Free runs"`
	MinBlocks   uint64      `json:"min_blocks" text:"Shortest run (blocks)"`
	MaxBlocks   uint64      `json:"max_blocks" text:"Longest run (blocks)"`
	AvgBlocks   float64     `json:"avg_blocks" text:"Average run (blocks)"`
	Histogram   []FreeClass `json:"histogram"`
	Problems    []string    `json:"problems,omitempty"`
	errs        []error
}

// Errors are the Problems as errors: the groups that are not counted.
func (v *FreeSpace) Errors() []error { return v.errs }

// FreeClass is the free runs whose length in bytes is from From to below To.
type FreeClass struct {
	From    int64   `json:"from"` // bytes
	To      int64   `json:"to"`   // bytes
	Chunks  uint64  `json:"chunks"`
	Blocks  uint64  `json:"blocks"`
	Percent float64 `json:"percent"` // of the free blocks
}

// FreeSpace counts the runs of free blocks, those that go over the border of a
// group as one. It fails only where there is no geometry or ctx ends.
func (im *Image) FreeSpace(ctx context.Context) (*FreeSpace, error) {
	if err := im.geometry(); err != nil {
		return nil, err
	}
	v := &FreeSpace{Type: "free_space", BlockSize: im.blockSize(), Blocks: im.super.Blocks(), SuperFree: im.super.Free()}
	c := freeCounter{v: v, chunks: make([]uint64, 64), blocks: make([]uint64, 64)}
	for g, err := range inOrder(ctx, im.super.Groups(), flexTask, im.groupFree) {
		if err != nil {
			return nil, err
		}
		if g.err != nil {
			v.Problems = append(v.Problems, problem(g.err))
			v.errs = append(v.errs, g.err)
		}
		c.group(g)
	}
	c.run(c.open)
	c.finish()
	return v, nil
}

// groupFree is the free runs of one group, counted: the first and the last
// may go on in the neighbours.
type groupFree struct {
	first, last freeRun // last.len is 0 when there is only one
	counts      [64]uint32
	lengths     [64]uint64
	min, max    uint64 // of the runs between first and last
	err         error
}

type freeRun struct{ start, len uint64 }

func (im *Image) groupFree(g disk.GroupNum) *groupFree {
	v := &groupFree{min: ^uint64(0)}
	bm, err := im.fs.BlockBitmap(g)
	if err != nil {
		v.err = err
		return v
	}
	s := &im.super
	start, size, ratio := uint64(s.GroupFirstBlock(g)), uint64(s.GroupBlocks(g)), uint64(s.ClusterRatio())
	clearRuns(bm.Bits, bm.Len, func(at, n int) {
		r := freeRun{start + uint64(at)*ratio, min(uint64(n)*ratio, size-uint64(at)*ratio)}
		if v.first.len == 0 {
			v.first = r
			return
		}
		if l := v.last.len; l != 0 {
			v.count(l)
		}
		v.last = r
	})
	return v
}

func (v *groupFree) count(n uint64) {
	class := bits.Len64(n) - 1
	v.counts[class]++
	v.lengths[class] += n
	v.min, v.max = min(v.min, n), max(v.max, n)
}

// freeCounter joins the counts of groups in order.
type freeCounter struct {
	v              *FreeSpace
	open           freeRun // may go on
	chunks, blocks []uint64
}

func (c *freeCounter) group(g *groupFree) {
	c.add(g.first)
	for i, n := range g.counts {
		c.chunks[i] += uint64(n)
		c.blocks[i] += g.lengths[i]
		c.v.Chunks += uint64(n)
		c.v.FreeBlocks += g.lengths[i]
	}
	if g.max > 0 {
		c.extremes(g.min, g.max)
	}
	c.add(g.last)
}

func (c *freeCounter) add(r freeRun) {
	if r.len == 0 {
		return
	}
	if c.open.len != 0 && c.open.start+c.open.len == r.start {
		c.open.len += r.len
		return
	}
	c.run(c.open)
	c.open = r
}

func (c *freeCounter) run(r freeRun) {
	if r.len == 0 {
		return
	}
	class := bits.Len64(r.len) - 1
	c.chunks[class]++
	c.blocks[class] += r.len
	c.v.Chunks++
	c.v.FreeBlocks += r.len
	c.extremes(r.len, r.len)
}

func (c *freeCounter) extremes(low, high uint64) {
	if c.v.MinBlocks == 0 || low < c.v.MinBlocks {
		c.v.MinBlocks = low
	}
	c.v.MaxBlocks = max(c.v.MaxBlocks, high)
}

func (c *freeCounter) finish() {
	v := c.v
	v.Histogram = []FreeClass{}
	if v.Blocks > 0 {
		v.FreePercent = percent(v.FreeBlocks, v.Blocks)
	}
	if v.Chunks > 0 {
		v.AvgBlocks = round2(float64(v.FreeBlocks) / float64(v.Chunks))
	}
	for i, n := range c.chunks {
		if n > 0 {
			from := int64(1) << i * int64(v.BlockSize)
			v.Histogram = append(v.Histogram, FreeClass{from, 2 * from, n, c.blocks[i], percent(c.blocks[i], v.FreeBlocks)})
		}
	}
}

// percent is part of whole, rounded to two digits.
func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return round2(float64(part) / float64(whole) * 100)
}

func round2(x float64) float64 { return math.Round(x*100) / 100 }

// WriteText writes the sums and the histogram.
func (v *FreeSpace) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.fields(v)
		rows := [][]string{{"run size", "runs", "blocks", "percent"}}
		for _, c := range v.Histogram {
			rows = append(rows, []string{sizeText(c.From) + "-" + sizeText(c.To), utoa(c.Chunks), utoa(c.Blocks),
				fmt.Sprintf("%.2f", c.Percent)})
		}
		if len(v.Histogram) > 0 {
			p.table("rrrr", rows)
		}
		p.problems(v.Problems)
	})
}

// sizeText is a power of two bytes with a unit.
func sizeText(n int64) string {
	units := []string{"", "K", "M", "G", "T", "P", "E"}
	i := 0
	for n >= 1024 && n%1024 == 0 && i+1 < len(units) {
		n /= 1024
		i++
	}
	return utoa(uint64(n)) + units[i]
}
