package inject

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// write puts the members into the file system.
func (t *untar) write(ctx context.Context) error {
	for m := range t.members {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := t.put(ctx, m)
		if m.done != nil {
			close(m.done)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// put makes one member.
func (t *untar) put(ctx context.Context, m *member) error {
	if m.err != nil {
		return t.w.write(ctx, &m.item)
	}
	if len(m.names) == 0 {
		return t.top(m)
	}
	last := len(m.names) - 1
	stack, err := t.walk(t.root, m.names[:last], true)
	if err != nil {
		return t.w.told(&m.item, err)
	}
	m.up, m.name = stack[len(stack)-1], m.names[last]
	if m.isLink {
		return t.link(m)
	}
	if t.o.KeepDirLinks && m.isDir() {
		if err := t.throughLink(m, stack); err != nil {
			return t.w.told(&m.item, err)
		}
	}
	before := t.w.replaced
	err = t.w.write(ctx, &m.item)
	if t.w.replaced != before {
		t.known = nil // what was a way may be none now
	}
	if m.isDir() && !m.lost && err == nil && m.inode != nil {
		t.dirs = append(t.dirs, &m.item)
	}
	return err
}

// top is a member that stands for the target directory itself.
func (t *untar) top(m *member) error {
	if !m.isDir() {
		return t.w.told(&m.item, ErrName)
	}
	m.inode, m.dest = t.root.inode, t.root.dest
	t.dirs = append(t.dirs, &m.item)
	t.w.result.Files++
	return nil
}

// throughLink makes a directory member mean the directory that a symbolic link
// of its name leads to.
func (t *untar) throughLink(m *member, stack []*item) error {
	i, err := t.w.child(m.up.inode, m.name)
	if errors.Is(err, ext4fs.ErrNotExist) || err == nil && !i.IsSymlink() {
		return nil
	}
	if err != nil {
		return err
	}
	stack, err = t.walkFrom(stack, []string{m.name}, false)
	if err != nil {
		return nil // it leads to no directory, and is replaced
	}
	at := stack[len(stack)-1]
	if at == t.root {
		m.up, m.name = nil, ""
		m.place = Place{Dir: at.inode, Path: at.dest}
		return nil
	}
	m.up, m.name = stack[len(stack)-2], at.name
	return nil
}

// link gives a member that came before another name.
func (t *untar) link(m *member) error {
	t.w.settle(&m.item)
	err := func() error {
		if len(m.hardlink) == 0 {
			return ErrName
		}
		last := len(m.hardlink) - 1
		stack, err := t.walk(t.root, m.hardlink[:last], false)
		if err != nil {
			return fmt.Errorf("link to %s: %w", m.target, err)
		}
		at := stack[len(stack)-1]
		if at.inode == nil { // a dry run
			return nil
		}
		i, err := t.w.child(at.inode, m.hardlink[last])
		if t.o.DryRun && errors.Is(err, ext4fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("link to %s: %w", m.target, err)
		}
		if t.o.DryRun {
			return nil
		}
		before := t.w.replaced
		skip, err := t.w.linkTo(m.up.inode, &m.item, i)
		if t.w.replaced != before {
			t.known = nil
		}
		if skip {
			t.w.result.Skipped++
			t.w.result.Files--
		}
		return err
	}()
	if err != nil {
		return t.w.told(&m.item, err)
	}
	t.w.result.Files++
	if t.o.Done != nil {
		t.o.Done(m.path, m.dest)
	}
	return nil
}

// maxKnown bounds the directories that are remembered.
const maxKnown = 4096

// walk goes from the target directory along names, and returns the directories
// on the way with the last one at the end. Missing ones are made if create is
// set. Symbolic links lead on as if the target directory were the root.
func (t *untar) walk(root *item, names []string, create bool) ([]*item, error) {
	if len(names) == 0 {
		return []*item{root}, nil
	}
	key := strings.Join(names, "/")
	if stack, ok := t.known[key]; ok {
		return stack, nil
	}
	stack, err := t.walkFrom([]*item{root}, names, create)
	if err != nil {
		return nil, err
	}
	if t.known == nil || len(t.known) >= maxKnown {
		t.known = make(map[string][]*item)
	}
	t.known[key] = stack
	return stack, nil
}

// maxLinks bounds the symbolic links on one way, as Linux does.
const maxLinks = 40

func (t *untar) walkFrom(stack []*item, names []string, create bool) ([]*item, error) {
	stack, names = slices.Clone(stack), slices.Clone(names)
	links := 0
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		at := stack[len(stack)-1]
		switch name {
		case "", ".":
			continue
		case "..":
			stack = stack[:max(len(stack)-1, 1)]
			continue
		}
		next, err := t.enter(at, name, create)
		if err != nil {
			return nil, err
		}
		if next.inode == nil || next.inode.IsDir() {
			stack = append(stack, next)
			continue
		}
		if !next.inode.IsSymlink() {
			return nil, ext4fs.ErrNotDir
		}
		if links++; links > maxLinks {
			return nil, ext4fs.ErrLoop
		}
		target, err := next.inode.Readlink()
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(target, "/") {
			stack = stack[:1]
		}
		names = append(strings.Split(target, "/"), names...)
	}
	return stack, nil
}

// enter looks up one name, and makes a directory of it if it is missing. In a
// dry run that has no inode.
func (t *untar) enter(at *item, name string, create bool) (*item, error) {
	next := &item{up: at, name: name, dest: joinPath(at.dest, name), mode: disk.ModeDir | 0o755}
	if at.inode == nil {
		return next, nil
	}
	i, err := t.w.child(at.inode, name)
	if errors.Is(err, ext4fs.ErrNotExist) && create {
		if t.o.DryRun {
			return next, nil
		}
		n := &ext4fs.NewNode{Mode: next.mode}
		t.w.override(n)
		i, err = at.inode.Create(name, n)
		next.fresh = true
	}
	next.inode = i
	return next, err
}

// finishDirs gives the directories their attributes, those below first.
func (t *untar) finishDirs() error {
	for _, it := range slices.Backward(t.dirs) {
		if err := t.w.told(it, t.w.finish(it)); err != nil {
			return err
		}
	}
	return nil
}
