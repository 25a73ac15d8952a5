package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// memoryGoal is the memory to get along with: the metadata cache, 64 MiB when
// it is full, and some for the work at hand.
const memoryGoal = 80 << 20

// boundMemory lets the collector run more often near memoryGoal rather than
// let the heap grow to twice what is in use, which is Go's rule otherwise.
// Where more than that is in use, because a directory or the cache asked for
// is large, the bound moves up with it: else the collector would run all the
// time.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return // the user's word counts
	}
	debug.SetMemoryLimit(memoryGoal)
	followHeap(memoryGoal)
}

// followHeap sets the limit anew after each collection, of which a finalizer
// is the sign.
func followHeap(limit int64) {
	sign := new([64]byte)
	runtime.SetFinalizer(sign, func(*[64]byte) {
		next := max(memoryGoal, roomFor(liveHeap()))
		// A change stops all goroutines for a moment: small ones do not count.
		if next > limit || next < limit-limit/8 {
			limit = next
			debug.SetMemoryLimit(limit)
		}
		followHeap(limit)
	})
}

// roomFor is the limit for so much memory in use: an eighth more, so that
// collections do not follow each other too closely. Most of what is in use are
// blocks without pointers, so that a collection costs little.
func roomFor(live int64) int64 { return live + live/8 + 6<<20 }

// liveHeap is what the last collection found in use.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(min(s[0].Value.Uint64(), 1<<62))
}
