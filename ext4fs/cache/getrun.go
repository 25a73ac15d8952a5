package cache

import "github.com/e4kit/e4kit/ext4fs/disk"

// Has reports whether the block is in memory at the moment.
func (c *Cache) Has(bn disk.BlockNum) bool {
	h := hash(bn)
	return c.shard(h).find(h, bn) != nil
}

// GetRun is Get for a block whose neighbours will be wanted soon: when it is
// missing, all missing blocks of the n from first on are read with it, as by
// Prefetch. Errors are those of Get, for this block alone.
func (c *Cache) GetRun(bn, first disk.BlockNum, n int) (*Buffer, error) {
	h := hash(bn)
	s := c.shard(h)
	if b := s.find(h, bn); b != nil {
		b.use()
		c.hits.add()
		return b, nil
	}
	c.Prefetch(first, n)
	// What the run brought was a miss all the same.
	if b := s.find(h, bn); b != nil {
		s.misses.Add(1)
		return b, nil
	}
	return c.getSlow(s, h, bn)
}
