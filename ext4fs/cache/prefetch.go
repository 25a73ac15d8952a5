package cache

import (
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxRun is the largest single read of a Prefetch.
const maxRun = 1 << 20

// scratch buffers of maxRun bytes. A run is read into one and copied out:
// blocks that shared one big slice would keep each other in memory.
var scratch = sync.Pool{New: func() any {
	b := make([]byte, maxRun)
	return &b
}}

// Prefetch reads the n blocks from bn on that are not cached, in few large
// reads, and returns when they are there. It is a hint: blocks beyond the file
// system are left out, so is what exceeds an eighth of the cache (it could be
// evicted before it is used), blocks that somebody else is reading are not
// waited for, and errors are not told, since the Get that needs the block will
// tell.
func (c *Cache) Prefetch(bn disk.BlockNum, n int) {
	if n <= 0 || uint64(bn) >= c.blocks {
		return
	}
	n = int(min(uint64(n), c.blocks-uint64(bn), uint64(max(c.capacity/8, 1))))
	for end := bn + disk.BlockNum(n); bn < end; {
		bn = c.prefetchRun(bn, end)
	}
}

// prefetchRun reads the first run of missing blocks in [bn, end) and returns
// where to go on.
func (c *Cache) prefetchRun(bn, end disk.BlockNum) disk.BlockNum {
	for ; bn < end; bn++ {
		if h := hash(bn); c.shard(h).find(h, bn) == nil {
			break
		}
	}
	longest := min(uint64(end-bn), max(uint64(maxRun/c.blockSize), 1))
	if longest == 0 {
		return end
	}
	f := newRun(bn, int(longest))
	n := 0
	for uint64(n) < longest {
		next := bn + disk.BlockNum(n)
		h := hash(next)
		if !c.shard(h).join(h, next, f) {
			break
		}
		n++
	}
	if n == 0 {
		return bn + 1
	}
	c.loadRun(f, n)
	return bn + disk.BlockNum(n)
}

// loadRun reads the n blocks of f, which this goroutine has claimed.
func (c *Cache) loadRun(f *flight, n int) {
	defer func() {
		for i := range n {
			bn := f.start + disk.BlockNum(i)
			h := hash(bn)
			c.shard(h).land(h, bn, f)
		}
		close(f.done)
	}()
	c.shard(hash(f.start)).reads.Add(1)
	size := n * c.blockSize
	p := scratch.Get().(*[]byte)
	defer scratch.Put(p)
	if len(*p) < size {
		*p = make([]byte, size)
	}
	got, _ := c.readFull((*p)[:size], f.start)
	for i := range got / c.blockSize {
		data := make([]byte, c.blockSize)
		copy(data, (*p)[i*c.blockSize:])
		f.bufs = append(f.bufs, newBuffer(f.start+disk.BlockNum(i), data))
	}
}
