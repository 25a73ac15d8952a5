package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/dump"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

func extentsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "extents",
		Usage:     "show where files lie in the image",
		ArgsUsage: "IMAGE:/PATH... | --all IMAGE",
		Category:  categoryInside,
		Description: `Lists the runs of blocks of files: logical and physical blocks, length, and
whether a run is unwritten (allocated and reads as zeros), a hole or inline in
the inode. A file is in as many fragments as it has runs that do not go on where
the one before ended; a hole whose room was left free does not count. The ideal
is the fewest fragments that the layout of the image allows.

With --all, every inode in use is listed in the order of the inode tables, then
a summary: how many files have how many extents, and the worst ones.

Examples:
  e4kit extents disk.img:/var/log/journal
  e4kit extents --tree 'disk.img:<12>'
  e4kit extents --summary --json '/backup/disk.img:/var/lib/**'
  e4kit extents --map --svg map.svg disk.img:/big.db
  e4kit extents --all --json disk.img | jq 'select(.length > 1000)'`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "list every file of the image and a summary"},
			&cli.BoolFlag{Name: "summary", Usage: "the totals alone"},
			&cli.BoolFlag{Name: "paths", Usage: "with --all: show a path of every file, as JSON always does"},
			&cli.BoolFlag{Name: "no-paths", Usage: "with --all --json: leave the paths out, which is faster"},
			&cli.BoolFlag{Name: "tree", Usage: "show the blocks that the block map itself takes"},
			&cli.BoolFlag{Name: "map", Usage: "draw where the files lie in the image"},
			&cli.StringFlag{Name: "svg", Usage: "draw that into the picture `FILE`"},
		},
		Action: func(c *cli.Context) error {
			o := extentsOptions{
				all: c.Bool("all"), summary: c.Bool("summary"), paths: c.Bool("paths"),
				noPaths: c.Bool("no-paths"), tree: c.Bool("tree"), drawMap: c.Bool("map"), svg: c.String("svg"),
			}
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runExtents(e, c.Args().Slice(), o)
		},
	}
}

type extentsOptions struct {
	all, summary   bool
	paths, noPaths bool
	tree           bool
	drawMap        bool
	svg            string
}

func runExtents(e *env, args []string, o extentsOptions) error {
	if o.drawMap && e.json {
		return e.usagef("--map and --json exclude each other")
	}
	if o.all {
		if o.tree {
			return e.usagef("--tree is for single files")
		}
		return e.extentsOfAll(args, o)
	}
	wholes, nodes, err := e.extentTargets(args, o)
	if err != nil {
		return err
	}
	drawings := map[*image]*drawing{}
	for _, img := range wholes {
		drawings[img] = newDrawing(img)
	}
	for _, n := range nodes {
		d := drawings[n.img]
		if d == nil {
			d = newDrawing(n.img)
			drawings[n.img] = d
			wholes = append(wholes, n.img)
		}
		d.name(n.path)
		if err := e.extentsOf(n, d, o); err != nil {
			return err
		}
	}
	return e.draw(wholes, drawings, o)
}

// extentTargets resolves the arguments. An image without a path is to be
// drawn as a whole.
func (e *env) extentTargets(args []string, o extentsOptions) (wholes []*image, nodes []*node, err error) {
	var files []string
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return nil, nil, e.usagef("%v", err)
		}
		if t.given {
			files = append(files, arg)
			continue
		}
		if !o.drawMap && o.svg == "" {
			return nil, nil, e.usagef("%s: name a file as IMAGE:/PATH, or give --all", arg)
		}
		img, err := e.open(t.image)
		if err != nil {
			return nil, nil, err
		}
		wholes = append(wholes, img)
	}
	nodes, err = e.resolveAll(files, noFollowLast)
	return wholes, nodes, err
}

// fileExtents is a file's closing line in JSON; its runs come before it.
type fileExtents struct {
	Type  string        `json:"type"`
	Inode disk.InodeNum `json:"inode"`
	jsonPath
	Size int64 `json:"size"`
	dump.Fragments
	Ideal uint64           `json:"ideal"`
	Nodes []*dump.TreeNode `json:"tree,omitempty"`
}

// extentsOf lists one file.
func (e *env) extentsOf(n *node, d *drawing, o extentsOptions) error {
	num := n.inode.Number()
	f := &fileExtents{Type: "file", Inode: num, jsonPath: newJSONPath(n.path), Size: n.inode.Size()}
	var failed error
	// The totals come first for people, so that the map is walked twice.
	for x, err := range d.im.Extents(num, false) {
		if failed = err; err != nil {
			break
		}
		f.Add(x)
		if o.summary {
			d.add(x)
		}
	}
	f.Ideal = dump.Ideal(f.Blocks, d.im.LongestRun())
	if !e.json {
		fmt.Fprintf(e.writer(), "%s: inode %d, %d bytes, %s\n", e.shown(n.String()), num, f.Size, f.words())
	}
	if !o.summary {
		if err := e.listRuns(n, d); err != nil {
			return err
		}
	}
	if err := e.extentNodes(d.im, f, o); err != nil {
		failed = err
	}
	if e.json && (o.tree || o.summary) {
		if err := e.writeJSON(f); err != nil {
			return err
		}
	}
	if failed != nil {
		e.failAt(n, failed)
		return nil
	}
	e.did()
	return e.endLine()
}

// listRuns writes a line for every run of a file, also of its holes. An error
// of the map, which was told by the walk before, ends the list.
func (e *env) listRuns(n *node, d *drawing) error {
	num := n.inode.Number()
	path := dump.AppendPathJSON(nil, []byte(n.path))
	w := e.writer()
	line := []byte("             logical                   physical      length  flags\n")
	if e.json {
		line = line[:0]
	}
	for x, err := range d.im.Extents(num, true) {
		if err != nil {
			return nil
		}
		d.add(x)
		if e.json {
			line = dump.AppendExtentJSON(line, num, path, x)
		} else {
			line = appendRun(line, x)
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		line = line[:0]
		if err := e.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// words sums up a file for people.
func (f *fileExtents) words() string {
	if f.Extents == 0 {
		return "no blocks"
	}
	return fmt.Sprintf("%s in %s, ideal %d", count(f.Extents, "extent"), count(f.Pieces, "fragment"), f.Ideal)
}

func count(n uint64, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// extentNodes lists the blocks of the map, if they were asked for.
func (e *env) extentNodes(im *dump.Image, f *fileExtents, o extentsOptions) error {
	if !o.tree {
		return nil
	}
	for node, err := range im.Tree(f.Inode) {
		if err != nil {
			return err
		}
		if e.json {
			f.Nodes = append(f.Nodes, node)
			continue
		}
		e.writer().WriteString("  ")
		if err := node.WriteText(e.writer()); err != nil {
			return err
		}
	}
	return nil
}

// appendRun appends a run as a line of the table of one file.
func appendRun(b []byte, x extent.Extent) []byte {
	end := x.End() - 1
	b = fmt.Appendf(b, "%10d-%-10d", x.Logical, end)
	switch {
	case x.Flags&extent.FlagInline != 0:
		return append(b, "            -                    0  inline\n"...)
	case x.Flags&extent.FlagHole != 0:
		return fmt.Appendf(b, "            -           %10d  hole\n", x.Len)
	}
	b = fmt.Appendf(b, " %12d-%-12d %8d", x.Physical, x.Physical+disk.BlockNum(x.Len)-1, x.Len)
	if x.Flags&extent.FlagUnwritten != 0 {
		b = append(b, "  unwritten"...)
	}
	return append(b, '\n')
}
