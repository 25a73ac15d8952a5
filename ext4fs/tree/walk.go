package tree

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrLoop: symbolic links lead in a circle, or on and on.
var ErrLoop = disk.NewKind("too many levels of symbolic links", syscall.ELOOP)

// maxSteps bounds the elements of one way, with those of symbolic links.
const maxSteps = 2 * maxDepth

// maxFollow bounds the symbolic links on one way, as Linux does.
const maxFollow = 40

// walk goes along names from a directory. Missing directories are made if create
// is set. Symbolic links lead on as if the top were the root.
func (l *layer) walk(at ID, names []string, create bool) (ID, error) {
	links := 0
	for steps := 0; len(names) > 0; steps++ {
		if steps > maxSteps {
			return 0, ErrLoop
		}
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if at != l.at {
				at = l.t.Parent(at)
			}
			continue
		}
		next, err := l.enter(at, name, create)
		if err != nil {
			return 0, err
		}
		n := l.t.Node(next)
		switch {
		case n.IsDir():
			at = next
		case !n.IsSymlink():
			return 0, fmt.Errorf("%s: %w", l.t.Path(next), ErrNotDir)
		default:
			if links++; links > maxFollow {
				return 0, ErrLoop
			}
			target := l.t.Target(next)
			if strings.HasPrefix(target, "/") {
				at = l.at
			}
			names = slices.Concat(strings.Split(target, "/"), names)
		}
	}
	return at, nil
}

// enter looks up a name, and makes a directory of it if it is missing.
func (l *layer) enter(at ID, name string, create bool) (ID, error) {
	next, ok := l.t.Lookup(at, name)
	if ok {
		return next, nil
	}
	if !create {
		return 0, ErrNotExist
	}
	next, _, err := l.mkdir(at, name)
	return next, err
}

// dirBehind gives the directory that a symbolic link leads to, if it is one.
func (l *layer) dirBehind(dir ID, name string) (ID, bool) {
	id, err := l.walk(dir, []string{name}, false)
	return id, err == nil
}
