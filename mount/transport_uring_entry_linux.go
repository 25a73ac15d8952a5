//go:build !386

package mount

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The commands of the device, and what they and a request lie in.
const (
	uringRegister = 1 // brings an entry
	uringCommit   = 2 // brings an answer and takes the next request

	uringArgLen  = 128 // room for a request's structure
	uringArgAt   = 128
	uringFrameAt = uringArgAt + uringArgLen
	uringHeadLen = uringFrameAt + 32
	uringIovAt   = 512 // where we keep what describes an entry
)

// uringFrame is struct fuse_uring_ent_in_out.
type uringFrame struct {
	flags   uint64
	commit  uint64
	payload uint32
	_       uint32
	_       uint64
}

// uringEntry takes a request and brings its answer. In its memory lie, from a
// page's begin: the kernel's header of header, structure and frame; at the page's
// end, as far as they are needed, header and structure once more, so that the
// payload continues them; and from the next page on the payload.
type uringEntry struct {
	th      *uringThread
	ch      channel
	index   int // of the thread's entries
	queue   int // of the thread's queues
	mem     []byte
	payload []byte

	unique   uint64 // of the request at hand
	answered bool
	detached bool // answered later by another goroutine
}

// uringPayload is the room that the kernel wants an entry to have, by what it is
// told in the answer to INIT.
func uringPayload(out *fuse.InitOut) int {
	const minRead, minPages = 8192, 32
	return max(minRead, int(out.MaxWrite), max(minPages, int(out.MaxPages))*os.Getpagesize())
}

// makeEntries makes entries of a queue.
func (th *uringThread) makeEntries(queue int) ([]*uringEntry, error) {
	page := os.Getpagesize()
	one := page + (th.payload+page-1)/page*page
	all, err := unix.Mmap(-1, 0, one*th.depth, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("io_uring buffers: %w", err)
	}
	_ = unix.Madvise(all, unix.MADV_NOHUGEPAGE) // only what is used shall cost memory
	th.mem = append(th.mem, all)
	first := len(th.entries)
	for i := range th.depth {
		mem := all[i*one : (i+1)*one : (i+1)*one]
		e := &uringEntry{th: th, index: first + i, queue: queue, mem: mem, payload: mem[page : page+th.payload : page+th.payload]}
		e.ch.way, e.ch.fd = e, -1
		e.ch.out, e.ch.small = e.payload, e.payload[:smallLen]
		e.ch.hdr = new(fuse.OutHeader)
		th.entries = append(th.entries, e)
	}
	return th.entries[first:], nil
}

func (e *uringEntry) frame() *uringFrame { return (*uringFrame)(unsafe.Pointer(&e.mem[uringFrameAt])) }

// in is the header of the request that the kernel brought; answers replace it.
func (e *uringEntry) in() *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&e.mem[0])) }

// out is the header of the answer.
func (e *uringEntry) out() *fuse.OutHeader { return (*fuse.OutHeader)(unsafe.Pointer(&e.mem[0])) }

// offer gives the kernel the entry.
func (th *uringThread) offer(e *uringEntry) {
	iov := (*[2]unix.Iovec)(unsafe.Pointer(&e.mem[uringIovAt]))
	iov[0].Base = &e.mem[0]
	iov[0].SetLen(uringHeadLen)
	iov[1].Base = &e.payload[0]
	iov[1].SetLen(len(e.payload))
	th.put(e, ringCommand{sub: uringRegister, addr: uint64(uintptr(unsafe.Pointer(iov))), len: uint32(len(iov))})
}

// commit gives the kernel the answer, with the next that it is told.
func (th *uringThread) commit(e *uringEntry, now int64) {
	if th.unsaid == 0 {
		th.unsaid = now
	}
	th.put(e, ringCommand{sub: uringCommit, commit: e.frame().commit})
}

func (th *uringThread) put(e *uringEntry, c ringCommand) {
	c.op, c.fd, c.data, c.queue = ringOpCommand, int32(th.u.t.fd), uint64(e.index), uint16(th.queues[e.queue])
	th.ring.put(c)
	th.inKernel++
	th.free[e.queue]++
}

