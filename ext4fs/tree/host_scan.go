package tree

import (
	"cmp"
	"runtime"
	"slices"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/host"
)

// scanner reads directories of the host ahead of hostMerge, several at a time.
// Whoever waits for one that nobody has begun reads it himself, so that no
// order of events can stop the whole.
type scanner struct {
	root  *host.Root
	base  string // what the caller calls the root
	o     *Options
	f     *filter
	leave map[host.ID]bool
	top   *scanDir
	dev   uint64
	attrs scanSystem

	mu      sync.Mutex // guards what follows and scanDir.state
	changed sync.Cond
	stack   []*scanDir // to be read, the next one last
	ahead   int        // names that are read and not merged
	stopped bool
	workers sync.WaitGroup
}

type scanState uint8

const (
	scanNot scanState = iota
	scanBusy
	scanDone
)

// maxAhead bounds how many names are read before they are merged.
const maxAhead = 1 << 15

func newScanner(root *host.Root, base string, l *layer) *scanner {
	s := &scanner{root: root, base: base, o: l.o, f: l.filter, leave: make(map[host.ID]bool)}
	s.changed.L = &s.mu
	for _, info := range l.o.Leave {
		if id, ok := host.IDOf(info); ok {
			s.leave[id] = true
		}
	}
	s.top = &scanDir{choice: l.filter.root()}
	s.stack = []*scanDir{s.top}
	for range min(max(runtime.GOMAXPROCS(0), 2), 8) {
		s.workers.Go(s.work)
	}
	return s
}

// name is what the caller would call a file.
func (s *scanner) name(path string) string {
	return hostName(s.base, path)
}

// work reads directories until the end.
func (s *scanner) work() {
	var b scanBuffer
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for !s.stopped && (len(s.stack) == 0 || s.ahead > maxAhead) {
			s.changed.Wait()
		}
		if s.stopped {
			return
		}
		d := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		if d.state == scanNot {
			s.read(d, &b)
		}
	}
}

// read reads a directory. The lock is held, but not meanwhile.
func (s *scanner) read(d *scanDir, b *scanBuffer) {
	d.state = scanBusy
	s.mu.Unlock()
	d.err = s.list(d, b)
	slices.SortFunc(d.entries, func(a, b scanned) int { return cmp.Compare(a.name, b.name) })
	s.mu.Lock()
	d.state = scanDone
	s.ahead += len(d.entries)
	// The first one is wanted first.
	for i := len(d.entries) - 1; i >= 0; i-- {
		if sub := d.entries[i].sub; sub != nil {
			s.stack = append(s.stack, sub)
		}
	}
	s.changed.Broadcast()
}

// wait waits until a directory has been read.
func (s *scanner) wait(d *scanDir) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.state == scanNot {
		s.read(d, new(scanBuffer))
	}
	for d.state != scanDone {
		s.changed.Wait()
	}
}

// merged drops what is in the tree now.
func (s *scanner) merged(d *scanDir) {
	s.mu.Lock()
	s.ahead -= len(d.entries)
	d.entries = nil
	s.mu.Unlock()
	s.changed.Broadcast()
}

// stop ends the workers.
func (s *scanner) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.changed.Broadcast()
	s.workers.Wait()
}

// take decides whether and as what a file is taken, and makes what is needed to
// enter a directory.
func (s *scanner) take(d *scanDir, e *scanned) bool {
	path := joinPath(d.path, e.name)
	c := s.f.choose(path, e.IsDir(), d.choice)
	if c == chooseOut {
		return false
	}
	if e.id.Ino != 0 && !e.IsDir() && s.leave[e.id] {
		return false
	}
	if !e.IsDir() {
		return true
	}
	e.tentative = c == chooseMaybe
	if d.depth >= maxDepth {
		e.err = errDeep
		return true
	}
	if !s.o.OneFS || e.id.Dev == s.dev {
		e.sub = &scanDir{path: path, choice: c, depth: d.depth + 1}
	}
	return true
}
