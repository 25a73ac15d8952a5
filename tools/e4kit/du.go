package main

import (
	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// duOptions are the flags of du.
type duOptions struct {
	summary, all, human, apparent, bytes, total, countLinks bool
	depth                                                   int // < 0: no bound
}

func duCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "du",
		Usage:     "sum up the space that trees take",
		ArgsUsage: "IMAGE[:/PATH]...",
		Category:  categoryLook,
		Description: `Prints the space that each directory and all below it take, in KiB. A file
with several names counts once.

Examples:
  e4kit du -sh 'disk.img:/*'
  e4kit du --max-depth 2 disk.img:/var | sort -n`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "summarize", Aliases: []string{"s"}, Usage: "only a sum for each argument"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "files as well"},
			&cli.BoolFlag{Name: "human-readable", Aliases: []string{"h"}, Usage: "sizes as 4.0K, 12M"},
			&cli.BoolFlag{Name: "apparent-size", Usage: "sizes rather than the space taken"},
			&cli.BoolFlag{Name: "bytes", Aliases: []string{"b"}, Usage: "as --apparent-size, in bytes"},
			&cli.BoolFlag{Name: "total", Aliases: []string{"c"}, Usage: "a grand total at the end"},
			&cli.BoolFlag{Name: "count-links", Aliases: []string{"l"}, Usage: "count a file for each of its names"},
			&cli.IntFlag{Name: "max-depth", Aliases: []string{"d"}, Usage: "print what is `N` levels down at most"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			o := duOptions{
				summary: c.Bool("summarize"), all: c.Bool("all"), human: c.Bool("human-readable"),
				apparent: c.Bool("apparent-size") || c.Bool("bytes"), bytes: c.Bool("bytes"),
				total: c.Bool("total"), countLinks: c.Bool("count-links"), depth: -1,
			}
			if c.IsSet("max-depth") {
				o.depth = c.Int("max-depth")
				if o.depth < 0 {
					return e.usagef("--max-depth: want a number")
				}
			}
			if o.summary && o.all {
				return e.usagef("-s and -a exclude each other")
			}
			return runDu(e, c.Args().Slice(), o)
		},
	}
}

// duRecord is a line of du in JSON.
type duRecord struct {
	Image string `json:"image,omitempty"`
	jsonPath
	Bytes int64 `json:"bytes"`
}

// duSum is what is collected for a directory.
type duSum struct{ bytes int64 }

// duKey is a file with several names.
type duKey struct {
	img *image
	num disk.InodeNum
}

func runDu(e *env, args []string, o duOptions) error {
	nodes, err := e.resolveAll(args, noFollowLast)
	if err != nil {
		return err
	}
	seen := make(map[duKey]bool)
	var total int64
	for _, n := range nodes {
		sum, err := e.du(n, o, seen)
		total += sum
		if err != nil {
			return err
		}
		e.did()
	}
	if o.total {
		return e.duLine("", "total", total, o)
	}
	return nil
}

func (e *env) du(n *node, o duOptions, seen map[duKey]bool) (int64, error) {
	var sum int64
	w := walk{ctx: e.ctx, fs: n.img.fs, bad: func(path string, err error) { e.fail(at(n.img.name, path, err)) }}
	w.pre = func(at *walked) error {
		at.data = &duSum{}
		return nil
	}
	w.post = func(at *walked) error {
		own := at.data.(*duSum)
		if at.inode != nil {
			own.bytes += duBytes(at, o, n.img, seen)
		}
		if at.up != nil {
			at.up.data.(*duSum).bytes += own.bytes
		} else {
			sum = own.bytes
		}
		show := at.inode != nil && at.inode.IsDir() || o.all || at.depth == 0
		if o.summary && at.depth > 0 || o.depth >= 0 && at.depth > o.depth || !show {
			return nil
		}
		return e.duLine(n.img.name, at.path, own.bytes, o)
	}
	return sum, w.run(startOf(n))
}

// duBytes is what one file adds: nothing for the second name of a file.
func duBytes(at *walked, o duOptions, img *image, seen map[duKey]bool) int64 {
	if links := at.inode.Raw().Links(); links > 1 && !at.inode.IsDir() && !o.countLinks {
		key := duKey{img, at.num}
		if seen[key] {
			return 0
		}
		seen[key] = true
	}
	if !o.apparent {
		return int64(min(at.inode.Sectors(), 1<<53)) * 512
	}
	if at.inode.IsRegular() || at.inode.IsSymlink() || at.inode.IsDir() {
		return at.inode.Size()
	}
	return 0
}

func (e *env) duLine(img, path string, bytes int64, o duOptions) error {
	if e.json {
		return e.writeJSON(duRecord{img, newJSONPath(path), bytes})
	}
	size := itoa((bytes + 1023) / 1024)
	switch {
	case o.human:
		size = humanSize(bytes)
	case o.bytes:
		size = itoa(bytes)
	}
	if _, err := e.writer().WriteString(size + "\t" + e.shown(path) + "\n"); err != nil {
		return err
	}
	return e.endLine()
}
