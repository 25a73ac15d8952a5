package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// attrLetters are the letters of chattr(1), as far as ext4 has the flags.
var attrLetters = map[rune]disk.InodeFlags{
	'a': disk.FlagAppend, 'A': disk.FlagNoAtime, 'c': disk.FlagCompr, 'D': disk.FlagDirSync, 'd': disk.FlagNoDump,
	'F': disk.FlagCasefold, 'i': disk.FlagImmutable, 'j': disk.FlagJournalData, 'P': disk.FlagProjInherit,
	's': disk.FlagSecureRM, 'S': disk.FlagSync, 't': disk.FlagNoTail, 'T': disk.FlagTopDir, 'u': disk.FlagUnRM,
	'x': disk.FlagDAX, 'e': disk.FlagExtents,
}

const attrLetterList = "aAcDdeFijPsStTux"

func chattrCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "chattr",
		Usage:     "change flags and projects of files in an image",
		ArgsUsage: "[+-=FLAGS]... IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Adds (+), removes (-) or sets (=) the flags of chattr(1): a append only, A no
atime, c compress, d no dump, D synchronous directory, F casefold, i immutable,
j data in the journal, P project of the directory, s secure deletion, S
synchronous, t no tails, T top of a tree, u undeletable, x DAX. Symbolic links and
devices below a directory are left alone with -R.

Examples:
  e4kit chattr +i disk.img:/etc/resolv.conf
  e4kit chattr -R -p 42 +P disk.img:/srv/project
  e4kit chattr = disk.img:/var/log/secure`,
		Flags: renameVerbose(changeFlags(
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "everything below as well"},
			&cli.StringFlag{Name: "project", Aliases: []string{"p"}, Usage: "set the project to `NUMBER`"},
			&cli.StringFlag{Name: "generation", Aliases: []string{"v"}, Usage: "set the generation to `NUMBER`"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "does nothing"},
		), "V"),
		Action: func(c *cli.Context) error {
			if err := e.willChange(c); err != nil {
				return err
			}
			o, args, err := e.chattrArgs(c)
			if err != nil {
				return err
			}
			tree := c.Bool("recursive")
			return e.eachFile(args, noFollowLast, tree, func(n *node) error { return e.chattr(n, o, tree) })
		},
	}
}

// chattrOptions are the changes to make.
type chattrOptions struct {
	set         bool // "=": flags that are not added go
	add, remove disk.InodeFlags
	flags       bool // any of the three was given
	project     *uint32
	generation  *uint32
}

func (e *env) chattrArgs(c *cli.Context) (*chattrOptions, []string, error) {
	o := &chattrOptions{}
	args := c.Args().Slice()
	for len(args) > 0 && isAttrWord(args[0]) {
		var flags disk.InodeFlags
		for _, r := range args[0][1:] {
			f, ok := attrLetters[r]
			if !ok {
				return nil, nil, e.usagef("unknown flag %q in %q", r, args[0])
			}
			flags |= f
		}
		switch args[0][0] {
		case '+':
			o.add |= flags
		case '-':
			o.remove |= flags
		default:
			o.set = true
			o.add |= flags
		}
		o.flags = true
		args = args[1:]
	}
	if o.set && o.remove != 0 {
		return nil, nil, e.usagef("= does not go with -")
	}
	if o.add&o.remove != 0 {
		return nil, nil, e.usagef("a flag is both added and removed")
	}
	var err error
	if o.project, err = e.number32(c, "project"); err != nil {
		return nil, nil, err
	}
	if o.generation, err = e.number32(c, "generation"); err != nil {
		return nil, nil, err
	}
	if !o.flags && o.project == nil && o.generation == nil {
		return nil, nil, e.usagef("nothing to change: want +FLAGS, -FLAGS, =FLAGS, --project or --generation")
	}
	if len(args) == 0 {
		return nil, nil, e.usagef("missing argument: %s", c.Command.ArgsUsage)
	}
	return o, args, nil
}

// isAttrWord reports whether a word of the command line is for flags.
func isAttrWord(w string) bool {
	return w != "" && strings.IndexByte("+-=", w[0]) >= 0 && !strings.ContainsAny(w, ":/.")
}

// number32 reads a flag that is a number.
func (e *env) number32(c *cli.Context, flag string) (*uint32, error) {
	if !c.IsSet(flag) {
		return nil, nil
	}
	n, err := strconv.ParseUint(c.String(flag), 0, 32)
	if err != nil {
		return nil, e.usagef("--%s %s: want a number", flag, c.String(flag))
	}
	v := uint32(n)
	return &v, nil
}

func (e *env) chattr(n *node, o *chattrOptions, tree bool) error {
	if tree && !n.inode.IsDir() && !n.inode.IsRegular() {
		return nil
	}
	a := &ext4fs.SetAttr{}
	var told []string
	old := n.inode.Flags()
	if o.flags {
		flags := (old | o.add) &^ o.remove
		if o.set {
			var all disk.InodeFlags
			for _, f := range attrLetters {
				all |= f
			}
			flags = old&^all | o.add | old&disk.FlagExtents
		}
		if !n.inode.IsDir() {
			flags &^= disk.FlagDirSync | disk.FlagTopDir | disk.FlagProjInherit | disk.FlagCasefold
		}
		if flags != old {
			a.Valid |= ext4fs.AttrFlags
			a.Flags = flags
			told = append(told, fmt.Sprintf("flags %s -> %s", attrText(old), attrText(flags)))
		}
	}
	if o.project != nil {
		a.Valid |= ext4fs.AttrProject
		a.Project = *o.project
		told = append(told, fmt.Sprintf("project %d -> %d", n.inode.Stat().Project, a.Project))
	}
	if o.generation != nil {
		a.Valid |= ext4fs.AttrGeneration
		a.Generation = *o.generation
		told = append(told, fmt.Sprintf("generation %d -> %d", n.inode.Stat().Generation, a.Generation))
	}
	if a.Valid == 0 {
		e.did()
		return e.ctx.Err()
	}
	return e.change(n.img, n.path, func() error { return n.inode.SetAttr(a) }, "%s", strings.Join(told, ", "))
}

// attrText is the flags as letters.
func attrText(flags disk.InodeFlags) string {
	var b strings.Builder
	for _, r := range attrLetterList {
		if flags.Has(attrLetters[r]) {
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}
