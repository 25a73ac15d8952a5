package cache

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
)

// Stats are the counters of a cache.
type Stats struct {
	Hits      uint64 // Gets that found their block
	Misses    uint64 // Gets that had to read, or to wait for a read
	Evictions uint64
	Reads     uint64 // reads of the device, large or small
	Writes    uint64 // writes of WriteBack, large or small
	Written   uint64 // blocks that they wrote
	Bytes     int64  // content now held, pinned or not
	Pinned    int64  // content of Bytes that is not home yet
	MaxBytes  int64  // the bound of Bytes
}

// Stats returns the counters. Each is exact, but they are not of one moment
// while others use the cache.
func (c *Cache) Stats() Stats {
	st := Stats{
		Hits:     c.hits.sum(),
		Writes:   c.writes.Load(),
		Written:  c.written.Load(),
		MaxBytes: int64(c.capacity) * int64(c.blockSize),
	}
	for i := range c.shards {
		s := &c.shards[i]
		st.Misses += s.misses.Load()
		st.Evictions += s.evictions.Load()
		st.Reads += s.reads.Load()
		s.mu.Lock()
		st.Bytes += int64(s.recent.n+s.main.n+s.pinned) * int64(c.blockSize)
		st.Pinned += int64(s.pinned) * int64(c.blockSize)
		s.mu.Unlock()
	}
	return st
}

// Shrink gives back memory: it evicts blocks of at least that many bytes, if
// there are as many that are not pinned, and returns how many bytes they were.
func (c *Cache) Shrink(bytes int64) (freed int64) {
	if bytes <= 0 {
		return 0
	}
	want := (bytes-1)/int64(c.blockSize) + 1
	// An equal share of each shard first, then what there is.
	for _, share := range []int64{(want-1)/int64(len(c.shards)) + 1, want} {
		for i := range c.shards {
			left := want - freed
			if left <= 0 {
				break
			}
			freed += int64(c.shards[i].shrink(int(min(share, left, math.MaxInt32))))
		}
	}
	return freed * int64(c.blockSize)
}

// counter is a counter that many processors can add to: it is spread over
// cache lines, and who adds takes one at random.
type counter [16]struct {
	n atomic.Uint64
	_ [56]byte
}

func (c *counter) add() { c[rand.Uint32()%uint32(len(c))].n.Add(1) }

func (c *counter) sum() (n uint64) {
	for i := range c {
		n += c[i].n.Load()
	}
	return n
}
