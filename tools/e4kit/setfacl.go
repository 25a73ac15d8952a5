package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

func setfaclCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "setfacl",
		Usage:     "change access control lists in an image",
		ArgsUsage: "IMAGE:/PATH...",
		Category:  categoryChange,
		Description: `Takes entries as setfacl(1): u:NAME:rwx, g:NAME:r-x, m::r, o::-, with d: before
for the default ACL of a directory, separated by commas. Names are those of the
image's /etc/passwd and /etc/group; numbers always count. A mask is computed
unless one is given or -n says no. First -b and -k are done, then -x, then -m.

Examples:
  e4kit setfacl -m u:www-data:rwX disk.img:/srv/share
  e4kit setfacl -R -m g:100:rX -m d:g:100:rX disk.img:/srv/share
  e4kit setfacl -b disk.img:/srv/share
  e4kit acl -R disk.img | e4kit setfacl --restore - disk.img`,
		Flags: changeFlags(
			&cli.StringSliceFlag{Name: "modify", Aliases: []string{"m"}, Usage: "add or change `ENTRIES`"},
			&cli.StringFlag{Name: "modify-file", Aliases: []string{"M"}, Usage: "add or change the entries in `FILE`"},
			&cli.StringSliceFlag{Name: "remove", Aliases: []string{"x"}, Usage: "remove `ENTRIES`"},
			&cli.StringFlag{Name: "remove-file", Aliases: []string{"X"}, Usage: "remove the entries in `FILE`"},
			&cli.StringFlag{Name: "set", Usage: "replace the ACL by `ENTRIES`"},
			&cli.BoolFlag{Name: "remove-all", Aliases: []string{"b"}, Usage: "remove all but the permissions"},
			&cli.BoolFlag{Name: "remove-default", Aliases: []string{"k"}, Usage: "remove the default ACL"},
			&cli.BoolFlag{Name: "default", Aliases: []string{"d"}, Usage: "all entries are for the default ACL"},
			&cli.BoolFlag{Name: "no-mask", Aliases: []string{"n"}, Usage: "do not compute the mask"},
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "everything below as well"},
			&cli.StringFlag{Name: "restore", Usage: "set what `FILE` says, which 'e4kit acl -R' or getfacl -R wrote"},
		),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, e, 1, -1); err != nil {
				return err
			}
			if err := e.willChange(c); err != nil {
				return err
			}
			if file := c.String("restore"); file != "" {
				return e.restoreACLs(c, file)
			}
			o, err := e.setfaclFlags(c)
			if err != nil {
				return err
			}
			tree := c.Bool("recursive")
			return e.eachFile(c.Args().Slice(), followLast, tree, func(n *node) error {
				if n.inode.IsSymlink() {
					return nil
				}
				return e.setfacl(n, o, tree)
			})
		},
	}
}

// setfaclOptions are the changes to make.
type setfaclOptions struct {
	modify, remove, set       string
	removeAll, removeDefault  bool
	asDefault, noMask, hasSet bool
}

func (e *env) setfaclFlags(c *cli.Context) (*setfaclOptions, error) {
	o := &setfaclOptions{
		modify: strings.Join(c.StringSlice("modify"), "\n"), remove: strings.Join(c.StringSlice("remove"), "\n"),
		set: c.String("set"), hasSet: c.IsSet("set"), removeAll: c.Bool("remove-all"),
		removeDefault: c.Bool("remove-default"), asDefault: c.Bool("default"), noMask: c.Bool("no-mask"),
	}
	for _, f := range []struct {
		flag string
		to   *string
	}{{"modify-file", &o.modify}, {"remove-file", &o.remove}} {
		if name := c.String(f.flag); name != "" {
			text, err := e.readInput(name)
			if err != nil {
				return nil, err
			}
			*f.to += "\n" + text
		}
	}
	if o.modify == "" && o.remove == "" && !o.hasSet && !o.removeAll && !o.removeDefault {
		return nil, e.usagef("nothing to change: want -m, -M, -x, -X, -b, -k or --set")
	}
	return o, nil
}

// accountIDs are the names of an image for ACLs.
func (e *env) accountIDs(img *image) xattr.IDs {
	names := e.ownersOf(img)
	return xattr.IDs{
		User:  func(name string) (uint32, bool) { return named(names.users, name) },
		Group: func(name string) (uint32, bool) { return named(names.groups, name) },
	}
}

// named finds the number of a name.
func named(names map[uint32]string, name string) (uint32, bool) {
	for n, have := range names {
		if have == name {
			return n, true
		}
	}
	return 0, false
}

