package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// lnOptions are the flags of ln.
type lnOptions struct {
	symbolic, force, follow, noFollow, noTargetDir bool
	targetDir                                      string
}

func lnCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "ln",
		Usage:     "make links in an image",
		ArgsUsage: "TARGET... IMAGE:/LINK",
		Category:  categoryChange,
		Description: `Makes hard links to files of the same image: TARGET is IMAGE:/PATH then. With -s
TARGET is the text of the link, and is not looked at. A LINK that is a directory
gets the links in it.

Examples:
  e4kit ln disk.img:/bin/gzip disk.img:/bin/gunzip
  e4kit ln -s /usr/lib/os-release disk.img:/etc/os-release
  e4kit ln -sfn releases/7 disk.img:/srv/current`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "symbolic", Aliases: []string{"s"}, Usage: "make symbolic links"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace what has the name, but directories"},
			&cli.BoolFlag{Name: "no-dereference", Aliases: []string{"n"}, Usage: "LINK is the name also if it is a link to a directory"},
			&cli.BoolFlag{Name: "logical", Aliases: []string{"L"}, Usage: "hard links to what a symbolic TARGET leads to"},
			&cli.BoolFlag{Name: "physical", Aliases: []string{"P"}, Usage: "hard links to symbolic links themselves (default)"},
			&cli.BoolFlag{Name: "no-target-directory", Aliases: []string{"T"}, Usage: "LINK is the name in any case"},
			&cli.StringFlag{Name: "target-directory", Aliases: []string{"t"}, Usage: "make the links in `IMAGE:/DIR`"},
		),
		Action: func(c *cli.Context) error {
			o := lnOptions{
				symbolic: c.Bool("symbolic"), force: c.Bool("force"), follow: c.Bool("logical") && !c.Bool("physical"),
				noFollow: c.Bool("no-dereference"), noTargetDir: c.Bool("no-target-directory"), targetDir: c.String("target-directory"),
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			args, dest, err := e.destArgs(c, o.targetDir, o.noTargetDir)
			if err != nil {
				return err
			}
			return e.ln(args, dest, o)
		},
	}
}

func (e *env) ln(args []string, dest string, o lnOptions) error {
	asName := o.noTargetDir
	if o.noFollow && len(args) == 1 {
		if s, err := e.oneSpot(dest); err == nil {
			if i, err := s.inode(); err == nil && i != nil && i.IsSymlink() {
				asName = true
			}
		}
	}
	l, err := e.land(dest, len(args) > 1, o.targetDir != "", asName)
	if err != nil {
		return err
	}
	for _, arg := range args {
		if o.symbolic {
			err = e.lnSymbolic(arg, l, o)
		} else {
			err = e.lnHard(arg, l, o)
		}
		if err := e.tried(err); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) lnSymbolic(text string, l *landing, o lnOptions) error {
	_, base := splitLast(text)
	s := l.in(base)
	if s.name == "" || s.name == "." || s.name == ".." || strings.ContainsRune(s.name, '/') {
		return at(s.img.name, s.path, ext4fs.ErrExist)
	}
	n := &ext4fs.NewNode{Mode: disk.ModeSymlink | disk.ModePerm, Target: text}
	return e.change(s.img, s.path, func() (err error) {
		_, err = s.dir.Create(s.name, n)
		if !errors.Is(err, ext4fs.ErrExist) || !o.force {
			return err
		}
		i, err := s.dir.Tmpfile(n)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, i.Release()) }()
		return s.dir.LinkReplace(s.name, i)
	}, "symbolic link to %s", text)
}

func (e *env) lnHard(arg string, l *landing, o lnOptions) error {
	nodes, err := e.resolveAll([]string{arg}, followIf(o.follow))
	if err != nil {
		return err
	}
	for _, n := range nodes {
		s := l.in(copyName(n))
		switch {
		case n.img != s.img:
			err = fmt.Errorf("%w: a hard link stays in its image", ext4fs.ErrCrossDevice)
		case n.inode.IsDir():
			err = errors.New("directories get no hard links")
		case s.slash:
			err = ext4fs.ErrNotDir
		default:
			err = e.change(s.img, s.path, func() error {
				err := s.dir.Link(s.name, n.inode)
				if !errors.Is(err, ext4fs.ErrExist) || !o.force {
					return err
				}
				if old, e := s.inode(); e == nil && old == n.inode {
					return errors.New("source and link are the same file")
				}
				return s.dir.LinkReplace(s.name, n.inode)
			}, "hard link to %s", n.path)
			if err != nil {
				return err
			}
			continue
		}
		if err := e.failChange(n.img, n.path, err); err != nil {
			return err
		}
	}
	return nil
}
