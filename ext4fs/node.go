package ext4fs

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// node is what an inode of a writable file system has besides.
//
// Locks, in the order of taking: mu, then a handle is begun, then mapMu, then
// what update and the rooms below lock. Two inodes are locked a directory
// before what it holds, else the lower number first; nobody waits for a directory
// with the one that holds it locked, see lockBelow.
type node struct {
	// mu is held to change anything of the inode, and shared to read content
	// or names. The record can be read without it.
	mu sync.RWMutex
	// mapMu guards blocks and the tree below it. Who holds mu to change may
	// skip it for reading.
	mapMu  sync.RWMutex
	blocks extent.Changer // nil until it is asked for, and after the root was replaced

	holds atomic.Int64 // see Hold
	// ordinary: see KeepReserved. Of a directory it is changed with mu.
	ordinary atomic.Bool
	// Transactions of the last change of anything, and of the last change
	// that reading the data back depends on; 0 is none since the load.
	tid, dataTID atomic.Uint32
	// deleted: the inode was freed. Guarded by mu.
	deleted bool
	load    sync.Once // of the record
	loadErr error
	orphan  orphanPlace // guarded by live.orphans
	names   *dirOp      // what the last change of a directory knew; guarded by mu
	// mayInline: a file without content whose data may begin in the inode.
	// Guarded by mu.
	mayInline bool
}

// nodes keeps one Inode for every number that somebody holds. An Inode is
// entered before its record is read, so that only its own changes can come
// between the two.
type nodes struct {
	// shards lie apart: what waits for the end of an Inode keeps its shard, and
	// must not keep what holds Inodes.
	shards *[64]nodeShard
}

func newNodes() nodes { return nodes{new([64]nodeShard)} }

type nodeShard struct {
	mu sync.Mutex // guards m; nothing else is locked under it
	m  map[disk.InodeNum]weak.Pointer[Inode]
	// records is held to copy records out of and into blocks of the inode
	// table; nothing else is locked under it.
	records sync.Mutex
}

func (t *nodes) shard(n disk.InodeNum) *nodeShard { return &t.shards[uint32(n)%uint32(len(t.shards))] }

// get returns the Inode in memory, or reads it.
func (t *nodes) get(f *FS, n disk.InodeNum) (*Inode, error) {
	for {
		i := t.enter(f, n)
		i.load.Do(func() { i.loadErr = i.read() })
		switch {
		case i.loadErr != nil:
			t.remove(i)
			return nil, i.loadErr
		case i.first.Links() == 0 || t.has(i):
			return i, nil
		}
		// The number was given out before the record was read: there is
		// another Inode of it.
	}
}

// has reports whether i is the Inode of its number.
func (t *nodes) has(i *Inode) bool {
	s := t.shard(i.num)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[i.num].Value() == i
}

// enter returns the Inode of a number, which may not have been read yet.
func (t *nodes) enter(f *FS, n disk.InodeNum) *Inode {
	s := t.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.m[n].Value(); i != nil {
		return i
	}
	return s.put(&Inode{fs: f, num: n, node: new(node)})
}

// put enters i. Called with mu.
func (s *nodeShard) put(i *Inode) *Inode {
	if s.m == nil {
		s.m = make(map[disk.InodeNum]weak.Pointer[Inode])
	}
	p := weak.Make(i)
	s.m[i.num] = p
	runtime.AddCleanup(i, s.forget, forgotten{i.num, p})
	return i
}

// forgotten says which entry of the table has lost its Inode.
type forgotten struct {
	num disk.InodeNum
	p   weak.Pointer[Inode]
}

func (s *nodeShard) forget(f forgotten) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[f.num] == f.p {
		delete(s.m, f.num)
	}
}

func (t *nodes) remove(i *Inode) {
	t.shard(i.num).forget(forgotten{i.num, weak.Make(i)})
}

// create enters a new Inode for a number that was just allocated, with a first
// record that is not on disk yet. One that is still held under that number was
// deleted, and stays so. mu of the new one is held: the caller has a handle, and
// so could not wait for somebody who finds the Inode here and locks it.
func (t *nodes) create(f *FS, n disk.InodeNum, raw disk.Inode) *Inode {
	i := newInode(f, n, raw)
	i.node = new(node)
	i.load.Do(func() {})
	i.mu.Lock()
	s := t.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(i)
}

// read fills in the record.
func (i *Inode) read() error {
	s := i.fs.live.nodes.shard(i.num)
	raw, block, err := i.fs.inodeRecord(i.num)
	if err != nil {
		return err
	}
	s.records.Lock()
	i.first = append(disk.Inode(nil), raw...)
	s.records.Unlock()
	i.rec.Store(&i.first)
	// Somebody may have changed it before and let it go: Fsync must not take
	// that for durable.
	if j := i.fs.live.journal; j != nil {
		tid := j.RunningID()
		i.tid.Store(tid)
		i.dataTID.Store(tid)
	}
	// An orphan does not get out of memory, so that this one is nobody's.
	i.deleted = i.first.Links() == 0 && i.fs.live.settled
	return i.verify(block)
}

// update changes the inode's record as part of a transaction: edit gets a copy
// of it, which is sealed, shown to readers and put into the inode table. The
// caller holds i.mu. An edit must not fail, nor lock anything.
func (i *Inode) update(tx cache.Tx, edit func(r disk.Inode)) error {
	if i.deleted {
		// The number may be another inode's by now.
		return fmt.Errorf("inode %d was deleted: %w", i.num, ErrNotExist)
	}
	block, at, err := i.fs.InodeLocation(i.num)
	if err != nil {
		return err
	}
	buf, err := tx.Write(block, nil)
	if err != nil {
		return fmt.Errorf("inode %d: %w", i.num, err)
	}
	// The whole edit is under the lock: the orphan list changes i_dtime of
	// inodes whose mu somebody else holds.
	s := i.fs.live.nodes.shard(i.num)
	s.records.Lock()
	r := append(disk.Inode(nil), i.record()...)
	edit(r)
	if i.fs.super.HasMetadataCsum() {
		r.Seal(i.fs.seed, i.num)
	}
	copy(buf.Data()[at:at+len(r)], r)
	i.rec.Store(&r)
	s.records.Unlock()
	i.tid.Store(tx.ID())
	return nil
}

// Hold keeps the inode from being deleted when its last name goes: it lives on
// as an orphan until Release. The two must pair; an open file holds its inode.
func (i *Inode) Hold() {
	if i.node != nil {
		i.holds.Add(1)
	}
}
