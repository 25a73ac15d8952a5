package main

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/e4kit/e4kit/ext4fs"
)

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }
func itoa(n int64) string  { return strconv.FormatInt(n, 10) }

// pad returns spaces that fill s up to width.
func pad(s string, width int) string {
	if n := width - utf8.RuneCountInString(s); n > 0 {
		return strings.Repeat(" ", n)
	}
	return ""
}

// longRow is a line of ls -l before it is aligned.
type longRow struct {
	mode, links, user, group, size, when string
}

// printLong shows items as ls -l does.
func (l *lister) printLong(items []*lsItem, whole bool) error {
	var width struct{ mode, links, user, group, size, when int }
	var sectors uint64
	for _, it := range items {
		r := l.row(it)
		width.mode = max(width.mode, len(r.mode))
		width.links = max(width.links, len(r.links))
		width.user = max(width.user, utf8.RuneCountInString(r.user))
		width.group = max(width.group, utf8.RuneCountInString(r.group))
		width.size = max(width.size, len(r.size))
		width.when = max(width.when, len(r.when))
		sectors += it.stat.Sectors
	}
	w := l.e.writer()
	if whole {
		w.WriteString("total " + l.space(sectors) + "\n")
	}
	prefix := l.prefixes(items)
	for i, it := range items {
		r := l.row(it)
		w.WriteString(prefix[i])
		w.WriteString(r.mode + pad(r.mode, width.mode) + " " + pad(r.links, width.links) + r.links + " ")
		w.WriteString(r.user + pad(r.user, width.user) + " " + r.group + pad(r.group, width.group) + " ")
		w.WriteString(pad(r.size, width.size) + r.size + " " + pad(r.when, width.when) + r.when + " ")
		w.WriteString(l.painted(it) + l.mark(it))
		if it.stat.Mode&fs.ModeSymlink != 0 {
			w.WriteString(" -> " + l.target(it))
		}
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return l.e.endLine()
}

func (l *lister) row(it *lsItem) longRow {
	st := &it.stat
	r := longRow{mode: modeString(st.RawMode), links: utoa(uint64(st.Links)), size: l.size(st)}
	if it.acl {
		r.mode += "+"
	}
	if l.o.numeric {
		r.user, r.group = utoa(uint64(st.UID)), utoa(uint64(st.GID))
	} else {
		names := l.e.ownersOf(l.img)
		r.user, r.group = names.user(st.UID), names.group(st.GID)
	}
	r.when = l.e.lsTime(st.Mtime, l.o.fullTime)
	return r
}

// hasACL reports whether ls -l marks a file with a plus sign.
func hasACL(i *ext4fs.Inode) bool {
	if _, err := i.Xattr("system.posix_acl_access"); err == nil {
		return true
	}
	if !i.IsDir() {
		return false
	}
	_, err := i.Xattr("system.posix_acl_default")
	return err == nil
}

func (l *lister) size(st *ext4fs.Stat) string {
	switch {
	case isDevice(st):
		return utoa(uint64(st.Major)) + ", " + utoa(uint64(st.Minor))
	case l.o.human:
		return humanSize(st.Size)
	}
	return itoa(st.Size)
}

func (l *lister) target(it *lsItem) string {
	inode, err := l.img.fs.Inode(it.stat.Inode)
	target := ""
	if err == nil {
		target, err = inode.Readlink()
	}
	if err != nil {
		l.e.fail(at(l.img.name, l.path(it), err))
		return "?"
	}
	return l.e.shown(target)
}

// halfYear is how long ls shows the time of day rather than the year.
const halfYear = 365 * 24 * time.Hour / 2

// lsTime is the time as ls -l has it.
func (e *env) lsTime(t time.Time, full bool) string {
	t = t.In(e.local)
	if full {
		return t.Format("2006-01-02 15:04:05.000000000 -0700")
	}
	age := e.now().Sub(t)
	if age < 0 || age > halfYear {
		return t.Format("Jan _2  2006")
	}
	return t.Format("Jan _2 15:04")
}

// printColumns fills a terminal's width with names, down the columns.
func (l *lister) printColumns(items []*lsItem) error {
	prefix := l.prefixes(items)
	widths := make([]int, len(items))
	for i, it := range items {
		widths[i] = len(prefix[i]) + utf8.RuneCountInString(l.e.shown(it.name)+l.mark(it))
	}
	rows, columns := fitColumns(widths, l.e.columns)
	w := l.e.writer()
	for row := range rows {
		for c, width := range columns {
			i := c*rows + row
			if i >= len(items) {
				break
			}
			w.WriteString(prefix[i] + l.painted(items[i]) + l.mark(items[i]))
			if c+1 < len(columns) && i+rows < len(items) {
				w.WriteString(strings.Repeat(" ", width-widths[i]+2))
			}
		}
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return l.e.endLine()
}

// fitColumns finds the fewest rows for which all columns fit into total, and
// the widths of the columns.
func fitColumns(widths []int, total int) (rows int, columns []int) {
	// As many columns as the narrowest name allows is where to begin.
	rows = len(widths) / (total/(slices.Min(widths)+2) + 1)
	for rows = max(rows, 1); ; rows++ {
		columns = columns[:0]
		sum := -2
		for i := 0; i < len(widths); i += rows {
			width := 0
			for _, w := range widths[i:min(i+rows, len(widths))] {
				width = max(width, w)
			}
			columns = append(columns, width)
			if sum += width + 2; sum > total {
				break
			}
		}
		if sum <= total || rows >= len(widths) {
			return rows, columns
		}
	}
}
