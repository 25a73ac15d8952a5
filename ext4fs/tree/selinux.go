package tree

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// FileContexts says which SELinux context belongs to a path, as the
// file_contexts files of a policy do. Each line is
//
//	regular-expression [type] context
//
// where the expression matches the whole path from the root of the image; the
// type is "--" for regular files, -d, -l, -c, -b, -s (sockets), -p (fifos), or
// is absent for all; the context is USER:ROLE:TYPE[:RANGE], or <<none>> for
// files that keep the label they have. Empty lines and those that begin with
// "#" do not count.
//
// A line without special characters goes before one with them; else the last
// line that matches counts. Of files that are given one after the other
// (file_contexts, file_contexts.homedirs, file_contexts.local) the later ones
// go before. Expressions are those of Go: look-around and back references,
// which PCRE has and policies do not use, are errors.
//
// Reading changes it; after that several goroutines may use it.
type FileContexts struct {
	specs []seSpec // in the order that they are tried
	lines int
}

// seSpec is a line. The literals reject most paths at once.
type seSpec struct {
	order   int
	exact   bool   // no special characters
	kind    uint16 // of file; 0 is any
	context string // with the zero byte at its end; "" for <<none>>
	// What matches begins and ends with these, and has inner between. whole
	// means that only prefix matches.
	prefix, suffix, inner string
	whole                 bool
	re                    *regexp.Regexp
}

const maxContextLines = 1 << 20

var seTypes = map[string]uint16{
	"--": disk.ModeRegular, "-d": disk.ModeDir, "-l": disk.ModeSymlink, "-c": disk.ModeChar,
	"-b": disk.ModeBlock, "-s": disk.ModeSocket, "-p": disk.ModeFIFO,
}

// ParseFileContexts reads one file; name is for messages. Errors are
// *LineError and those of r.
func ParseFileContexts(name string, r io.Reader) (*FileContexts, error) {
	c := &FileContexts{}
	return c, c.Parse(name, r)
}

// Parse reads one more file, whose lines go before those that are there. After
// an error the contexts are not to be used.
func (c *FileContexts) Parse(name string, r io.Reader) error {
	err := eachLine(name, r, maxContextLines, func(_ int, text string) error {
		s, err := parseSpec(text)
		s.order = c.lines
		c.lines++
		c.specs = append(c.specs, s)
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(c.specs, func(a, b seSpec) int {
		if a.exact != b.exact {
			if a.exact {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.order, a.order)
	})
	return nil
}

func parseSpec(text string) (seSpec, error) {
	var s seSpec
	f := strings.Fields(text)
	switch {
	case len(f) == 3:
		kind, ok := seTypes[f[1]]
		if !ok {
			return s, fmt.Errorf("type of file %q is not one of -- -d -l -c -b -s -p: %w", excerpt(f[1]), ErrSyntax)
		}
		s.kind = kind
	case len(f) != 2:
		return s, fmt.Errorf("%d fields, not expression, type and context: %w", len(f), ErrSyntax)
	}
	context := f[len(f)-1]
	if context != "<<none>>" {
		if strings.Count(context, ":") < 2 || strings.IndexByte(context, 0) >= 0 {
			return s, fmt.Errorf("context %q is not USER:ROLE:TYPE: %w", excerpt(context), ErrSyntax)
		}
		s.context = context + "\x00"
	}
	return s, s.compile(f[0])
}

func (s *seSpec) compile(text string) error {
	s.exact = !hasMeta(text)
	const flags = syntax.Perl | syntax.DotNL
	tree, err := syntax.Parse(text, flags)
	if err == nil {
		s.re, err = regexp.Compile(`(?s)\A(?:` + text + `)\z`)
	}
	if err != nil {
		return fmt.Errorf("expression that Go does not understand: %w: %w", err, ErrSyntax)
	}
	s.literals(tree)
	if s.whole {
		s.re = nil
	}
	return nil
}

// hasMeta reports whether an expression has special characters, in the sense
// of libselinux: an escaped one is none.
func hasMeta(text string) bool {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '.', '^', '$', '?', '*', '+', '|', '[', '(', '{':
			return true
		}
	}
	return false
}

// literals finds what every match has.
func (s *seSpec) literals(tree *syntax.Regexp) {
	parts := appendParts([]string{""}, tree)
	last := len(parts) - 1
	s.prefix = parts[0]
	if last == 0 {
		s.whole = true
		return
	}
	s.suffix = parts[last]
	for _, p := range parts[1:last] {
		if len(p) > len(s.inner) {
			s.inner = p
		}
	}
}

// appendParts gives the literals that a match consists of, in order, between
// which anything may be.
func appendParts(parts []string, re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			parts[len(parts)-1] += string(re.Rune)
			return parts
		}
	case syntax.OpEmptyMatch:
		return parts
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			parts = appendParts(parts, sub)
		}
		return parts
	}
	return append(parts, "")
}

