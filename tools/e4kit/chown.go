package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
)

func chownCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "chown",
		Usage:     "change owners in an image",
		ArgsUsage: "[USER][:GROUP] IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `USER and GROUP are numbers, or names that the image's own /etc/passwd and
/etc/group know: the host's are not asked. "USER:" takes the user's own group. As
in Linux, setuid and setgid bits and capabilities of files go. Symbolic links are
followed, unless -h is given; with -R they are changed themselves.

Examples:
  e4kit chown 1000:1000 disk.img:/home/ada
  e4kit chown -R www-data: disk.img:/srv/www
  e4kit chown :adm disk.img:/var/log/messages`,
		Flags: changeFlags(
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "everything below as well"},
			&cli.BoolFlag{Name: "no-dereference", Aliases: []string{"h"}, Usage: "change symbolic links themselves"},
			&cli.StringFlag{Name: "reference", Usage: "take the owner of `IMAGE:/PATH` in place of USER:GROUP"},
		),
		Action: func(c *cli.Context) error {
			if err := e.willChange(c); err != nil {
				return err
			}
			args := c.Args().Slice()
			var owner func(*node) (ownerChange, error)
			if ref := c.String("reference"); ref != "" {
				if err := wantArgs(c, e, 1, -1); err != nil {
					return err
				}
				n, err := e.resolveOne(ref, followLast)
				if err != nil {
					return err
				}
				st := n.inode.Stat()
				owner = func(*node) (ownerChange, error) { return ownerChange{int64(st.UID), int64(st.GID)}, nil }
			} else {
				if err := wantArgs(c, e, 2, -1); err != nil {
					return err
				}
				spec := args[0]
				args = args[1:]
				owner = func(n *node) (ownerChange, error) { return e.parseOwner(n.img, spec) }
			}
			f := followIf(!c.Bool("no-dereference") && !c.Bool("recursive"))
			return e.eachFile(args, f, c.Bool("recursive"), func(n *node) error {
				o, err := owner(n)
				if err != nil {
					return err
				}
				return e.chown(n, o)
			})
		},
	}
}

// ownerChange is a new owner; a negative number leaves what is there.
type ownerChange struct{ uid, gid int64 }

// parseOwner reads "USER:GROUP" with the names of an image.
func (e *env) parseOwner(img *image, spec string) (ownerChange, error) {
	o := ownerChange{-1, -1}
	user, group, both := strings.Cut(spec, ":")
	names := e.ownersOf(img)
	if user != "" {
		n, ok := number(names.users, user)
		if !ok {
			return o, e.usagef("%s: the image knows no user %q", img.name, user)
		}
		o.uid = int64(n)
	}
	switch {
	case group != "":
		n, ok := number(names.groups, group)
		if !ok {
			return o, e.usagef("%s: the image knows no group %q", img.name, group)
		}
		o.gid = int64(n)
	case both && user != "":
		n, ok := loginGroup(img.fs, uint32(o.uid))
		if !ok {
			return o, e.usagef("%s: the image knows no group of user %q", img.name, user)
		}
		o.gid = int64(n)
	}
	if o.uid == 1<<32-1 || o.gid == 1<<32-1 {
		return o, e.usagef("%q: this number stands for nobody", spec)
	}
	return o, nil
}

func (e *env) chown(n *node, o ownerChange) error {
	st := n.inode.Stat()
	a := &ext4fs.SetAttr{KillPriv: true}
	uid, gid := st.UID, st.GID
	if o.uid >= 0 {
		a.Valid |= ext4fs.AttrUID
		a.UID = uint32(o.uid)
		uid = a.UID
	}
	if o.gid >= 0 {
		a.Valid |= ext4fs.AttrGID
		a.GID = uint32(o.gid)
		gid = a.GID
	}
	if a.Valid == 0 {
		e.did()
		return nil
	}
	return e.change(n.img, n.path, func() error { return n.inode.SetAttr(a) },
		"owner %s -> %s", fmt.Sprintf("%d:%d", st.UID, st.GID), fmt.Sprintf("%d:%d", uid, gid))
}
