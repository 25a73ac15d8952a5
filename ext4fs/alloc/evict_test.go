package alloc

import (
	"math"
	"testing"
)

// TestAllocator_evictedBitmap: a bitmap that has left the cache and is then
// changed can still be looked at, although its sum is not up to date.
func TestAllocator_evictedBitmap(t *testing.T) {
	w := newWorld(t, mkfs(t, 8<<20), nil)
	if _, err := w.a.BlockBitmap(0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := w.a.Alloc(w, Request{Len: 3}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.a.NewInode(w, NewInode{Parent: 2}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.a.BlockBitmap(0); err != nil {
			t.Error(err)
		}
		if _, err := w.a.InodeBitmap(0); err != nil {
			t.Error(err)
		}
		w.sync()
		w.cache.Shrink(math.MaxInt64)
	}
}
