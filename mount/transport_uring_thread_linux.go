//go:build !386

package mount

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// uringWake is the completion that has a thread look for answers.
const uringWake = ^uint64(0)

// uringThread waits for the requests of a queue, or of some.
type uringThread struct {
	u       *uring
	cpu     int
	queues  []int
	ring    *ring
	depth   int
	payload int
	mem     [][]byte
	entries []*uringEntry
	id      atomic.Int32 // the thread's

	begin      chan bool  // false: end
	registered chan error // that the kernel has, or has not, the entries
	done       chan struct{}
	ended      atomic.Bool // the connection has
	quit       atomic.Bool // leave at once, whatever the kernel has

	inKernel int   // entries that wait there
	free     []int // and of these, by queue
	away     int   // requests that others answer
	crowd    int   // how many requests ago that there were several at a time, counted down
	lost     int   // entries refused
	unsaid   int64 // since when an answer waits, nanoseconds of the transport's clock; 0: none does

	slow [opCount]atomic.Int32 // how many of the next requests of that kind may wait

	mu       sync.Mutex    // guards what follows
	answered []*uringEntry // by others
	woken    bool          // there is a message about that
}

// start makes the ring on a thread of its own, which then waits for begin.
func (th *uringThread) start(depth, payload int) error {
	th.begin, th.registered, th.done = make(chan bool), make(chan error, 1), make(chan struct{})
	th.depth, th.payload, th.free = depth, payload, make([]int, len(th.queues))
	for i := range th.queues {
		if _, err := th.makeEntries(i); err != nil {
			close(th.done)
			return err
		}
	}
	made := make(chan error)
	go func() {
		defer close(th.done)
		onOwnThread(func() { th.run(made) })
	}()
	return <-made
}

// onOwnThread runs f on a thread that ends with it.
func onOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return // never unlocked: the thread ends with the goroutine
	}
	// The first thread does not end. While it is locked another one takes the
	// goroutine.
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(f)
	}()
	<-done
}

func (th *uringThread) run(made chan<- error) {
	var err error
	if th.ring, err = newRing(len(th.entries)); err == nil {
		err = th.ring.message(uringWake) // whether it works
	}
	if err == nil {
		var set unix.CPUSet
		set.Set(th.cpu)
		err = unix.SchedSetaffinity(0, &set)
	}
	made <- err
	if err != nil || !<-th.begin {
		return
	}
	defer th.u.t.wg.Done()
	th.id.Store(int32(unix.Gettid()))
	defer th.id.Store(0)
	err = th.register()
	th.registered <- err
	if err != nil {
		return // the kernel takes the entries back when the thread ends
	}
	th.loop()
}

// register gives the kernel the entries. It refuses at once or not at all.
func (th *uringThread) register() error {
	for _, e := range th.entries {
		th.offer(e)
	}
	for th.ring.waiting > 0 {
		if err := th.ring.enter(0); err != nil && err != unix.EINTR {
			return err
		}
	}
	for n := range th.ring.completed() {
		if data, result := th.ring.peek(n); data != uringWake && result < 0 {
			return unix.Errno(-result)
		}
	}
	return nil
}

// loop answers requests until the connection has ended and the kernel has given
// all entries back but those that are here.
func (th *uringThread) loop() {
	for (th.inKernel > 0 || !th.ended.Load()) && !th.quit.Load() {
		if th.ring.completed() == 0 || th.ring.waiting > 0 {
			err := th.ring.enter(1)
			th.unsaid = 0
			if err != nil && err != unix.EINTR && err != unix.EAGAIN && err != unix.EBUSY {
				th.u.t.fail(fmt.Errorf("io_uring_enter: %w", err))
				return
			}
		}
		if th.ring.completed()+th.away > 1 {
			th.crowd = crowdLasts
		}
		for th.ring.completed() > 0 {
			th.complete(th.ring.take())
			th.submitLate()
		}
	}
}

