package ext4fs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// RemoveAll removes the named file or directory with all that is in it. It
// goes on after an error and returns the first one. Each name is removed in a
// transaction of its own: a call that was interrupted can be made again. There
// is no error where the name does not exist.
func (f *FS) RemoveAll(name string) error {
	err := f.removeAll(name)
	return pathError("removeall", name, err)
}

func (f *FS) removeAll(name string) error {
	if name == "" {
		return nil
	}
	if err := f.mayChange(); err != nil {
		return err
	}
	if name == "." || strings.HasSuffix(name, "/.") {
		return ErrInvalid // as package os
	}
	p, err := f.locate(name)
	switch {
	case errors.Is(err, ErrNotExist):
		return nil
	case err != nil:
		return err
	case isDotName(p.name):
		return ErrBusy // the root, or what lies above the name
	}
	return p.dir.removeTree(p.name)
}

// removal is a directory that is being removed.
type removal struct {
	parent *Inode
	name   string
	dir    *Inode // nil at the end
	num    disk.InodeNum
	dirs   []string // in it, known and still to be removed
	cookie uint64   // where to go on reading names
	failed bool     // something in it stays
}

// removeTree removes a name of the directory and all below it.
func (d *Inode) removeTree(name string) error {
	i, err := d.Child(name)
	switch {
	case errors.Is(err, ErrNotExist):
		return nil
	case err != nil:
		return err
	case !i.IsDir():
		return gone(d.Unlink(name))
	}
	var first error
	stack := []*removal{{parent: d, name: name, dir: i, num: i.num}}
	above := map[disk.InodeNum]bool{d.num: true, i.num: true} // what is being removed
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		next, err := top.advance()
		if err == nil && next != nil && above[next.num] {
			// Somebody has moved it there meanwhile, or the image is corrupt.
			err = fmt.Errorf("directory %d is below itself: %w", next.num, ErrNotEmpty)
			next = nil
		}
		if err != nil {
			top.failed = true
			if first == nil {
				first = err
			}
			if d.fs.live.journal.Err() != nil {
				return first
			}
		}
		switch {
		case next != nil:
			above[next.num] = true
			stack = append(stack, next)
		case top.dir == nil:
			delete(above, top.num)
			stack = stack[:len(stack)-1]
			if top.failed && len(stack) > 0 {
				stack[len(stack)-1].failed = true
			}
		}
	}
	return first
}

// gone takes for success that the name is not there any more.
func gone(err error) error {
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	return err
}

// advance does the next thing there is to do: it gives a directory that is to
// be removed first, or removes what is none, or at last the directory itself,
// and then dir is nil.
func (r *removal) advance() (*removal, error) {
	if n := len(r.dirs); n > 0 {
		name := r.dirs[n-1]
		r.dirs = r.dirs[:n-1]
		i, err := r.dir.Child(name)
		if err != nil {
			return nil, gone(err)
		}
		if i.IsDir() {
			return &removal{parent: r.dir, name: name, dir: i, num: i.num}, nil
		}
		return nil, gone(r.dir.Unlink(name))
	}
	switch more, err := r.sweep(); {
	case more:
		return nil, err
	case err != nil || r.failed:
		r.dir = nil
		return nil, err
	}
	err := gone(r.parent.Rmdir(r.name))
	if errors.Is(err, ErrNotEmpty) {
		// Somebody has put something into it. What cannot be seen though is a
		// reason to stop.
		r.cookie = 0
		if more, serr := r.sweep(); more || serr != nil {
			return nil, serr
		}
	}
	r.dir = nil
	return nil, err
}

// sweepNames bounds the names that sweep takes at once.
const sweepNames = 1 << 16

// sweep removes what is no directory among the next names, and notes the
// directories. more says that there were names. After an error of reading the
// rest is given up.
func (r *removal) sweep() (more bool, err error) {
	type file struct {
		name  string
		inode disk.InodeNum
	}
	var files []file
	for e, rerr := range r.dir.EntriesFrom(r.cookie) {
		if errors.Is(rerr, ErrNotExist) {
			break // somebody else has removed it
		}
		if rerr != nil {
			r.failed, err = true, rerr
			continue
		}
		r.cookie = e.Cookie
		switch {
		case IsDots(e):
		case e.Type == disk.FileTypeDir:
			r.dirs = append(r.dirs, string(e.Name))
		default:
			files = append(files, file{string(e.Name), e.Inode})
		}
		if len(files)+len(r.dirs) >= sweepNames {
			break
		}
	}
	more = len(files)+len(r.dirs) > 0
	// Neighbours in the inode tables one after the other: each block of them is
	// changed in one transaction, not in many.
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.inode, b.inode) })
	for _, f := range files {
		switch e := gone(r.dir.Unlink(f.name)); {
		case errors.Is(e, ErrIsDir): // the directory keeps no types
			r.dirs = append(r.dirs, f.name)
		case e != nil:
			r.failed = true
			if err == nil {
				err = e
			}
		}
	}
	return more, err
}
