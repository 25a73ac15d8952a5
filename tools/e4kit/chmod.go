package main

import (
	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func chmodCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "chmod",
		Usage:     "change permissions in an image",
		ArgsUsage: "MODE IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `MODE is octal or symbolic as for chmod(1): u+rwX,go=r, a-w, g=u, +t. An ACL
follows: its mask is what MODE says for the group. Symbolic links are followed
when they are arguments, and left alone below a directory with -R.

Examples:
  e4kit chmod 640 disk.img:/etc/shadow
  e4kit chmod -R u=rwX,go=rX disk.img:/usr/share
  e4kit chmod --reference disk.img:/bin/ls disk.img:/bin/my-ls`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "everything below as well"},
			&cli.StringFlag{Name: "reference", Usage: "take the mode of `IMAGE:/PATH` in place of MODE"},
		),
		Action: func(c *cli.Context) error {
			if err := e.willChange(c); err != nil {
				return err
			}
			m, args, err := e.chmodArgs(c)
			if err != nil {
				return err
			}
			return e.eachFile(args, followLast, c.Bool("recursive"), func(n *node) error { return e.chmod(n, m) })
		},
	}
}

// chmodArgs finds the mode among flags and arguments.
func (e *env) chmodArgs(c *cli.Context) (*modeChange, []string, error) {
	args := c.Args().Slice()
	if ref := c.String("reference"); ref != "" {
		if err := wantArgs(c, e, 1, -1); err != nil {
			return nil, nil, err
		}
		n, err := e.resolveOne(ref, followLast)
		if err != nil {
			return nil, nil, err
		}
		perm := n.inode.Raw().Mode() &^ disk.ModeType
		return &modeChange{octal: true, set: perm, explicit: 0o6000}, args, nil
	}
	if err := wantArgs(c, e, 2, -1); err != nil {
		return nil, nil, err
	}
	m, err := parseModeChange(args[0])
	if err != nil {
		return nil, nil, e.usagef("%v", err)
	}
	return m, args[1:], nil
}

// eachFile calls f for the files that the arguments name, and with tree for
// what is below them.
func (e *env) eachFile(args []string, follow follow, tree bool, f func(n *node) error) error {
	for _, arg := range args {
		nodes, err := e.resolveAll([]string{arg}, follow)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if !tree {
				err = f(n)
			} else {
				err = e.eachBelow(n, f)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *env) chmod(n *node, m *modeChange) error {
	if n.inode.IsSymlink() {
		return nil
	}
	old := n.inode.Raw().Mode()
	mode := m.apply(old)
	if mode == old {
		e.did()
		return e.ctx.Err()
	}
	return e.change(n.img, n.path, func() error {
		return n.inode.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrMode, Mode: mode &^ disk.ModeType})
	}, "mode %s -> %s", octal(uint32(old&^disk.ModeType)), octal(uint32(mode&^disk.ModeType)))
}
