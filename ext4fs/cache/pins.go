package cache

import (
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	pinRegionBits = 5 // blocks of a region, as a power of two
	pinCounters   = 4096
)

// pins counts pinned blocks by regions of the device, several of which share a
// counter, so that one can tell without a lock that nothing is pinned in a
// range. A block is counted before it can be found, and until after it is gone.
type pins struct {
	total  atomic.Int64
	counts [pinCounters]atomic.Int32
}

func (p *pins) slot(region uint64) *atomic.Int32 {
	return &p.counts[region*0x9e3779b97f4a7c15>>52%pinCounters]
}

func (p *pins) add(bn disk.BlockNum, n int32) {
	p.total.Add(int64(n))
	p.slot(uint64(bn) >> pinRegionBits).Add(n)
}

func (p *pins) any(bn disk.BlockNum, n uint64) bool {
	if n == 0 || p.total.Load() == 0 {
		return false
	}
	first := uint64(bn) >> pinRegionBits
	last := (uint64(bn) + min(n-1, ^uint64(bn))) >> pinRegionBits
	if last-first >= pinCounters {
		return true
	}
	for r := first; r <= last; r++ {
		if p.slot(r).Load() != 0 {
			return true
		}
	}
	return false
}
