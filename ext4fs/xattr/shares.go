package xattr

import (
	"slices"
	"sync"
)

const (
	maxShares    = 8192 // numbers remembered
	maxSameShare = 32   // of one hash
)

// Shares remembers by hash which attribute blocks, or which value inodes,
// there are, so that equal content is stored once. What it gives are hints:
// the caller compares the content, and looks at the reference count. It is
// bounded and forgets the oldest. The zero value is empty; it is safe for
// concurrent use, and its lock is held for no longer than a call.
type Shares struct {
	mu     sync.Mutex
	byHash map[uint32][]uint64
	known  map[uint64]share // by number
	ring   []uint64         // numbers in the order they came; 0 is none
	next   int
}

type share struct {
	hash uint32
	at   int // in the ring
}

// Add notes that block or inode n has content with this hash, which may be
// another one than before. A hash of 0 means not to be shared; of one hash
// only so many are kept.
func (s *Shares) Add(hash uint32, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.known[n]; ok && k.hash == hash {
		return
	}
	s.drop(n)
	if hash == 0 || n == 0 || len(s.byHash[hash]) >= maxSameShare {
		return
	}
	if s.known == nil {
		s.byHash, s.known, s.ring = map[uint32][]uint64{}, map[uint64]share{}, make([]uint64, maxShares)
	}
	s.drop(s.ring[s.next])
	s.ring[s.next] = n
	s.known[n] = share{hash, s.next}
	s.byHash[hash] = append(s.byHash[hash], n)
	s.next = (s.next + 1) % maxShares
}

// Drop forgets a number: it was freed, or takes no more references.
func (s *Shares) Drop(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(n)
}

func (s *Shares) drop(n uint64) {
	k, ok := s.known[n]
	if !ok {
		return
	}
	delete(s.known, n)
	s.ring[k.at] = 0
	list := s.byHash[k.hash]
	if i := slices.Index(list, n); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(s.byHash, k.hash)
		return
	}
	s.byHash[k.hash] = list
}

// Find returns the numbers known for a hash, the newest first.
func (s *Shares) Find(hash uint32) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.byHash[hash])
	slices.Reverse(list)
	return list
}
