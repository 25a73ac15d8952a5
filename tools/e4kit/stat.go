package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

func statCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "stat",
		Usage:     "show all that an inode says of a file",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryLook,
		Description: `Shows type, owner, times, flags and space of files. A symbolic link is shown
itself, unless -L is given.

A FORMAT has these directives: %n name, %N name and link target, %i inode,
%F type, %a and %A permissions in octal and as letters, %f mode in hexadecimal,
%h links, %u %U owner, %g %G group, %s size, %b sectors of 512 bytes, %B their
size, %o block size, %t %T device numbers, %x %y %z %w times of access,
change of data, change of inode and birth, %X %Y %Z %W the same in seconds
since 1970, %% a percent sign; \n \t \0 \\ as usual.

Examples:
  e4kit stat disk.img:/etc/passwd
  e4kit stat --format '%n %s %Y' 'disk.img:/boot/*'
  e4kit stat 'disk.img:<12>'`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dereference", Aliases: []string{"L"}, Usage: "follow symbolic links"},
			&cli.StringFlag{Name: "format", Aliases: []string{"c"}, Usage: "print `FORMAT` and a newline for each file"},
			&cli.StringFlag{Name: "printf", Usage: "print `FORMAT` for each file, without a newline"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			format := c.String("printf")
			if c.IsSet("format") {
				format = c.String("format") + `\n`
			}
			return runStat(e, c.Args().Slice(), followIf(c.Bool("dereference")), format)
		},
	}
}

// runStat shows inodes, in the long form when format is empty.
func runStat(e *env, args []string, f follow, format string) error {
	nodes, err := e.resolveAll(args, f)
	if err != nil {
		return err
	}
	var program formatter
	if format != "" {
		if program, err = parseFormat(format, statDirectives); err != nil {
			return e.usagef("%v", err)
		}
	}
	for _, n := range nodes {
		switch {
		case e.json:
			err = e.writeJSON(newStatRecord(n))
		case format != "":
			err = program.print(e, &subject{img: n.img, path: n.path, start: n.path, inode: n.inode})
		default:
			err = e.printStat(n)
		}
		if err != nil {
			return err
		}
		e.did()
	}
	return nil
}

// statRecord is a record with the rest of the inode.
type statRecord struct {
	*record
	Flags      []string `json:"flags"`
	RawFlags   uint32   `json:"raw_flags"`
	Generation uint32   `json:"generation"`
	Version    uint64   `json:"version"`
	Project    uint32   `json:"project"`
	BlockSize  int      `json:"block_size"`
	Xattrs     []string `json:"xattrs"`
}

func newStatRecord(n *node) *statRecord {
	st := n.inode.Stat()
	r := &statRecord{
		record: newRecord(n.path, n.inode), Flags: flagWords(st), RawFlags: uint32(st.Flags),
		Generation: st.Generation, Version: st.Version, Project: st.Project, BlockSize: st.BlockSize,
		Xattrs: []string{},
	}
	r.Image = n.img.name
	if attrs, err := n.inode.Xattrs(); err == nil {
		for _, a := range attrs {
			r.Xattrs = append(r.Xattrs, a.Name)
		}
	}
	return r
}

func flagWords(st *ext4fs.Stat) []string {
	words := st.Flags.Names()
	if words == nil {
		words = []string{}
	}
	return words
}

func (e *env) printStat(n *node) error {
	st := n.inode.Stat()
	names := e.ownersOf(n.img)
	w := e.writer()
	name := e.shown(n.String())
	if n.inode.IsSymlink() {
		if target, err := n.inode.Readlink(); err == nil {
			name += " -> " + e.shown(target)
		}
	}
	fmt.Fprintf(w, "  File: %s\n", name)
	fmt.Fprintf(w, "  Type: %s", typeWord(st.RawMode))
	if isDevice(st) {
		fmt.Fprintf(w, " %d,%d", st.Major, st.Minor)
	}
	fmt.Fprintf(w, "\n  Size: %-14d Sectors: %-10d Block size: %d\n", st.Size, st.Sectors, st.BlockSize)
	fmt.Fprintf(w, " Inode: %-14d Links: %-12d Generation: %d\n", st.Inode, st.Links, st.Generation)
	fmt.Fprintf(w, "Access: %s %s  Owner: %d %s  Group: %d %s  Project: %d\n", octal(uint32(st.RawMode&0o7777)),
		modeString(st.RawMode), st.UID, names.user(st.UID), st.GID, names.group(st.GID), st.Project)
	fmt.Fprintf(w, " Flags: 0x%x%s\n", uint32(st.Flags), spaced(flagWords(st)))
	for _, t := range []struct {
		name string
		time time.Time
	}{{"Access", st.Atime}, {"Modify", st.Mtime}, {"Change", st.Ctime}, {" Birth", st.Crtime}} {
		if t.time.IsZero() {
			fmt.Fprintf(w, "%s: -\n", t.name)
			continue
		}
		fmt.Fprintf(w, "%s: %s\n", t.name, t.time.In(e.local).Format("2006-01-02 15:04:05.000000000 -0700"))
	}
	attrs, err := n.inode.Xattrs()
	if err != nil {
		e.failAt(n, err)
	}
	for _, a := range attrs {
		fmt.Fprintf(w, " Xattr: %s, %d bytes\n", e.shown(a.Name), len(a.Value))
	}
	return e.endLine()
}

func spaced(words []string) string {
	s := ""
	for _, w := range words {
		s += " " + w
	}
	return s
}

// ownersOf reads an image's accounts once.
func (e *env) ownersOf(img *image) *owners {
	if img.owners == nil {
		img.owners = readOwners(img.fs)
	}
	return img.owners
}
