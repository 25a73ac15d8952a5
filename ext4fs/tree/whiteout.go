package tree

import (
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/pax"
)

// Whiteouts, as the OCI image specification has them: an empty file ".wh.NAME"
// hides NAME of the layers below, ".wh..wh..opq" all that the directory has
// below. Neither hides what its own layer has, wherever in the stream that
// comes.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh." // what aufs needed for itself
	whiteoutOpaque = ".wh..wh..opq"
)

// whiteouts tells what is of the layer at hand from what lies below it. Nodes
// from mark on are of this layer.
type whiteouts struct {
	mark    ID
	dirs    map[ID]bool       // directories from below that this layer has too
	links   map[entryKey]bool // names of this layer for nodes from below
	cleared map[ID]bool       // directories that have nothing from below
}

// entryKey is a name in a directory.
type entryKey struct {
	dir  ID
	name string
}

// beginLayer lets what is there be what lies below.
func (u *unpack) beginLayer() {
	u.whiteouts = &whiteouts{
		mark: ID(u.t.Len()), dirs: make(map[ID]bool), links: make(map[entryKey]bool), cleared: make(map[ID]bool),
	}
}

// touched notes that the layer has a directory.
func (u *unpack) touched(id ID) {
	if u.whiteouts != nil && id < u.whiteouts.mark {
		u.whiteouts.dirs[id] = true
	}
}

// whiteout applies a member that is a whiteout; done tells that it is no file
// to be added.
func (u *unpack) whiteout(h *pax.Header, names []string) (done bool, err error) {
	for i, name := range names {
		if !strings.HasPrefix(name, whiteoutPrefix) {
			continue
		}
		if strings.HasPrefix(name, whiteoutMeta) && name != whiteoutOpaque {
			return true, nil
		}
		if i < len(names)-1 || CheckName(name[len(whiteoutPrefix):]) != nil {
			return true, memberError(h.Name, ErrName)
		}
	}
	if len(names) == 0 || !strings.HasPrefix(names[len(names)-1], whiteoutPrefix) {
		return false, nil
	}
	if err := u.hideMember(names); err != nil {
		return true, memberError(h.Name, err)
	}
	return true, nil
}

func (u *unpack) hideMember(names []string) error {
	last := names[len(names)-1]
	dir, err := u.walk(names[:len(names)-1], last == whiteoutOpaque)
	if err != nil {
		if last != whiteoutOpaque {
			return nil // there is nothing to hide
		}
		return err
	}
	u.forget()
	if last == whiteoutOpaque {
		return u.clear(dir)
	}
	return u.hide(dir, last[len(whiteoutPrefix):])
}

// clear takes away all that a directory has from below.
func (u *unpack) clear(dir ID) error {
	w := u.whiteouts
	if dir >= w.mark || w.cleared[dir] {
		return nil
	}
	for _, e := range u.t.Entries(dir) {
		if err := u.hide(dir, e.Name); err != nil {
			return err
		}
	}
	w.cleared[dir] = true
	return nil
}

// hide takes away a name from below, with all in it that is from below.
func (u *unpack) hide(dir ID, name string) error {
	w, t := u.whiteouts, u.t
	id, ok := t.Lookup(dir, name)
	if !ok || id >= w.mark || w.links[entryKey{dir, name}] {
		return nil
	}
	if !t.Node(id).IsDir() {
		return t.Remove(dir, name)
	}
	if err := u.clear(id); err != nil {
		return err
	}
	switch {
	case w.dirs[id]:
	case t.Count(id) == 0:
		return t.Remove(dir, name)
	default:
		// It is there for what the layer has in it, and the layer said
		// nothing of it.
		f := &found{Node: u.l.o.made(disk.ModeDir | 0o755)}
		if err := u.l.rules(f); err != nil {
			return err
		}
		u.l.dirAttrs(id, f)
	}
	return nil
}
