package extract

import (
	"slices"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// linkTable knows the files with several names that were copied, and the
// directories that were entered.
type linkTable struct {
	mu    sync.Mutex // guards files and dirs
	files map[disk.InodeNum]*linked
	dirs  map[disk.InodeNum]struct{}
}

// linked is a file with several names. Who meets it first copies it; the
// others wait for that and link.
type linked struct {
	ready chan struct{} // closed when dir and name are set, or the copy failed
	ok    bool
	dir   *node
	name  string
	left  int // names not met yet
}

func (t *linkTable) init() {
	t.files = make(map[disk.InodeNum]*linked)
	t.dirs = make(map[disk.InodeNum]struct{})
}

// enter reports whether a directory is entered for the first time.
func (t *linkTable) enter(n disk.InodeNum) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, again := t.dirs[n]; again {
		return false
	}
	t.dirs[n] = struct{}{}
	return true
}

// meet returns the record of a file and whether the caller is the first to
// meet it, and so has to copy it and to call publish. When the last name is
// met the record is dropped, so that memory is bounded by what is open.
func (t *linkTable) meet(n disk.InodeNum, links uint16) (l *linked, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l = t.files[n]
	if l == nil {
		l = &linked{ready: make(chan struct{}), left: int(links) - 1}
		t.files[n] = l
		return l, true
	}
	if l.left--; l.left <= 0 {
		delete(t.files, n)
	}
	return l, false
}

// publish says where the copy is, or that there is none.
func (l *linked) publish(dir *node, name string, ok bool) {
	l.dir, l.name, l.ok = dir, name, ok
	close(l.ready)
}

// link makes name in n another name of a file that was copied. False says
// that it has to be copied again.
func (w *worker) link(n *node, name string, l *linked) (bool, error) {
	<-l.ready
	if !l.ok {
		return false, nil
	}
	from, release, err := w.hold(n, l.dir)
	if err != nil {
		return false, err
	}
	defer release()
	err = n.host.link(from, l.name, name)
	if err != nil && cannotLink(err) {
		return false, nil
	}
	return err == nil, err
}

// hold returns the open directory of a node: n's own, that of one that is
// still being filled, or one opened again.
func (w *worker) hold(n, from *node) (hostDir, func(), error) {
	if from == n || from.base {
		return from.host, func() {}, nil
	}
	for {
		switch pending := from.pending.Load(); {
		case pending == 0:
			dir, err := from.reopen()
			return dir, func() { dir.close() }, err
		case from.pending.CompareAndSwap(pending, pending+1):
			return from.host, func() { w.release(from) }, nil
		}
	}
}

// reopen opens a node's directory again, by its names from the caller's
// directory on, none of which may be a link.
func (n *node) reopen() (hostDir, error) {
	var names []string
	at := n
	for !at.base {
		names = append(names, at.name)
		at = at.up
	}
	slices.Reverse(names)
	return at.host.openBelow(names)
}
