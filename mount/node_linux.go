//go:build !386

package mount

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Node ids are inode numbers, but the protocol's root is 1 and ext4's is 2, so
// that these two are exchanged. The same function leads both ways.
func swapRoot(id uint64) uint64 {
	switch id {
	case 1:
		return 2
	case 2:
		return 1
	}
	return id
}

func nodeID(n disk.InodeNum) uint64 { return swapRoot(uint64(n)) }

// node is an inode that the kernel knows.
type node struct {
	ino *ext4fs.Inode
	// lookups is how often the kernel was told of it, guarded by the shard.
	lookups uint64
	// held: the table itself holds the inode, see holds. Guarded by the shard.
	held bool
	// noCaps: there is no security.capability, which every write would have to
	// take away.
	noCaps atomic.Bool
	// atime is a time of access in nanoseconds that is not in the inode yet, 0
	// for none; see lazytime.
	atime atomic.Int64
	// writers are the opens for writing: while there are some, the kernel may
	// have data that was not written yet. privileged are those of them by who
	// may take reserved blocks. Both change under opening.
	writers, privileged atomic.Int32
	opening             sync.Mutex // nothing else is locked under it
	// lost is the errno of a write that nobody has been told of, see lose.
	lost atomic.Uint32
	// pages: the kernel has read some of the file into its cache.
	pages atomic.Bool
	// readers of a directory, see dirStreams.
	streams dirStreams
}

// nodeTable is all of them, by node id. A number that is used again while the
// kernel still knows its old inode goes on counting: the kernel's forgets name
// only the number.
type nodeTable struct {
	shards [64]nodeTableShard
	count  atomic.Int64
}

type nodeTableShard struct {
	mu sync.RWMutex // guards m; nothing else is locked under it
	m  map[uint64]*node
	_  [24]byte // shards lie in cache lines of their own
}

func (t *nodeTable) shard(id uint64) *nodeTableShard { return &t.shards[id%uint64(len(t.shards))] }

// get returns the node of an id, nil where the kernel was not told of it.
func (t *nodeTable) get(id uint64) *node {
	s := t.shard(id)
	s.mu.RLock()
	n := s.m[id]
	s.mu.RUnlock()
	return n
}

// add counts one lookup of the inode. With hold the table holds it as long as
// the kernel knows it; fresh says that it was made just now, also if it has no
// name. An error says that the inode was deleted, and another has its number.
func (t *nodeTable) add(i *ext4fs.Inode, hold, fresh bool) (n *node, err error) {
	id := nodeID(i.Number())
	if hold {
		if known := t.get(id); known != nil && known.ino == i {
			hold = false // it is held already, or gone in a moment, which count sees
			if n = t.count1(id, i); n != nil {
				return n, nil
			}
			hold = true
		}
		if !i.Acquire() {
			return nil, ext4fs.ErrNotExist
		}
	}
	spare := hold
	n, err = t.enter(id, i, &spare, fresh)
	if spare {
		_ = i.Release() // somebody else was faster
	}
	return n, err
}

// count1 counts one lookup of the inode if it is there.
func (t *nodeTable) count1(id uint64, i *ext4fs.Inode) *node {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.m[id]
	if n == nil || n.ino != i {
		return nil
	}
	n.lookups++
	return n
}

// enter is add, where held says that the caller holds the inode; it becomes
// false if the table takes that over.
func (t *nodeTable) enter(id uint64, i *ext4fs.Inode, held *bool, made bool) (*node, error) {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.m[id]
	switch {
	case n == nil || n.ino != i && (made || replaces(i, n.ino)):
		fresh := &node{ino: i, held: *held}
		*held = false
		if n != nil {
			fresh.lookups = n.lookups
		} else {
			t.count.Add(1)
		}
		if s.m == nil {
			s.m = make(map[uint64]*node)
		}
		s.m[id], n = fresh, fresh
	case n.ino != i && i.Raw().Links() == 0:
		return nil, ext4fs.ErrNotExist
	}
	n.lookups++
	return n, nil
}

// replaces reports whether i is a new inode under the number of old, and not
// another view of it or one that is older yet.
func replaces(i, old *ext4fs.Inode) bool {
	return i.Raw().Links() > 0 && (old.Raw().Links() == 0 || i.Raw().Generation() != old.Raw().Generation())
}

// forget takes lookups back. It returns the node if the kernel does not know it
// any more.
func (t *nodeTable) forget(id, lookups uint64) *node {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.m[id]
	if n == nil {
		return nil
	}
	if n.lookups > lookups {
		n.lookups -= lookups
		return nil
	}
	delete(s.m, id)
	t.count.Add(-1)
	return n
}

// all returns the nodes there are.
func (t *nodeTable) all() []*node {
	var list []*node
	for k := range t.shards {
		s := &t.shards[k]
		s.mu.RLock()
		for _, n := range s.m {
			list = append(list, n)
		}
		s.mu.RUnlock()
	}
	return list
}

// node returns the node of an id.
func (h *handler) node(id uint64) (*node, error) {
	if id == 1 {
		return h.root, nil
	}
	if n := h.nodes.get(id); n != nil {
		return n, nil
	}
	return nil, syscall.ESTALE
}
