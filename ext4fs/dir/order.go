package dir

import (
	"bytes"
	"cmp"
	"io/fs"
	"math"
	"slices"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// order lists a directory by hash.
type order struct {
	c     *Config
	after uint64 // the cookie to begin behind
	yield func(Entry, error) bool

	begun   bool // something was yielded
	stopped bool // the consumer has had enough
	*orderMemory
	held    int    // of pending, these wait for others of their hash
	last    uint64 // cookie of the entry before
	version disk.HashVersion
}

// orderMemory is used again and again.
type orderMemory struct {
	pending []ordered
	keys    []orderKey
}

var orderMemories = sync.Pool{New: func() any { return new(orderMemory) }}

// maxOrderMemory bounds the entries that memory to be used again has room for.
const maxOrderMemory = 4096

func (m *orderMemory) release() {
	clear(m.pending[:cap(m.pending)]) // which point to blocks
	m.pending = m.pending[:0]
	if cap(m.pending) <= maxOrderMemory {
		orderMemories.Put(m)
	}
}

// ordered is an entry with its place in the order.
type ordered struct {
	Entry
	err  error
	hash uint32
	tie  uint32
}

// run returns trouble with the index; other trouble is yielded.
func (o *order) run() error {
	o.orderMemory = orderMemories.Get().(*orderMemory)
	defer o.release()
	o.version = o.c.HashVersion
	if o.after > math.MaxInt64 {
		return nil
	}
	if o.c.inline() {
		o.c.inlineEach(o.addInline)
		o.flush(math.MaxUint32, true)
		return nil
	}
	if !o.c.Indexed {
		b, err := o.c.leafOrIndex(0)
		if err == nil && b == nil {
			err = o.c.holeError(0)
		}
		if err != nil {
			o.trouble(Entry{}, err)
			return nil
		}
		o.addBlock(b, 0, 0, hashLast)
		o.flush(math.MaxUint32, true)
		return nil
	}
	return o.tree()
}

// hashLast is the highest hash that a name can have on disk. The kernel does
// not use it, other writers do.
const hashLast = 0xfffffffe

// tree goes over the leaves, beginning with the first one that may hold what
// comes behind the cookie.
func (o *order) tree() error {
	var w walk
	if err := w.open(o.c); err != nil {
		return err
	}
	o.version = w.info.Hash
	if o.after < cookieDotDot {
		if err := o.dots(); err != nil {
			return err
		}
	}
	if o.stopped {
		return nil
	}
	if err := w.seek(uint32(o.after>>32) << 1); err != nil {
		return err
	}
	for {
		low, high := w.key()&^1, uint32(hashLast)
		next, more := w.nextKey()
		if more {
			// Only a marked key says that its hash begins in this leaf.
			if high = next &^ 1; next&1 == 0 {
				high -= 2
			}
			if next == 0 || high < low {
				return w.corrupt("its keys are not in order")
			}
		}
		b, err := w.read()
		if err != nil {
			o.trouble(Entry{Block: w.leaf()}, err)
		} else {
			o.addBlock(b, w.leaf(), low, high)
		}
		switch {
		case !more:
			o.flush(math.MaxUint32, true)
			return nil
		case next&1 != 0:
			o.flush(high, false) // the others of this hash come first
		default:
			o.flush(math.MaxUint32, true)
		}
		if o.stopped {
			return nil
		}
		if len(o.pending) > maxPending {
			return w.corrupt("more names than can be listed have one hash")
		}
		if err := w.next(); err != nil {
			return err
		}
	}
}

// maxPending bounds the names of one hash that are held in memory.
const maxPending = 1 << 17

// dots yields "." and ".." of the root.
func (o *order) dots() error {
	for i, name := range [][]byte{[]byte("."), []byte("..")} {
		e, err := o.c.lookupDots(&query{name: name})
		if err == fs.ErrNotExist {
			err = &disk.CorruptError{What: "directory", Inode: o.c.Inode, Detail: "there is no " + string(name)}
		}
		if err != nil && e.Inode == 0 {
			o.trouble(Entry{}, err)
		} else if e.Cookie = uint64(i) + cookieDot; e.Cookie > o.after && !o.stopped {
			o.begun = true
			o.stopped = !o.yield(e, err)
		}
	}
	return nil
}

// trouble yields an error that belongs to no entry.
func (o *order) trouble(e Entry, err error) {
	if !o.stopped {
		o.begun = true
		o.stopped = !o.yield(e, err)
	}
}

// addBlock adds a leaf's entries. Hashes out of the leaf's range are bent into
// it, so that a bad tree has cookies in order too.
func (o *order) addBlock(b *cache.Buffer, l disk.LogicalNum, low, high uint32) {
	it := o.c.layout().Iter(b.Data())
	for n := 0; it.Next(); n++ {
		d := it.Dirent()
		if d.Inode() == 0 {
			continue
		}
		e := o.c.entry(d, l, it.Offset())
		if o.c.Encrypted {
			o.c.addHash(&e, d, o.version)
		}
		dots := dotsAt(e.Name, l, n)
		o.add(e, o.c.check(&e, b.Block(), dots), d, dots, low, high)
	}
	if err := it.Err(); err != nil {
		o.trouble(Entry{Block: l, Offset: it.End()}, o.c.locate(err, b))
	}
}

func (o *order) addInline(e Entry, err error, d disk.Dirent) bool {
	e.Cookie = 0
	switch {
	case d != nil:
		o.add(e, err, d, false, 0, hashLast)
	case isDots(e.Name):
		o.add(e, err, nil, true, 0, hashLast)
	default:
		o.trouble(e, err)
	}
	return !o.stopped
}

func (o *order) add(e Entry, err error, d disk.Dirent, dots bool, low, high uint32) {
	p := ordered{Entry: e, err: err}
	switch {
	case dots:
		p.Cookie = cookieDot
		if disk.IsDotDot(e.Name) {
			p.Cookie = cookieDotDot
		}
		o.pending = append(o.pending, p)
		return
	case o.c.Casefold && o.c.Encrypted:
		p.hash, p.tie, _ = d.Hash()
	case o.c.Encrypted:
		p.hash, p.tie = e.Hash, e.Minor
	default:
		p.hash, p.tie = o.c.hashName(o.version, e.Name)
	}
	if p.tie == 0 {
		p.tie = disk.Sum(0, e.Name)
	}
	p.hash = min(max(p.hash&^1, low), high)
	o.pending = append(o.pending, p)
}

// flush yields the pending entries whose hash is below limit, or all. Those
// that stay all have the hash limit: others of it may be in the next leaf. They
// are not looked at again until the limit changes, so that many leaves of one
// hash cost no more than others.
func (o *order) flush(limit uint32, all bool) {
	if o.held > 0 && o.pending[0].hash == limit && !all {
		o.held = len(o.pending)
		return
	}
	n := len(o.pending)
	if !all {
		n = o.held
		for i := n; i < len(o.pending); i++ {
			if p := &o.pending[i]; p.hash < limit {
				o.pending[n], *p = *p, o.pending[n]
				n++
			}
		}
	}
	for _, k := range o.sorted(n) {
		p := &o.pending[k.at]
		if p.Cookie == 0 && !o.assign(p) {
			p.err = &disk.CorruptError{What: "directory", Inode: o.c.Inode, Detail: "more names than can be listed have one hash"}
		}
		if p.Cookie <= o.after || o.stopped {
			continue
		}
		o.begun = true
		o.stopped = !o.yield(p.Entry, p.err)
	}
	o.pending = slices.Delete(o.pending, 0, n)
	o.held = len(o.pending)
}

// assign makes the cookie: the entry's own, or the one after the last.
func (o *order) assign(p *ordered) bool {
	own := uint64(p.hash>>1)<<32 | uint64(p.tie&^0xff) | cookieSlot
	p.Cookie = max(own, o.last+1)
	o.last = p.Cookie
	return p.Cookie>>32 == uint64(p.hash>>1)
}

// orderKey stands for an entry while the order is found.
type orderKey struct {
	hash uint64 // and the tie
	rank uint32
	at   uint32 // in pending
}

// sorted gives the order of the first n that are pending.
func (o *order) sorted(n int) []orderKey {
	const others = 3
	keys := o.keys[:0]
	for i := range o.pending[:n] {
		p := &o.pending[i]
		k := orderKey{uint64(p.hash)<<32 | uint64(p.tie), others, uint32(i)}
		if p.Cookie != 0 { // "." and ".." have theirs, and come first
			k.rank = uint32(p.Cookie)
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b orderKey) int {
		switch {
		case a.rank != b.rank:
			return cmp.Compare(a.rank, b.rank)
		case a.hash != b.hash:
			return cmp.Compare(a.hash, b.hash)
		}
		p, q := &o.pending[a.at], &o.pending[b.at]
		return cmp.Or(bytes.Compare(p.Name, q.Name), cmp.Compare(p.Block, q.Block), cmp.Compare(p.Offset, q.Offset))
	})
	o.keys = keys
	return keys
}