// aclPair are the two ACLs of a file.
type aclPair struct {
	access, def         []disk.ACLEntry
	maskGiven, maskGone [2]bool // for access and default
	touched             [2]bool
}

func (e *env) setfacl(n *node, o *setfaclOptions, tree bool) error {
	p, err := readACLs(n.inode)
	if err == nil {
		err = o.apply(p, n, e.accountIDs(n.img), tree)
	}
	if err != nil {
		if errors.Is(err, xattr.ErrACLText) {
			return e.usagef("%v", err)
		}
		return e.failChange(n.img, n.path, err)
	}
	return e.change(n.img, n.path, func() error { return p.store(n.inode) }, "ACL set")
}

func readACLs(i *ext4fs.Inode) (*aclPair, error) {
	access, err := readACL(i, "system.posix_acl_access")
	if err != nil {
		return nil, err
	}
	if len(access) == 0 {
		access = xattr.ModeACL(i.Stat().Mode)
	}
	def, err := readACL(i, "system.posix_acl_default")
	return &aclPair{access: access, def: def}, err
}

// apply makes the changes in memory.
func (o *setfaclOptions) apply(p *aclPair, n *node, ids xattr.IDs, tree bool) error {
	if o.removeAll {
		p.access, p.touched[0] = baseACL(p.access), true
		p.def, p.touched[1] = nil, true
	}
	if o.removeDefault {
		p.def, p.touched[1] = nil, true
	}
	parse := func(text string, noPerm bool) ([]xattr.ACLTextEntry, error) {
		list, err := xattr.ParseACLEntries(text, ids, noPerm)
		for k := range list {
			list[k].Default = list[k].Default || o.asDefault
		}
		return list, err
	}
	removed, err := parse(o.remove, true)
	if err != nil {
		return err
	}
	changed, err := parse(o.modify, false)
	if err != nil {
		return err
	}
	if o.hasSet {
		set, err := parse(o.set, false)
		if err != nil {
			return err
		}
		p.replace(set)
		changed = append(set, changed...)
	}
	isDir := n.inode.IsDir()
	for _, t := range removed {
		if err := p.remove(t, isDir, tree); err != nil {
			return err
		}
	}
	for _, t := range changed {
		if err := p.modify(t, isDir, tree); err != nil {
			return err
		}
	}
	return p.finish(o.noMask)
}

// baseACL keeps the entries that permissions stand for; what the mask takes
// from the group is gone for good.
func baseACL(entries []disk.ACLEntry) []disk.ACLEntry {
	var base []disk.ACLEntry
	mask := uint16(7)
	for _, a := range entries {
		if a.Tag == disk.ACLMask {
			mask = a.Perm
		}
	}
	for _, a := range entries {
		switch a.Tag {
		case disk.ACLGroupObj:
			a.Perm &= mask
			base = append(base, a)
		case disk.ACLUserObj, disk.ACLOther:
			base = append(base, a)
		}
	}
	return base
}

// replace empties the ACLs that entries are for.
func (p *aclPair) replace(set []xattr.ACLTextEntry) {
	for _, t := range set {
		if t.Default {
			p.def, p.touched[1] = nil, true
		} else {
			p.access, p.touched[0] = nil, true
		}
	}
}

func (p *aclPair) list(def bool) (*[]disk.ACLEntry, int) {
	if def {
		return &p.def, 1
	}
	return &p.access, 0
}

func sameEntry(a, b disk.ACLEntry) bool {
	return a.Tag == b.Tag && (!a.Tag.Named() || a.ID == b.ID)
}

func (p *aclPair) remove(t xattr.ACLTextEntry, isDir, tree bool) error {
	if t.Default && !isDir && tree {
		return nil
	}
	list, at := p.list(t.Default)
	*list = slices.DeleteFunc(*list, func(a disk.ACLEntry) bool { return sameEntry(a, t.Entry) })
	p.touched[at] = true
	if t.Entry.Tag == disk.ACLMask {
		p.maskGone[at] = true
	}
	return nil
}

func (p *aclPair) modify(t xattr.ACLTextEntry, isDir, tree bool) error {
	if t.Default && !isDir {
		if tree {
			return nil
		}
		return errors.New("only directories have default ACLs")
	}
	list, at := p.list(t.Default)
	entry := t.Entry
	if t.CondExec && (isDir || anyExec(p.access)) {
		entry.Perm |= disk.ACLExecute
	}
	if len(*list) == 0 && t.Default {
		*list = slices.Clone(baseACL(p.access))
	}
	p.touched[at] = true
	if entry.Tag == disk.ACLMask {
		p.maskGiven[at] = true
	}
	for k := range *list {
		if sameEntry((*list)[k], entry) {
			(*list)[k] = entry
			return nil
		}
	}
	*list = append(*list, entry)
	return nil
}

