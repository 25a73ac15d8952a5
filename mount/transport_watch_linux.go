//go:build !386

package mount

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// watchEvery is how long a request may take before its reader counts as
	// waiting.
	watchEvery = time.Millisecond
	// watchCalm is how many times in a row nothing is to be done before the
	// watch sleeps.
	watchCalm = 20
	// lookEvery is how long it is not looked for requests that queue up, after none
	// were found: the look costs one part in ten of what a request does.
	lookEvery = 100 * time.Microsecond
	// queuedOften is how many requests in a row have to find another one behind
	// them to get another reader: a client that goes on while the close of its
	// last file is still under way makes pairs.
	queuedOften = 4
	// crowdLasts is for how many requests there count as being several clients
	// after requests have queued up.
	crowdLasts = 256
)

// maxIdle is how many readers may wait for requests. The kernel wakes them in
// turn: with one client a second one, on another processor, makes everything half
// as fast again.
func (t *transport) maxIdle() int32 {
	if t.crowd.Load() > 0 {
		return t.running
	}
	return 1
}

// saturated sees to it that somebody takes the next request: the last reader
// has just got one.
func (t *transport) saturated(fd int, req []byte, now time.Duration) {
	if h, ok := header(req); ok && h.Opcode == opRead {
		if t.readers.Load() > 1 {
			t.crowd.Store(crowdLasts)
		}
		t.spawn()
		return
	}
	if t.queue(fd, now) && t.readers.Load()-t.waitingReaders() < t.running {
		t.spawn()
		return
	}
	select {
	case <-t.ended: // and the watch with it
		t.spawn()
	default:
		t.wakeWatch()
	}
}

// queue reports whether requests queue up, where it is time to look: once some
// do, at every request.
func (t *transport) queue(fd int, now time.Duration) bool {
	if t.queued.Load() == 0 && now-time.Duration(t.looked.Load()) < lookEvery {
		return false
	}
	t.looked.Store(int64(now))
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(p[:], 0); n == 0 || err != nil {
		t.queued.Store(0)
		return false
	}
	if t.queued.Add(1) < queuedOften {
		return false
	}
	t.queued.Store(0)
	t.crowd.Store(crowdLasts)
	return true
}

func (t *transport) wakeWatch() {
	if !t.watching.Load() && t.watching.CompareAndSwap(false, true) {
		t.watch <- struct{}{} // has room: only who has changed watching sends
	}
}

// watchReaders starts readers in place of those whose requests wait, until the
// first reader ends: the device has ended then.
func (t *transport) watchReaders() {
	defer t.wg.Done()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		tick.Stop()
		select {
		case <-t.ended:
			return
		case <-t.watch:
		}
		tick.Reset(watchEvery)
		for calm := 0; calm < watchCalm; calm++ {
			select {
			case <-t.ended:
				return
			case <-tick.C:
			}
			if t.idle.Load() > 0 {
				continue
			}
			calm = 0
			if t.readers.Load()-t.waitingReaders() < 1 {
				t.spawn()
			}
		}
		t.watching.Store(false)
		if t.idle.Load() <= 0 {
			t.wakeWatch() // what was saturated just before has not woken anybody
		}
	}
}

// waitingReaders counts the readers whose request takes long.
func (t *transport) waitingReaders() int32 {
	late := int64(t.uptime() - watchEvery)
	n := int32(0)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ch := range t.channels {
		if at := ch.since.Load(); ch.fd >= 0 && at != 0 && at < late {
			n++
		}
	}
	return n
}
