package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// memoryGoal is the memory to get along with: the metadata cache, 64 MiB when
// it is full, and some for the work at hand.
const memoryGoal = 80 << 20

// writeGoal is that of commands that change an image: the blocks of up to three
// transactions are held besides, each in two versions while it is committed.
const writeGoal = 256 << 20

// goal is the one that counts now.
var goal atomic.Int64

// serving: see boundServing.
var serving atomic.Bool

// boundMemory lets the collector run more often near memoryGoal rather than
// let the heap grow to twice what is in use, which is Go's rule otherwise.
// Where more than that is in use, because a directory or the cache asked for
// is large, the bound moves up with it: else the collector would run all the
// time.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return // the user's word counts
	}
	goal.Store(memoryGoal)
	debug.SetMemoryLimit(memoryGoal)
	followHeap(memoryGoal)
}

// boundWriting moves the bound to writeGoal.
func boundWriting() {
	if goal.CompareAndSwap(memoryGoal, writeGoal) {
		debug.SetMemoryLimit(writeGoal)
	}
}

// boundServing is for a server, which holds an inode in memory for each one that
// the kernel knows, up to millions: what has pointers may grow to twice its size,
// as Go has it, or most of the server's time would go to looking through them.
func boundServing() { serving.Store(true) }

// followHeap sets the limit anew after each collection, of which a finalizer
// is the sign.
func followHeap(limit int64) {
	sign := new([64]byte)
	runtime.SetFinalizer(sign, func(*[64]byte) {
		next := max(goal.Load(), roomFor(heapInUse()))
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
// blocks without pointers, so that a collection costs little. Where that is not
// so, what has pointers counts once more.
func roomFor(live, pointers int64) int64 {
	room := live + live/8 + 6<<20
	if serving.Load() {
		room += pointers
	}
	return room
}

// heapInUse is what the last collection found in use, and how much of that it
// had to look through for pointers.
func heapInUse() (live, pointers int64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	metrics.Read(s)
	get := func(v metrics.Value) int64 {
		if v.Kind() != metrics.KindUint64 {
			return 0
		}
		return int64(min(v.Uint64(), 1<<61))
	}
	return get(s[0].Value), get(s[1].Value)
}
