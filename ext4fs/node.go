package ext4fs

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// node is what an inode of a writable file system has besides. There may be
// millions: every byte counts.
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

	// loading is how the record is read, nil when that is done.
	loading atomic.Pointer[loading]
	// long is the whole record where it has more than zeros behind what record
	// gives, else nil.
	long atomic.Pointer[disk.Inode]
	// names is what is known of a directory. Who holds mu to change may change
	// it, who shares mu looks names up in it.
	names  atomic.Pointer[dirOp]
	orphan orphanPlace // guarded by live.orphans

	holds atomic.Int32 // see Hold
	keeps atomic.Int32 // see Keep
	reaps atomic.Int32 // who is about to delete it
	// nameless is when it lost its last name, in nanoseconds.
	nameless atomic.Int64
	// Transactions of the last change of anything, and of the last change
	// that reading the data back depends on; 0 is none since the load.
	tid, dataTID atomic.Uint32
	// ordinary: see KeepReserved. Of a directory it is changed with mu.
	ordinary atomic.Bool
	// deleted: the inode was freed. Guarded by mu.
	deleted bool
	// mayInline: a file without content whose data may begin in the inode.
	// Guarded by mu.
	mayInline bool
	place     inodePlace // in the table of inodes
}

// shortRecord is how much of a record is kept where zeros follow: up to the
// last field.
const shortRecord = disk.InodeBaseSize + 32

// newLive is an inode of a writable file system, which has no record yet.
func newLive(f *FS, n disk.InodeNum) *Inode {
	x := new(struct {
		i Inode
		n node
	})
	x.i.fs, x.i.num, x.i.node = f, n, &x.n
	x.i.size = uint16(min(f.super.InodeSize(), shortRecord))
	return &x.i
}

// whole is the inode's record with all that is behind its fields. It must not
// be changed. The caller holds mu, or nobody else has the inode.
func (i *Inode) whole() disk.Inode {
	r := i.record()
	if i.node == nil || len(r) == i.fs.super.InodeSize() {
		return r
	}
	if long := i.long.Load(); long != nil {
		return *long
	}
	return append(make(disk.Inode, 0, i.fs.super.InodeSize()), r...)[:i.fs.super.InodeSize()]
}

// setRecord shows readers a copy of the record. Nobody else does so meanwhile.
func (i *Inode) setRecord(r disk.Inode) {
	n := int(i.size)
	if allZero(r[n:]) {
		p := append(make(disk.Inode, 0, n), r[:n]...)
		i.rec.Store(&p[0])
		i.long.Store(nil)
		return
	}
	long := append(make(disk.Inode, 0, len(r)), r...)
	i.long.Store(&long)
	i.rec.Store(&long[0])
}

// loading is the reading of a record, which many may wait for.
type loading struct {
	once   sync.Once
	err    error
	unused bool // no inode was there
}

// load reads the record, or waits for who does. fresh says that it was not
// there before.
func (i *Inode) load() (fresh, unused bool, err error) {
	l := i.loading.Load()
	if l == nil {
		return false, false, nil
	}
	l.once.Do(func() {
		if l.err = i.read(); l.err == nil {
			l.unused = i.record().Links() == 0
			i.loading.Store(nil)
		}
	})
	return true, l.unused, l.err
}

// loadAs takes r for the record, unless it was read already.
func (i *Inode) loadAs(r disk.Inode) error {
	l := i.loading.Load()
	if l == nil {
		return nil
	}
	l.once.Do(func() {
		i.setRecord(r)
		i.loading.Store(nil)
	})
	return l.err
}

// read fills in the record.
func (i *Inode) read() error {
	s := i.fs.live.nodes.shard(i.num)
	raw, block, err := i.fs.inodeRecord(i.num)
	if err != nil {
		return err
	}
	s.records.Lock()
	err = i.verify(raw, block)
	if err == nil {
		i.setRecord(raw)
	}
	s.records.Unlock()
	if err != nil {
		return err
	}
	// Somebody may have changed it before and let it go: Fsync must not take
	// that for durable.
	if j := i.fs.live.journal; j != nil {
		tid := j.RunningID()
		i.tid.Store(tid)
		i.dataTID.Store(tid)
	}
	// An orphan does not get out of memory, so that this one is nobody's.
	i.deleted = i.record().Links() == 0 && i.fs.live.settled
	return nil
}

// update changes the inode's record as part of a transaction: edit gets it in
// the block of the inode table, where it is sealed, and readers are shown a
// copy. The caller holds i.mu. An edit must not fail, nor lock anything, nor
// keep what it gets.
func (i *Inode) update(tx cache.Tx, edit func(r disk.Inode)) error {
	if i.deleted {
		// The number may be another inode's by now.
		return fmt.Errorf("inode %d was deleted: %w", i.num, ErrNotExist)
	}
	r, err := i.recordIn(tx)
	if err != nil {
		return err
	}
	// The whole edit is under the lock: the orphan list changes i_dtime of
	// inodes whose mu somebody else holds.
	s := i.fs.live.nodes.shard(i.num)
	s.records.Lock()
	i.copyRecord(r)
	edit(r)
	if i.fs.super.HasMetadataCsum() {
		r.Seal(i.fs.seed, i.num)
	}
	i.setRecord(r)
	s.records.Unlock()
	i.tid.Store(tx.ID())
	return nil
}

// storeFirst brings the record that a new inode was entered with to disk, as part
// of a transaction. The caller holds i.mu.
func (i *Inode) storeFirst(tx cache.Tx) error {
	r, err := i.recordIn(tx)
	if err != nil {
		return err
	}
	s := i.fs.live.nodes.shard(i.num)
	s.records.Lock()
	i.copyRecord(r)
	s.records.Unlock()
	i.tid.Store(tx.ID())
	return nil
}

// recordIn gives the place of the record on disk, to be changed.
func (i *Inode) recordIn(tx cache.Tx) (disk.Inode, error) {
	block, at, err := i.fs.InodeLocation(i.num)
	if err != nil {
		return nil, err
	}
	buf, err := tx.Write(block, nil)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", i.num, err)
	}
	size := i.fs.super.InodeSize()
	return disk.Inode(buf.Data()[at : at+size : at+size]), nil
}

// copyRecord copies all of the record to r, which is as long as those on disk.
func (i *Inode) copyRecord(r disk.Inode) {
	if long := i.long.Load(); long != nil {
		copy(r, *long)
	} else {
		clear(r[copy(r, i.record()):])
	}
}

// Hold keeps the inode from being deleted when its last name goes: it lives on
// as an orphan until Release. The two must pair; an open file holds its inode.
func (i *Inode) Hold() {
	if i.node != nil {
		i.holds.Add(1)
	}
}
