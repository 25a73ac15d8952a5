package main

import (
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// styles are the colours of the program. Each is a pair of escape sequences,
// made once by lipgloss; without colour all are empty.
type styles struct {
	on                                         bool
	dir, link, exec, fifo, sock, device, setid paint
	bold, faint, good, warn, bad               paint
	renderer                                   *lipgloss.Renderer
}

// paint surrounds text with a colour.
type paint struct{ before, after string }

func (p paint) text(s string) string {
	if p.before == "" {
		return s
	}
	return p.before + s + p.after
}

// useColor is the customary policy: NO_COLOR forbids, CLICOLOR_FORCE demands,
// else only a terminal that is not dumb gets colours.
func useColor(getenv func(string) string, terminal bool) bool {
	switch {
	case getenv("NO_COLOR") != "":
		return false
	case getenv("CLICOLOR_FORCE") != "" && getenv("CLICOLOR_FORCE") != "0":
		return true
	case getenv("TERM") == "dumb", getenv("CLICOLOR") == "0":
		return false
	}
	return terminal
}

func newStyles(on bool) *styles {
	r := lipgloss.NewRenderer(io.Discard)
	r.SetColorProfile(termenv.Ascii)
	s := &styles{on: on, renderer: r}
	if !on {
		return s
	}
	r.SetColorProfile(termenv.ANSI256)
	color := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	s.dir = newPaint(color("12").Bold(true))
	s.link = newPaint(color("14"))
	s.exec = newPaint(color("10"))
	s.fifo = newPaint(color("3"))
	s.sock = newPaint(color("13"))
	s.device = newPaint(color("11").Bold(true))
	s.setid = newPaint(color("15").Background(lipgloss.Color("1")))
	s.bold = newPaint(r.NewStyle().Bold(true))
	s.faint = newPaint(r.NewStyle().Faint(true))
	s.good = newPaint(color("10"))
	s.warn = newPaint(color("11"))
	s.bad = newPaint(color("9").Bold(true))
	return s
}

func newPaint(style lipgloss.Style) paint {
	const mark = "x"
	before, after, ok := strings.Cut(style.Render(mark), mark)
	if !ok {
		return paint{}
	}
	return paint{before, after}
}

// styles returns the colours for standard output.
func (e *env) styles() *styles {
	if e.style == nil {
		e.style = newStyles(!e.json && useColor(e.getenv, e.outTTY))
	}
	return e.style
}
