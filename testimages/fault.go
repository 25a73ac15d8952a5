package testimages

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// sectorSize is what a disk writes as a whole or not at all.
const sectorSize = 512

// FaultOps is a set of operations.
type FaultOps uint8

// The operations of a device. A vectored write is one write.
const (
	FaultRead FaultOps = 1 << iota
	FaultWrite
	FaultSync
	FaultZero
	FaultDiscard
)

// Torn says what a write that fails leaves behind.
type Torn uint8

// Ways to fail a write.
const (
	TornNothing Torn = iota // nothing was written
	TornAll                 // all of it, and yet an error
	TornPrefix              // the first sectors, how many the seed decides
	TornSectors             // some sectors, which ones the seed decides
)

// Fault makes operations of a [FaultWriter] fail.
type Fault struct {
	Ops FaultOps
	// Nth is which of the operations that fit fails, counted from 1 since the
	// fault was injected; 0 is 1.
	Nth int
	// Count is how many fail from there on: 0 is one, negative all.
	Count int
	// Off and N limit it to operations that touch these bytes; N = 0 does
	// not. Flushes touch everything.
	Off, N int64
	// Match, if there is one, limits it further.
	Match func(op FaultOps, off, n int64) bool
	// Torn and Seed are for writes.
	Torn Torn
	Seed uint64
	// Err is the error; nil is syscall.EIO.
	Err error
}

// FaultError is what a [FaultWriter] returns. It wraps the Err of the fault.
type FaultError struct {
	Op     FaultOps
	Off, N int64
	Err    error
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("injected fault: %s of %d bytes at %d: %v", e.Op, e.N, e.Off, e.Err)
}

// Unwrap returns the cause.
func (e *FaultError) Unwrap() error { return e.Err }

// String names the operations.
func (o FaultOps) String() string {
	s := ""
	for i, name := range []string{"read", "write", "sync", "zero", "discard"} {
		if o&(1<<i) != 0 {
			if s != "" {
				s += "|"
			}
			s += name
		}
	}
	return s
}

// FaultWriter is a device that fails when it is told to. It is safe for
// concurrent use.
type FaultWriter struct {
	w device.Writer

	mu     sync.Mutex // guards what follows
	faults []*armed
	counts map[FaultOps]int
	hits   int
}

// armed is a fault and how often it fitted.
type armed struct {
	Fault
	seen int
}

var (
	_ device.Writer       = (*FaultWriter)(nil)
	_ device.VectorWriter = (*FaultWriter)(nil)
	_ device.Discarder    = (*FaultWriter)(nil)
	_ device.Zeroer       = (*FaultWriter)(nil)
)

// NewFaultWriter is w without faults yet.
func NewFaultWriter(w device.Writer, faults ...Fault) *FaultWriter {
	f := &FaultWriter{w: w, counts: make(map[FaultOps]int)}
	for _, x := range faults {
		f.Inject(x)
	}
	return f
}

// Inject adds a fault to those that are there.
func (f *FaultWriter) Inject(x Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x.Nth = max(x.Nth, 1)
	if x.Count == 0 {
		x.Count = 1
	}
	if x.Err == nil {
		x.Err = syscall.EIO
	}
	f.faults = append(f.faults, &armed{Fault: x})
}

// Heal removes all faults.
func (f *FaultWriter) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Hits is how many operations failed by faults so far.
func (f *FaultWriter) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// Calls is how many operations of that one kind there were: a run without
// faults tells how many there are to fail.
func (f *FaultWriter) Calls(op FaultOps) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}

// strike counts an operation and finds the fault that hits it.
func (f *FaultWriter) strike(op FaultOps, off, n int64) (*FaultError, Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	var hit *armed
	for _, x := range f.faults {
		if !x.fits(op, off, n) {
			continue
		}
		x.seen++
		if x.seen >= x.Nth && (x.Count < 0 || x.seen < x.Nth+x.Count) && hit == nil {
			hit = x
		}
	}
	if hit == nil {
		return nil, Fault{}
	}
	f.hits++
	fault := hit.Fault
	fault.Seed += uint64(hit.seen) // not the same sectors of each write
	return &FaultError{Op: op, Off: off, N: n, Err: fault.Err}, fault
}

