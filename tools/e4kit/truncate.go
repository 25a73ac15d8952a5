package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func truncateCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "truncate",
		Usage:     "change the size of files in an image",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Makes files shorter, or longer with a hole at the end. SIZE may begin with + or -
(by that much), < or > (at most, at least), / or % (rounded down, up to a multiple).
What does not exist is made, unless -c is given.

Examples:
  e4kit truncate -s 0 disk.img:/var/log/messages
  e4kit truncate -s +1G disk.img:/var/swap
  e4kit truncate -s %4K 'disk.img:/srv/*.db'`,
		Flags: changeFlags(
			&cli.StringFlag{Name: "size", Aliases: []string{"s"}, Usage: "the new `SIZE`"},
			&cli.StringFlag{Name: "reference", Aliases: []string{"r"}, Usage: "take the size of `FILE`, in an image or not"},
			&cli.BoolFlag{Name: "no-create", Aliases: []string{"c"}, Usage: "make no files"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			size, err := e.sizeChange(c)
			if err != nil {
				return err
			}
			return e.eachArg(c, func(arg string) error { return e.truncate(arg, size, c.Bool("no-create")) })
		},
	}
}

// sizeChange reads -s and -r, and gives a function from the old size to the new
// one.
func (e *env) sizeChange(c *cli.Context) (func(int64) (int64, error), error) {
	text := c.String("size")
	base := int64(-1)
	if ref := c.String("reference"); ref != "" {
		var err error
		if base, err = e.sizeOf(ref); err != nil {
			return nil, err
		}
		if text == "" {
			return func(int64) (int64, error) { return base, nil }, nil
		}
		if strings.IndexByte("+-<>/%", text[0]) < 0 {
			return nil, e.usagef("with --reference a --size begins with one of + - < > / %%")
		}
	}
	if text == "" {
		return nil, e.usagef("--size or --reference is wanted")
	}
	op := byte(0)
	if strings.IndexByte("+-<>/%", text[0]) >= 0 {
		op, text = text[0], text[1:]
	}
	n, err := parseSize(text)
	if err == nil && n == 0 && (op == '/' || op == '%') {
		err = errors.New("division by zero")
	}
	if err != nil {
		return nil, e.usagef("--size: %v", err)
	}
	return func(old int64) (int64, error) {
		if base >= 0 {
			old = base
		}
		return newSize(op, old, n)
	}, nil
}

func newSize(op byte, old, n int64) (int64, error) {
	switch op {
	case '+':
		if n > math.MaxInt64-old {
			return 0, ext4fs.ErrFileTooBig
		}
		return old + n, nil
	case '-':
		return max(old-n, 0), nil
	case '<':
		return min(old, n), nil
	case '>':
		return max(old, n), nil
	case '/':
		return old - old%n, nil
	case '%':
		if rest := old % n; rest != 0 {
			if n-rest > math.MaxInt64-old {
				return 0, ext4fs.ErrFileTooBig
			}
			return old + n - rest, nil
		}
		return old, nil
	}
	return n, nil
}

// sizeOf is the size of a file in an image, or of the host.
func (e *env) sizeOf(name string) (int64, error) {
	if t, err := parseTarget(name); err == nil && t.given {
		n, err := e.resolveOne(name, followLast)
		if err != nil {
			return 0, err
		}
		return n.inode.Size(), nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return 0, hostError(err)
	}
	return info.Size(), nil
}

func (e *env) truncate(arg string, size func(int64) (int64, error), noCreate bool) error {
	list, err := e.spots(arg)
	if err != nil {
		if noCreate && errors.Is(err, ext4fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, s := range list {
		if err := e.truncateSpot(s, size, noCreate); err != nil {
			return err
		}
	}
	return nil
}

// throughLinks is what a spot leads to; nil and no error where there is
// nothing.
func (s *spot) throughLinks() (*ext4fs.Inode, error) {
	i, err := s.inode()
	if err != nil || i == nil || !i.IsSymlink() {
		return i, err
	}
	return s.img.fs.Lookup(s.path)
}

func (e *env) truncateSpot(s *spot, size func(int64) (int64, error), noCreate bool) error {
	i, err := s.throughLinks()
	if err == nil && i == nil && noCreate {
		return nil
	}
	old := int64(0)
	if err == nil && i != nil {
		old = i.Size()
		if i.IsDir() {
			err = ext4fs.ErrIsDir
		} else if !i.IsRegular() {
			err = ext4fs.ErrNotFile
		}
	}
	var n int64
	if err == nil {
		n, err = size(old)
	}
	if err != nil {
		return e.failChange(s.img, s.path, err)
	}
	return e.change(s.img, s.path, func() error {
		if i != nil {
			return i.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrSize, Size: n})
		}
		if s.slash {
			return ext4fs.ErrNotExist
		}
		return makeSized(s, n)
	}, "size %s", fmt.Sprintf("%d -> %d", old, n))
}

// makeSized makes a file of that size, or none.
func makeSized(s *spot, size int64) (err error) {
	i, err := s.dir.Tmpfile(&ext4fs.NewNode{Mode: disk.ModeRegular | 0o666, Umask: ext4fs.DefaultUmask})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Release()) }()
	if size > 0 {
		if err := i.Truncate(size); err != nil {
			return err
		}
	}
	return s.dir.Link(s.name, i)
}
