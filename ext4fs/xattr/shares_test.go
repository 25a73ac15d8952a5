package xattr_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/xattr"
)

func TestShares(t *testing.T) {
	var s xattr.Shares
	s.Drop(1)
	s.Add(0, 9)
	if s.Find(0) != nil || s.Find(5) != nil {
		t.Error("found in nothing")
	}
	s.Add(5, 1)
	s.Add(5, 2)
	s.Add(5, 1)
	s.Add(6, 3)
	if got := s.Find(5); !slices.Equal(got, []uint64{2, 1}) {
		t.Error(got)
	}
	s.Add(6, 2) // the block has other content now
	s.Drop(1)
	if got := s.Find(6); !slices.Equal(got, []uint64{2, 3}) || s.Find(5) != nil {
		t.Error(got, s.Find(5))
	}
}

// Hints are never of another hash, and there are never too many.
func TestShares_bounded(t *testing.T) {
	var s xattr.Shares
	r := rand.New(rand.NewPCG(1, 1))
	hash := map[uint64]uint32{}
	for range 100_000 {
		n := 1 + r.Uint64N(20_000)
		if r.IntN(5) == 0 {
			s.Drop(n)
			delete(hash, n)
			continue
		}
		hash[n] = 1 + r.Uint32N(2000)
		s.Add(hash[n], n)
	}
	total := 0
	for h := range uint32(2001) {
		list := s.Find(h)
		total += len(list)
		for _, n := range list {
			if hash[n] != h {
				t.Fatalf("%d has %d, not %d", n, hash[n], h)
			}
		}
	}
	if total < 4000 || total > 8192 {
		t.Errorf("%d hints", total)
	}
}
