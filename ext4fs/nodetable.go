package ext4fs

import (
	"runtime"
	"sync"
	"weak"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// nodes has one Inode for every number that somebody has in his hands. An Inode
// is entered before its record is read, so that only its own changes can come
// between the two.
//
// Those that somebody keeps (see Keep), and the last few that were asked for,
// are held here. Of the others only a weak pointer is, and the garbage collector
// tells when they are gone. That costs memory and time, and so comes late: most
// inodes are kept, or deleted, before.
type nodes struct {
	// shards lie apart: what waits for the end of an Inode keeps its shard, and
	// must not keep what holds Inodes.
	shards *[64]nodeShard
}

func newNodes() nodes { return nodes{new([64]nodeShard)} }

// lastInodes is how many inodes each shard holds for having been asked for last.
const lastInodes = 32

type nodeShard struct {
	mu    sync.Mutex // guards all below, and inodePlace of its inodes; nothing else is locked under it
	held  map[disk.InodeNum]*Inode
	loose map[disk.InodeNum]weak.Pointer[Inode]
	last  [lastInodes]*Inode // a ring
	turn  uint8
	// records is held to copy records out of and into blocks of the inode
	// table; nothing else is locked under it.
	records sync.Mutex
}

// inodePlace is where an Inode stands in its shard.
type inodePlace struct {
	held    bool  // in held
	last    uint8 // 1 + its place in last, 0 if it has none
	cleaned bool  // the garbage collector tells of its end
}

func (t *nodes) shard(n disk.InodeNum) *nodeShard { return &t.shards[uint32(n)%uint32(len(t.shards))] }

// get returns the Inode in memory, or reads it.
func (t *nodes) get(f *FS, n disk.InodeNum) (*Inode, error) {
	for {
		i := t.enter(f, n)
		fresh, unused, err := i.load()
		switch {
		case err != nil:
			t.remove(i)
			return nil, err
		case !fresh || unused || t.has(i):
			return i, nil
		}
		// The number was given out before the record was read: there is
		// another Inode of it.
	}
}

// find returns the Inode of a number, nil if there is none. Called with mu.
func (s *nodeShard) find(n disk.InodeNum) *Inode {
	if i := s.held[n]; i != nil {
		return i
	}
	return s.loose[n].Value()
}

// has reports whether i is the Inode of its number.
func (t *nodes) has(i *Inode) bool {
	s := t.shard(i.num)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(i.num) == i
}

// enter returns the Inode of a number, which may not have been read yet.
func (t *nodes) enter(f *FS, n disk.InodeNum) *Inode {
	s := t.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(n); i != nil {
		return i
	}
	i := newLive(f, n)
	i.loading.Store(new(loading))
	s.put(i)
	return i
}

// put enters i, in the place of any other of its number. Called with mu.
func (s *nodeShard) put(i *Inode) {
	if old := s.held[i.num]; old != nil {
		s.takeOut(old)
	}
	delete(s.loose, i.num)
	s.hold(i)
	s.note(i)
}

// hold has the shard hold i. Called with mu.
func (s *nodeShard) hold(i *Inode) {
	if s.held == nil {
		s.held = make(map[disk.InodeNum]*Inode)
	}
	s.held[i.num], i.place.held = i, true
}

// note makes i, which is held, the last one that was asked for. Called with mu.
func (s *nodeShard) note(i *Inode) {
	if old := s.last[s.turn]; old != nil {
		old.place.last = 0
		s.loosen(old)
	}
	s.last[s.turn], i.place.last = i, s.turn+1
	s.turn = (s.turn + 1) % lastInodes
}

// loosen lets go of i, if nobody has it held. Called with mu.
func (s *nodeShard) loosen(i *Inode) {
	if !i.place.held || i.place.last != 0 || i.keeps.Load() > 0 {
		return
	}
	delete(s.held, i.num)
	i.place.held = false
	if s.loose == nil {
		s.loose = make(map[disk.InodeNum]weak.Pointer[Inode])
	}
	p := weak.Make(i)
	s.loose[i.num] = p
	if !i.place.cleaned {
		i.place.cleaned = true
		runtime.AddCleanup(i, s.forget, forgotten{i.num, p})
	}
}

// takeOut removes i, which is held. Called with mu.
func (s *nodeShard) takeOut(i *Inode) {
	delete(s.held, i.num)
	i.place.held = false
	if n := i.place.last; n != 0 {
		s.last[n-1], i.place.last = nil, 0
	}
}

// forgotten says which entry of the table has lost its Inode.
type forgotten struct {
	num disk.InodeNum
	p   weak.Pointer[Inode]
}

func (s *nodeShard) forget(f forgotten) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loose[f.num] == f.p {
		delete(s.loose, f.num)
	}
}

// remove takes i out of the table, if it is there.
func (t *nodes) remove(i *Inode) {
	s := t.shard(i.num)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.place.held {
		s.takeOut(i)
	} else if s.loose[i.num].Value() == i {
		delete(s.loose, i.num)
	}
}

// kept has the table hold i, which was counted as kept.
func (t *nodes) kept(i *Inode) {
	s := t.shard(i.num)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !i.place.held && i.keeps.Load() > 0 && s.loose[i.num].Value() == i {
		delete(s.loose, i.num)
		s.hold(i)
	}
}

// unkept is for an inode that nobody keeps any more: it is held as one of the
// last, for a while.
func (t *nodes) unkept(i *Inode) {
	s := t.shard(i.num)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.place.held && i.place.last == 0 && i.keeps.Load() == 0 {
		s.note(i)
	}
}

// create enters a new Inode, whose number was just allocated, with a first record
// that is not on disk yet; see storeFirst. The record is sealed, and copied. One
// that is still held under that number was deleted, and stays so. mu of the new one
// is held: the caller has a handle, and so could not wait for somebody who finds the
// Inode here and locks it.
func (t *nodes) create(i *Inode, first disk.Inode) {
	if i.fs.super.HasMetadataCsum() {
		first.Seal(i.fs.seed, i.num)
	}
	i.setRecord(first)
	i.mu.Lock()
	s := t.shard(i.num)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(i)
}
