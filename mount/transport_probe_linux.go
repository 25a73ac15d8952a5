//go:build !386

package mount

import (
	"bytes"
	"crypto/rand"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// pollProbe has the kernel ask for POLL once, so that it learns that there is
// none. Else a Go program that serves a mount and uses it as well could stop
// for ever: its runtime adds files to epoll without leaving the processor to
// other goroutines, while the kernel waits for the answer to POLL.
//
// While the probe runs, a file exists in the root that only the transport
// knows. Its name is random, so that it hides no other.
type pollProbe struct {
	on   atomic.Bool
	name string // set before on
}

// probeNode is the node of the probe's file; inode numbers have 32 bits.
const probeNode = ^uint64(0)

// run opens and polls the probe's file. Errors do not matter: the kernel has
// asked, or has no need to.
func (p *pollProbe) run(t *transport, mountpoint string) {
	p.name = ".e4kit-poll-" + rand.Text()
	p.on.Store(true)
	defer p.on.Store(false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		withoutFiles(t.unshare, func() { p.ask(mountpoint) })
	}()
	<-done
}

// unshare gives the thread a table of descriptors of its own, without the
// connection.
func (t *transport) unshare() {
	t.mu.Lock() // no device is opened meanwhile
	defer t.mu.Unlock()
	if unix.Unshare(unix.CLONE_FILES) != nil {
		return // these are everybody's
	}
	_ = unix.Close(t.fd)
	for _, ch := range t.channels {
		if ch.own {
			_ = unix.Close(ch.fd)
		}
	}
	if t.uring != nil {
		t.uring.closeFiles()
	}
}

// withoutFiles runs f on a thread that ends with the goroutine, after unshare has
// taken descriptors from it. A server that is killed while it waits for itself
// would otherwise never end: the device would stay open with the thread that
// waits, and the kernel would go on waiting for the answer. What the Go runtime
// has open has to stay, since it works on every thread.
func withoutFiles(unshare, f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The first thread does not end, and its files are what /proc shows as
		// the process's. While it is locked another one takes the goroutine.
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		go func() {
			defer close(done)
			withoutFiles(unshare, f)
		}()
		<-done
		return
	}
	// Never unlocked: the thread ends with the goroutine.
	unshare()
	f()
}

func (p *pollProbe) ask(mountpoint string) {
	fd, err := unix.Open(mountpoint+"/"+p.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	_ = unix.Close(fd)
}

// answer takes the requests for the probe's file.
func (p *pollProbe) answer(t *transport, w way, h *fuse.InHeader, req []byte) bool {
	if h.NodeId == probeNode {
		p.answerNode(t, w, h)
		return true
	}
	if !p.on.Load() || h.Opcode != opLookup || h.NodeId != fuse.FUSE_ROOT_ID {
		return false
	}
	name, _, _ := bytes.Cut(req[inHeaderLen:], []byte{0})
	if string(name) != p.name {
		return false
	}
	out := fuse.EntryOut{NodeId: probeNode, Generation: 1}
	out.Ino, out.Mode, out.Nlink = probeNode, unix.S_IFREG|0o444, 1
	t.send(w, h, fuse.OK, (*[unsafe.Sizeof(out)]byte)(unsafe.Pointer(&out))[:])
	return true
}

func (p *pollProbe) answerNode(t *transport, w way, h *fuse.InHeader) {
	switch h.Opcode {
	case opGetattr:
		out := fuse.AttrOut{}
		out.Ino, out.Mode, out.Nlink = probeNode, unix.S_IFREG|0o444, 1
		t.send(w, h, fuse.OK, (*[unsafe.Sizeof(out)]byte)(unsafe.Pointer(&out))[:])
	case opOpen:
		out := fuse.OpenOut{}
		t.send(w, h, fuse.OK, (*[unsafe.Sizeof(out)]byte)(unsafe.Pointer(&out))[:])
	case opRelease, opFlush, opForget:
		t.answerStatus(w, h, fuse.OK)
	default:
		// Not ENOSYS: the kernel would take it for an answer about all files.
		t.answerStatus(w, h, fuse.EIO)
	}
}
