package main

import (
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func mkdirCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "mkdir",
		Usage:     "make directories in an image",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Makes directories that belong to 0:0 and have mode 0755, or what -m says, or what
a default ACL above gives. Globs count in the directories above.

Examples:
  e4kit mkdir disk.img:/srv/data
  e4kit mkdir -p -m 700 disk.img:/var/lib/app/cache
  e4kit mkdir 'disk.img:/home/*/.config'`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "parents", Aliases: []string{"p"}, Usage: "make what is missing above too; existing directories are no error"},
			&cli.StringFlag{Name: "mode", Aliases: []string{"m"}, Usage: "permissions as for chmod: `MODE`"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			m, err := e.modeFlag(c.String("mode"))
			if err != nil {
				return err
			}
			return e.eachArg(c, func(arg string) error { return e.mkdir(arg, c.Bool("parents"), m) })
		},
	}
}

// eachArg calls f for every argument. What goes wrong with one is reported,
// and the next one is tried, unless it is of no use.
func (e *env) eachArg(c *cli.Context, f func(arg string) error) error {
	for _, arg := range c.Args().Slice() {
		if err := e.tried(f(arg)); err != nil {
			return err
		}
	}
	return nil
}

// tried reports an error, or returns one that ends the verb.
func (e *env) tried(err error) error {
	var usage *usageError
	var status statusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &usage), errors.As(err, &status), e.ctx.Err() != nil, isPipe(err):
		return err
	}
	e.failEach(err)
	return nil
}

// modeFlag reads the value of -m; nil without one.
func (e *env) modeFlag(text string) (*modeChange, error) {
	if text == "" {
		return nil, nil
	}
	m, err := parseModeChange(text)
	if err != nil {
		return nil, e.usagef("--mode: %v", err)
	}
	return m, nil
}

func (e *env) mkdir(arg string, parents bool, m *modeChange) error {
	if parents {
		return e.mkdirAll(arg, m)
	}
	list, err := e.spots(arg)
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := e.change(s.img, s.path, func() error { return makeDir(s.dir, s.name, m) }, "directory made"); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes one directory. m counts from what mkdir(1) would give.
func makeDir(dir *ext4fs.Inode, name string, m *modeChange) error {
	if name == "." {
		return ext4fs.ErrExist
	}
	n := &ext4fs.NewNode{Mode: disk.ModeDir | 0o777, Umask: ext4fs.DefaultUmask}
	if m == nil {
		_, err := dir.Create(name, n)
		return err
	}
	n.Mode = m.apply(n.Mode)
	n.Umask = 0
	i, err := dir.Create(name, n)
	if err != nil || i.Raw().Mode() == n.Mode {
		return err
	}
	return i.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrMode, Mode: i.Raw().Mode()&disk.ModeSetgid | n.Mode&^disk.ModeType})
}

// mkdirAll makes a directory and what is missing above it. Globs count up to
// the last one; what follows may be new.
func (e *env) mkdirAll(arg string, m *modeChange) error {
	t, err := parseTarget(arg)
	if err != nil {
		return e.usagef("%v", err)
	}
	elements := splitPattern(t.path)
	known := 0
	if !e.flags.noGlob {
		for n, el := range elements {
			if hasGlob(el) {
				known = n + 1
			}
		}
	}
	t.path = strings.Join(elements[:known], "/")
	if t.inode == 0 || known > 0 {
		t.path = "/" + t.path
	}
	starts, err := e.resolve(t, followLast)
	if err != nil {
		return err
	}
	for _, n := range starts {
		if err := e.mkdirBelow(n, elements[known:], m); err != nil {
			return err
		}
	}
	return nil
}

// mkdirBelow makes one directory after the other.
func (e *env) mkdirBelow(n *node, names []string, m *modeChange) error {
	dir, path := n.inode, n.path
	for k, name := range names {
		if !e.flags.noGlob {
			name = unescapeGlob(name)
		}
		path = joinPath(path, name)
		next, err := below(n.img.fs, dir, name, path)
		if errors.Is(err, ext4fs.ErrNotExist) {
			mode := m
			if k+1 < len(names) {
				mode = nil
			}
			failed := e.failed.count
			err = e.change(n.img, path, func() error { return makeDir(dir, name, mode) }, "directory made")
			if err != nil || e.failed.count > failed {
				return err
			}
			if e.dry {
				return e.pretendBelow(n.img, path, names[k+1:])
			}
			next, err = below(n.img.fs, dir, name, path)
		}
		if err == nil && !next.IsDir() {
			err = ext4fs.ErrNotDir
			if k+1 == len(names) {
				err = ext4fs.ErrExist
			}
		}
		if err != nil {
			return at(n.img.name, path, err)
		}
		dir = next
	}
	if !dir.IsDir() {
		return at(n.img.name, path, ext4fs.ErrNotDir)
	}
	e.did()
	return nil
}

// pretendBelow tells of the directories that would be made in one that would.
func (e *env) pretendBelow(img *image, path string, names []string) error {
	for _, name := range names {
		path = joinPath(path, name)
		if err := e.change(img, path, nil, "directory made"); err != nil {
			return err
		}
	}
	return nil
}

// below looks up a name, at the end of symbolic links.
func below(fsys *ext4fs.FS, dir *ext4fs.Inode, name, path string) (*ext4fs.Inode, error) {
	num, err := dir.Lookup(name)
	if err != nil {
		return nil, err
	}
	i, err := fsys.Inode(num)
	if err == nil && i.IsSymlink() {
		return fsys.Lookup(path)
	}
	return i, err
}
