package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// mvOptions are the flags of mv.
type mvOptions struct {
	noClobber, update, noTargetDir, exchange bool
	targetDir                                string
}

func mvCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "mv",
		Usage:     "rename and move files within an image",
		ArgsUsage: "IMAGE:/PATH... IMAGE:/DEST",
		Category:  categoryChange,
		Description: `Moves into DEST if it is a directory, else to the name DEST, which is replaced in
one step if it exists. All is in one image; to move between images, copy with
'e4kit cp -a' and remove then.

Examples:
  e4kit mv disk.img:/etc/motd disk.img:/etc/motd.old
  e4kit mv 'disk.img:/var/log/*.1' disk.img:/var/log/old
  e4kit mv --exchange disk.img:/boot/a disk.img:/boot/b`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "no-clobber", Aliases: []string{"n"}, Usage: "leave existing files alone"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "does nothing: nobody is asked anyway"},
			&cli.BoolFlag{Name: "update", Aliases: []string{"u"}, Usage: "replace older files only"},
			&cli.BoolFlag{Name: "exchange", Usage: "exchange source and DEST"},
			&cli.BoolFlag{Name: "no-target-directory", Aliases: []string{"T"}, Usage: "DEST is the new name, also if it is a directory"},
			&cli.StringFlag{Name: "target-directory", Aliases: []string{"t"}, Usage: "move all arguments into `IMAGE:/DIR`"},
		),
		Action: func(c *cli.Context) error {
			o := mvOptions{
				noClobber: c.Bool("no-clobber"), update: c.Bool("update"), exchange: c.Bool("exchange"),
				noTargetDir: c.Bool("no-target-directory"), targetDir: c.String("target-directory"),
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			args, dest, err := e.destArgs(c, o.targetDir, o.noTargetDir)
			if err != nil {
				return err
			}
			return e.mv(args, dest, o)
		},
	}
}

// destArgs separates the sources from the destination.
func (e *env) destArgs(c *cli.Context, targetDir string, noTargetDir bool) (args []string, dest string, err error) {
	args = c.Args().Slice()
	if targetDir != "" {
		if noTargetDir {
			return nil, "", e.usagef("-t and -T exclude each other")
		}
		return args, targetDir, wantArgs(c, e, 1, -1)
	}
	if err := wantArgs(c, e, 2, -1); err != nil {
		return nil, "", err
	}
	return args[:len(args)-1], args[len(args)-1], nil
}

// landing is where cp, mv and ln put things in an image: into dir, or under
// the name of spot.
type landing struct {
	img  *image
	dir  *node // nil: it is a name
	spot *spot
	now  *ext4fs.Inode // what has the name; nil for nothing
}

// land finds the destination. several says that it has to be a directory.
func (e *env) land(dest string, several, asDir, asName bool) (*landing, error) {
	if asName && several {
		return nil, e.usagef("-T takes one source")
	}
	t, err := parseTarget(dest)
	if err != nil {
		return nil, e.usagef("%v", err)
	}
	if !asName {
		list, err := e.resolve(t, followLast)
		if err == nil && len(list) == 1 && list[0].inode.IsDir() {
			return &landing{img: list[0].img, dir: list[0]}, nil
		}
		if several || asDir {
			if err == nil {
				err = at(t.image, t.path, ext4fs.ErrNotDir)
			}
			return nil, err
		}
		if err != nil && !errors.Is(err, ext4fs.ErrNotExist) {
			return nil, err
		}
	}
	s, err := e.oneSpot(dest)
	if err != nil {
		return nil, err
	}
	l := &landing{img: s.img, spot: s}
	l.now, err = s.inode()
	if err != nil {
		return nil, at(s.img.name, s.path, err)
	}
	return l, nil
}

// in is where a file of that name goes.
func (l *landing) in(name string) *spot {
	if l.dir == nil {
		return l.spot
	}
	return &spot{img: l.img, dir: l.dir.inode, name: name, path: joinPath(l.dir.path, name)}
}

func (e *env) mv(args []string, dest string, o mvOptions) error {
	var from []*spot
	for _, arg := range args {
		list, err := e.spots(arg)
		if err := e.tried(err); err != nil {
			return err
		}
		from = append(from, list...)
	}
	if len(from) == 0 {
		return nil
	}
	l, err := e.land(dest, len(from) > 1 || len(args) > 1, o.targetDir != "", o.noTargetDir || o.exchange)
	if err != nil {
		return err
	}
	for _, s := range from {
		if s.img != l.img {
			e.fail(at(s.img.name, s.path, fmt.Errorf("%w: 'e4kit cp -a' copies between images", ext4fs.ErrCrossDevice)))
			continue
		}
		if err := e.mvOne(s, l.in(s.name), o); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) mvOne(s, to *spot, o mvOptions) error {
	i, err := s.inode()
	var old *ext4fs.Inode
	if err == nil {
		old, err = to.inode()
	}
	var flags ext4fs.RenameFlags
	switch {
	case err != nil:
	case i == nil:
		err = ext4fs.ErrNotExist
	case s.name == "." || i.Number() == disk.RootInode:
		err = errors.New(`the root, "." and ".." are not moved`)
	case to.name == ".":
		err = ext4fs.ErrExist
	case (s.slash || to.slash) && !i.IsDir():
		err = ext4fs.ErrNotDir
	case o.exchange:
		flags = ext4fs.RenameExchange
	case old == nil:
		flags = ext4fs.RenameNoReplace
	case old == i:
		err = errors.New("source and destination are the same file")
	case o.noClobber, o.update && !i.Stat().Mtime.After(old.Stat().Mtime):
		e.did()
		return nil
	case old.IsDir() && !i.IsDir():
		err = fmt.Errorf("cannot overwrite the directory %s with something else", to.path)
	case !old.IsDir() && i.IsDir():
		err = fmt.Errorf("cannot overwrite %s, which is no directory, with a directory", to.path)
	}
	if err != nil {
		return e.failChange(s.img, s.path, err)
	}
	return e.change(s.img, s.path, func() error {
		err := s.dir.Rename(s.name, to.dir, to.name, flags)
		if errors.Is(err, ext4fs.ErrInvalid) && i.IsDir() {
			return fmt.Errorf("cannot move a directory into itself: %s", to.path)
		}
		if err != nil && !errors.Is(err, ext4fs.ErrNotExist) {
			return fmt.Errorf("to %s: %w", to.path, err)
		}
		return err
	}, "moved to %s", to.path)
}
