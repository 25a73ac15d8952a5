package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/extract"
)

// copyPlan says where everything goes.
type copyPlan struct {
	groups  []*copyGroup
	streams []streamCopy
	taken   map[string]bool // names in the destination directory
}

// copyGroup is what comes from one image.
type copyGroup struct {
	img   *image
	items []extract.Item
}

// streamCopy is a file that goes into a device or a fifo.
type streamCopy struct {
	node *node
	dest string
}

func (p *copyPlan) add(n *node, it extract.Item) {
	it.Inode, it.Path = n.inode, n.path
	for _, g := range p.groups {
		if g.img == n.img {
			g.items = append(g.items, it)
			return
		}
	}
	p.groups = append(p.groups, &copyGroup{n.img, []extract.Item{it}})
}

// planCopies applies the rules of cp(1) for the destination. Arguments that
// cannot be copied there are reported and left out.
func planCopies(e *env, nodes []*node, dest string, several bool, o cpOptions) (*copyPlan, error) {
	p := &copyPlan{taken: make(map[string]bool)}
	info, statErr := os.Stat(dest)
	isDir := statErr == nil && info.IsDir()
	several = several || len(nodes) > 1
	if (several || o.targetDir != "") && !isDir {
		if o.noTargetDir && several {
			return nil, e.usagef("-T takes one file to copy")
		}
		if statErr != nil {
			return nil, hostError(statErr)
		}
		return nil, fmt.Errorf("%s: is not a directory", dest)
	}
	if o.noTargetDir && several {
		return nil, e.usagef("-T takes one file to copy")
	}
	for _, n := range nodes {
		var err error
		switch {
		case n.inode.IsDir() && !o.recursive:
			err = errors.New("is a directory, left out without -r")
		case isDir && !o.noTargetDir:
			err = p.into(n, dest)
		default:
			err = p.as(n, dest, info, o)
		}
		if err != nil {
			e.failAt(n, err)
		}
	}
	return p, nil
}

// into copies a file into an existing directory.
func (p *copyPlan) into(n *node, dir string) error {
	if n.inode.IsDir() && n.dots {
		p.add(n, extract.Item{Dir: dir})
		return nil
	}
	name := copyName(n)
	if p.taken[name] {
		return fmt.Errorf("%s was just made, and is not overwritten", filepath.Join(dir, name))
	}
	p.taken[name] = true
	p.add(n, extract.Item{Dir: dir, Name: name})
	return nil
}

// as copies a file under a name of its own. info is what is there, nil when
// nothing is.
func (p *copyPlan) as(n *node, dest string, info fs.FileInfo, o cpOptions) error {
	endsInSlash := strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, string(filepath.Separator))
	clean := filepath.Clean(dest)
	if info == nil {
		if endsInSlash && !n.inode.IsDir() {
			return fmt.Errorf("cannot make %s: not a directory", dest)
		}
		if target, err := os.Readlink(clean); err == nil && !n.inode.IsSymlink() {
			return fmt.Errorf("not writing through the dangling symbolic link %s -> %s", clean, target)
		}
		p.add(n, extract.Item{Dir: filepath.Dir(clean), Name: filepath.Base(clean)})
		return nil
	}
	switch {
	case n.inode.IsDir() && info.IsDir():
		p.add(n, extract.Item{Dir: dest})
		return nil
	case n.inode.IsDir():
		return fmt.Errorf("cannot overwrite %s, which is no directory, with a directory", dest)
	case info.IsDir():
		return fmt.Errorf("cannot overwrite the directory %s with something else", dest)
	case !info.Mode().IsRegular() && n.inode.IsRegular():
		if o.engine.Existing == extract.Skip {
			return nil
		}
		p.streams = append(p.streams, streamCopy{n, dest})
		return nil
	}
	if real, err := filepath.EvalSymlinks(clean); err == nil && !n.inode.IsSymlink() {
		clean = real // DEST is the user's own, and is followed
	}
	p.add(n, extract.Item{Dir: filepath.Dir(clean), Name: filepath.Base(clean)})
	return nil
}

// cpToStdout writes files to standard output.
func (e *env) cpToStdout(nodes []*node) error {
	for _, n := range nodes {
		if n.inode.IsDir() {
			e.failAt(n, fmt.Errorf("%w; 'e4kit tar' writes directories to standard output", ext4fs.ErrIsDir))
			continue
		}
		if err := e.cat(n); err != nil {
			var out *outputError
			if errors.As(err, &out) || e.ctx.Err() != nil {
				return err
			}
			e.failAt(n, err)
			continue
		}
		e.did()
	}
	return nil
}

// copyInto writes a file into a device or a fifo that is there.
func (e *env) copyInto(n *node, dest string) error {
	f, err := os.OpenFile(dest, os.O_WRONLY, 0)
	if err != nil {
		return hostError(err)
	}
	err = copyContent(e.ctx, f, n.inode)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return hostError(err)
}