// matches reports whether a path of this type is meant.
func (s *seSpec) matches(path string, kind uint16) bool {
	if s.kind != 0 && s.kind != kind {
		return false
	}
	if s.whole {
		return path == s.prefix
	}
	return len(path) >= len(s.prefix)+len(s.suffix) &&
		strings.HasSuffix(path, s.suffix) && strings.HasPrefix(path, s.prefix) &&
		(s.inner == "" || strings.Contains(path, s.inner)) && s.re.MatchString(path)
}

// Lookup gives the context of a path, with a slash at its beginning and none
// at its end, and the type of file in mode. ok is false if no line is about
// it, or one with <<none>>.
func (c *FileContexts) Lookup(path string, mode uint16) (context string, ok bool) {
	for i := range c.specs {
		if s := &c.specs[i]; s.matches(path, mode&disk.ModeType) {
			return strings.TrimSuffix(s.context, "\x00"), s.context != ""
		}
	}
	return "", false
}

// Label sets security.selinux of everything in the tree that a line is about,
// and of LostFound if the tree has no lost+found of its own. A file with several
// names has the context of the first, in the order of a walk.
func (c *FileContexts) Label(ctx context.Context, t *Tree) error {
	l := &labeler{t: t, ctx: ctx, sets: make(map[setLabel]uint32), done: make(map[ID]bool)}
	all := make([]*seSpec, len(c.specs))
	for i := range c.specs {
		all[i] = &c.specs[i]
	}
	l.label(Root, "/", disk.ModeDir, all)
	if _, ok := t.Lookup(Root, lostFound); !ok {
		l.label(LostFound, "/"+lostFound, disk.ModeDir, all)
	}
	return l.dir(Root, "", all)
}

// labeler labels a tree.
type labeler struct {
	t    *Tree
	ctx  context.Context
	sets map[setLabel]uint32 // sets of attributes by what they were
	done map[ID]bool         // of those with several names
}

type setLabel struct {
	set   uint32
	label string
}

// dir labels what is in a directory; specs are those that may be about it.
func (l *labeler) dir(id ID, path string, specs []*seSpec) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries := l.t.Entries(id)
	if len(entries) == 0 {
		return nil
	}
	path += "/"
	specs = within(specs, path)
	for _, e := range entries {
		n := l.t.Node(e.ID)
		if n.Links > 1 {
			if l.done[e.ID] {
				continue
			}
			l.done[e.ID] = true
		}
		l.label(e.ID, path+e.Name, n.Type(), specs)
		if !n.IsDir() {
			continue
		}
		if err := l.dir(e.ID, path+e.Name, specs); err != nil {
			return err
		}
	}
	return nil
}

// within gives the specs that can match below a directory, whose path ends
// with a slash.
func within(specs []*seSpec, path string) []*seSpec {
	can := func(s *seSpec) bool {
		n := min(len(s.prefix), len(path))
		return s.prefix[:n] == path[:n] && (!s.whole || len(s.prefix) > len(path))
	}
	kept := make([]*seSpec, 0, len(specs)/4)
	for _, s := range specs {
		if can(s) {
			kept = append(kept, s)
		}
	}
	return kept
}

func (l *labeler) label(id ID, path string, kind uint16, specs []*seSpec) {
	for _, s := range specs {
		if !s.matches(path, kind) {
			continue
		}
		if s.context != "" {
			l.set(id, s.context)
		}
		return
	}
}

// set gives a node a label beside its other attributes.
func (l *labeler) set(id ID, label string) {
	at := l.t.setOf(id)
	key := setLabel{*at, label}
	if set, ok := l.sets[key]; ok {
		*at = set
		return
	}
	list := slices.Clone(l.t.Xattrs(id))
	l.t.SetXattrs(id, append(list, Xattr{xattrSELinux, []byte(label)}))
	l.sets[key] = *at
}
