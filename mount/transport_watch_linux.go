//go:build !386

package mount

import "time"

const (
	// watchEvery is how long a request may take before its reader counts as
	// waiting.
	watchEvery = time.Millisecond
	// watchCalm is how many times in a row nothing is to be done before the
	// watch sleeps.
	watchCalm = 20
)

// saturated sees to it that somebody takes the next request: the last reader
// has just got one.
func (t *transport) saturated(req []byte) {
	if h, ok := header(req); ok && h.Opcode == opRead {
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

func (t *transport) wakeWatch() {
	if t.watching.CompareAndSwap(false, true) {
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
			if t.readers.Load()-t.waitingReaders() < t.maxIdle {
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
	late := int64(time.Since(t.began) - watchEvery)
	n := int32(0)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ch := range t.channels {
		if at := ch.since.Load(); at != 0 && at < late {
			n++
		}
	}
	return n
}
