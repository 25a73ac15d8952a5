package tree

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Glob is a pattern that names files, as tar and rsync users write them.
//
//   - any bytes but slashes, also none
//     **      any bytes, slashes too; "a/**/b" matches "a/b" as well
//     ?       one character, not a slash
//     [a-z]   one character of a set, [!a-z] or [^a-z] one that is not in it,
//     never a slash
//     \c      the character c
//
// A pattern that begins with a slash matches paths from the root of the
// source. Any other matches the end of a path, from a slash on: "doc/*.gz"
// matches "usr/share/doc/x.gz". A slash at the end lets it match directories
// only.
type Glob struct {
	text     string
	items    []globItem
	anchored bool
	dirOnly  bool
	plain    bool   // no item is special
	literal  string // of a plain pattern
	suffix   string // what every match ends with
}

type globKind uint8

const (
	globByte  globKind = iota // the byte itself
	globOne                   // ?
	globSet                   // [...]
	globStar                  // *
	globAll                   // **
	globSlash                 // the slash of "**/": what is before it ends there
)

type globItem struct {
	kind globKind
	c    byte
	set  *globCharSet
}

func (it globItem) isSlash() bool { return it.kind == globSlash || it.kind == globByte && it.c == '/' }

type globCharSet struct {
	not    bool
	ranges [][2]rune
}

const maxGlob = 1 << 16