func (x *armed) fits(op FaultOps, off, n int64) bool {
	if x.Ops&op == 0 {
		return false
	}
	if x.N > 0 && op != FaultSync && (off+n <= x.Off || off >= x.Off+x.N) {
		return false
	}
	return x.Match == nil || x.Match(op, off, n)
}

// Size is the size of the device.
func (f *FaultWriter) Size() int64 { return f.w.Size() }

// ReadAt reads, or fails with nothing read.
func (f *FaultWriter) ReadAt(p []byte, off int64) (int, error) {
	if err, _ := f.strike(FaultRead, off, int64(len(p))); err != nil {
		return 0, err
	}
	return f.w.ReadAt(p, off)
}

// WriteAt writes, or fails and leaves behind what the fault says. The count is
// 0 then: nobody can rely on any of it.
func (f *FaultWriter) WriteAt(p []byte, off int64) (int, error) {
	ferr, fault := f.strike(FaultWrite, off, int64(len(p)))
	if ferr == nil {
		return f.w.WriteAt(p, off)
	}
	for _, s := range tear(fault.Torn, fault.Seed, off, int64(len(p))) {
		if _, err := f.w.WriteAt(p[s.from-off:s.to-off], s.from); err != nil {
			return 0, err
		}
	}
	return 0, ferr
}

// WriteVAt is one write of all buffers.
func (f *FaultWriter) WriteVAt(bufs [][]byte, off int64) (int, error) {
	return f.WriteAt(join(bufs), off)
}

// Sync flushes, or fails without.
func (f *FaultWriter) Sync() error {
	if err, _ := f.strike(FaultSync, 0, f.Size()); err != nil {
		return err
	}
	return f.w.Sync()
}

// Zero zeroes, or fails and leaves behind what the fault says.
func (f *FaultWriter) Zero(off, n int64) error {
	ferr, fault := f.strike(FaultZero, off, n)
	if ferr == nil {
		return device.Zero(f.w, off, n)
	}
	for _, s := range tear(fault.Torn, fault.Seed, off, n) {
		if err := device.Zero(f.w, s.from, s.to-s.from); err != nil {
			return err
		}
	}
	return ferr
}

// Discard discards, or fails without.
func (f *FaultWriter) Discard(off, n int64) error {
	if err, _ := f.strike(FaultDiscard, off, n); err != nil {
		return err
	}
	return device.Discard(f.w, off, n)
}

// span is a range of bytes.
type span struct{ from, to int64 }

// tear picks the parts of a write of n bytes at off that reach the disk, in
// whole sectors.
func tear(how Torn, seed uint64, off, n int64) []span {
	end := off + n
	if how == TornAll {
		return []span{{off, end}}
	}
	if how == TornNothing || n <= 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 0x7ea5))
	first := off / sectorSize
	sectors := (end+sectorSize-1)/sectorSize - first
	if how == TornPrefix {
		cut := min((first+rng.Int64N(sectors))*sectorSize, end)
		if cut <= off {
			return nil
		}
		return []span{{off, cut}}
	}
	var parts []span
	// A coin for each sector, but for large writes one for several.
	step := (sectors + 255) / 256
	for s := int64(0); s < sectors; s += step {
		if rng.IntN(2) == 0 {
			continue
		}
		p := span{max((first+s)*sectorSize, off), min((first+s+step)*sectorSize, end)}
		if k := len(parts); k > 0 && parts[k-1].to == p.from {
			parts[k-1].to = p.to
		} else {
			parts = append(parts, p)
		}
	}
	return parts
}
