package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

// lsOptions are the flags of ls.
type lsOptions struct {
	long, all, almost, recursive, inode, human, directory bool
	numeric, onePerLine, blocks, classify, fullTime       bool
	reverse, byTime, bySize, unsorted                     bool
}

func lsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list directories",
		ArgsUsage: "IMAGE[:/PATH]...",
		Category:  categoryLook,
		Description: `Lists files and what directories hold, sorted by name. Owners get the names
that the image's own /etc/passwd and /etc/group give them.

Examples:
  e4kit ls -la disk.img:/etc
  e4kit ls 'disk.img:/usr/lib/*.so'
  e4kit ls -R --json disk.img | jq -r .path`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "mode, links, owner, size and time as well"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "names that begin with a dot as well"},
			&cli.BoolFlag{Name: "almost-all", Aliases: []string{"A"}, Usage: "as -a, but without . and .."},
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "directories below as well"},
			&cli.BoolFlag{Name: "inode", Aliases: []string{"i"}, Usage: "inode numbers as well"},
			&cli.BoolFlag{Name: "human-readable", Aliases: []string{"h"}, Usage: "sizes as 4.0K, 12M"},
			&cli.BoolFlag{Name: "directory", Aliases: []string{"d"}, Usage: "directories themselves, not what they hold"},
			&cli.BoolFlag{Name: "numeric", Aliases: []string{"n"}, Usage: "as -l, with owners as numbers"},
			&cli.BoolFlag{Name: "one", Aliases: []string{"1"}, Usage: "one name on each line"},
			&cli.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "the space taken as well, in KiB"},
			&cli.BoolFlag{Name: "classify", Aliases: []string{"F"}, Usage: "mark types by a character after the name: / @ * | ="},
			&cli.BoolFlag{Name: "full-time", Usage: "as -l, with times to the nanosecond"},
			&cli.BoolFlag{Name: "reverse", Aliases: []string{"r"}, Usage: "the other way round"},
			&cli.BoolFlag{Name: "time", Aliases: []string{"t"}, Usage: "newest first"},
			&cli.BoolFlag{Name: "by-size", Aliases: []string{"S"}, Usage: "largest first"},
			&cli.BoolFlag{Name: "unsorted", Aliases: []string{"U"}, Usage: "in the order of the directory"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runLs(e, c.Args().Slice(), lsOptions{
				long: c.Bool("long") || c.Bool("numeric") || c.Bool("full-time"),
				all:  c.Bool("all"), almost: c.Bool("almost-all"),
				recursive: c.Bool("recursive"), inode: c.Bool("inode"), human: c.Bool("human-readable"),
				directory: c.Bool("directory"), numeric: c.Bool("numeric"), onePerLine: c.Bool("one"),
				blocks: c.Bool("size"), classify: c.Bool("classify"), fullTime: c.Bool("full-time"),
				reverse: c.Bool("reverse"), byTime: c.Bool("time"), bySize: c.Bool("by-size"), unsorted: c.Bool("unsorted"),
			})
		},
	}
}

// lsItem is one file to show. A directory may have very many, so inodes are
// read again where more of them is wanted.
type lsItem struct {
	name string // as shown
	path string // "" is the directory's and name
	acl  bool   // known with -l only
	stat ext4fs.Stat
}

// lister is a running ls.
type lister struct {
	e      *env
	o      lsOptions
	img    *image
	at     string // the directory at work
	titles bool   // directories get a title line
	shown  bool   // something was printed before
	seen   map[*ext4fs.FS]map[uint32]bool
}

// runLs lists what the arguments name: files first, then directories.
func runLs(e *env, args []string, o lsOptions) error {
	f := followToDir
	if o.long || o.directory {
		f = noFollowLast
	}
	nodes, err := e.resolveAll(args, f)
	if err != nil {
		return err
	}
	l := &lister{e: e, o: o, seen: make(map[*ext4fs.FS]map[uint32]bool)}
	l.titles = len(args) > 1 || len(nodes) > 1 || o.recursive
	several := severalImages(nodes)
	var files []*lsItem
	var dirs []*node
	for _, n := range nodes {
		if n.inode.IsDir() && !o.directory {
			dirs = append(dirs, n)
			continue
		}
		name := n.path
		if several {
			name = n.String()
		}
		l.img = n.img
		files = append(files, l.item(name, n.path, n.inode))
		e.did()
	}
	if err := l.print(files, false); err != nil {
		return err
	}
	for _, n := range dirs {
		title := n.path
		if several {
			title = n.String()
		}
		l.img = n.img
		if err := l.dir(title, n.path, n.inode, 0); err != nil {
			return err
		}
	}
	return nil
}

func severalImages(nodes []*node) bool {
	for _, n := range nodes {
		if n.img != nodes[0].img {
			return true
		}
	}
	return false
}

func (l *lister) item(name, path string, i *ext4fs.Inode) *lsItem {
	return &lsItem{name: name, path: path, acl: l.o.long && hasACL(i), stat: *i.Stat()}
}

