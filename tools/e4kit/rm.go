package main

import (
	"cmp"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// rmOptions are the flags of rm.
type rmOptions struct {
	recursive, force, dirs bool
}

func rmCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "remove files and trees from an image",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Removes names as rm(1) does, without asking. Symbolic links are removed, not
followed. The root of an image, "." and ".." are refused. Each name goes in a
transaction of its own: an interrupted rm can be run again.

Examples:
  e4kit rm disk.img:/etc/motd
  e4kit rm -rf disk.img:/var/cache 'disk.img:/tmp/*'
  e4kit rm -r --dry-run disk.img:/home/ada`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r", "R"}, Usage: "directories with all that is in them"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "what does not exist is no error"},
			&cli.BoolFlag{Name: "dir", Aliases: []string{"d"}, Usage: "empty directories too"},
		),
		Action: func(c *cli.Context) error {
			o := rmOptions{c.Bool("recursive"), c.Bool("force"), c.Bool("dir")}
			low := 1
			if o.force {
				low = 0
			}
			if err := wantArgs(c, e, low, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			return e.eachArg(c, func(arg string) error { return e.rm(arg, o) })
		},
	}
}

func (e *env) rm(arg string, o rmOptions) error {
	list, err := e.spots(arg)
	if err != nil {
		if o.force && errors.Is(err, ext4fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, s := range list {
		if err := e.rmSpot(s, o); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) rmSpot(s *spot, o rmOptions) error {
	i, err := s.inode()
	switch {
	case err != nil:
	case i == nil && o.force:
		return nil
	case i == nil:
		err = ext4fs.ErrNotExist
	case i.Number() == disk.RootInode:
		err = errors.New("is the root directory, which stays")
	case s.name == ".":
		err = errors.New(`"." and ".." are not removed`)
	case !i.IsDir() && s.slash:
		err = ext4fs.ErrNotDir
	case i.IsDir() && !o.recursive && !o.dirs:
		err = errors.New("is a directory, left without -r")
	case i.IsDir() && o.recursive:
		_, err := e.rmTree(s.img, s.dir, s.name, s.path, i, 0)
		return err
	case i.IsDir():
		return e.change(s.img, s.path, func() error { return s.dir.Rmdir(s.name) }, "directory removed")
	default:
		return e.change(s.img, s.path, func() error { return s.dir.Unlink(s.name) }, "removed")
	}
	return e.failChange(s.img, s.path, err)
}

// rmTree removes a directory with all below it; whole says that all is gone.
func (e *env) rmTree(img *image, up *ext4fs.Inode, name, path string, dir *ext4fs.Inode, depth int) (whole bool, err error) {
	if depth >= maxDepth {
		return false, e.failChange(img, path, errors.New("too many directories deep"))
	}
	byName := e.tells || e.dry
	list, bad := listDir(dir, byName)
	whole = true
	if bad != nil {
		whole = false
		if err := e.failChange(img, path, bad); err != nil {
			return false, err
		}
	}
	if !byName {
		// Neighbours in the inode tables one after the other: each block of
		// them is changed in one transaction, not in many.
		slices.SortFunc(list, func(a, b listed) int { return cmp.Compare(a.inode, b.inode) })
	}
	for _, entry := range list {
		ok, err := e.rmEntry(img, dir, entry, joinPath(path, entry.name), depth)
		if err != nil {
			return false, err
		}
		whole = whole && ok
	}
	if !whole {
		return false, nil
	}
	failed := e.failed.count
	err = e.change(img, path, func() error { return up.Rmdir(name) }, "directory removed")
	return e.failed.count == failed, err
}

func (e *env) rmEntry(img *image, dir *ext4fs.Inode, entry listed, path string, depth int) (bool, error) {
	isDir := entry.kind == disk.FileTypeDir
	if isDir || entry.kind == disk.FileTypeUnknown {
		i, err := img.fs.Inode(entry.inode)
		if err != nil {
			return false, e.failChange(img, path, err)
		}
		if i.IsDir() {
			return e.rmTree(img, dir, entry.name, path, i, depth+1)
		}
	}
	failed := e.failed.count
	err := e.change(img, path, func() error { return dir.Unlink(entry.name) }, "removed")
	return e.failed.count == failed, err
}

func rmdirCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "rmdir",
		Usage:     "remove empty directories from an image",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Removes directories that are empty. With -p those above it too, as long as they
are empty then.

Examples:
  e4kit rmdir disk.img:/mnt/old
  e4kit rmdir -p disk.img:/srv/a/b/c`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "parents", Aliases: []string{"p"}, Usage: "the directories of the path too"},
			&cli.BoolFlag{Name: "ignore-fail-on-non-empty", Usage: "a directory that is not empty is no error"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			return e.eachArg(c, func(arg string) error {
				return e.rmdir(arg, c.Bool("parents"), c.Bool("ignore-fail-on-non-empty"))
			})
		},
	}
}

func (e *env) rmdir(arg string, parents, ignore bool) error {
	list, err := e.spots(arg)
	if err != nil {
		return err
	}
	for _, s := range list {
		for s != nil {
			ok, err := e.rmdirSpot(s, ignore)
			if err != nil {
				return err
			}
			if !ok || !parents {
				break
			}
			s = e.above(s)
		}
	}
	return nil
}

// above is the directory that a name is in; nil at the root.
func (e *env) above(s *spot) *spot {
	dir, _ := splitLast(s.path)
	up := &node{img: s.img, path: dir, inode: s.dir}
	if s.dir.Number() == disk.RootInode || dir == "" || dir == "/" {
		return nil
	}
	at, err := e.spotOf(up)
	if err != nil || at.name == "." {
		return nil
	}
	return at
}

func (e *env) rmdirSpot(s *spot, ignore bool) (bool, error) {
	i, err := s.inode()
	switch {
	case err != nil:
	case i == nil:
		err = ext4fs.ErrNotExist
	case !i.IsDir():
		err = ext4fs.ErrNotDir
	case i.Number() == disk.RootInode:
		err = errors.New("is the root directory, which stays")
	case s.name == ".":
		err = ext4fs.ErrInvalid
	}
	if err != nil {
		return false, e.failChange(s.img, s.path, err)
	}
	failed, kept := e.failed.count, false
	err = e.change(s.img, s.path, func() error {
		err := s.dir.Rmdir(s.name)
		if ignore && errors.Is(err, ext4fs.ErrNotEmpty) {
			kept = true
			return nil
		}
		return err
	}, "directory removed")
	return !kept && e.failed.count == failed, err
}
