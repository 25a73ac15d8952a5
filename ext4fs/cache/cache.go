package cache

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// DefaultMaxBytes bounds a cache whose Options do not say.
const DefaultMaxBytes = 64 << 20

// Options of a cache. The zero value is right for most.
type Options struct {
	// MaxBytes bounds the blocks that are kept, in bytes of content; 0 is
	// DefaultMaxBytes. At least one block is always kept. Buffers that were
	// evicted while somebody holds them do not count. Pinned blocks do, and
	// may make it exceed the bound: the journal keeps them below a share.
	MaxBytes int64
}

// Cache holds the metadata blocks of one file system. All its methods are safe
// for concurrent use.
type Cache struct {
	dev       device.Device
	blockSize int
	blocks    uint64
	capacity  int // in blocks
	shards    []shard
	shift     uint // of a hash, to get the shard
	hits      counter
	pins      pins

	writes, written atomic.Uint64
}

// New is a cache over the first blocks of dev, which are blockSize bytes each.
// It reads nothing yet. A block size below 1 gives a cache of no blocks.
func New(dev device.Device, blockSize int, blocks uint64, o Options) *Cache {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if blockSize < 1 {
		blockSize, blocks = 1, 0
	}
	// No byte offset may overflow, whatever the superblock says.
	blocks = min(blocks, uint64(math.MaxInt64/int64(blockSize)))
	capacity := max(o.MaxBytes/int64(blockSize), 1)
	capacity = min(capacity, int64(max(min(blocks, math.MaxInt32), 1)))
	c := &Cache{dev: dev, blockSize: blockSize, blocks: blocks, capacity: int(capacity)}
	c.makeShards()
	return c
}

const (
	maxShards     = 64
	minShardSlots = 64 // blocks; fewer make the queues of a shard pointless
)

// makeShards spreads the capacity over a power of two of shards.
func (c *Cache) makeShards() {
	n := 1
	for n < maxShards && c.capacity/(n*2) >= minShardSlots {
		n *= 2
	}
	c.shards = make([]shard, n)
	c.shift = uint(64 - bits.TrailingZeros(uint(n)))
	for i := range c.shards {
		capacity := c.capacity / n
		if i < c.capacity%n {
			capacity++
		}
		c.shards[i].init(capacity)
	}
}

// BlockSize is the size of a block in bytes.
func (c *Cache) BlockSize() int { return c.blockSize }

// Blocks is the number of blocks of the file system.
func (c *Cache) Blocks() uint64 { return c.blocks }

// Capacity is the bound of the cache in blocks.
func (c *Cache) Capacity() int { return c.capacity }

// Device is where the blocks are read from.
func (c *Cache) Device() device.Device { return c.dev }

// Get returns a block. A number beyond the file system is a
// *disk.CorruptError, since it came from the image; a read that fails is a
// *ReadError, and if the device ends inside the block that one matches
// io.ErrUnexpectedEOF.
func (c *Cache) Get(bn disk.BlockNum) (*Buffer, error) {
	h := hash(bn)
	s := c.shard(h)
	if b := s.find(h, bn); b != nil {
		b.use()
		c.hits.add()
		return b, nil
	}
	return c.getSlow(s, h, bn)
}

// getSlow finds out what the lock-free look could not: the block is there
// after all, is being read by somebody, or has to be read.
func (c *Cache) getSlow(s *shard, h uint64, bn disk.BlockNum) (*Buffer, error) {
	if err := c.check(bn); err != nil {
		return nil, err
	}
	for {
		b, f, mine := s.claim(h, bn)
		switch {
		case b != nil:
			b.use()
			c.hits.add()
			return b, nil
		case mine:
			return c.load(s, h, bn, f)
		}
		<-f.done // the reader of that block closes it, whatever happens
		if b := f.buffer(bn); b != nil {
			return b, nil
		}
		// A failed run says nothing about this one block: read it alone.
		if !f.run() {
			return nil, f.err
		}
	}
}

// load reads one block that this goroutine has claimed.
func (c *Cache) load(s *shard, h uint64, bn disk.BlockNum, f *flight) (*Buffer, error) {
	defer func() {
		s.land(h, bn, f)
		close(f.done)
	}()
	b := newBuffer(bn, make([]byte, c.blockSize))
	s.reads.Add(1)
	if _, err := c.readFull(b.data, bn); err != nil {
		f.err = &ReadError{Block: bn, Err: err}
		return nil, f.err
	}
	f.one = b
	return b, nil
}

// readFull fills p from block bn on and says how much it got. A device that
// ends too early is io.ErrUnexpectedEOF.
func (c *Cache) readFull(p []byte, bn disk.BlockNum) (int, error) {
	n, err := c.dev.ReadAt(p, int64(bn)*int64(c.blockSize))
	switch {
	case n >= len(p):
		return len(p), nil
	case err == nil || err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return max(n, 0), err
}

// hash spreads block numbers over shards (its top bits) and over the chains of
// a shard (the bits below).
func hash(bn disk.BlockNum) uint64 { return uint64(bn) * 0x9e3779b97f4a7c15 }

func (c *Cache) shard(h uint64) *shard { return &c.shards[h>>c.shift&uint64(len(c.shards)-1)] }

// ReadError says which block could not be read.
type ReadError struct {
	Block disk.BlockNum
	Err   error
}

func (e *ReadError) Error() string { return fmt.Sprintf("read block %d: %v", e.Block, e.Err) }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }
