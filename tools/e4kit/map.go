package main

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/lipgloss"

	"github.com/e4kit/e4kit/dump"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// drawing is an image to be drawn and the files to be seen in it.
type drawing struct {
	img   *image
	im    *dump.Image
	names []string // of the files, a few
	runs  []extent.Extent
}

func newDrawing(img *image) *drawing { return &drawing{img: img, im: dump.New(img.fs)} }

// maxDrawnRuns bounds the runs that are kept for a drawing. A picture shows
// no more places than this.
const maxDrawnRuns = 1 << 22

func (d *drawing) add(x extent.Extent) {
	if x.Flags&(extent.FlagHole|extent.FlagInline) == 0 && len(d.runs) < maxDrawnRuns {
		d.runs = append(d.runs, x)
	}
}

// name notes a file for the title.
func (d *drawing) name(path string) {
	const most = 100
	if len(d.names) < most {
		d.names = append(d.names, path)
	}
}

// draw makes the drawings that were asked for.
func (e *env) draw(order []*image, drawings map[*image]*drawing, o extentsOptions) error {
	if o.svg != "" && len(order) > 1 {
		return e.usagef("--svg draws one image, and these are %d", len(order))
	}
	for _, img := range order {
		if o.drawMap {
			if err := e.drawMap(drawings[img]); err != nil {
				return at(img.name, "", err)
			}
		}
		if o.svg != "" {
			if err := e.drawSVG(drawings[img], o.svg); err != nil {
				return err
			}
		}
	}
	return nil
}

// What a cell of a drawing is, by what it holds most of; of the file asked
// for, any block counts.
type cellKind int

const (
	cellFree cellKind = iota
	cellPart          // free and used
	cellUsed
	cellMeta
	cellJournal
	cellFilePart // the file and something else
	cellFile
	cellKinds
)

var cellNames = [cellKinds]string{"free", "partly used", "used", "metadata", "journal", "partly file", "file"}

// kindOf judges a cell.
func kindOf(c dump.Cell) cellKind {
	other := c.Other()
	switch most := max(c.Free, c.Meta, c.Journal, other); {
	case c.File*4 >= c.Blocks*3 && c.File > 0:
		return cellFile
	case c.File > 0:
		return cellFilePart
	case c.Meta == most && c.Meta > 0:
		return cellMeta
	case c.Journal == most && c.Journal > 0:
		return cellJournal
	case c.Free == c.Blocks:
		return cellFree
	case c.Free*4 > c.Blocks:
		return cellPart
	}
	return cellUsed
}

var cellGlyphs = [cellKinds]string{"·", "░", "▒", "m", "j", "▓", "█"}

// drawMap draws the image for a terminal.
func (e *env) drawMap(d *drawing) error {
	const most = 24 // rows
	s := d.img.fs.Super()
	columns := min(max(e.columns-16, 16), 200)
	blocks := s.Blocks() - uint64(s.FirstDataBlock)
	rowBlocks := max((blocks+most-1)/most, 1)
	if small := uint64(columns); rowBlocks < small {
		rowBlocks = small
	}
	m, err := d.im.Map(e.ctx, rowBlocks, columns, d.runs)
	if err != nil {
		return err
	}
	r := e.styles().renderer
	style := func(color string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(color)) }
	styles := [cellKinds]lipgloss.Style{
		style("8"), style("7"), style("7"), style("4"), style("5"), style("3"), style("11").Bold(true),
	}
	var lines []string
	for row := range m.Rows {
		first, _ := m.CellBlocks(row, 0)
		lines = append(lines, fmt.Sprintf("%10d ", first)+mapRow(m, row, &styles))
	}
	box := r.NewStyle().Border(lipgloss.RoundedBorder()).BorderForeground(lipgloss.Color("8"))
	w := e.writer()
	fmt.Fprintf(w, "%s: %d blocks of %d bytes, a cell is about %s\n", e.shown(d.img.name), m.Blocks, m.BlockSize,
		count(max(rowBlocks/uint64(m.Columns), 1), "block"))
	fmt.Fprintln(w, box.Render(strings.Join(lines, "\n")))
	for k := cellKinds - 1; k >= 0; k-- {
		if k >= cellFilePart && len(d.runs) == 0 {
			continue
		}
		fmt.Fprintf(w, " %s %s ", styles[k].Render(cellGlyphs[k]), cellNames[k])
	}
	fmt.Fprintln(w)
	for _, p := range m.Problems {
		e.note("%s: %s", d.img.name, p)
	}
	return e.endLine()
}

// mapRow renders the cells of a row, those of a kind together.
func mapRow(m *dump.Map, row int, styles *[cellKinds]lipgloss.Style) string {
	var b strings.Builder
	cells := m.Cells[row*m.Columns : (row+1)*m.Columns]
	for i := 0; i < len(cells) && cells[i].Blocks > 0; {
		kind := kindOf(cells[i])
		n := 1
		for i+n < len(cells) && cells[i+n].Blocks > 0 && kindOf(cells[i+n]) == kind {
			n++
		}
		b.WriteString(styles[kind].Render(strings.Repeat(cellGlyphs[kind], n)))
		i += n
	}
	return b.String()
}
