package main

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/urfave/cli/v2"
)

func findCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "find",
		Usage:     "find files by name, type, size, age, owner and more",
		ArgsUsage: "IMAGE[:/PATH]... [EXPRESSION]",
		Category:  categoryLook,
		Description: `Visits each PATH and all below it, sorted by name, and prints those for which
the EXPRESSION holds. Expressions are those of find(1):

` + findHelp() + `

A number N may be +N for more and -N for less. With --json each file that
-print would print is an object on a line of its own.

The directives of -printf: %p path, %P path below the start, %f last element,
%h what comes before it, %H start, %d depth, %i inode, %y type letter, %m %M
permissions, %n links, %u %U owner, %g %G group, %s size, %k KiB and %b sectors
taken, %l link target, %t %a %c times, %Tk %Ak %Ck %Bk a time in format k
(@ seconds, Y m d H M S parts, F date, T time, + both), %% a percent sign.

Examples:
  e4kit find disk.img:/etc -name '*.conf' -newermt 2024-01-01
  e4kit find disk.img -type f -size +10M -printf '%s %p\n'
  e4kit find disk.img -perm -4000 -o -user 1000 --json`,
		Action: func(c *cli.Context) error {
			args, words := splitExpression(c.Args().Slice())
			if len(args) == 0 {
				return &usageError{"find", "missing argument: IMAGE[:/PATH]"}
			}
			return runFind(e, args, words)
		},
	}
}

// findHelp lists the tests and actions for the help text.
func findHelp() string {
	var b strings.Builder
	for _, p := range primaries {
		head := p.name
		if p.arg != "" {
			head += " " + p.arg
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "  %-25s %s", head, p.usage)
	}
	return b.String()
}

// splitExpression separates the starting points from the expression, which
// begins with a dash, a parenthesis or an exclamation mark.
func splitExpression(args []string) (starts, expression []string) {
	for i, a := range args {
		if len(a) > 1 && a[0] == '-' || a == "(" || a == "!" {
			return args[:i], args[i:]
		}
	}
	return args, nil
}

func runFind(e *env, args, words []string) error {
	f := &finder{e: e}
	root, err := parseExpression(f, words)
	if err != nil {
		return e.usagef("%v", err)
	}
	nodes, err := e.resolveAll(args, noFollowLast)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := f.find(n, root); err != nil {
			return err
		}
		e.did()
		if f.quit {
			break
		}
	}
	return nil
}

// finder is a running find.
type finder struct {
	e                  *env
	minDepth, maxDepth int // maxDepth < 0: no bound
	needsInode         bool
	depthFirst         bool
	now                int64 // seconds, for the tests of age

	prune, quit bool // set by actions
	err         error
}

func (f *finder) find(n *node, root matcher) error {
	visit := func(at *walked) error {
		s := &subject{img: n.img, path: at.path, start: n.path, name: at.name, depth: at.depth, inode: at.inode, num: at.num, kind: at.kind}
		f.prune = false
		if at.depth >= f.minDepth && (f.maxDepth < 0 || at.depth <= f.maxDepth) {
			root(s)
		}
		switch {
		case f.err != nil:
			return f.err
		case f.quit:
			return fs.SkipAll
		case f.prune && !f.depthFirst, f.maxDepth >= 0 && at.depth >= f.maxDepth && !f.depthFirst:
			return fs.SkipDir
		}
		return nil
	}
	w := walk{ctx: f.e.ctx, fs: n.img.fs, unread: !f.needsInode}
	w.bad = func(path string, err error) { f.e.fail(at(n.img.name, path, err)) }
	if f.depthFirst {
		w.post = visit
		w.pre = func(at *walked) error {
			if f.maxDepth >= 0 && at.depth > f.maxDepth {
				return fs.SkipDir
			}
			return nil
		}
	} else {
		w.pre = visit
	}
	start := startOf(n)
	start.name = lastElement(n.path)
	return w.run(start)
}

// lastElement is the name at the end of a path; "/" for a root.
func lastElement(p string) string {
	trimmed := strings.TrimRight(p, "/")
	if trimmed == "" {
		return "/"
	}
	return trimmed[strings.LastIndexByte(trimmed, '/')+1:]
}
