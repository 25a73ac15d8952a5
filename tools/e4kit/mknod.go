package main

import (
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func mknodCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "mknod",
		Usage:     "make device nodes, fifos and sockets in an image",
		ArgsUsage: "IMAGE:/PATH TYPE [MAJOR MINOR]",
		Category:  categoryChange,
		Description: `TYPE is b for a block device, c or u for a character device, p for a fifo, s for
a socket. Devices need MAJOR and MINOR.

Examples:
  e4kit mknod -m 666 disk.img:/dev/null c 1 3
  e4kit mknod disk.img:/run/initctl p`,
		Flags: changeFlags(
			&cli.StringFlag{Name: "mode", Aliases: []string{"m"}, Usage: "permissions as for chmod: `MODE`"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 2, 4); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			m, err := e.modeFlag(c.String("mode"))
			if err != nil {
				return err
			}
			return e.mknod(c.Args().Slice(), m)
		},
	}
}

func (e *env) mknod(args []string, m *modeChange) error {
	kinds := map[string]uint16{
		"b": disk.ModeBlock, "c": disk.ModeChar, "u": disk.ModeChar, "p": disk.ModeFIFO, "s": disk.ModeSocket,
	}
	kind, ok := kinds[args[1]]
	if !ok {
		return e.usagef("unknown type %q: want b, c, p or s", args[1])
	}
	n := &ext4fs.NewNode{Mode: kind | 0o666, Umask: ext4fs.DefaultUmask}
	isDevice := kind == disk.ModeBlock || kind == disk.ModeChar
	if isDevice != (len(args) == 4) {
		if isDevice {
			return e.usagef("a device needs MAJOR and MINOR")
		}
		return e.usagef("only devices have MAJOR and MINOR")
	}
	if isDevice {
		major, err := strconv.ParseUint(args[2], 0, 12)
		if err != nil {
			return e.usagef("MAJOR %q: want a number below 4096", args[2])
		}
		minor, err := strconv.ParseUint(args[3], 0, 20)
		if err != nil {
			return e.usagef("MINOR %q: want a number below 1048576", args[3])
		}
		n.Major, n.Minor = uint32(major), uint32(minor)
	}
	if m != nil {
		n.Mode, n.Umask = m.apply(n.Mode), 0
	}
	s, err := e.oneSpot(args[0])
	if err != nil {
		return err
	}
	return e.change(s.img, s.path, func() error {
		if s.slash && s.name != "." {
			return ext4fs.ErrNotExist
		}
		i, err := s.dir.Create(s.name, n)
		if err != nil || m == nil || i.Raw().Mode() == n.Mode {
			return err
		}
		return i.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrMode, Mode: n.Mode &^ disk.ModeType})
	}, "%s made", typeWord(n.Mode))
}
