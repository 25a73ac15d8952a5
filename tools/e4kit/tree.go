package main

import (
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"
)

// treeOptions are the flags of tree.
type treeOptions struct {
	all, dirsOnly, sizes, human, inode bool
	level                              int
}

func treeCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "tree",
		Usage:     "show a directory and all below it as a tree",
		ArgsUsage: "IMAGE[:/PATH]...",
		Category:  categoryLook,
		Description: `Draws the tree, sorted by name, and counts directories and files at the end.

Examples:
  e4kit tree disk.img:/etc/systemd
  e4kit tree -L 2 -d disk.img`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "names that begin with a dot as well"},
			&cli.BoolFlag{Name: "directories", Aliases: []string{"d"}, Usage: "directories only"},
			&cli.IntFlag{Name: "level", Aliases: []string{"L"}, Usage: "go down `N` levels at most"},
			&cli.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "sizes as well"},
			&cli.BoolFlag{Name: "human-readable", Aliases: []string{"h"}, Usage: "sizes as 4.0K, 12M"},
			&cli.BoolFlag{Name: "inode", Aliases: []string{"i"}, Usage: "inode numbers as well"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if c.IsSet("level") && c.Int("level") < 1 {
				return e.usagef("--level: want a number from 1 on")
			}
			return runTree(e, c.Args().Slice(), treeOptions{
				all: c.Bool("all"), dirsOnly: c.Bool("directories"), level: c.Int("level"),
				sizes: c.Bool("size") || c.Bool("human-readable"), human: c.Bool("human-readable"), inode: c.Bool("inode"),
			})
		},
	}
}

// treeCount is the last line of tree.
type treeCount struct{ dirs, files int }

func runTree(e *env, args []string, o treeOptions) error {
	nodes, err := e.resolveAll(args, followLast)
	if err != nil {
		return err
	}
	var count treeCount
	for _, n := range nodes {
		if err := e.tree(n, o, &count); err != nil {
			return err
		}
		e.did()
	}
	if e.json || len(nodes) == 0 {
		return nil
	}
	_, err = fmt.Fprintf(e.writer(), "\n%s, %s\n", plural(count.dirs, "directory", "directories"), plural(count.files, "file", "files"))
	return err
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (e *env) tree(n *node, o treeOptions, count *treeCount) error {
	w := walk{ctx: e.ctx, fs: n.img.fs, bad: func(path string, err error) { e.fail(at(n.img.name, path, err)) }}
	// Hidden names and files that -d leaves out must not count as the last
	// of a directory, so the list is cut before the walk sees it.
	w.keep = func(entry listed) bool {
		return (o.all || entry.name[0] != '.') && (!o.dirsOnly || w.isDir(entry))
	}
	w.pre = func(at *walked) error {
		if at.depth > 0 && at.inode != nil {
			if at.inode.IsDir() {
				count.dirs++
			} else {
				count.files++
			}
		}
		if err := e.treeLine(n, at, o); err != nil {
			return err
		}
		if o.level > 0 && at.depth >= o.level {
			return fs.SkipDir
		}
		return nil
	}
	return w.run(startOf(n))
}

func (e *env) treeLine(n *node, at *walked, o treeOptions) error {
	if e.json {
		if at.inode == nil {
			return nil
		}
		r := newRecord(at.path, at.inode)
		r.Image = n.img.name
		return e.writeJSON(r)
	}
	w := e.writer()
	branches(w, at)
	if at.inode == nil {
		w.WriteString(e.shown(at.name) + " [unreadable]\n")
		return e.endLine()
	}
	st := at.inode.Stat()
	if o.inode {
		fmt.Fprintf(w, "[%d] ", st.Inode)
	}
	if o.sizes {
		size := itoa(st.Size)
		if o.human {
			size = humanSize(st.Size)
		}
		fmt.Fprintf(w, "[%s] ", size)
	}
	w.WriteString(e.styles().paintFor(st.RawMode).text(e.shown(at.name)))
	if at.inode.IsSymlink() {
		if target, err := at.inode.Readlink(); err == nil {
			w.WriteString(" -> " + e.shown(target))
		}
	}
	if err := w.WriteByte('\n'); err != nil {
		return err
	}
	return e.endLine()
}

// branches draws what is left of a name: one piece for each level.
func branches(w interface{ WriteString(string) (int, error) }, at *walked) {
	if at.up == nil {
		return
	}
	var pieces []string
	if at.last {
		pieces = append(pieces, "└── ")
	} else {
		pieces = append(pieces, "├── ")
	}
	for up := at.up; up.up != nil; up = up.up {
		if up.last {
			pieces = append(pieces, "    ")
		} else {
			pieces = append(pieces, "│   ")
		}
	}
	for i := len(pieces) - 1; i >= 0; i-- {
		w.WriteString(pieces[i])
	}
}

// shown is a name as it may go to standard output: on a terminal nothing in
// it may act.
func (e *env) shown(name string) string {
	if e.outTTY {
		return safeText(name)
	}
	return name
}
