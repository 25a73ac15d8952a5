package main

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/e4kit/e4kit/dump"
)

// Sizes of the picture in pixels. A row is a group, or several where there are
// many; a row has at most svgColumns cells, so that the file stays small
// whatever the size of the image.
const (
	svgLeft     = 78
	svgTop      = 74
	svgWidth    = 1000
	svgColumns  = 500
	svgRows     = 128
	svgMargin   = 20
	svgLegend   = 40
	svgMaxRow   = 22
	svgMinRow   = 5
	svgMinTotal = 60
	svgTitle    = 90 // letters
)

var svgColors = [cellKinds]string{"#eef1f4", "#c3d3e6", "#8aa6c8", "#3d4f66", "#9b6fb5", "#f9b183", "#f2641a"}

// drawSVG draws the image into a file, which gets its name when it is whole.
func (e *env) drawSVG(d *drawing, name string) error {
	m, per, err := d.groupRows(e)
	if err != nil {
		return at(d.img.name, "", err)
	}
	for _, p := range m.Problems {
		e.note("%s: %s", d.img.name, p)
	}
	if name == "-" {
		return writeSVG(e.writer(), m, per, d)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".e4kit-*.svg")
	if err != nil {
		return hostError(err)
	}
	defer os.Remove(tmp.Name())
	w := bufio.NewWriter(tmp)
	err = writeSVG(w, m, per, d)
	for _, step := range []func() error{w.Flush, func() error { return tmp.Chmod(0o644) }, tmp.Close,
		func() error { return os.Rename(tmp.Name(), name) }} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		tmp.Close()
		return hostError(err)
	}
	return nil
}

// groupRows cuts the image into rows of per groups.
func (d *drawing) groupRows(e *env) (m *dump.Map, per uint64, err error) {
	s := d.img.fs.Super()
	groups := uint64(s.Groups())
	per = max((groups+svgRows-1)/svgRows, 1)
	m, err = d.im.Map(e.ctx, per*uint64(s.BlocksPerGroup), svgColumns, d.runs)
	return m, per, err
}

// svgWriter keeps the first error.
type svgWriter struct {
	w   io.Writer
	err error
}