// ParseGlob reads a pattern. Errors are ErrPattern.
func ParseGlob(text string) (*Glob, error) {
	g := &Glob{text: text}
	s := text
	if len(s) > maxGlob {
		return nil, fmt.Errorf("pattern of %d bytes: %w", len(s), ErrPattern)
	}
	if strings.HasPrefix(s, "/") {
		g.anchored, s = true, strings.TrimLeft(s, "/")
	}
	s = strings.TrimPrefix(s, "./")
	if t := strings.TrimRight(s, "/"); t != s && !strings.HasSuffix(t, `\`) {
		g.dirOnly, s = true, t
	}
	if s == "" && !g.anchored {
		return nil, fmt.Errorf("%q: empty pattern: %w", text, ErrPattern)
	}
	for len(s) > 0 {
		n, err := g.item(s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		s = s[n:]
	}
	g.describe()
	return g, nil
}

// item reads one item and tells its length.
func (g *Glob) item(s string) (int, error) {
	switch s[0] {
	case '*':
		n := len(s) - len(strings.TrimLeft(s, "*"))
		if n == 1 {
			g.items = append(g.items, globItem{kind: globStar})
			return n, nil
		}
		afterSlash := len(g.items) == 0 || g.items[len(g.items)-1].isSlash()
		g.items = append(g.items, globItem{kind: globAll})
		if afterSlash && strings.HasPrefix(s[n:], "/") {
			g.items = append(g.items, globItem{kind: globSlash})
			n++
		}
		return n, nil
	case '?':
		g.items = append(g.items, globItem{kind: globOne})
		return 1, nil
	case '[':
		set, n, err := parseSet(s)
		g.items = append(g.items, globItem{kind: globSet, set: set})
		return n, err
	case '\\':
		if len(s) < 2 {
			return 0, fmt.Errorf("backslash at the end: %w", ErrPattern)
		}
		g.items = append(g.items, globItem{kind: globByte, c: s[1]})
		return 2, nil
	case 0:
		return 0, fmt.Errorf("zero byte: %w", ErrPattern)
	}
	g.items = append(g.items, globItem{kind: globByte, c: s[0]})
	return 1, nil
}

var errSet = fmt.Errorf("bad set of characters: %w", ErrPattern)

// parseSet reads "[...]".
func parseSet(s string) (*globCharSet, int, error) {
	set := &globCharSet{}
	at := 1
	if at < len(s) && (s[at] == '!' || s[at] == '^') {
		set.not = true
		at++
	}
	char := func() (rune, bool) {
		if at < len(s) && s[at] == '\\' {
			at++
		}
		if at >= len(s) || s[at] == '/' {
			return 0, false
		}
		r, n := firstRune(s[at:])
		at += n
		return r, true
	}
	for first := true; ; first = false {
		if at < len(s) && s[at] == ']' && !first {
			return set, at + 1, nil
		}
		lo, ok := char()
		if !ok {
			return nil, 0, errSet
		}
		hi := lo
		if at+1 < len(s) && s[at] == '-' && s[at+1] != ']' {
			at++
			if hi, ok = char(); !ok || hi < lo {
				return nil, 0, errSet
			}
		}
		set.ranges = append(set.ranges, [2]rune{lo, hi})
	}
}

// firstRune is the first character: a byte that begins none is one of its own,
// beyond all others.
func firstRune(s string) (rune, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return utf8.MaxRune + 1 + rune(s[0]), 1
	}
	return r, n
}

func (s *globCharSet) has(c rune) bool {
	for _, r := range s.ranges {
		if c >= r[0] && c <= r[1] {
			return !s.not
		}
	}
	return s.not
}

// describe finds out what makes matching quick.
func (g *Glob) describe() {
	g.plain = true
	tail := len(g.items)
	for i, it := range g.items {
		if it.kind != globByte {
			g.plain, tail = false, len(g.items)
		} else if tail == len(g.items) {
			tail = i
		}
	}
	var b strings.Builder
	for _, it := range g.items[min(tail, len(g.items)):] {
		if it.kind == globByte {
			b.WriteByte(it.c)
		}
	}
	g.suffix = b.String()
	if g.plain {
		g.literal = g.suffix
	}
}

func (g *Glob) String() string { return g.text }

// Match reports whether the pattern names the file with this path, which has
// no slash at its beginning or end; "" is the root.
func (g *Glob) Match(path string, dir bool) bool {
	if g.dirOnly && !dir || !strings.HasSuffix(path, g.suffix) {
		return false
	}
	if g.plain {
		return path == g.literal || !g.anchored && strings.HasSuffix(path, "/"+g.literal)
	}
	if g.match(path) {
		return true
	}
	if g.anchored {
		return false
	}
	for {
		at := strings.IndexByte(path, '/')
		if at < 0 {
			return false
		}
		path = path[at+1:]
		if g.match(path) {
			return true
		}
	}
}

// match matches all of s. Only the last star of each kind ever needs to try
// again: whatever an earlier one could take, a later one of its kind can too.
func (g *Glob) match(s string) bool {
	type retry struct{ item, at int }
	star, all := retry{-1, 0}, retry{-1, 0}
	i, at := 0, 0
	for i < len(g.items) || at < len(s) {
		if i < len(g.items) {
			switch g.items[i].kind {
			case globStar:
				star = retry{i, at}
				i++
				continue
			case globAll:
				all, star = retry{i, at}, retry{-1, 0}
				i++
				continue
			}
			if n, ok := g.step(i, s, at); ok {
				i, at = i+1, at+n
				continue
			}
		}
		switch {
		case star.item >= 0 && star.at < len(s) && s[star.at] != '/':
			_, n := firstRune(s[star.at:])
			star.at += n
			i, at = star.item+1, star.at
		case all.item >= 0 && all.at < len(s):
			_, n := firstRune(s[all.at:])
			all.at += n
			star = retry{-1, 0}
			i, at = all.item+1, all.at
		default:
			return false
		}
	}
	return true
}

// step matches one item that is no star.
func (g *Glob) step(i int, s string, at int) (int, bool) {
	it := g.items[i]
	if it.kind == globSlash {
		return 0, at == 0 || s[at-1] == '/'
	}
	if at >= len(s) {
		return 0, false
	}
	if it.kind == globByte {
		return 1, s[at] == it.c
	}
	r, n := firstRune(s[at:])
	if r == '/' {
		return 0, false
	}
	return n, it.kind == globOne || it.set.has(r)
}

// filter is what Include and Exclude make.
type filter struct {
	include, exclude []*Glob
}

func newFilter(o *Options) (*filter, error) {
	f := &filter{}
	for _, list := range []struct {
		text []string
		to   *[]*Glob
	}{{o.Include, &f.include}, {o.Exclude, &f.exclude}} {
		for _, text := range list.text {
			g, err := ParseGlob(text)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, g)
		}
	}
	return f, nil
}

// choice is what a filter says of a file.
type choice uint8

const (
	// chooseIn: taken, with all in it that is not excluded.
	chooseIn choice = iota
	// chooseMaybe: a directory that is taken if something in it is.
	chooseMaybe
	// chooseOut: left out, with all in it.
	chooseOut
)

// choose judges a file; up is what became of the directory that it is in.
func (f *filter) choose(path string, dir bool, up choice) choice {
	if up == chooseOut || matchAny(f.exclude, path, dir) {
		return chooseOut
	}
	switch {
	case len(f.include) == 0 || up == chooseIn && path != "" || matchAny(f.include, path, dir):
		return chooseIn
	case dir:
		return chooseMaybe
	}
	return chooseOut
}

// root is what becomes of the source's root.
func (f *filter) root() choice {
	if len(f.include) == 0 || matchAny(f.include, "", true) {
		return chooseIn
	}
	return chooseMaybe
}

// path judges a file by its path alone.
func (f *filter) path(path string, dir bool) choice {
	if len(f.include) == 0 && len(f.exclude) == 0 {
		return chooseIn
	}
	up := f.root()
	for at := 0; at < len(path); at++ {
		if path[at] != '/' {
			continue
		}
		if up = f.choose(path[:at], true, up); up == chooseOut {
			return up
		}
	}
	if path == "" {
		return up
	}
	return f.choose(path, dir, up)
}

func matchAny(list []*Glob, path string, dir bool) bool {
	for _, g := range list {
		if g.Match(path, dir) {
			return true
		}
	}
	return false
}
