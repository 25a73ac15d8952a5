package main

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/dump"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

const dumpDescription = `Shows structures of an image exactly as they are, each with its checksum as
good, bad or none. Checksums never stop it; what is wrong inside a structure is
shown in lines that begin with an exclamation mark, and in "problems" of the
JSON form, and the rest follows. Exit status 4 means that there was something of
that kind. An image whose journal needs recovery is shown as it is after
recovery, unless --no-journal is given.`

func dumpCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "dump",
		Usage:     "show the structures on the disk",
		ArgsUsage: "[N] IMAGE[:/PATH]",
		Category:  categoryInside,
		Description: dumpDescription + `

Examples:
  e4kit dump super disk.img
  e4kit dump group 0 disk.img
  e4kit dump inode 'disk.img:<12>'
  e4kit dump --json journal disk.img | jq 'select(.type == "journal_commit")'`,
		Subcommands: []*cli.Command{
			dumpSuperCommand(e),
			dumpGroupsCommand(e),
			dumpNumberCommand(e, "group", "show one group, with the free ranges of its bitmaps", "0", dumpGroup, nil),
			dumpFileCommand(e, "inode", "show all fields of inodes", dumpInode),
			dumpBlockCommand(e),
			dumpNumberCommand(e, "bitmap", "show the bitmaps of one group as ranges", "0", dumpBitmaps, nil),
			dumpFileCommand(e, "dir", "show the records of directories, deleted ones too", dumpDir),
			dumpFileCommand(e, "htree", "show the hash tree of directories", dumpHtree),
			dumpFileCommand(e, "xattr", "show extended attributes as they are stored", dumpXattrs),
			dumpImageCommand(e, "journal", "show the journal's superblock, log and fast commits", dumpJournal),
			dumpImageCommand(e, "mmp", "show the multiple mount protection block", dumpMMP),
			dumpImageCommand(e, "orphans", "show the orphan list and the orphan file", dumpOrphans),
		},
	}
}

// dumpExample is the example that the help of a sub-command ends with.
func dumpExample(line string) string { return dumpDescription + "\n\nExample:\n  e4kit dump " + line }

func dumpSuperCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:        "super",
		Usage:       "show all fields of the superblock",
		ArgsUsage:   "IMAGE",
		Description: dumpExample("super disk.img\n  e4kit dump super --backup 1 disk.img"),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "backup", Usage: "show the copy in group `N` and how it differs; 'list' names the groups that have one"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, 1); err != nil {
				return err
			}
			return e.withDump(c.Args().First(), func(d *dumpRun) error { return dumpSuper(d, c.String("backup")) })
		},
	}
}

func dumpSuper(d *dumpRun, backup string) error {
	switch backup {
	case "":
		return d.emit(d.im.Super(), nil)
	case "list":
		for _, g := range d.im.BackupGroups() {
			if err := d.emit(&backupGroup{uint32(g)}, nil); err != nil {
				return err
			}
		}
		return nil
	}
	g, err := strconv.ParseUint(backup, 0, 32)
	if err != nil {
		return d.e.usagef("--backup %s: want the number of a group, or list", backup)
	}
	v, err := d.im.Backup(disk.GroupNum(g))
	return d.emit(v, err)
}

func dumpGroupsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:        "groups",
		Usage:       "show all groups",
		ArgsUsage:   "IMAGE",
		Description: dumpExample("groups disk.img\n  e4kit dump groups --long disk.img"),
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show all fields, and the free ranges of the bitmaps"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, 1); err != nil {
				return err
			}
			return e.withDump(c.Args().First(), func(d *dumpRun) error { return dumpGroups(d, c.Bool("long")) })
		},
	}
}

func dumpGroups(d *dumpRun, long bool) error {
	heading := !d.e.json && !long
	var line []byte
	for g, err := range d.im.Groups(d.e.ctx, long) {
		if err != nil || d.e.json || long {
			if err := d.emit(g, err); err != nil {
				return err
			}
			continue
		}
		if heading {
			heading = false
			d.e.writer().WriteString(dump.GroupHeading)
		}
		d.damaged = d.damaged || len(g.Problems) > 0
		d.e.did()
		line = g.AppendRow(line[:0])
		if _, err := d.e.writer().Write(line); err != nil {
			return err
		}
	}
	return nil
}

// dumpNumberCommand is a sub-command about a numbered thing of an image.
func dumpNumberCommand(e *env, name, usage, example string, run func(*dumpRun, *cli.Context, uint64) error, flags []cli.Flag) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		ArgsUsage:   "N IMAGE",
		Description: dumpExample(name + " " + example + " disk.img"),
		Flags:       flags,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 2, 2); err != nil {
				return err
			}
			n, image, err := e.numberAndImage(c.Args().Get(0), c.Args().Get(1))
			if err != nil {
				return err
			}
			return e.withDump(image, func(d *dumpRun) error { return run(d, c, n) })
		},
	}
}

// numberAndImage takes a number and an image in either order.
func (e *env) numberAndImage(a, b string) (uint64, string, error) {
	if n, err := parseNumber(a); err == nil {
		return n, b, nil
	}
	if n, err := parseNumber(b); err == nil {
		return n, a, nil
	}
	return 0, "", e.usagef("%q is not a number", a)
}

