//go:build !386

package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// capOverURing is the kernel's offer to carry requests by io_uring.
const capOverURing = 1 << 41

const (
	// uringEntries is how many requests all queues together may have here at a
	// time, at first, each with room for a payload, most of which is never touched:
	// the kernel takes the entry that it used last.
	uringEntries = 256
	// A queue has at least and at most so many of them.
	uringQueueMin, uringQueueMax = 8, 128
	// A queue gets as many again, up to uringThreadMax a thread, when no more than
	// one in uringSpare of them is left because others answer so many.
	uringSpare, uringThreadMax = 4, maxDetached
	// uringBackground is how many asynchronous requests there may be at a time:
	// those of write-back and read-ahead touch all their memory.
	uringBackground = 32
	// uringLate is how long answers may wait for the end of other requests that
	// came with theirs.
	uringLate = 50 * time.Microsecond
	// uringForget is how long the device is left alone after a FORGET: those that
	// come meanwhile are read together, without a wake-up for each.
	uringForget = time.Millisecond
)

// errURing is a ring that the kernel has offered and then not taken.
var errURing = errors.New("FUSE over io_uring")

// uring serves a connection by io_uring. The kernel has a queue of requests for
// each processor. A request is copied by the thread that waits for it, on the
// processor of the process that asks: nothing has to be woken elsewhere, and one
// system call brings an answer and takes the next request.
//
// A thread answers requests itself, one after the other. What may wait is handed
// to goroutines, since nobody else can take what comes in meanwhile. FORGET and
// INTERRUPT still come from the device, where notices go as well.
type uring struct {
	t       *transport
	threads []*uringThread
}

// startURing makes the rings if the kernel offers to use them; nil if not. The
// kernel uses none yet: see register.
func (t *transport) startURing(offered uint64, payload int) *uring {
	if !t.mayURing || offered&capOverURing == 0 {
		return nil
	}
	u, err := newURing(t, payload)
	if err != nil {
		t.log.Debug("no io_uring", "error", err)
		return nil
	}
	return u
}

// uringSwitch has the kernel offer rings to connections that begin.
const uringSwitch = "/sys/module/fuse/parameters/enable_uring"

// noURing says why there are no rings.
func noURing() string {
	b, err := os.ReadFile(uringSwitch)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "this kernel does not know them"
	case err == nil && strings.TrimSpace(string(b)) == "N":
		return "the kernel does not offer them: " + uringSwitch + " is N"
	}
	return "they are forbidden here"
}

func newURing(t *transport, payload int) (*uring, error) {
	queues, err := possibleCPUs()
	if err != nil {
		return nil, err
	}
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	u := &uring{t: t}
	for cpu := range queues {
		if own.IsSet(cpu) {
			u.threads = append(u.threads, &uringThread{u: u, cpu: cpu, queues: []int{cpu}})
		}
	}
	if len(u.threads) == 0 {
		return nil, errors.New("no processor")
	}
	// Processors that are not there, or not ours, are served by others.
	for cpu, n := 0, 0; cpu < queues; cpu++ {
		if !own.IsSet(cpu) {
			th := u.threads[n%len(u.threads)]
			th.queues = append(th.queues, cpu)
			n++
		}
	}
	depth := min(max(uringEntries/len(u.threads), uringQueueMin), uringQueueMax)
	for i, th := range u.threads {
		if err := th.start(depth, payload); err != nil {
			for _, th := range u.threads[:i] {
				th.begin <- false
				<-th.done
			}
			u.free()
			return nil, err
		}
	}
	return u, nil
}

// possibleCPUs is the number of processors that there may come to be, which is
// that of the kernel's queues.
func possibleCPUs() (int, error) {
	b, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err != nil {
		return 0, err
	}
	s := strings.TrimSpace(string(b))
	first, last, many := strings.Cut(s, "-")
	if !many {
		last = first
	}
	n, err := strconv.ParseUint(last, 10, 16)
	if err != nil || first != "0" {
		return 0, fmt.Errorf("processors %q", s)
	}
	return int(n) + 1, nil
}

// register has the kernel use the rings. When it does not, nothing of them is
// left, but the connection is spoilt: the kernel may wait for them.
func (u *uring) register() error {
	u.t.mu.Lock()
	for _, th := range u.threads {
		for _, e := range th.entries {
			u.t.channels = append(u.t.channels, &e.ch)
		}
	}
	u.t.mu.Unlock()
	var first error
	for _, th := range u.threads {
		u.t.wg.Add(1)
		th.begin <- true
		if err := <-th.registered; err != nil && first == nil {
			first = fmt.Errorf("%w: %w", errURing, err)
		}
	}
	if first != nil {
		u.t.log.Debug("no io_uring", "error", first)
		u.abandon()
	}
	return first
}

// abandon ends the threads of a connection that has not begun.
func (u *uring) abandon() {
	for _, th := range u.threads {
		th.quit.Store(true)
		_ = th.ring.message(uringWake)
		<-th.done
	}
}

// end has the threads end, whose requests the kernel has taken back.
func (u *uring) end() {
	for _, th := range u.threads {
		th.ended.Store(true)
		_ = th.ring.message(uringWake)
	}
}

// endWithDevice calls end when the device has ended.
func (u *uring) endWithDevice() {
	defer u.t.wg.Done()
	<-u.t.ended
	u.end()
}

// closeFiles closes the descriptors; see [withoutFiles].
func (u *uring) closeFiles() {
	for _, th := range u.threads {
		_ = unix.Close(th.ring.fd)
	}
}

// isThread reports whether the caller is on one of the threads.
func (u *uring) isThread() bool {
	id := int32(unix.Gettid())
	for _, th := range u.threads {
		if th.id.Load() == id {
			return true
		}
	}
	return false
}

// free gives memory and rings back. No thread and no request may be left.
func (u *uring) free() {
	for _, th := range u.threads {
		if th.ring != nil {
			th.ring.close()
		}
		for _, mem := range th.mem {
			_ = unix.Munmap(mem)
		}
		th.ring, th.mem = nil, nil
	}
}

// interruptLater does what an INTERRUPT asks for a little later once more, if its
// request may be one that a ring has brought and nobody has looked at yet: the
// kernel does not repeat it then, as it does where the device brings both.
func (t *transport) interruptLater(req []byte) {
	if t.uring == nil || len(req) < sizeOf[fuse.InterruptIn]() {
		return
	}
	unique := (*fuse.InterruptIn)(unsafe.Pointer(&req[0])).Unique
	time.AfterFunc(20*time.Millisecond, func() { t.cancel(unique) })
}

// gather waits after a FORGET that the device has brought, if nothing but that and
// interrupts comes by the device.
func (t *transport) gather(req []byte) {
	if t.uring == nil {
		return
	}
	if h, ok := header(req); ok && (h.Opcode == opForget || h.Opcode == opBatchForget) {
		time.Sleep(uringForget)
	}
}

// clock is the time since the transport began, in nanoseconds, never 0.
func (t *transport) clock() int64 { return max(int64(time.Since(t.began)), 1) }

// blocker is a file system that knows of requests which wait for others to be
// answered: they must not be in the way of these.
type blocker interface {
	// Blocks reports whether the WRITE may have to wait so.
	Blocks(in *fuse.WriteIn) bool
}
