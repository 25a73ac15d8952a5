package dump

import (
	"context"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// fixedRanges yields the blocks that the format itself takes, group by group:
// superblocks, descriptors, bitmaps, inode tables.
func (im *Image) fixedRanges(yield func(Range)) {
	s := &im.super
	for g := range s.Groups() {
		if base, n := s.BaseMeta(g); n > 0 {
			yield(newRange(uint64(base), uint64(n)))
		}
		d, err := im.fs.Group(g)
		if err != nil {
			continue
		}
		yield(newRange(uint64(d.BlockBitmap()), 1))
		yield(newRange(uint64(d.InodeBitmap()), 1))
		yield(newRange(uint64(d.InodeTable()), uint64(s.InodeTableBlocks())))
	}
}

// LongestRun is the most blocks that a file could have in one piece: the
// longest run between what the format itself takes. It is 0 without geometry.
func (im *Image) LongestRun() uint64 {
	im.longestOnce.Do(func() {
		if im.fs != nil {
			im.longest = im.longestRun()
		}
	})
	return im.longest
}

func (im *Image) longestRun() uint64 {
	var taken []Range
	im.fixedRanges(func(r Range) {
		// Parts that touch are one; most do.
		if n := len(taken); n > 0 && r.First >= taken[n-1].First && r.First <= taken[n-1].Last+1 {
			taken[n-1].Last = max(taken[n-1].Last, r.Last)
			return
		}
		taken = append(taken, r)
	})
	slices.SortFunc(taken, func(a, b Range) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	longest, at := uint64(0), uint64(im.super.FirstDataBlock)
	for _, r := range taken {
		if r.First > at {
			longest = max(longest, min(r.First, im.super.Blocks())-at)
		}
		if r.Last >= im.super.Blocks() {
			r.Last = im.super.Blocks() - 1
		}
		at = max(at, r.Last+1)
	}
	return max(longest, im.super.Blocks()-min(at, im.super.Blocks()))
}

// Cell is what is in a part of the image, in blocks. What is none of it is
// other files.
type Cell struct {
	Blocks  uint64
	Free    uint64
	Meta    uint64 // superblocks, descriptors, bitmaps, inode tables
	Journal uint64
	File    uint64 // the file asked for
}

// Other is the blocks of other files.
func (c Cell) Other() uint64 {
	known := c.Free + c.Meta + c.Journal + c.File
	return c.Blocks - min(known, c.Blocks)
}

// Map is an image cut into cells, row by row.
type Map struct {
	Blocks    uint64
	BlockSize int
	First     uint64 // block of the first cell
	RowBlocks uint64
	Rows      int
	Columns   int
	Cells     []Cell
	Total     Cell
	Problems  []string
}

// Bounds of a Map. With them, blocks times columns fit into 64 bits.
const (
	maxCells   = 1 << 20
	maxColumns = 1 << 12
)

// Map cuts the image into rows of rowBlocks and each row into columns, and
// counts what is in each cell. file is the runs of the file to show; nil for
// none.
func (im *Image) Map(ctx context.Context, rowBlocks uint64, columns int, file []extent.Extent) (*Map, error) {
	if err := im.geometry(); err != nil {
		return nil, err
	}
	s := &im.super
	m := &Map{Blocks: s.Blocks(), BlockSize: im.blockSize(), First: uint64(s.FirstDataBlock), RowBlocks: max(rowBlocks, 1)}
	m.Columns = int(max(min(uint64(max(columns, 1)), m.RowBlocks, maxColumns), 1))
	rows := (m.Blocks - m.First + m.RowBlocks - 1) / m.RowBlocks
	if rows > maxCells/uint64(m.Columns) {
		return nil, fmt.Errorf("a map of %d rows and %d columns: %w", rows, m.Columns, ext4fs.ErrInvalid)
	}
	m.Rows = int(rows)
	m.Cells = make([]Cell, m.Rows*m.Columns)
	m.size()
	if err := m.fill(ctx, im, file); err != nil {
		return nil, err
	}
	for i := range m.Cells {
		c := &m.Cells[i]
		m.Total.Blocks += c.Blocks
		m.Total.Free += c.Free
		m.Total.Meta += c.Meta
		m.Total.Journal += c.Journal
		m.Total.File += c.File
	}
	return m, nil
}

func (m *Map) fill(ctx context.Context, im *Image, file []extent.Extent) error {
	for r, err := range im.fs.FreeRuns() {
		if err != nil {
			m.Problems = append(m.Problems, problem(err))
		}
		m.add(uint64(r.Start), r.Len, func(c *Cell, n uint64) { c.Free += n })
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	im.fixedRanges(func(r Range) {
		m.add(r.First, r.Last-r.First+1, func(c *Cell, n uint64) { c.Meta += n })
	})
	for _, e := range file {
		if e.Flags&(extent.FlagHole|extent.FlagInline) == 0 {
			m.add(uint64(e.Physical), uint64(e.Len), func(c *Cell, n uint64) { c.File += n })
		}
	}
	if n := im.super.JournalInode; n != 0 && im.super.Features.Compat.Has(disk.CompatHasJournal) {
		for e, err := range im.Extents(n, false) {
			if err != nil {
				m.Problems = append(m.Problems, problem(err))
				break
			}
			if e.Flags&extent.FlagInline == 0 {
				m.add(uint64(e.Physical), uint64(e.Len), func(c *Cell, n uint64) { c.Journal += n })
			}
		}
	}
	return nil
}

// start is the first block of a cell, counted from the start of its row.
func (m *Map) start(column int) uint64 {
	return uint64(column) * m.RowBlocks / uint64(m.Columns)
}

// CellBlocks is the run of blocks that a cell stands for.
func (m *Map) CellBlocks(row, column int) (first, n uint64) {
	first = m.First + uint64(row)*m.RowBlocks + m.start(column)
	return first, m.Cells[row*m.Columns+column].Blocks
}

func (m *Map) size() {
	for row := range m.Rows {
		for column := range m.Columns {
			first := m.First + uint64(row)*m.RowBlocks + m.start(column)
			end := m.First + uint64(row)*m.RowBlocks + m.start(column+1)
			if end = min(end, m.Blocks); end > first {
				m.Cells[row*m.Columns+column].Blocks = end - first
			}
		}
	}
}

// add hands the parts of a run to the cells they are in.
func (m *Map) add(first, n uint64, count func(c *Cell, n uint64)) {
	if first < m.First {
		skip := min(m.First-first, n)
		first, n = first+skip, n-skip
	}
	if first >= m.Blocks {
		return
	}
	n = min(n, m.Blocks-first)
	for n > 0 {
		row := (first - m.First) / m.RowBlocks
		in := (first - m.First) % m.RowBlocks
		column := int(in * uint64(m.Columns) / m.RowBlocks)
		for column+1 < m.Columns && m.start(column+1) <= in {
			column++
		}
		for column > 0 && m.start(column) > in {
			column--
		}
		part := min(n, max(m.start(column+1)-in, 1))
		count(&m.Cells[int(row)*m.Columns+column], part)
		first, n = first+part, n-part
	}
}