// submitLate tells the kernel of answers that have waited for others to come.
func (th *uringThread) submitLate() {
	if th.unsaid != 0 && th.ring.completed() > 0 && th.u.t.clock()-th.unsaid > int64(uringLate) {
		_ = th.ring.enter(0) // what remains is told with the next
		th.unsaid = 0
	}
}

// complete takes a completion.
func (th *uringThread) complete(data uint64, result int32) {
	if data == uringWake {
		th.collect()
		return
	}
	th.inKernel--
	e := th.entries[data]
	th.free[e.queue]--
	switch errno := unix.Errno(-result); {
	case result >= 0:
		th.take(e)
	case errno == unix.ENOTCONN || errno == unix.ECONNABORTED || errno == unix.ENODEV || errno == unix.ECANCELED:
		th.ended.Store(true)
	default:
		th.u.t.log.Error("answer refused", "by", "io_uring", "error", errno)
		if th.lost++; th.lost < maxReadErrors && !th.ended.Load() {
			th.offer(e) // as a new one
		}
	}
}

// collect commits what others have answered.
func (th *uringThread) collect() {
	th.mu.Lock()
	list := th.answered
	th.answered, th.woken = nil, false
	th.mu.Unlock()
	for _, e := range list {
		th.away--
		th.commit(e, th.u.t.clock())
	}
}

// give hands an answered entry back to its thread, from another one.
func (th *uringThread) give(e *uringEntry) {
	th.mu.Lock()
	th.answered = append(th.answered, e)
	wake := !th.woken
	th.woken = true
	th.mu.Unlock()
	if wake {
		_ = th.ring.message(uringWake) // a thread that has ended needs none
	}
}

// take answers a request, or has it answered.
func (th *uringThread) take(e *uringEntry) {
	t := th.u.t
	if th.crowd > 0 {
		th.crowd--
	}
	e.answered, e.detached, e.unique = false, false, e.in().Unique
	op, req := e.in().Opcode%opCount, e.request()
	if req == nil {
		t.log.Warn("malformed request", "by", "io_uring")
		e.fail(fuse.EIO)
		th.commit(e, t.clock())
		return
	}
	if th.mayWait(op, req) {
		t.long.Add(1)
		go th.handleAway(e, op, req)
	} else if now, here := th.handle(e, op, req); here {
		th.commit(e, now)
		return
	}
	th.away++
	if th.free[e.queue] <= th.depth/uringSpare {
		th.grow(e.queue)
	}
}

// grow adds entries to a queue. The kernel gives them only requests that come
// from now on: those that wait for an entry get the next that is committed.
func (th *uringThread) grow(queue int) {
	if len(th.entries) >= uringThreadMax {
		return
	}
	list, err := th.makeEntries(queue)
	if err != nil {
		th.u.t.log.Debug("no more io_uring entries", "error", err)
		return
	}
	th.u.t.mu.Lock()
	for _, e := range list {
		th.u.t.channels = append(th.u.t.channels, &e.ch)
	}
	th.u.t.mu.Unlock()
	for _, e := range list {
		th.offer(e)
	}
}

// handle has a request answered into its entry and returns the time. It reports
// false if somebody else has the entry now, who answers later.
func (th *uringThread) handle(e *uringEntry, op uint32, req []byte) (now int64, here bool) {
	t := th.u.t
	start := t.clock()
	t.handle(&e.ch, req)
	e.ch.since.Store(0)
	now = t.clock()
	if e.detached {
		return now, false
	}
	if !e.answered {
		e.fail(fuse.EIO)
	}
	th.learn(op, time.Duration(now-start), len(req)+int(e.frame().payload))
	return now, true
}

// handleAway is handle in a goroutine of its own.
func (th *uringThread) handleAway(e *uringEntry, op uint32, req []byte) {
	defer th.u.t.long.Done()
	if _, here := th.handle(e, op, req); here {
		th.give(e)
	}
}
