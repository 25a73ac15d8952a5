package testimages

import (
	"fmt"
	"io"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// EventKind is what a [Recorder] saw.
type EventKind uint8

// The events.
const (
	EventWrite   EventKind = iota // Data at Off
	EventZero                     // N bytes at Off read as zeros
	EventDiscard                  // N bytes at Off read as anything
	EventSync                     // the events before Covers are durable
	EventMark                     // Mark, from [Recorder.Mark]
)

// Event is one step of the log of a [Recorder]. Data is shared: do not change it.
type Event struct {
	Kind   EventKind
	Off, N int64 // bytes
	Data   []byte
	Covers int
	Mark   any
}

// changes tells whether the event changes content.
func (e *Event) changes() bool { return e.Kind <= EventDiscard }

// Recorder is a device that logs what is written to the one below: the writes,
// in the order in which they took effect, the flushes, and marks of the test.
// The log and the content before its first event make [CrashStates].
//
// Changes go to the device one at a time; reads and flushes run beside them. A
// flush covers what was complete when it began. It is safe for concurrent use.
type Recorder struct {
	w device.Writer

	mu    sync.Mutex // guards what follows; held during a change below
	base  *device.RAM
	log   []Event
	stats RecorderStats
}

// RecorderStats counts what went through a [Recorder] since it was made.
type RecorderStats struct {
	Writes, Bytes, Zeros, Discards, Syncs int64
}

var (
	_ device.Writer       = (*Recorder)(nil)
	_ device.VectorWriter = (*Recorder)(nil)
	_ device.Discarder    = (*Recorder)(nil)
	_ device.Zeroer       = (*Recorder)(nil)
)

// NewRecorder starts a log over w. It copies the content of w, which costs
// nothing if that is a *device.RAM.
func NewRecorder(w device.Writer) (*Recorder, error) {
	r := &Recorder{w: w}
	return r, r.Restart()
}

// Restart drops the log: the content of now is where it begins. Nothing may be
// written meanwhile.
func (r *Recorder) Restart() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	base, err := snapshot(r.w)
	if err == nil {
		r.base, r.log = base, nil
	}
	return err
}

// snapshot is a copy of the content of d.
func snapshot(d device.Device) (*device.RAM, error) {
	if ram, ok := d.(*device.RAM); ok {
		return ram.Clone(), nil
	}
	return device.LoadRAM(d)
}

// Size is the size of the device.
func (r *Recorder) Size() int64 { return r.w.Size() }

// ReadAt reads from the device below.
func (r *Recorder) ReadAt(p []byte, off int64) (int, error) { return r.w.ReadAt(p, off) }

// WriteAt writes and logs what was written, also if that is not all.
func (r *Recorder) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.w.WriteAt(p, off)
	r.wrote(p[:n], off)
	return n, err
}

// WriteVAt writes all buffers as one event.
func (r *Recorder) WriteVAt(bufs [][]byte, off int64) (int, error) { return r.WriteAt(join(bufs), off) }

// join is the content of all buffers in one.
func join(bufs [][]byte) []byte {
	if len(bufs) == 1 {
		return bufs[0]
	}
	var all []byte
	for _, b := range bufs {
		all = append(all, b...)
	}
	return all
}

// wrote logs a write; mu is held.
func (r *Recorder) wrote(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	data := append(make([]byte, 0, len(p)), p...)
	r.log = append(r.log, Event{Kind: EventWrite, Off: off, N: int64(len(p)), Data: data})
	r.stats.Writes++
	r.stats.Bytes += int64(len(p))
}

// Zero zeroes a range of the device, by writing if it knows no better, which is
// one event all the same.
func (r *Recorder) Zero(off, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := device.Zero(r.w, off, n)
	if err == nil && n > 0 {
		r.log = append(r.log, Event{Kind: EventZero, Off: off, N: n})
		r.stats.Zeros++
	}
	return err
}

// Discard discards a range of the device, if it can.
func (r *Recorder) Discard(off, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := device.Discard(r.w, off, n)
	if err == nil && n > 0 {
		r.log = append(r.log, Event{Kind: EventDiscard, Off: off, N: n})
		r.stats.Discards++
	}
	return err
}

// Sync flushes the device; only a flush that succeeded is in the log.
func (r *Recorder) Sync() error {
	r.mu.Lock()
	covers := len(r.log)
	r.mu.Unlock()
	if err := r.w.Sync(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, Event{Kind: EventSync, Covers: min(covers, len(r.log))})
	r.stats.Syncs++
	return nil
}

// Mark notes v in the log: every crash state from here on has it. A test marks
// what it may rely on, such as "fsync of file 7 returned".
func (r *Recorder) Mark(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, Event{Kind: EventMark, Mark: v})
}

// Stats counts since the beginning, whatever Restart dropped.
func (r *Recorder) Stats() RecorderStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Log is what was recorded so far. Recording may go on.
func (r *Recorder) Log() *WriteLog {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &WriteLog{Base: r.base.Clone(), Events: r.log[:len(r.log):len(r.log)]}
}

// WriteLog is the history of a device: its content, and what happened to it.
type WriteLog struct {
	Base   *device.RAM
	Events []Event
}

// Writes counts the events that change content.
func (l *WriteLog) Writes() int {
	n := 0
	for i := range l.Events {
		if l.Events[i].changes() {
			n++
		}
	}
	return n
}

// apply does the event to d.
func (e *Event) apply(d *device.RAM) error {
	switch e.Kind {
	case EventWrite:
		_, err := d.WriteAt(e.Data, e.Off)
		return err
	case EventZero:
		return d.Zero(e.Off, e.N)
	case EventDiscard:
		return d.Discard(e.Off, e.N)
	}
	return nil
}

// String is the event in a few words.
func (e Event) String() string {
	switch e.Kind {
	case EventWrite:
		return fmt.Sprintf("write %d+%d", e.Off, e.N)
	case EventZero:
		return fmt.Sprintf("zero %d+%d", e.Off, e.N)
	case EventDiscard:
		return fmt.Sprintf("discard %d+%d", e.Off, e.N)
	case EventSync:
		return fmt.Sprintf("sync of %d", e.Covers)
	}
	return fmt.Sprintf("mark %v", e.Mark)
}

// readAll reads all of p; the end of the device is no error if p is full.
func readAll(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
