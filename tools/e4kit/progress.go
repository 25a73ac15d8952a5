package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
)

// progressInterval allows ten frames a second.
const progressInterval = 100 * time.Millisecond

// progress is the bar of a long verb, on standard error and only on a
// terminal. All of it is guarded by env.mu or called from one goroutine.
type progress struct {
	start, last time.Time
	drawn       bool
	style       lipgloss.Style
	color       bool
}

// progressState is how far a verb has come. A total of 0 is not known yet.
type progressState struct {
	done, total   int64 // bytes
	files, ofMany int64
	what          string // where it is
}

// wantsProgress reports whether anybody would see a bar.
func (e *env) wantsProgress() bool { return e.errTTY && !e.json && e.getenv("TERM") != "dumb" }

// showProgress draws a frame, unless the last one is too fresh.
func (e *env) showProgress(s progressState) {
	if !e.wantsProgress() {
		return
	}
	now := e.now()
	if e.prog == nil {
		p := &progress{start: now, color: useColor(e.getenv, e.errTTY)}
		p.style = newStyles(p.color).renderer.NewStyle().Foreground(lipgloss.Color("12"))
		e.prog = p
	}
	p := e.prog
	if now.Sub(p.last) < progressInterval {
		return
	}
	p.last, p.drawn = now, true
	fmt.Fprintf(e.stderr, "\r%s\x1b[K", p.frame(s, now, e.columns))
}

// showProgressLocked is showProgress for callbacks that may run beside reports
// of errors.
func (e *env) showProgressLocked(s progressState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.showProgress(s)
}

// clearProgress takes the bar away before other output lands on its line.
func (e *env) clearProgress() {
	if e.prog != nil && e.prog.drawn {
		fmt.Fprint(e.stderr, "\r\x1b[K")
		e.prog.drawn = false
		e.prog.last = time.Time{}
	}
}

// endProgress takes the bar away for good.
func (e *env) endProgress() {
	e.clearProgress()
	e.prog = nil
}

// frame is one picture: percent, bar, amounts, rate, time left and place.
func (p *progress) frame(s progressState, now time.Time, columns int) string {
	elapsed := now.Sub(p.start)
	var rate int64
	if ms := elapsed.Milliseconds(); ms > 0 {
		rate = int64(float64(s.done) * 1000 / float64(ms))
	}
	text := fmt.Sprintf(" %s", humanSize(s.done))
	if s.total > 0 {
		text += "/" + humanSize(max(s.total, s.done))
	}
	text += fmt.Sprintf(" %s/s", humanSize(rate))
	if s.files > 0 {
		text += fmt.Sprintf(" %d", s.files)
		if s.ofMany > 0 {
			text += fmt.Sprintf("/%d", max(s.ofMany, s.files))
		}
		text += " files"
	}
	bar := ""
	if s.total > 0 {
		part := min(float64(s.done)/float64(s.total), 1)
		text += " ETA " + eta(elapsed, part)
		const width = 24
		full := int(part * width)
		bar = fmt.Sprintf("%3d%% %s", int(part*100), p.style.Render(strings.Repeat("█", full))+strings.Repeat("░", width-full))
	}
	frame := bar + text
	if room := columns - 1 - lipgloss.Width(frame) - 1; room > 8 && s.what != "" {
		frame += " " + shorten(safeText(s.what), room)
	}
	return frame
}

// eta is the time left if all goes on as it did.
func eta(elapsed time.Duration, part float64) string {
	if part <= 0 || elapsed < 500*time.Millisecond {
		return "-:--"
	}
	left := time.Duration(float64(elapsed) * (1 - part) / part).Round(time.Second)
	if left >= time.Hour {
		return fmt.Sprintf("%d:%02d:%02d", left/time.Hour, left/time.Minute%60, left/time.Second%60)
	}
	return fmt.Sprintf("%d:%02d", left/time.Minute, left/time.Second%60)
}

// shorten keeps the end of a path, which tells more than its beginning.
func shorten(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return "…" + string(r[len(r)-width+1:])
}
