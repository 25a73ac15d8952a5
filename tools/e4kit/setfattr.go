package main

import (
	"encoding/base64"
	enchex "encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

func setfattrCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "setfattr",
		Usage:     "set and remove extended attributes in an image",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `-n with -v sets an attribute, -x removes one. A value is text, in double quotes or
not, with octal escapes in quotes; 0x begins hexadecimal digits, 0s base64. Names
have their prefix: user., trusted., security. or system. Symbolic links are
followed unless -h is given. --restore takes what 'e4kit xattr' and getfattr -d
print; its paths begin at the root of IMAGE.

Examples:
  e4kit setfattr -n user.comment -v 'a remark' disk.img:/etc/motd
  e4kit setfattr -x user.comment disk.img:/etc/motd
  e4kit setfattr --restore attrs.txt disk.img`,
		Flags: renameVerbose(changeFlags(
			&cli.StringFlag{Name: "name", Aliases: []string{"n"}, Usage: "set the attribute `NAME`"},
			&cli.StringFlag{Name: "value", Aliases: []string{"v"}, Usage: "to `VALUE`"},
			&cli.StringFlag{Name: "remove", Aliases: []string{"x"}, Usage: "remove the attribute `NAME`"},
			&cli.BoolFlag{Name: "no-dereference", Aliases: []string{"h"}, Usage: "change symbolic links themselves"},
			&cli.StringFlag{Name: "restore", Usage: "set what `FILE` says, - for standard input"},
		), ""),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			name, remove := c.String("name"), c.String("remove")
			given := 0
			for _, s := range []string{name, remove, c.String("restore")} {
				if s != "" {
					given++
				}
			}
			if given != 1 {
				return e.usagef("one of --name, --remove and --restore is wanted")
			}
			f := followIf(!c.Bool("no-dereference"))
			if file := c.String("restore"); file != "" {
				return e.restoreXattrs(c, file)
			}
			if remove != "" {
				return e.eachFile(c.Args().Slice(), f, false, func(n *node) error {
					return e.change(n.img, n.path, func() error { return n.inode.RemoveXattr(remove) }, "%s removed", remove)
				})
			}
			value, err := parseXattrValue(c.String("value"))
			if err != nil {
				return e.usagef("--value: %v", err)
			}
			return e.eachFile(c.Args().Slice(), f, false, func(n *node) error {
				return e.change(n.img, n.path, func() error { return n.inode.SetXattr(name, value, 0) }, "%s set", name)
			})
		},
	}
}

// parseXattrValue reads a value as setfattr(1) has it.
func parseXattrValue(s string) ([]byte, error) {
	switch {
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, "0X"):
		return enchex.DecodeString(strings.ReplaceAll(s[2:], " ", ""))
	case strings.HasPrefix(s, "0s"), strings.HasPrefix(s, "0S"):
		return base64.StdEncoding.DecodeString(s[2:])
	case len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"':
		return []byte(xattr.UnescapeOctal(s[1 : len(s)-1])), nil
	}
	return []byte(s), nil
}

// maxDump bounds the text that is read into memory.
const maxDump = 1 << 30

// readInput reads a host file, or standard input.
func (e *env) readInput(name string) (string, error) {
	in := e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", hostError(err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDump+1))
	if err == nil && len(data) > maxDump {
		err = errors.New("is too long")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(data), nil
}

// restoreXattrs sets the attributes of a dump.
func (e *env) restoreXattrs(c *cli.Context, file string) error {
	if err := wantArgs(c, e, 1, 1); err != nil {
		return err
	}
	text, err := e.readInput(file)
	if err != nil {
		return err
	}
	top, err := e.resolveOne(c.Args().First(), followLast)
	if err != nil {
		return err
	}
	var n *node
	line := 0
	for text := range strings.Lines(text) {
		line++
		text = strings.TrimSuffix(text, "\n")
		if path, ok := strings.CutPrefix(text, "# file: "); ok {
			n = e.restored(top, xattr.UnescapeOctal(path))
			continue
		}
		if text == "" || text[0] == '#' || n == nil {
			continue
		}
		name, value, _ := strings.Cut(text, "=")
		name = xattr.UnescapeOctal(name)
		v, err := parseXattrValue(value)
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", file, line, err)
		}
		at := n
		err = e.change(at.img, at.path, func() error { return at.inode.SetXattr(name, v, 0) }, "%s set", name)
		if err != nil {
			return err
		}
	}
	return nil
}

// restored finds a file of a dump below top; nil if it cannot be found, which
// is reported.
func (e *env) restored(top *node, path string) *node {
	full := joinPath(strings.TrimSuffix(top.path, "/"), strings.TrimPrefix(path, "/"))
	var inode *ext4fs.Inode
	var err error
	if top.path != "" && top.path[0] == '<' {
		err = errors.New("a dump is restored below a path, not an inode")
	} else {
		inode, err = top.img.fs.LookupNoFollow(full)
	}
	if err != nil {
		e.fail(at(top.img.name, full, err))
		return nil
	}
	return &node{img: top.img, path: full, inode: inode}
}
