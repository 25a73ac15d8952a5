//go:build !386

package mount

import (
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The frame of the protocol: every request begins with an InHeader, every
// answer with an OutHeader. Fields are in the machine's own byte order and
// aligned to 8 bytes.
const (
	inHeaderLen  = int(unsafe.Sizeof(fuse.InHeader{}))
	outHeaderLen = int(unsafe.Sizeof(fuse.OutHeader{}))
	writeInLen   = int(unsafe.Sizeof(fuse.WriteIn{}))
)

const (
	// maxWrite is the largest data of one READ or WRITE that is asked for; the
	// kernel's fs.fuse.max_pages_limit may lower it.
	maxWrite = 1 << 20
	// maxReaders bounds the goroutines that take requests from the device, and
	// so the requests that wait for the image at a time, each with its buffers.
	maxReaders = 32
	// maxWarm is how many channels that no reader holds keep their memory.
	maxWarm = 8
	// maxDetached bounds requests that wait long outside of the readers.
	maxDetached = 1024
	// maxReadErrors is how many unexpected errors in a row end a reader.
	maxReadErrors = 100
	// smallLen holds the structured part of any answer.
	smallLen = 256
)

// transport carries requests from a FUSE device to a file system and the
// answers back. The kernel may be behind the device, or in tests a socket.
//
// Readers take requests and answer them themselves: no hand-over between
// goroutines is in the way of a request. One is enough for one client. When
// requests queue up there come to be as many as processors, and up to maxReaders
// in place of those whose requests wait for the image: at once for a READ, which
// may well wait, else by the watch. Requests that may wait for long (locks,
// fsync) are answered by goroutines of their own.
type transport struct {
	raw   fuse.RawFileSystem
	fast  fastPath
	proto *fuse.ProtocolServer
	stats *opStats
	log   *slog.Logger
	trace bool // log every request
	init  initReply
	probe pollProbe
	uring *uring // nil: everything comes by the device

	looked   atomic.Int64  // when it was looked for requests that queue up, nanoseconds of the transport's clock
	queued   atomic.Int32  // how often in a row some were found
	crowd    atomic.Int32  // how many requests ago that several worked at once, counted down
	watching atomic.Bool   // the watch is at work
	watch    chan struct{} // wakes the watch
	ended    chan struct{} // closed when the first reader has ended
	endOnce  sync.Once

	life    sync.RWMutex // held while a notice is written; close takes it alone
	began   time.Time    // of the transport's clock
	running int32        // how many readers may be at work, beside those that wait for the image

	fd       int // the device; it belongs to the transport; -1 once closed
	clone    bool
	mayURing bool // use io_uring if the kernel offers it

	wg       sync.WaitGroup // readers and the watch
	long     sync.WaitGroup // detached requests
	readers  atomic.Int32
	idle     atomic.Int32
	inFlight atomic.Int32
	detached chan struct{} // one element per detached request
	atEnd    func() error  // what the end of the mount waits for, see Device; nil for nothing
	atEnded  atomic.Bool   // it was called

	mu       sync.Mutex          // guards what follows
	channels []*channel          // all that were made
	parked   []*channel          // those that no reader holds
	waiting  map[uint64]struct{} // the detached requests, by their unique numbers
	err      error               // the first that ended a reader
}

// channel takes one request at a time and has room for its answer; one reader
// holds it. Those of the device have fd, in and mapIn, others no descriptor (-1).
type channel struct {
	way                       // where answers go
	out     []byte            // room for an answer's payload, page-aligned
	small   []byte            // room for the structured part of an answer; other channels than the device's may have out here
	hdr     *fuse.OutHeader   // of answers
	since   atomic.Int64      // when the request at work was taken, nanoseconds of the transport's clock; 0: none
	current atomic.Uint64     // the request being answered by the fast path; 0: none
	list    fuse.DirEntryList // of READDIR, to allocate none
	rename  fuse.RenameIn     // of RENAME

	fd    int
	own   bool   // fd is a clone, closed with the channel
	in    []byte // requests are read here: the data of a WRITE begins a page
	mapIn []byte // the memory that in lies in, and before it hdr and small
}

// newTransport makes a transport on fd, which it owns from now on.
func newTransport(fd int, raw fuse.RawFileSystem, o *transportOptions, st *opStats) *transport {
	t := &transport{
		raw: raw, stats: st, log: o.Logger, trace: o.Trace, fd: fd, clone: true, mayURing: o.URing,
		watch: make(chan struct{}, 1), ended: make(chan struct{}), began: time.Now(),
		waiting: map[uint64]struct{}{}, detached: make(chan struct{}, maxDetached), running: int32(min(max(runtime.GOMAXPROCS(0), 2), maxReaders)),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.init = newInitReply(raw, o)
	t.fast = newFastPath(raw)
	t.proto = fuse.NewProtocolServer(raw, t.init.mountOptions(t.log))
	return t
}

// newChannel makes a channel: the first uses the device itself, each further
// one a clone, whose queue of answers is its own; where there are no clones,
// all share the device.
func (t *transport) newChannel() (*channel, error) {
	page := syscall.Getpagesize()
	mapIn, err := unix.Mmap(-1, 0, page+t.init.maxWrite+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("request buffer: %w", err)
	}
	out, err := unix.Mmap(-1, 0, t.init.maxWrite+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		_ = unix.Munmap(mapIn)
		return nil, fmt.Errorf("answer buffer: %w", err)
	}
	// The answer's header and its structured part lie side by side: one piece for
	// the kernel.
	ch := &channel{
		fd: t.fd, mapIn: mapIn, in: mapIn[page-writeInLen:], out: out,
		hdr: (*fuse.OutHeader)(unsafe.Pointer(&mapIn[0])), small: mapIn[outHeaderLen : outHeaderLen+smallLen],
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clone && len(t.channels) > 0 {
		if fd, err := cloneDevice(t.fd); err == nil {
			ch.fd, ch.own = fd, true
		} else {
			t.clone = false
		}
	}
	ch.way = &device{fd: ch.fd}
	t.channels = append(t.channels, ch)
	return ch, nil
}

// take returns a channel that no reader holds.
func (t *transport) take() (*channel, error) {
	t.mu.Lock()
	if n := len(t.parked); n > 0 {
		ch := t.parked[n-1]
		t.parked = t.parked[:n-1]
		t.mu.Unlock()
		return ch, nil
	}
	t.mu.Unlock()
	return t.newChannel()
}

// park puts a channel aside. When many are there its memory is given back.
func (t *transport) park(ch *channel) {
	t.mu.Lock()
	warm := len(t.parked) < maxWarm
	t.mu.Unlock()
	if !warm {
		_ = unix.Madvise(ch.mapIn, unix.MADV_DONTNEED)
		_ = unix.Madvise(ch.out, unix.MADV_DONTNEED)
	}
	t.mu.Lock()
	t.parked = append(t.parked, ch)
	t.mu.Unlock()
}

// close frees everything. No reader may run.
func (t *transport) close() {
	t.life.Lock()
	defer t.life.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ch := range t.channels {
		if ch.own {
			_ = unix.Close(ch.fd)
		}
		if ch.mapIn != nil {
			_ = unix.Munmap(ch.mapIn)
			_ = unix.Munmap(ch.out)
		}
	}
	t.channels, t.parked = nil, nil
	if t.uring != nil {
		t.uring.free()
	}
	if t.fd >= 0 {
		_ = unix.Close(t.fd)
		t.fd = -1
	}
}

// begin starts the first reader.
func (t *transport) begin() {
	t.spawn()
	t.wg.Add(1)
	go t.watchReaders()
	if t.uring != nil {
		t.wg.Add(1)
		go t.uring.endWithDevice()
	}
}

// serve returns when the device has ended and all requests are answered, and
// frees everything. The error is that of a device which failed.
func (t *transport) serve() error {
	t.wg.Wait()
	t.cancelLong()
	t.raw.OnUnmount()
	t.close()
	return t.err
}

// cancelLong has the detached requests end, which nobody waits for any more.
func (t *transport) cancelLong() {
	done := make(chan struct{})
	go func() { t.long.Wait(); close(done) }()
	// A request that is just about to begin cannot be cancelled yet: once more.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		t.mu.Lock()
		list := slices.Collect(maps.Keys(t.waiting))
		t.mu.Unlock()
		for _, unique := range list {
			t.cancel(unique)
		}
		select {
		case <-done:
			return
		case <-again.C:
		}
	}
}

// cancel does what an INTERRUPT of a request does.
func (t *transport) cancel(unique uint64) {
	in := fuse.InterruptIn{Unique: unique}
	in.Opcode, in.Length = opInterrupt, uint32(unsafe.Sizeof(in))
	req := (*[unsafe.Sizeof(in)]byte)(unsafe.Pointer(&in))[:]
	t.proto.HandleRequest([][]byte{req}, [][]byte{make([]byte, smallAnswer)})
}

// spawn starts a reader, if there may be another one.
func (t *transport) spawn() {
	if t.readers.Add(1) > maxReaders {
		t.readers.Add(-1)
		return
	}
	ch, err := t.take()
	if err != nil {
		t.readers.Add(-1)
		t.fail(err)
		return
	}
	t.idle.Add(1)
	t.wg.Add(1)
	go t.loop(ch)
}

// fail remembers the first error; it matters when no reader is left.
func (t *transport) fail(err error) {
	t.log.Error("fuse transport", "error", err)
	t.mu.Lock()
	if t.err == nil {
		t.err = err
	}
	t.mu.Unlock()
}

// loop is one reader.
func (t *transport) loop(ch *channel) {
	defer t.wg.Done()
	defer t.readers.Add(-1)
	for {
		n, end := t.next(ch)
		if end {
			t.idle.Add(-1)
			t.endOnce.Do(func() { close(t.ended) })
			return
		}
		start := t.uptime()
		if t.crowd.Load() > 0 {
			t.crowd.Add(-1)
		}
		if t.idle.Add(-1) == 0 {
			t.saturated(ch.fd, ch.in[:n], start)
		}
		t.handleAt(ch, ch.in[:n], start)
		ch.since.Store(0)
		t.gather(ch.in[:n])
		if t.idle.Add(1) > t.maxIdle() {
			t.idle.Add(-1)
			t.park(ch)
			return
		}
	}
}

// next reads one request. The end is that of the mount, or of this reader
// after an error that lasts.
func (t *transport) next(ch *channel) (n int, end bool) {
	for failed := 0; ; {
		n, err := unix.Read(ch.fd, ch.in)
		switch {
		case err == nil && n > 0:
			return n, false
		case err == nil, err == unix.ENODEV, err == unix.ECONNABORTED, err == unix.ECONNRESET:
			return 0, true
		case err == unix.EINTR, err == unix.EAGAIN, err == unix.ENOENT:
			// A request that was withdrawn while it was copied: the next one.
		default:
			// EIO and E2BIG concern one request, which the kernel has failed.
			if failed++; failed >= maxReadErrors || err == unix.EBADF {
				t.fail(fmt.Errorf("read request: %w", err))
				return 0, true
			}
		}
	}
}

// handle answers one request.
func (t *transport) handle(ch *channel, req []byte) { t.handleAt(ch, req, t.uptime()) }

// handleAt answers one request, which was taken at start.
func (t *transport) handleAt(ch *channel, req []byte, start time.Duration) {
	ch.since.Store(max(int64(start), 1))
	h, ok := header(req)
	if !ok {
		t.malformed(ch, req, start)
		return
	}
	if t.answerSelf(ch, h, req, start) || t.detach(ch, h, req, start) {
		return
	}
	t.inFlight.Add(1)
	defer t.inFlight.Add(-1)
	ch.current.Store(h.Unique)
	n, st, ok := t.quick(ch, h, req)
	ch.current.Store(0)
	if ok {
		t.count(h, start, st, n)
		return
	}
	var out []byte
	if ch.fd >= 0 {
		out = ch.out // elsewhere it may lie where the request does
	}
	st = t.slow(ch, req, out)
	t.count(h, start, st, 0)
}

// uptime is the time since the transport began. Its one reading is cheaper than
// time.Now, which takes two.
func (t *transport) uptime() time.Duration { return time.Since(t.began) }

// header returns the request's header, if the request is one.
func header(req []byte) (*fuse.InHeader, bool) {
	if len(req) < inHeaderLen {
		return nil, false
	}
	h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
	return h, int(h.Length) == len(req) && int(h.TotalExtlen)*8 <= len(req)-inHeaderLen
}

// malformed answers what is no request, as far as it can be answered.
func (t *transport) malformed(w way, req []byte, start time.Duration) {
	t.log.Warn("malformed request", "length", len(req))
	t.stats.add(0, t.uptime()-start, true, 0)
	if len(req) < inHeaderLen {
		return
	}
	h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
	t.answerStatus(w, h, fuse.EIO)
}

// answerStatus answers with an errno, or with an empty success.
func (t *transport) answerStatus(w way, h *fuse.InHeader, st fuse.Status) {
	switch h.Opcode {
	case opForget, opBatchForget, opNotifyReply:
		return
	}
	t.send(w, h, st, nil)
}

// send answers, whatever the request is. It reports whether the request still
// waits for an answer.
func (t *transport) send(w way, h *fuse.InHeader, st fuse.Status, data []byte) (waits bool) {
	out := fuse.OutHeader{Length: uint32(outHeaderLen + len(data)), Status: -int32(st), Unique: h.Unique}
	return t.sent(h.Opcode, w.answer(&out, data))
}

// sent looks at the outcome of an answer. Requests that the kernel no longer
// waits for (ENOENT) and mounts that have ended are no news; the requests of
// an ended mount have been failed by the kernel. It reports whether the
// request still waits for an answer.
func (t *transport) sent(op uint32, err error) (waits bool) {
	switch err {
	case nil, unix.ENOENT, unix.ENODEV, unix.ECONNABORTED, unix.EPIPE, unix.ECONNRESET:
		return false
	}
	t.log.Error("answer refused", "op", opName(op), "error", err)
	return true
}

// count adds a request to the statistics and to the trace.
func (t *transport) count(h *fuse.InHeader, start time.Duration, st fuse.Status, n int) {
	d := t.uptime() - start
	t.stats.add(h.Opcode, d, st != fuse.OK, n)
	if t.trace {
		t.log.Debug("op", "op", opName(h.Opcode), "unique", h.Unique, "node", h.NodeId, "pid", h.Pid, "uid", h.Uid,
			"status", int32(st), "bytes", n, "time", d)
	}
}