// dir lists one directory, and with -R those below it.
func (l *lister) dir(title, path string, dir *ext4fs.Inode, depth int) error {
	if err := l.e.ctx.Err(); err != nil {
		return err
	}
	if !l.mayEnter(path, dir, depth) {
		return nil
	}
	items, subdirs := l.read(path, dir)
	l.at = path
	if l.titles && !l.e.json {
		if l.shown {
			l.e.writer().WriteByte('\n')
		}
		l.e.writer().WriteString(l.e.shown(title) + ":\n")
		l.shown = true
	}
	l.e.did()
	if err := l.print(items, true); err != nil {
		return err
	}
	for _, sub := range subdirs {
		inode, err := l.img.fs.Inode(sub.inode)
		if err != nil {
			l.e.fail(at(l.img.name, joinPath(path, sub.name), err))
			continue
		}
		if err := l.dir(joinPath(title, sub.name), joinPath(path, sub.name), inode, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) mayEnter(path string, dir *ext4fs.Inode, depth int) bool {
	if !l.o.recursive {
		return true
	}
	seen := l.seen[l.img.fs]
	if seen == nil {
		seen = make(map[uint32]bool)
		l.seen[l.img.fs] = seen
	}
	n := uint32(dir.Number())
	if depth > maxDepth || depth > 0 && seen[n] {
		l.e.fail(at(l.img.name, path, &ext4fs.CorruptError{What: "directory tree", Inode: dir.Number(),
			Detail: "the directory has a second name"}))
		return false
	}
	seen[n] = true
	return true
}

// read returns a directory's items in the order to show, and those that -R
// goes down to.
func (l *lister) read(path string, dir *ext4fs.Inode) (items []*lsItem, subdirs []listed) {
	list, err := listDir(dir, !l.o.unsorted)
	if err != nil {
		l.e.fail(at(l.img.name, path, err))
	}
	for _, entry := range list {
		if entry.name[0] == '.' && !l.o.all && !l.o.almost {
			continue
		}
		inode, err := l.img.fs.Inode(entry.inode)
		if err != nil {
			l.e.fail(at(l.img.name, joinPath(path, entry.name), err))
			continue
		}
		items = append(items, l.item(entry.name, "", inode))
	}
	l.sort(items)
	if l.o.recursive {
		for _, it := range items {
			if it.stat.Mode.IsDir() {
				subdirs = append(subdirs, listed{name: it.name, inode: it.stat.Inode})
			}
		}
	}
	if l.o.all && !l.e.json {
		items = append(l.dots(path, dir), items...)
	}
	return items, subdirs
}

// dots are "." and "..".
func (l *lister) dots(path string, dir *ext4fs.Inode) []*lsItem {
	items := []*lsItem{l.item(".", path, dir)}
	if num, err := dir.Lookup(".."); err == nil {
		if up, err := l.img.fs.Inode(num); err == nil {
			items = append(items, l.item("..", joinPath(path, ".."), up))
		}
	}
	return items
}

func (l *lister) sort(items []*lsItem) {
	switch {
	case l.o.byTime:
		slices.SortStableFunc(items, func(a, b *lsItem) int { return b.stat.Mtime.Compare(a.stat.Mtime) })
	case l.o.bySize:
		slices.SortStableFunc(items, func(a, b *lsItem) int { return cmp.Compare(b.stat.Size, a.stat.Size) })
	}
	if l.o.reverse {
		slices.Reverse(items)
	}
}

// mark is the character of -F.
func (l *lister) mark(it *lsItem) string {
	if !l.o.classify {
		return ""
	}
	switch typeLetter(it.stat.RawMode) {
	case 'd':
		return "/"
	case 'l':
		if l.o.long {
			return ""
		}
		return "@"
	case 'p':
		return "|"
	case 's':
		return "="
	case '-':
		if it.stat.RawMode&0o111 != 0 {
			return "*"
		}
	}
	return ""
}

// print shows items, or all of a directory, in the form that the flags ask
// for.
func (l *lister) print(items []*lsItem, whole bool) error {
	if len(items) == 0 && !(l.o.long && whole) {
		return l.e.endLine()
	}
	l.shown = true
	switch {
	case l.e.json:
		for _, it := range items {
			inode, err := l.img.fs.Inode(it.stat.Inode)
			if err != nil {
				return err
			}
			r := newRecord(l.path(it), inode)
			r.Image = l.img.name
			if err := l.e.writeJSON(r); err != nil {
				return err
			}
		}
		return nil
	case l.o.long:
		return l.printLong(items, whole)
	case l.e.outTTY && !l.o.onePerLine:
		return l.printColumns(items)
	}
	w := l.e.writer()
	prefix := l.prefixes(items)
	for i, it := range items {
		w.WriteString(prefix[i] + l.painted(it) + l.mark(it))
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return l.e.endLine()
}

// path is where an item is in the image.
func (l *lister) path(it *lsItem) string {
	if it.path != "" {
		return it.path
	}
	return joinPath(l.at, it.name)
}

func (l *lister) painted(it *lsItem) string {
	return l.e.styles().paintFor(it.stat.RawMode).text(l.e.shown(it.name))
}

// prefixes are the inode numbers and sizes before the names, aligned.
func (l *lister) prefixes(items []*lsItem) []string {
	out := make([]string, len(items))
	column := func(on bool, value func(*lsItem) string) {
		if !on {
			return
		}
		values, width := make([]string, len(items)), 0
		for i, it := range items {
			values[i] = value(it)
			width = max(width, len(values[i]))
		}
		for i, v := range values {
			out[i] += strings.Repeat(" ", width-len(v)) + v + " "
		}
	}
	column(l.o.inode, func(it *lsItem) string { return utoa(uint64(it.stat.Inode)) })
	column(l.o.blocks, func(it *lsItem) string { return l.space(it.stat.Sectors) })
	return out
}

// space shows a number of sectors as -s does.
func (l *lister) space(sectors uint64) string {
	if l.o.human {
		return humanSize(int64(min(sectors, 1<<53)) * 512)
	}
	return utoa((sectors + 1) / 2)
}
