package device

import (
	"os"
	"slices"
	"sync"
)

const (
	// behindPiece is how much one write of what was gathered may have.
	behindPiece = 1 << 20
	// behindPieces is how many pieces may wait: who is faster than the host
	// waits with them.
	behindPieces = 8
	// behindDirect is the length from which on a write is not gathered.
	behindDirect = 256 << 10
	// behindStart is how much is written before the host is told to begin
	// with bringing it to the disk.
	behindStart = 8 << 20
	// behindCheck is how much is taken between two looks at the host's free
	// space, and behindRoom how much has to be there.
	behindCheck = 16 << 20
	behindRoom  = 256 << 20
)

// behind is a hostWriter that gathers small writes that follow each other, and
// passes them on from a goroutine of its own, in the order in which they came.
// It has that goroutine only while there is something to do. Reads see what was
// taken, and Sync waits for it. A write that fails later breaks the device for
// good: everything fails from then on, Sync before all, so that no transaction
// that wants the data is committed. Where the host's disk is nearly full nothing
// is gathered, and its error meets the write that has it.
type behind struct {
	*hostWriter

	mu      sync.Mutex
	changed sync.Cond   // a piece has left the queue
	now     *gathered   // gets what follows it
	queue   []*gathered // full or ended; the first one may be under way
	running bool        // the goroutine is there
	failed  error

	pushed, passed uint64 // pieces that were queued, that left the queue

	// What was written and the host was not told to begin with.
	lo, hi, fresh int64
	// unchecked is how much may be taken before the next look for space.
	unchecked int64
}

// gathered is a run of bytes on its way.
type gathered struct {
	off int64
	n   int
	buf *[behindPiece]byte
}

func (g *gathered) end() int64 { return g.off + int64(g.n) }

var behindBuffers = sync.Pool{New: func() any { return new([behindPiece]byte) }}

func newBehind(h *hostWriter) *behind {
	b := &behind{hostWriter: h}
	b.changed.L = &b.mu
	return b
}

// blockBehind is behind for a block device.
type blockBehind struct{ *behind }

func (b blockBehind) sectorSize() int { return b.sector }

// WriteAt takes p, or writes it if it is long.
func (b *behind) WriteAt(p []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(p)), b.size); err != nil {
		return 0, err
	}
	if len(p) >= behindDirect || !b.mayTake(int64(len(p))) {
		if err := b.settle(off, int64(len(p))); err != nil {
			return 0, err
		}
		n, err := b.hostWriter.WriteAt(p, off)
		b.noteFresh(off, int64(n))
		return n, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.take(p, off)
}

// WriteVAt is WriteAt of all of bufs.
func (b *behind) WriteVAt(bufs [][]byte, off int64) (int, error) {
	sum := total(bufs)
	if err := inside("write", off, sum, b.size); err != nil {
		return 0, err
	}
	if sum >= behindDirect || !b.mayTake(sum) {
		if err := b.settle(off, sum); err != nil {
			return 0, err
		}
		n, err := b.hostWriter.WriteVAt(bufs, off)
		b.noteFresh(off, int64(n))
		return n, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	done := 0
	for _, p := range bufs {
		n, err := b.take(p, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// mayTake looks now and then whether the host has room for what is taken.
func (b *behind) mayTake(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unchecked < n {
		if b.sector == 0 && !hostHasRoom(b.f, behindRoom) {
			return false
		}
		b.unchecked = behindCheck
	}
	b.unchecked -= n
	return true
}

// take copies p. Called with mu, which it may give up meanwhile.
func (b *behind) take(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		if b.failed != nil {
			return done, b.failed
		}
		at := off + int64(done)
		if b.now != nil && (b.now.end() != at || b.now.n == behindPiece) {
			b.push()
		}
		if b.now == nil {
			if len(b.queue) >= behindPieces {
				b.changed.Wait()
				continue
			}
			b.now = &gathered{off: at, buf: behindBuffers.Get().(*[behindPiece]byte)}
		}
		n := copy(b.now.buf[b.now.n:], p[done:])
		b.now.n += n
		done += n
	}
	return done, nil
}

// push queues what was gathered. Called with mu.
func (b *behind) push() {
	b.queue = append(b.queue, b.now)
	b.now = nil
	b.pushed++
	b.wake()
}

// wake sees to it that the goroutine is there. Called with mu.
func (b *behind) wake() {
	if !b.running {
		b.running = true
		go b.run()
	}
}

// run writes until nothing is left to do.
func (b *behind) run() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case len(b.queue) > 0:
			g := b.queue[0]
			if b.failed == nil {
				b.mu.Unlock()
				_, err := b.hostWriter.WriteAt(g.buf[:g.n], g.off)
				b.mu.Lock()
				b.failed = b.durable(err)
				b.addFresh(g.off, int64(g.n))
			}
			behindBuffers.Put(g.buf)
			b.queue = slices.Delete(b.queue, 0, 1)
			b.passed++
			b.changed.Broadcast()
		case b.fresh >= behindStart:
			off, n := b.lo, b.hi-b.lo
			b.fresh = 0
			b.mu.Unlock()
			startWriting(b.f, off, n)
			b.mu.Lock()
		default:
			b.running = false
			return
		}
	}
}

