package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
	"unsafe"
)

// The bound must make way for what is in use, and come back.
func TestBoundMemory(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	boundMemory()
	if got := debug.SetMemoryLimit(-1); got != memoryGoal {
		t.Errorf("limit %d at the start", got)
	}
	large := make([]byte, 3*memoryGoal)
	wait := func(good func(int64) bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !good(debug.SetMemoryLimit(-1)); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				live, _ := heapInUse()
				t.Fatalf("limit %d, %d in use", debug.SetMemoryLimit(-1), live)
			}
			runtime.GC()
		}
	}
	wait(func(n int64) bool { return n > int64(len(large)) && n < math.MaxInt64 })
	runtime.KeepAlive(large)
	wait(func(n int64) bool { return n < 2*memoryGoal })

	// Of a server what has pointers counts twice, and nothing else.
	t.Cleanup(func() { serving.Store(false) })
	boundServing()
	large = make([]byte, 3*memoryGoal)
	wait(func(n int64) bool { return n > int64(len(large)) && n < int64(len(large))*3/2 })
	runtime.KeepAlive(large)
	pointers := make([]*byte, 3*memoryGoal/unsafe.Sizeof(&large[0]))
	wait(func(n int64) bool { return n > 2*3*memoryGoal && n < 3*3*memoryGoal })
	runtime.KeepAlive(pointers)
	wait(func(n int64) bool { return n < 2*memoryGoal })
}

func TestBoundMemory_user(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "1GiB")
	before := debug.SetMemoryLimit(-1)
	boundMemory()
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("limit %d, was %d", got, before)
	}
}
