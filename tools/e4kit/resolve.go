package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
)

// node is a file in an image that an argument named, after globs.
type node struct {
	img   *image
	path  string // as a user would write it: "/etc/passwd", "<12>", "<12>/x"
	inode *ext4fs.Inode
	dots  bool // the argument ended in "/." or was a root: its content is meant
}

// String names the node for messages: "IMAGE:/path".
func (n *node) String() string { return n.img.name + ":" + n.path }

// fail reports an error about the node and goes on.
func (e *env) failAt(n *node, err error) { e.fail(at(n.img.name, n.path, err)) }

// follow says what to do with a symbolic link that is the last element.
type follow int

const (
	noFollowLast follow = iota
	followLast
	followToDir // if it leads to a directory; else the link itself is meant
)

func followIf(yes bool) follow {
	if yes {
		return followLast
	}
	return noFollowLast
}

// resolveErrors are those of the files that one glob matched.
type resolveErrors []error

func (l resolveErrors) Error() string   { return errors.Join(l...).Error() }
func (l resolveErrors) Unwrap() []error { return l }

// failEach reports an error of resolve: that of each file on its own.
func (e *env) failEach(err error) {
	several := resolveErrors{err}
	errors.As(err, &several)
	for _, err := range several {
		e.fail(err)
	}
}

// resolveAll resolves arguments; those that fail are reported, and the rest
// goes on. Only mistakes of usage end it.
func (e *env) resolveAll(args []string, f follow) ([]*node, error) {
	var nodes []*node
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return nil, e.usagef("%v", err)
		}
		list, err := e.resolve(t, f)
		nodes = append(nodes, list...)
		if err != nil {
			var usage *usageError
			if errors.As(err, &usage) || e.ctx.Err() != nil {
				return nil, err
			}
			e.failEach(err)
		}
	}
	return nodes, nil
}

// resolveOne resolves an argument that must name one file.
func (e *env) resolveOne(arg string, f follow) (*node, error) {
	t, err := parseTarget(arg)
	if err != nil {
		return nil, e.usagef("%v", err)
	}
	list, err := e.resolve(t, f)
	if several := (resolveErrors{}); errors.As(err, &several) {
		err = several[0]
	}
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, at(t.image, t.path, fmt.Errorf("matches %d files, and one is wanted", len(list)))
	}
	return list[0], nil
}

// resolve opens the target's image and finds what the target names, several
// files when it has globs.
func (e *env) resolve(t target, f follow) ([]*node, error) {
	img, err := e.open(t.image)
	if err != nil {
		return nil, err
	}
	if t.inode != 0 {
		return e.resolveInode(img, t, f)
	}
	paths := []string{t.path}
	if !e.flags.noGlob {
		if paths, err = expandGlob(e.ctx, img.fs, t.path); err != nil {
			var bad *globError
			if errors.As(err, &bad) {
				return nil, e.usagef("%v: %v", t, err)
			}
			return nil, at(img.name, t.path, err)
		}
	}
	var nodes []*node
	var errs resolveErrors
	for _, p := range paths {
		inode, err := lookup(img.fs, p, f)
		if err != nil {
			errs = append(errs, at(img.name, p, err))
			continue
		}
		nodes = append(nodes, &node{img: img, path: p, inode: inode, dots: meansContent(p)})
	}
	switch len(errs) {
	case 0:
		return nodes, nil
	case 1:
		return nodes, errs[0]
	}
	return nodes, errs
}

func lookup(fsys *ext4fs.FS, p string, f follow) (*ext4fs.Inode, error) {
	if f != noFollowLast {
		inode, err := fsys.Lookup(p)
		if f == followLast || err == nil && inode.IsDir() {
			return inode, err
		}
	}
	return fsys.LookupNoFollow(p)
}

// resolveInode resolves <12> and <12>/path. Links below are followed from the
// root of the image, as the image itself would.
func (e *env) resolveInode(img *image, t target, f follow) ([]*node, error) {
	name := fmt.Sprintf("<%d>", t.inode)
	inode, err := img.fs.Inode(t.inode)
	if err != nil {
		return nil, at(img.name, name, err)
	}
	n := &node{img: img, path: name, inode: inode}
	elements := strings.FieldsFunc(t.path, func(r rune) bool { return r == '/' })
	for i, element := range elements {
		n.path += "/" + element
		if element == "." {
			continue
		}
		num, err := n.inode.Lookup(element)
		if err == nil {
			n.inode, err = img.fs.Inode(num)
		}
		if err == nil && n.inode.IsSymlink() && (i+1 < len(elements) || f == followLast) {
			err = fmt.Errorf("symbolic links below an inode number are not followed: %w", fs.ErrInvalid)
		}
		if err != nil {
			return nil, at(img.name, n.path, err)
		}
	}
	n.dots = meansContent(n.path)
	return []*node{n}, nil
}

// meansContent reports whether a copy of path p means what is in it: "/", and
// everything that ends in "/." or "/..".
func meansContent(p string) bool {
	last := lastElement(p)
	return last == "/" || last == "." || last == ".."
}
