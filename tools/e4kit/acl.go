package main

import (
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

func aclCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "acl",
		Usage:     "show access control lists as getfacl does",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryLook,
		Description: `Prints the POSIX ACLs of files, and default ACLs of directories, in the text form
that setfacl --restore takes. Where there is no ACL the permissions stand for
one. Names come from the image's own /etc/passwd and /etc/group.

Examples:
  e4kit acl disk.img:/srv/share
  e4kit acl -Rs disk.img:/ >acls.txt`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "numeric", Aliases: []string{"n"}, Usage: "owners as numbers"},
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "everything below as well"},
			&cli.BoolFlag{Name: "skip-base", Aliases: []string{"s"}, Usage: "skip files without an ACL"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			return runACL(e, c.Args().Slice(), c.Bool("numeric"), c.Bool("recursive"), c.Bool("skip-base"))
		},
	}
}

// aclRecord is a file's ACLs in JSON.
type aclRecord struct {
	Image string `json:"image"`
	jsonPath
	UID     uint32     `json:"uid"`
	GID     uint32     `json:"gid"`
	Mode    string     `json:"mode"`
	Access  []aclEntry `json:"access"`
	Default []aclEntry `json:"default"`
}

// aclEntry is one entry in JSON.
type aclEntry struct {
	Tag  string  `json:"tag"`
	ID   *uint32 `json:"id,omitempty"`
	Perm string  `json:"perm"`
}

func runACL(e *env, args []string, numeric, tree, skipBase bool) error {
	nodes, err := e.resolveAll(args, followLast)
	if err != nil {
		return err
	}
	show := func(n *node) error { return e.acl(n, numeric, skipBase) }
	for _, n := range nodes {
		if tree {
			err = e.eachBelow(n, func(n *node) error {
				if n.inode.IsSymlink() {
					return nil // links have no ACL, and getfacl -R skips them
				}
				return show(n)
			})
		} else {
			err = show(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *env) acl(n *node, numeric, skipBase bool) error {
	access, err := readACL(n.inode, "system.posix_acl_access")
	if err == nil {
		var def []disk.ACLEntry
		if def, err = readACL(n.inode, "system.posix_acl_default"); err == nil {
			e.did()
			if skipBase && len(access) == 0 && len(def) == 0 {
				return nil
			}
			return e.printACL(n, access, def, numeric)
		}
	}
	e.failAt(n, err)
	return nil
}

// readACL returns nil where there is no such ACL.
func readACL(i *ext4fs.Inode, name string) ([]disk.ACLEntry, error) {
	value, err := i.Xattr(name)
	if errors.Is(err, ext4fs.ErrNoAttr) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return disk.DecodeCallACL(value)
}

func (e *env) printACL(n *node, access, def []disk.ACLEntry, numeric bool) error {
	st := n.inode.Stat()
	if e.json {
		if len(access) == 0 {
			access = xattr.ModeACL(st.Mode)
		}
		return e.writeJSON(&aclRecord{
			Image: n.img.name, jsonPath: newJSONPath(n.path), UID: st.UID, GID: st.GID,
			Mode: octal(uint32(st.RawMode & 0o7777)), Access: jsonACL(access), Default: jsonACL(def),
		})
	}
	var names xattr.Names
	if !numeric {
		o := e.ownersOf(n.img)
		names.User = func(id uint32) string { return o.users[id] }
		names.Group = func(id uint32) string { return o.groups[id] }
	}
	path := strings.TrimPrefix(n.path, "/")
	if path == "" {
		path = "."
	}
	text := xattr.ACLText(xattr.ACLFile{Path: path, UID: st.UID, GID: st.GID, Mode: st.Mode}, access, def, names)
	for line := range strings.Lines(text) {
		if _, err := e.writer().WriteString(e.shown(strings.TrimSuffix(line, "\n")) + "\n"); err != nil {
			return err
		}
	}
	return e.endLine()
}

func jsonACL(entries []disk.ACLEntry) []aclEntry {
	list := []aclEntry{}
	for _, a := range entries {
		j := aclEntry{Tag: "unknown", Perm: strings.TrimPrefix(modeString(a.Perm & 7)[7:], "?")}
		switch a.Tag {
		case disk.ACLUserObj:
			j.Tag = "user_obj"
		case disk.ACLUser:
			j.Tag = "user"
		case disk.ACLGroupObj:
			j.Tag = "group_obj"
		case disk.ACLGroup:
			j.Tag = "group"
		case disk.ACLMask:
			j.Tag = "mask"
		case disk.ACLOther:
			j.Tag = "other"
		}
		if a.Tag.Named() {
			id := a.ID
			j.ID = &id
		}
		list = append(list, j)
	}
	return list
}