func (s *svgWriter) f(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

func writeSVG(out io.Writer, m *dump.Map, per uint64, d *drawing) error {
	s := &svgWriter{w: out}
	row := svgRowHeight(m.Rows)
	body := max(row*m.Rows, svgMinTotal)
	width, height := svgLeft+svgWidth+svgMargin, svgTop+body+svgLegend+svgMargin
	s.f(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif">`+"\n",
		width, height, width, height)
	s.f(`<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	s.title(m, per, d)
	for r := range m.Rows {
		s.row(m, per, r, svgTop+r*row, row)
	}
	s.legend(m, d, svgTop+body+svgLegend-12)
	s.f("</svg>\n")
	return s.err
}

// joinNames joins names as far as there is room, and counts the rest.
func joinNames(names []string, room int) string {
	text := shorten(names[0], max(room, 12))
	for i, n := range names[1:] {
		if len(text)+len(n) > room {
			return fmt.Sprintf("%s and %d more", text, len(names)-i-1)
		}
		text += ", " + n
	}
	return text
}

// svgRowHeight makes rows lower where there are many.
func svgRowHeight(rows int) int { return min(max(900/max(rows, 1), svgMinRow), svgMaxRow) }

func (s *svgWriter) title(m *dump.Map, per uint64, d *drawing) {
	super := d.img.fs.Super()
	name := filepath.Base(d.img.name)
	if len(d.names) > 0 {
		name += ": " + joinNames(d.names, svgTitle-len(name))
	}
	s.f(`<text x="%d" y="30" font-size="20" fill="#1d2733">%s</text>`+"\n", svgLeft, xmlText(name))
	s.f(`<text x="%d" y="%d" font-size="11" text-anchor="end" fill="#55606d">group</text>`+"\n", svgLeft-8, svgTop-8)
	unit := "one row is one group"
	if per > 1 {
		unit = fmt.Sprintf("one row is %d groups", per)
	}
	s.f(`<text x="%d" y="52" font-size="13" fill="#55606d">%s, %d blocks of %d bytes, %d groups, %s of %d blocks</text>`+"\n",
		svgLeft, niceSize(int64(m.Blocks)*int64(m.BlockSize)), m.Blocks, m.BlockSize, super.Groups(), unit, m.RowBlocks)
}

// row draws one row: for every kind of cell one path of all its rectangles.
func (s *svgWriter) row(m *dump.Map, per uint64, r, y, height int) {
	gap := 1
	if height >= 10 {
		gap = 2
	}
	first, _ := m.CellBlocks(r, 0)
	last := min(first+m.RowBlocks, m.Blocks) - 1
	s.f(`<g><title>%s, blocks %d to %d</title>`, groupWords(per, r), first, last)
	every := max(1, (12+height-1)/height)
	if r%every == 0 {
		s.f(`<text x="%d" y="%d" font-size="11" text-anchor="end" fill="#55606d">%d</text>`, svgLeft-8, y+height/2+4, uint64(r)*per)
	}
	var paths [cellKinds]strings.Builder
	cells := m.Cells[r*m.Columns : (r+1)*m.Columns]
	for i := 0; i < len(cells) && cells[i].Blocks > 0; {
		kind, n := kindOf(cells[i]), 1
		for i+n < len(cells) && cells[i+n].Blocks > 0 && kindOf(cells[i+n]) == kind {
			n++
		}
		x0, x1 := svgX(i, m.Columns), svgX(i+n, m.Columns)
		fmt.Fprintf(&paths[kind], "M%s %dV%dH%sV%dz", x0, y, y+height-gap, x1, y)
		i += n
	}
	for kind := range paths {
		if paths[kind].Len() > 0 {
			s.f(`<path fill="%s" d="%s"/>`, svgColors[kind], paths[kind].String())
		}
	}
	s.f("</g>\n")
}

func groupWords(per uint64, r int) string {
	if per == 1 {
		return fmt.Sprintf("Group %d", r)
	}
	return fmt.Sprintf("Groups %d to %d", uint64(r)*per, uint64(r+1)*per-1)
}

// svgX is the left edge of a column.
func svgX(column, columns int) string {
	hundredths := column * svgWidth * 100 / columns
	if hundredths%100 == 0 {
		return fmt.Sprint(svgLeft + hundredths/100)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%02d", svgLeft+hundredths/100, hundredths%100), "0")
}

func (s *svgWriter) legend(m *dump.Map, d *drawing, y int) {
	total := m.Total
	amounts := [cellKinds]uint64{cellFree: total.Free, cellUsed: total.Other(), cellMeta: total.Meta,
		cellJournal: total.Journal, cellFile: total.File}
	x := svgLeft
	for kind := cellKinds - 1; kind >= 0; kind-- {
		if kind >= cellFilePart && len(d.runs) == 0 || kind == cellJournal && total.Journal == 0 {
			continue
		}
		text := cellNames[kind]
		if kind != cellPart && kind != cellFilePart {
			text += " " + niceSize(int64(amounts[kind])*int64(m.BlockSize))
		}
		s.f(`<rect x="%d" y="%d" width="14" height="14" fill="%s" stroke="#b8c0c8" stroke-width="0.5"/>`, x, y-11, svgColors[kind])
		s.f(`<text x="%d" y="%d" font-size="13" fill="#1d2733">%s</text>`+"\n", x+20, y, xmlText(text))
		x += 44 + 8*len(text)
	}
}

// xmlText escapes a name for XML; what XML cannot hold was escaped before.
func xmlText(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(safeText(s))); err != nil {
		return ""
	}
	return b.String()
}