func anyExec(entries []disk.ACLEntry) bool {
	return slices.ContainsFunc(entries, func(a disk.ACLEntry) bool { return a.Perm&disk.ACLExecute != 0 })
}

// finish computes masks and puts the entries in order.
func (p *aclPair) finish(noMask bool) error {
	for at, list := range []*[]disk.ACLEntry{&p.access, &p.def} {
		if !p.touched[at] || len(*list) == 0 {
			continue
		}
		named := slices.ContainsFunc(*list, func(a disk.ACLEntry) bool { return a.Tag.Named() })
		mask := slices.IndexFunc(*list, func(a disk.ACLEntry) bool { return a.Tag == disk.ACLMask })
		if (named || mask >= 0 && !p.maskGiven[at]) && !p.maskGiven[at] && (!noMask || mask < 0 && named) {
			union := uint16(0)
			for _, a := range *list {
				if a.Tag.Named() && !noMask || a.Tag == disk.ACLGroupObj {
					union |= a.Perm
				}
			}
			if mask >= 0 {
				(*list)[mask].Perm = union
			} else {
				*list = append(*list, disk.ACLEntry{Tag: disk.ACLMask, Perm: union, ID: disk.ACLNoID})
			}
		}
		xattr.SortACL(*list)
		if err := xattr.ValidACL(*list); err != nil {
			return err
		}
	}
	return nil
}

// store sets what was changed.
func (p *aclPair) store(i *ext4fs.Inode) error {
	if p.touched[0] {
		if err := i.SetXattr("system.posix_acl_access", disk.EncodeCallACL(p.access), 0); err != nil {
			return err
		}
	}
	if !p.touched[1] || !i.IsDir() {
		return nil
	}
	if len(p.def) == 0 {
		return i.RemoveXattr("system.posix_acl_default")
	}
	return i.SetXattr("system.posix_acl_default", disk.EncodeCallACL(p.def), 0)
}

// restoreACLs sets the owners and ACLs of a dump.
func (e *env) restoreACLs(c *cli.Context, file string) error {
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
	for _, part := range strings.Split(text, "\n\n") {
		if err := e.restoreACL(top, part); err != nil {
			return err
		}
	}
	return nil
}

// restoreACL sets what one paragraph of a dump says.
func (e *env) restoreACL(top *node, text string) error {
	var n *node
	var owner, group, flags string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		for _, f := range []struct {
			head string
			to   *string
		}{{"# owner: ", &owner}, {"# group: ", &group}, {"# flags: ", &flags}} {
			if v, ok := strings.CutPrefix(line, f.head); ok {
				*f.to = v
			}
		}
		if path, ok := strings.CutPrefix(line, "# file: "); ok {
			if n = e.restored(top, xattr.UnescapeOctal(path)); n == nil {
				return nil
			}
		}
	}
	if n == nil {
		return nil
	}
	entries, err := xattr.ParseACLEntries(text, e.accountIDs(n.img), false)
	if err != nil {
		return e.failChange(n.img, n.path, err)
	}
	p := &aclPair{touched: [2]bool{true, n.inode.IsDir()}}
	for _, t := range entries {
		list, _ := p.list(t.Default)
		*list = append(*list, t.Entry)
	}
	xattr.SortACL(p.access)
	xattr.SortACL(p.def)
	return e.change(n.img, n.path, func() error {
		if owner != "" || group != "" {
			o, err := e.parseOwner(n.img, owner+":"+group)
			if err != nil {
				return err
			}
			a := &ext4fs.SetAttr{Valid: ext4fs.AttrUID | ext4fs.AttrGID, UID: uint32(o.uid), GID: uint32(o.gid)}
			if o.uid < 0 {
				a.Valid &^= ext4fs.AttrUID
			}
			if o.gid < 0 {
				a.Valid &^= ext4fs.AttrGID
			}
			if err := n.inode.SetAttr(a); err != nil {
				return err
			}
		}
		if err := p.store(n.inode); err != nil {
			return err
		}
		bits := uint16(0)
		for k, bit := range []uint16{disk.ModeSetuid, disk.ModeSetgid, disk.ModeSticky} {
			if k < len(flags) && flags[k] != '-' {
				bits |= bit
			}
		}
		mode := n.inode.Raw().Mode()
		return n.inode.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrMode, Mode: mode&0o777 | bits})
	}, "ACL restored")
}