// request joins the request's parts; nil if they do not fit together.
func (e *uringEntry) request() []byte {
	total, payload := int(e.in().Length), int(e.frame().payload)
	arg := total - inHeaderLen - payload
	if payload > len(e.payload) || arg < 0 || arg > uringArgLen {
		return nil
	}
	page := os.Getpagesize()
	if arg%8 != 0 {
		// Not where the header would be aligned: no structure of today's is so.
		b := make([]byte, total)
		copy(b, e.mem[:inHeaderLen])
		copy(b[inHeaderLen:], e.mem[uringArgAt:uringArgAt+arg])
		copy(b[inHeaderLen+arg:], e.payload[:payload])
		return b
	}
	at := page - arg - inHeaderLen
	copy(e.mem[at:], e.mem[:inHeaderLen])
	copy(e.mem[at+inHeaderLen:page], e.mem[uringArgAt:uringArgAt+arg])
	return e.mem[at : page+payload]
}

// answer implements [way] for who answers while the request is handled.
func (e *uringEntry) answer(h *fuse.OutHeader, data []byte) error {
	e.answered = true
	if len(data) > len(e.payload) {
		e.fail(fuse.EIO)
		return unix.EMSGSIZE
	}
	if len(data) > 0 && &data[0] != &e.payload[0] {
		copy(e.payload, data)
	}
	*e.out() = *h
	e.frame().payload = uint32(len(data))
	return nil
}

// fail answers with an error.
func (e *uringEntry) fail(st fuse.Status) {
	h := fuse.OutHeader{Length: uint32(outHeaderLen), Status: -int32(st), Unique: e.unique}
	*e.out() = h
	e.frame().payload = 0
	e.answered = true
}

// later implements [way].
func (e *uringEntry) later() way {
	e.detached = true
	return (*uringLater)(e)
}

// uringLater is an entry that another goroutine than the one that took the
// request answers.
type uringLater uringEntry

func (l *uringLater) later() way { return l }

func (l *uringLater) answer(h *fuse.OutHeader, data []byte) error {
	e := (*uringEntry)(l)
	err := e.answer(h, data)
	e.th.give(e)
	if err != nil {
		return unix.ENOENT // answered all the same
	}
	return nil
}

const (
	// uringRead and the time to copy what a request carries is how long a READ
	// takes that does not wait.
	uringRead = 50 * time.Microsecond
	// uringCopy is bytes that are copied in a nanosecond, at the least.
	uringCopy = 1
	// uringLarge is the size of a READ or WRITE from which on its data takes longer
	// to be copied than a goroutine to be started.
	uringLarge = 64 << 10
	// uringSlow is how many requests of a kind are handed over after one that
	// waited.
	uringSlow = 32
)

// learn sees from how long a request took whether the next ones may wait.
func (th *uringThread) learn(op uint32, took time.Duration, size int) {
	limit := watchEvery
	if op == opRead {
		limit = uringRead
	}
	if took > limit+time.Duration(size/uringCopy) {
		th.slow[op].Store(uringSlow)
	}
}

// mayWait reports whether to hand a request to a goroutine: if it may wait for
// others, or if such requests have waited, or take long for the amount of data,
// and there are others to answer.
func (th *uringThread) mayWait(op uint32, req []byte) bool {
	switch op {
	case opWrite:
		if len(req) < writeInLen {
			return false
		}
		in := (*fuse.WriteIn)(unsafe.Pointer(&req[0]))
		if b := th.u.t.fast.blocks; b != nil && b.Blocks(in) {
			return true
		}
		// What the kernel writes back comes from one processor.
		if in.Size >= uringLarge && (th.crowd > 0 || in.WriteFlags&fuse.WRITE_CACHE != 0) {
			return true
		}
	case opRead:
		if len(req) >= sizeOf[fuse.ReadIn]() && th.crowd > 0 && (*fuse.ReadIn)(unsafe.Pointer(&req[0])).Size >= uringLarge {
			return true
		}
	case opFsync, opFsyncdir, opSyncfs, opSetlkw, opBmap, opIoctl, opFallocate, opLseek, opCopyRange:
		return false // detached anyway
	}
	if th.crowd == 0 || th.slow[op].Load() <= 0 {
		return false
	}
	th.slow[op].Add(-1)
	return true
}
