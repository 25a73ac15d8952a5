package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// globError is a pattern that cannot be understood.
type globError struct{ pattern string }

func (e *globError) Error() string { return fmt.Sprintf("bad pattern %q", e.pattern) }

// maxMatches bounds what one pattern may expand to.
const maxMatches = 1 << 20

// globber expands one pattern. Elements are as in path.Match, with [!x] for
// [^x] as shells have it, and ** for any number of directories. A leading dot
// has to be matched by a dot. Without a match the pattern is taken literally,
// so that odd names can be written as they are.
type globber struct {
	ctx     context.Context
	fs      *ext4fs.FS
	pattern string
	matches []string
	visited map[globVisit]bool // directories that ** has been to
}

// globVisit is a directory and how many elements were left there: two ** in
// one pattern may each go through it.
type globVisit struct {
	dir  disk.InodeNum
	left int
}

// maxGlobDepth bounds how deep ** looks.
const maxGlobDepth = 4096

func expandGlob(ctx context.Context, fsys *ext4fs.FS, pattern string) ([]string, error) {
	if !hasGlob(pattern) {
		return []string{unescapeGlob(pattern)}, nil
	}
	g := &globber{ctx: ctx, fs: fsys, pattern: pattern}
	elements := splitPattern(pattern)
	for _, el := range elements {
		if _, err := path.Match(shellClass(el), ""); err != nil {
			return nil, &globError{pattern}
		}
	}
	root, err := fsys.Root()
	if err != nil {
		return nil, err
	}
	if err := g.expand("/", root, elements); err != nil {
		return nil, err
	}
	if len(g.matches) == 0 {
		if _, err := fsys.LookupNoFollow(pattern); err == nil {
			return []string{pattern}, nil
		}
		return nil, fmt.Errorf("no match: %w", ext4fs.ErrNotExist)
	}
	if strings.HasSuffix(pattern, "/") {
		for i := range g.matches {
			g.matches[i] += "/"
		}
	}
	return g.matches, nil
}

// expand appends the paths below dir that the elements match.
func (g *globber) expand(at string, dir *ext4fs.Inode, elements []string) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	if len(elements) == 0 {
		if len(g.matches) >= maxMatches {
			return fmt.Errorf("more than %d matches", maxMatches)
		}
		g.matches = append(g.matches, at)
		return nil
	}
	el, rest := elements[0], elements[1:]
	if el == "**" {
		return g.anyDepth(at, dir, rest)
	}
	if !hasGlob(el) {
		return g.step(at, dir, unescapeGlob(el), rest)
	}
	names, err := g.names(dir)
	if err != nil {
		return nil // what cannot be listed matches nothing, as in shells
	}
	for _, name := range names {
		if name[0] == '.' && !strings.HasPrefix(el, ".") && !strings.HasPrefix(el, `\.`) {
			continue
		}
		if ok, _ := path.Match(shellClass(el), name); ok {
			if err := g.step(at, dir, name, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

// step goes down to name, through a symbolic link if more elements follow.
func (g *globber) step(at string, dir *ext4fs.Inode, name string, rest []string) error {
	full := joinPath(at, name)
	if name == "." {
		return g.expand(full, dir, rest)
	}
	num, err := dir.Lookup(name)
	if err != nil {
		return nil
	}
	child, err := g.fs.Inode(num)
	if err != nil {
		if len(rest) == 0 {
			g.matches = append(g.matches, full) // the caller meets the error
		}
		return nil
	}
	if child.IsSymlink() && len(rest) > 0 {
		if child, err = g.fs.Lookup(full); err != nil {
			return nil
		}
	}
	if !child.IsDir() && len(rest) > 0 {
		return nil
	}
	return g.expand(full, child, rest)
}

// anyDepth matches rest in dir and in every directory below it.
func (g *globber) anyDepth(at string, dir *ext4fs.Inode, rest []string) error {
	if len(rest) == 0 {
		rest = []string{"*"}
	}
	if g.visited == nil {
		g.visited = make(map[globVisit]bool)
	}
	here := globVisit{dir.Number(), len(rest)}
	if g.visited[here] || strings.Count(at, "/") > maxGlobDepth {
		return nil // hard links between directories would not end
	}
	g.visited[here] = true
	if err := g.expand(at, dir, rest); err != nil {
		return err
	}
	names, err := g.names(dir)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if name[0] == '.' {
			continue
		}
		num, err := dir.Lookup(name)
		if err != nil {
			continue
		}
		child, err := g.fs.Inode(num)
		if err != nil || !child.IsDir() {
			continue
		}
		if err := g.anyDepth(joinPath(at, name), child, rest); err != nil {
			return err
		}
	}
	return nil
}

func (g *globber) names(dir *ext4fs.Inode) ([]string, error) {
	var names []string
	for entry, err := range dir.Entries() {
		if err != nil {
			return nil, err
		}
		if !ext4fs.IsDots(entry) && len(entry.Name) > 0 {
			names = append(names, string(entry.Name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// hasGlob reports whether a pattern can match anything but itself.
func hasGlob(p string) bool {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// unescapeGlob drops the backslashes that protect characters.
func unescapeGlob(p string) string {
	if !strings.Contains(p, `\`) {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '\\' && i+1 < len(p) {
			i++
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

// escapeGlob protects a name, so that it means itself.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// shellClass turns the bracket expressions of shells into those of path.Match:
// [!a], [[:digit:]], and ] or - where they stand for themselves. A [ that
// nothing closes stays for path.Match to refuse.
func shellClass(el string) string {
	var b strings.Builder
	for i := 0; i < len(el); i++ {
		switch {
		case el[i] == '\\' && i+1 < len(el):
			b.WriteString(el[i : i+2])
			i++
		case el[i] == '[':
			class, n := bracket(el[i:])
			b.WriteString(class)
			i += n - 1
		default:
			b.WriteByte(el[i])
		}
	}
	return b.String()
}

// posixClasses are the named classes of bracket expressions, in ASCII.
var posixClasses = map[string]string{
	"alnum": "0-9A-Za-z", "alpha": "A-Za-z", "blank": "\t ", "cntrl": "\x00-\x1f\x7f", "digit": "0-9",
	"graph": `!-\[\\-~`, "lower": "a-z", "print": ` -\[\\-~`, "punct": "!-/:-@\\[-`{-~",
	"space": "\t-\r ", "upper": "A-Z", "xdigit": "0-9A-Fa-f",
}

// bracket reads the bracket expression that s begins with, and how long it is.
func bracket(s string) (string, int) {
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		b.WriteByte('^')
		i++
	}
	first := i
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == ']' && i > first:
			b.WriteByte(']')
			return b.String(), i + 1
		case c == '\\' && i+1 < len(s):
			i++
			writeClassByte(&b, s[i])
		case c == '[' && strings.HasPrefix(s[i:], "[:"):
			name, _, ok := strings.Cut(s[i+2:], ":]")
			if set := posixClasses[name]; ok && set != "" {
				b.WriteString(set)
				i += len(name) + 3
				continue
			}
			writeClassByte(&b, c)
		case c == '-' && i > first && i+1 < len(s) && s[i+1] != ']':
			b.WriteByte('-') // a range
		default:
			writeClassByte(&b, c)
		}
	}
	return s, len(s)
}

// writeClassByte writes a byte that means itself in a class, to path.Match and
// to regexp.
func writeClassByte(b *strings.Builder, c byte) {
	if strings.IndexByte(`[]\^-`, c) >= 0 {
		b.WriteByte('\\')
	}
	b.WriteByte(c)
}

func splitPattern(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}

// joinPath appends a name to a path that may be "/".
func joinPath(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}