// parseNumber reads 12, 0x0c, 0b1100 or <12>.
func parseNumber(s string) (uint64, error) {
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		s = s[1 : len(s)-1]
	}
	return strconv.ParseUint(s, 0, 64)
}

func dumpBlockCommand(e *env) *cli.Command {
	return dumpNumberCommand(e, "block", "show what a block is and its bytes", "--owner 1234", dumpBlock, []cli.Flag{
		&cli.BoolFlag{Name: "raw", Usage: "write the bytes of the block and nothing else"},
		&cli.BoolFlag{Name: "owner", Usage: "look for the inodes that use the block; reads all inodes"},
	})
}

func dumpBlock(d *dumpRun, c *cli.Context, n uint64) error {
	if c.Bool("raw") {
		if d.e.json {
			return d.e.usagef("--raw and --json exclude each other")
		}
		b, err := d.im.RawBlock(disk.BlockNum(n))
		if err != nil {
			return at(d.name, "", err)
		}
		d.e.did()
		_, err = d.e.writer().Write(b)
		return err
	}
	v, err := d.im.Block(disk.BlockNum(n))
	if err == nil && c.Bool("owner") {
		err = d.im.FindOwners(d.e.ctx, v)
	}
	return d.emit(v, err)
}

func dumpGroup(d *dumpRun, _ *cli.Context, n uint64) error {
	g, err := groupNum(n)
	if err != nil {
		return at(d.name, "", err)
	}
	v, err := d.im.Group(g)
	return d.emit(v, err)
}

func dumpBitmaps(d *dumpRun, _ *cli.Context, n uint64) error {
	g, err := groupNum(n)
	if err != nil {
		return at(d.name, "", err)
	}
	blocks, inodes, err := d.im.Bitmaps(g)
	if err != nil {
		return d.emit(nil, err)
	}
	if err := d.emit(blocks, nil); err != nil {
		return err
	}
	return d.emit(inodes, nil)
}

func groupNum(n uint64) (disk.GroupNum, error) {
	if n > 1<<32-1 {
		return 0, fmt.Errorf("there is no group %d", n)
	}
	return disk.GroupNum(n), nil
}

// dumpImageCommand is a sub-command about a whole image.
func dumpImageCommand(e *env, name, usage string, run func(*dumpRun) error) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		ArgsUsage:   "IMAGE",
		Description: dumpExample(name + " disk.img"),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, 1); err != nil {
				return err
			}
			return e.withDump(c.Args().First(), run)
		},
	}
}

func dumpJournal(d *dumpRun) error {
	for v, err := range d.im.Journal() {
		if err := d.emit(v, err); err != nil {
			return err
		}
		if err := d.e.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func dumpMMP(d *dumpRun) error {
	v, err := d.im.MMP()
	return d.emit(v, err)
}

func dumpOrphans(d *dumpRun) error {
	v, err := d.im.Orphans()
	return d.emit(v, err)
}

// dumpFileCommand is a sub-command about files: IMAGE:/path, IMAGE:<12>, or a
// number and an image.
func dumpFileCommand(e *env, name, usage string, run func(*dumpRun, disk.InodeNum) error) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		ArgsUsage:   "IMAGE:/PATH|IMAGE:<N>...",
		Description: dumpExample(name + " disk.img:/etc\n  e4kit dump " + name + " 'disk.img:<2>'"),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return e.dumpFiles(c.Args().Slice(), run)
		},
	}
}

func (e *env) dumpFiles(args []string, run func(*dumpRun, disk.InodeNum) error) error {
	if len(args) == 2 {
		// "dump inode 12 disk.img", as for groups and blocks.
		if n, image, err := e.numberAndImage(args[0], args[1]); err == nil && n < 1<<32 {
			args = []string{fmt.Sprintf("%s:<%d>", image, n)}
		}
	}
	damaged := false
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return e.usagef("%v", err)
		}
		err = e.withDump(t.image, func(d *dumpRun) error {
			nodes, err := e.resolve(t, noFollowLast)
			for _, n := range nodes {
				d.path = n.path
				if err := run(d, n.inode.Number()); err != nil {
					return err
				}
			}
			return err
		})
		var status statusError
		switch {
		case errors.As(err, &status):
			damaged = true
		case err != nil && e.ctx.Err() == nil && !isPipe(err) && exitCode(err) != exitUsage:
			e.failEach(err)
		case err != nil:
			return err
		}
	}
	if damaged && e.failed.count == 0 {
		return statusError(exitCorrupt)
	}
	return nil
}

func dumpInode(d *dumpRun, n disk.InodeNum) error {
	v, err := d.im.Inode(n)
	return d.emit(v, err)
}

func dumpDir(d *dumpRun, n disk.InodeNum) error { return emitAll(d, d.im.Dir(n)) }

func dumpHtree(d *dumpRun, n disk.InodeNum) error { return emitAll(d, d.im.Htree(n)) }

func dumpXattrs(d *dumpRun, n disk.InodeNum) error {
	list, err := d.im.Xattrs(n)
	if err != nil {
		return d.emit(nil, err)
	}
	d.e.did()
	for _, v := range list {
		if err := d.emit(v, nil); err != nil {
			return err
		}
	}
	return nil
}

func emitAll[V dump.Value](d *dumpRun, seq iter.Seq2[V, error]) error {
	for v, err := range seq {
		if err := d.emit(v, err); err != nil {
			return err
		}
		if err := d.e.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
