package cache

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// shard is one part of the cache. Everything but the chains' reading side and
// the counters is behind mu.
type shard struct {
	mu sync.Mutex // guards all below but for atomics; no I/O, no other lock under it

	chains    []atomic.Pointer[Buffer] // by hash; read without mu, changed under it
	chainMask uint64

	capacity int // in blocks
	waiting  int // share of the capacity that first-timers have
	pinned   int // buffers in chains that are in no queue
	recent   queue
	main     queue
	ghosts   []disk.BlockNum // numbers+1 of blocks that left recent, by hash
	inFlight map[disk.BlockNum]*flight

	misses, evictions, reads atomic.Uint64

	_ [64]byte // neighbours do not share a cache line
}

// maxChains bounds the table of a shard whose cache is very large; chains grow
// longer then.
const maxChains = 1 << 16

func (s *shard) init(capacity int) {
	s.capacity = max(capacity, 1)
	// A quarter for first-timers is what the inventors of 2Q propose.
	s.waiting = max(s.capacity/4, 1)
	n := min(1<<bits.Len(uint(s.capacity-1)), maxChains)
	s.chains = make([]atomic.Pointer[Buffer], n)
	s.chainMask = uint64(n - 1)
	// A block that comes back after up to about one capacity of others is
	// remembered. Numbers that collide push each other out, which only makes
	// the memory a little shorter.
	s.ghosts = make([]disk.BlockNum, n)
	s.inFlight = make(map[disk.BlockNum]*flight)
}

// slot is the chain and the ghost of a hash. The shard was chosen by its top
// bits, so others are used here.
func (s *shard) slot(h uint64) uint64 { return h >> 32 & s.chainMask }

// find looks for a block without a lock. It may miss one that is coming or
// going at this moment.
func (s *shard) find(h uint64, bn disk.BlockNum) *Buffer {
	b := s.chains[s.slot(h)].Load()
	for b != nil && b.block != bn {
		b = b.chain.Load()
	}
	return b
}

// claim finds the block, or the flight that is bringing it, or makes this
// caller the one who reads it (mine): it must then call land and close done.
func (s *shard) claim(h uint64, bn disk.BlockNum) (b *Buffer, f *flight, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b = s.find(h, bn); b != nil {
		return b, nil, false
	}
	s.misses.Add(1)
	if f = s.inFlight[bn]; f != nil {
		return nil, f, false
	}
	f = newFlight(bn)
	s.inFlight[bn] = f
	return nil, f, true
}

// join puts the block into an existing flight; false if it is there already
// or on its way.
func (s *shard) join(h uint64, bn disk.BlockNum, f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight[bn] != nil || s.find(h, bn) != nil {
		return false
	}
	s.inFlight[bn] = f
	return true
}

// land ends the flight of a block: what was read becomes visible, unless the
// block was installed or dropped meanwhile: then it is of the past.
func (s *shard) land(h uint64, bn disk.BlockNum, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight[bn] != f {
		return
	}
	delete(s.inFlight, bn)
	if b := f.buffer(bn); b != nil {
		s.makeRoom()
		s.enqueue(h, b)
		s.hang(h, b)
	}
}

// makeRoom evicts until there is place for one more buffer. Pinned ones take
// from the capacity, but leave a quarter of it to the others: readers need
// some room whatever writers do. Called with mu.
func (s *shard) makeRoom() {
	room := max(s.capacity-s.pinned, s.capacity/4, 1)
	for s.recent.n+s.main.n >= room {
		s.evict()
	}
}

// enqueue lets the clock know b. Called with mu.
func (s *shard) enqueue(h uint64, b *Buffer) {
	slot := s.slot(h)
	switch {
	case s.ghosts[slot] == b.block+1:
		s.ghosts[slot] = 0
		s.main.push(b)
	case b.Priority() == PriorityHigh:
		b.lives = highLives
		s.main.push(b)
	default:
		s.recent.push(b)
	}
}

// hang puts b into its chain. Called with mu.
func (s *shard) hang(h uint64, b *Buffer) {
	slot := s.slot(h)
	b.chain.Store(s.chains[slot].Load())
	s.chains[slot].Store(b)
}

// highLives is how many rounds of the clock a block of high priority stays
// without being used.
const highLives = 3

// evict drops one buffer. Called with mu, and with at least one buffer.
func (s *shard) evict() {
	s.evictions.Add(1)
	for s.recent.n > 0 && (s.main.n == 0 || s.recent.n > s.waiting) {
		b := s.recent.oldest
		if b.Priority() == PriorityHigh {
			b.lives = highLives
			s.recent.remove(b)
			s.main.push(b)
			continue
		}
		s.ghosts[s.slot(hash(b.block))] = b.block + 1
		s.drop(b)
		return
	}
	// Second chance. Each turn clears one mark or takes one life; readers may
	// set marks again meanwhile, so that the number of turns is bounded here.
	for range s.main.n * (1 + highLives) {
		b := s.main.oldest
		switch {
		case b.used.Load():
			b.used.Store(false)
			if b.Priority() == PriorityHigh {
				b.lives = highLives
			}
		case b.lives > 0:
			b.lives--
		default:
			s.drop(b)
			return
		}
		s.main.remove(b)
		s.main.push(b)
	}
	s.drop(s.main.oldest)
}

// drop takes b out of its queue, if it is in one, and its chain. Called with
// mu.
func (s *shard) drop(b *Buffer) {
	if b.queue != nil {
		b.queue.remove(b)
	}
	s.unlink(b)
}

// unlink takes b out of its chain. Called with mu.
func (s *shard) unlink(b *Buffer) {
	if p := s.link(hash(b.block), b); p != nil {
		p.Store(b.chain.Load())
	}
	// A reader that stands on b now sees the end of the chain: it may miss
	// its block, and then looks again under the lock.
	b.chain.Store(nil)
}

// link is the pointer that leads to b, nil if b is in no chain. Called with mu.
func (s *shard) link(h uint64, b *Buffer) *atomic.Pointer[Buffer] {
	p := &s.chains[s.slot(h)]
	for x := p.Load(); x != nil; x = p.Load() {
		if x == b {
			return p
		}
		p = &x.chain
	}
	return nil
}

// shrink evicts up to n buffers and returns how many there were.
func (s *shard) shrink(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.recent.n+s.main.n)
	for range n {
		s.evict()
	}
	return n
}
