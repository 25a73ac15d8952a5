//go:build !386

package mount

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's io_uring, as much of it as is needed here.
const (
	ringSetupSQE128       = 1 << 10
	ringSetupSingleIssuer = 1 << 12
	ringSetupDeferTaskrun = 1 << 13
	ringSetupNoSQArray    = 1 << 16

	ringEnterGetEvents = 1 << 0

	ringOpMessage = 40 // IORING_OP_MSG_RING
	ringOpCommand = 46 // IORING_OP_URING_CMD

	ringRegisterSendMessage = 31

	ringOffsetSQEs = 0x10000000

	sqeLen = 128
	cqeLen = 16
)

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32

	sq struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// ringCommand is struct io_uring_sqe with 80 bytes for the command, which are
// struct fuse_uring_cmd_req's at their begin.
type ringCommand struct {
	op, flags uint8
	_         uint16
	fd        int32
	sub       uint64 // what the command is; of a message what it carries
	addr      uint64
	len       uint32
	_         uint32
	data      uint64 // comes back with the completion
	_         uint64

	fuseFlags uint64
	commit    uint64
	queue     uint16
	_         [6]uint8
	_         [56]uint8
}

var _ [sqeLen]byte = [unsafe.Sizeof(ringCommand{})]byte{}

// ring is an io_uring. One thread, which made it, puts commands in and waits.
type ring struct {
	fd    int
	rings []byte // the memory of both queues
	sqes  []byte

	sqTail, cqHead, cqTail *uint32
	cqes                   unsafe.Pointer
	sqMask, cqMask         uint32

	tail    uint32 // of the queue of commands
	waiting uint32 // commands that the kernel has not been told of
}

// newRing makes a ring for n commands at a time, for the calling thread.
func newRing(n int) (*ring, error) {
	p := ringParams{flags: ringSetupSQE128 | ringSetupSingleIssuer | ringSetupDeferTaskrun | ringSetupNoSQArray}
	entries := uint(1) << bits.Len(uint(max(n, 2)-1))
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &ring{fd: int(fd), sqMask: p.sqEntries - 1, cqMask: p.cqEntries - 1}
	var err error
	// Both queues lie in one piece of memory since Linux 5.4.
	if r.rings, err = mapRing(r.fd, 0, int(p.cq.cqes)+cqeLen*int(p.cqEntries)); err != nil {
		r.close()
		return nil, err
	}
	if r.sqes, err = mapRing(r.fd, ringOffsetSQEs, sqeLen*int(p.sqEntries)); err != nil {
		r.close()
		return nil, err
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }
	r.sqTail, r.cqHead, r.cqTail, r.cqes = at(p.sq.tail), at(p.cq.head), at(p.cq.tail), unsafe.Pointer(&r.rings[p.cq.cqes])
	r.tail = *r.sqTail
	return r, nil
}

func mapRing(fd int, off int64, n int) ([]byte, error) {
	b, err := unix.Mmap(fd, off, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map io_uring: %w", err)
	}
	return b, nil
}

func (r *ring) close() {
	for _, b := range [][]byte{r.rings, r.sqes} {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
	_ = unix.Close(r.fd)
}

// put adds a command. When the queue is full the kernel is told of what is in it.
func (r *ring) put(c ringCommand) {
	for r.waiting > r.sqMask {
		_ = r.enter(0)
	}
	*(*ringCommand)(unsafe.Pointer(&r.sqes[int(r.tail&r.sqMask)*sqeLen])) = c
	r.tail++
	r.waiting++
}

// enter tells the kernel of commands and waits until there are n completions.
func (r *ring) enter(n int) error {
	atomic.StoreUint32(r.sqTail, r.tail)
	done, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.waiting), uintptr(n), ringEnterGetEvents, 0, 0)
	if errno != 0 {
		return errno
	}
	r.waiting -= uint32(done)
	return nil
}

// completed is how many completions there are to take.
func (r *ring) completed() int { return int(atomic.LoadUint32(r.cqTail) - *r.cqHead) }

// peek looks at the completion behind i others.
func (r *ring) peek(i int) (data uint64, result int32) {
	c := unsafe.Add(r.cqes, int((*r.cqHead+uint32(i))&r.cqMask)*cqeLen)
	return *(*uint64)(c), *(*int32)(unsafe.Add(c, 8))
}

// take takes a completion, of which there must be one.
func (r *ring) take() (data uint64, result int32) {
	data, result = r.peek(0)
	atomic.StoreUint32(r.cqHead, *r.cqHead+1)
	return data, result
}

// message makes a completion in the ring, from any thread.
func (r *ring) message(data uint64) error {
	c := ringCommand{op: ringOpMessage, fd: int32(r.fd), sub: data}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ^uintptr(0), ringRegisterSendMessage, uintptr(unsafe.Pointer(&c)), 1, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