// noteFresh counts what was written past the queue.
func (b *behind) noteFresh(off, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addFresh(off, n)
	if b.fresh >= behindStart {
		b.wake()
	}
}

// addFresh counts what was written. Called with mu.
func (b *behind) addFresh(off, n int64) {
	if b.fresh == 0 {
		b.lo, b.hi = off, off+n
	}
	b.lo, b.hi, b.fresh = min(b.lo, off), max(b.hi, off+n), b.fresh+n
}

// settle waits until nothing is on its way to [off, off+n).
func (b *behind) settle(off, n int64) error {
	touches := func(g *gathered) bool { return g.off < off+n && off < g.end() }
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil && b.now != nil && touches(b.now) {
		b.push()
	}
	for b.failed == nil && slices.ContainsFunc(b.queue, touches) {
		b.changed.Wait()
	}
	return b.failed
}

// drain waits until everything that was taken before is written, or failed.
func (b *behind) drain() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != nil {
		b.push()
	}
	for all := b.pushed; b.passed < all; {
		b.changed.Wait()
	}
	return b.failed
}

// ReadAt reads what was written last.
func (b *behind) ReadAt(p []byte, off int64) (int, error) {
	if err := b.settle(off, int64(len(p))); err != nil {
		return 0, err
	}
	return b.hostWriter.ReadAt(p, off)
}

// HostRange maps bytes that have reached the file.
func (b *behind) HostRange(off, n int64) (*os.File, int64, int64) {
	if b.settle(off, n) != nil {
		return nil, 0, 0
	}
	return b.hostWriter.HostRange(off, n)
}

// CopyHostAt copies after what came before.
func (b *behind) CopyHostAt(f *os.File, from, off, n int64) (int64, error) {
	if err := b.settle(off, n); err != nil {
		return 0, err
	}
	return b.hostWriter.CopyHostAt(f, from, off, n)
}

// Sync makes durable what was taken.
func (b *behind) Sync() error {
	if err := b.drain(); err != nil {
		return err
	}
	return b.hostWriter.Sync()
}

// WriteSyncAt writes p after what came before.
func (b *behind) WriteSyncAt(p []byte, off int64) (int, error) {
	if err := b.settle(off, int64(len(p))); err != nil {
		return 0, err
	}
	return b.hostWriter.WriteSyncAt(p, off)
}

// Refresh, Discard and Zero come after what was taken before them.
func (b *behind) Refresh(off, n int64) error {
	if err := b.settle(off, n); err != nil {
		return err
	}
	return b.hostWriter.Refresh(off, n)
}

// Discard gives back space.
func (b *behind) Discard(off, n int64) error {
	if err := b.settle(off, n); err != nil {
		return err
	}
	return b.hostWriter.Discard(off, n)
}

// Zero makes zeros.
func (b *behind) Zero(off, n int64) error {
	if err := b.settle(off, n); err != nil {
		return err
	}
	return b.hostWriter.Zero(off, n)
}
