package cache

import (
	"math/rand/v2"
	"sync/atomic"
)

// Stats are the counters of a cache.
type Stats struct {
	Hits      uint64 // Gets that found their block
	Misses    uint64 // Gets that had to read, or to wait for a read
	Evictions uint64
	Reads     uint64 // reads of the device, large or small
	Bytes     int64  // content now held
	MaxBytes  int64  // the bound of Bytes
}

// Stats returns the counters. Each is exact, but they are not of one moment
// while others use the cache.
func (c *Cache) Stats() Stats {
	st := Stats{
		Hits:     c.hits.sum(),
		MaxBytes: int64(c.capacity) * int64(c.blockSize),
	}
	for i := range c.shards {
		s := &c.shards[i]
		st.Misses += s.misses.Load()
		st.Evictions += s.evictions.Load()
		st.Reads += s.reads.Load()
		s.mu.Lock()
		st.Bytes += int64(s.recent.n+s.main.n) * int64(c.blockSize)
		s.mu.Unlock()
	}
	return st
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
