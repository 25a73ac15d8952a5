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
	// atime is a time of access in nanoseconds that is not in the inode yet, 0
	// for none; see lazytime.
	atime atomic.Int64
	// writers are the opens for writing: while there are some, the kernel may
	// have data that was not written yet. privileged are those of them by who
	// may take reserved blocks. Both change under opening.
	writers, privileged atomic.Int32
	opening             sync.Mutex // nothing else is locked under it
	// noCaps: there is no security.capability, which every write would have to
	// take away.
	noCaps atomic.Bool
	// lost is the errno of a write that nobody has been told of, see lose.
	lost atomic.Uint32
	// unnamed: it was made without a name, and may get one.
	unnamed atomic.Bool
	// staleTimes: the kernel's times are older than the inode's, see parallel.
	staleTimes atomic.Bool
	// pages: the kernel has read some of the file into its cache.
	pages atomic.Bool
	// readers of a directory, see dirStreams; nil until there are some.
	streams atomic.Pointer[dirStreams]
}

// nodeTable is all of them, by node id. It keeps inodes: one without names lives
// on until the kernel has forgotten it, which may have it open in ways that nobody
// is asked about (O_PATH, directories), and reads from it then. A number that is
// used again all the same, since the file system is being closed, goes on
// counting: the kernel's forgets name only the number.
type nodeTable struct {
	shards [64]nodeTableShard
	count  atomic.Int64
	opens  bool // all that is known counts as open, see Options.NoOpen
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

// keep has the inode live on for the table.
func (t *nodeTable) keep(i *ext4fs.Inode) bool {
	if t.opens {
		return i.Acquire()
	}
	return i.Keep()
}

// let takes keep back. Nobody can be told of an error; what is left is an orphan.
func (t *nodeTable) let(i *ext4fs.Inode) {
	if t.opens {
		_ = i.Release()
	} else {
		_ = i.Unkeep()
	}
}

// add counts one lookup of the inode; fresh says that it was made just now, also
// if it has no name. An error says that the inode was deleted, and another has
// its number.
func (t *nodeTable) add(i *ext4fs.Inode, fresh bool) (*node, error) {
	id := nodeID(i.Number())
	if n := t.count1(id, i); n != nil {
		return n, nil
	}
	if !t.keep(i) {
		return nil, ext4fs.ErrNotExist
	}
	n, spare, err := t.enter(id, i, fresh)
	if spare != nil {
		t.let(spare)
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

// enter is add of an inode that is kept. What need not be kept any more is
// returned as spare.
func (t *nodeTable) enter(id uint64, i *ext4fs.Inode, made bool) (n *node, spare *ext4fs.Inode, err error) {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, spare = s.m[id], i // where somebody else was faster
	switch {
	case n == nil || n.ino != i && (made || replaces(i, n.ino)):
		fresh := &node{ino: i}
		if spare = nil; n != nil {
			spare, fresh.lookups = n.ino, n.lookups
		} else {
			t.count.Add(1)
		}
		if s.m == nil {
			s.m = make(map[uint64]*node)
		}
		s.m[id], n = fresh, fresh
	case n.ino != i && i.Raw().Links() == 0:
		return nil, spare, ext4fs.ErrNotExist
	}
	n.lookups++
	return n, spare, nil
}

// ends reports whether the inode has lost its last name for good: what of it only
// lasts is nobody's concern.
func (n *node) ends() bool { return n.ino.Raw().Links() == 0 && !n.unnamed.Load() }

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
