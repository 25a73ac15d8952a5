//go:build !386

package mount

import (
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// smallAnswer holds any answer without a payload whose size the request names:
// the longest is a symbolic link's target.
const smallAnswer = 8 << 10

// syncer is a file system that answers SYNCFS, which RawFileSystem lacks.
type syncer interface {
	SyncFS(cancel <-chan struct{}, in *fuse.InHeader) fuse.Status
}

// shortCopier is a file system that tells which COPY_FILE_RANGEs take no longer
// than a WRITE: handing such a one over takes as long as the copy.
type shortCopier interface {
	ShortCopy(in *fuse.CopyFileRangeIn) bool
}

// detach hands a request that may wait for long to a goroutine of its own, so
// that the reader can go on: one waiting for a lock must not keep the one who
// holds it from coming in. When too many wait it reports false: the reader
// answers itself then.
func (t *transport) detach(ch *channel, h *fuse.InHeader, req []byte, start time.Duration) bool {
	switch h.Opcode {
	case opFsync, opFsyncdir, opSyncfs, opSetlkw, opBmap, opIoctl, opFallocate, opLseek:
	case opCopyRange:
		if t.shortCopy(req) {
			return false
		}
	default:
		return false
	}
	select {
	case t.detached <- struct{}{}:
	default:
		return false
	}
	own := make([]byte, len(req))
	copy(own, req)
	t.long.Add(1)
	t.inFlight.Add(1)
	t.mu.Lock()
	t.waiting[h.Unique] = struct{}{}
	t.mu.Unlock()
	go t.runLong(ch.later(), own, start)
	return true
}

// shortCopy reports whether the file system says so of a COPY_FILE_RANGE.
func (t *transport) shortCopy(req []byte) bool {
	c, ok := t.raw.(shortCopier)
	if !ok || len(req) < int(unsafe.Sizeof(fuse.CopyFileRangeIn{})) {
		return false
	}
	var st fuse.Status
	defer t.guard(&st)
	return c.ShortCopy((*fuse.CopyFileRangeIn)(unsafe.Pointer(&req[0])))
}

// runLong answers a detached request.
func (t *transport) runLong(w way, req []byte, start time.Duration) {
	defer t.long.Done()
	defer t.inFlight.Add(-1)
	h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
	st := t.slow(w, req, nil)
	t.count(h, start, st, 0)
	t.mu.Lock()
	delete(t.waiting, h.Unique)
	t.mu.Unlock()
	<-t.detached
}

// slow answers by go-fuse's ProtocolServer. out is a buffer for the answer; one
// that is too short is replaced.
func (t *transport) slow(w way, req, out []byte) fuse.Status {
	h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
	switch h.Opcode {
	case opSyncfs:
		return t.syncfs(w, h)
	case opBmap:
		return t.bmap(w, h, req)
	}
	need, ok := answerSize(h, req, t.init.maxWrite)
	if !ok || len(req) < requestLen[h.Opcode%opCount] && h.Opcode < opCount || !writeWhole(h, req) {
		t.answerStatus(w, h, fuse.EINVAL)
		return fuse.EINVAL
	}
	if len(out) < need {
		out = make([]byte, need)
	}
	o := new(fuse.OutHeader)
	n, st := t.proto.HandleRequest([][]byte{req}, [][]byte{(*[outHeaderLen]byte)(unsafe.Pointer(o))[:], out[:need]})
	switch {
	case n == 0 && st == fuse.OK: // no answer is due
		return fuse.OK
	case st != fuse.OK || n < outHeaderLen:
		t.answerStatus(w, h, fuse.EIO)
		return fuse.EIO
	}
	if h.Opcode == opInterrupt && o.Status == 0 {
		return fuse.OK // the interrupted request has its own answer
	}
	st = fuse.Status(-o.Status)
	t.send(w, h, st, out[:n-outHeaderLen])
	return st
}

// answerSize tells how large the answer to req may become, in bytes. ok is
// false for a request that asks for more than was agreed on.
func answerSize(h *fuse.InHeader, req []byte, limit int) (n int, ok bool) {
	var ask uint32
	switch h.Opcode {
	case opRead, opReaddir, opReaddirplus:
		if len(req) >= int(unsafe.Sizeof(fuse.ReadIn{})) {
			ask = (*fuse.ReadIn)(unsafe.Pointer(&req[0])).Size
		}
	case opGetxattr, opListxattr:
		if len(req) >= int(unsafe.Sizeof(fuse.GetXAttrIn{})) {
			ask = (*fuse.GetXAttrIn)(unsafe.Pointer(&req[0])).Size
		}
	case opIoctl:
		if len(req) >= int(unsafe.Sizeof(fuse.IoctlIn{})) {
			ask = (*fuse.IoctlIn)(unsafe.Pointer(&req[0])).OutSize
		}
	}
	if uint64(ask) > uint64(limit) {
		return 0, false
	}
	return smallAnswer + int(ask), true
}

// writeWhole reports whether a WRITE brings as much data as it says.
func writeWhole(h *fuse.InHeader, req []byte) bool {
	if h.Opcode != opWrite {
		return true
	}
	in := (*fuse.WriteIn)(unsafe.Pointer(&req[0]))
	return uint64(in.Size) == uint64(len(req)-writeInLen-int(h.TotalExtlen)*8)
}

// requestLen is the least length of requests, by opcode: header, structure, and
// one byte where a name follows. The structures only grow in later protocols,
// behind flags that we know of.
var requestLen = func() (min [opCount]int) {
	for op := range min {
		min[op] = inHeaderLen
	}
	for op, n := range map[uint32]uintptr{
		1: 1, 2: 8, 3: 16, 4: 88, 6: 2, 8: 16 + 1, 9: 8 + 1, 10: 1, 11: 1, 12: 8 + 2, 13: 8 + 1, 14: 8, 15: 40, 16: 40,
		18: 24, 20: 16, 21: 8 + 1, 22: 8 + 1, 23: 8, 24: 1, 25: 24, 27: 8, 28: 40, 29: 24, 30: 16, 31: 48, 32: 48, 33: 48,
		34: 8, 35: 16 + 1, 36: 8, 37: 16, 39: 32, 40: 24, 41: 40, 42: 8, 43: 32, 44: 40, 45: 16 + 2, 46: 24, 47: 56,
		50: 8, 51: 16 + 1, 52: 24, 53: 56,
	} {
		min[op] += int(n)
	}
	return min
}()

// answerSelf takes requests that concern the transport alone.
func (t *transport) answerSelf(w way, h *fuse.InHeader, req []byte, start time.Duration) bool {
	switch h.Opcode {
	case opInit: // agreed on once, before the readers
		t.answerStatus(w, h, fuse.EIO)
	case opPoll: // files are always ready; the kernel asks no more
		t.answerStatus(w, h, fuse.ENOSYS)
	case opInterrupt:
		if !t.busyQuick(req) {
			t.interruptLater(req)
			return false
		}
	case opDestroy: // the last there is
		t.destroy()
		t.answerStatus(w, h, fuse.OK)
	default:
		return t.probe.answer(t, w, h, req)
	}
	t.count(h, start, fuse.OK, 0)
	return true
}

// busyQuick reports whether the request that an INTERRUPT names is in the fast
// path: it is about to be answered and is not interrupted. (An answer of
// EAGAIN, for a request that is not known here yet, has the kernel ask again.)
func (t *transport) busyQuick(req []byte) bool {
	if len(req) < int(unsafe.Sizeof(fuse.InterruptIn{})) {
		return false
	}
	unique := (*fuse.InterruptIn)(unsafe.Pointer(&req[0])).Unique
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ch := range t.channels {
		if unique != 0 && ch.current.Load() == unique {
			return true
		}
	}
	return false
}

// syncfs answers SYNCFS.
func (t *transport) syncfs(w way, h *fuse.InHeader) (st fuse.Status) {
	st = fuse.ENOSYS
	if s, ok := t.raw.(syncer); ok {
		st = func() (st fuse.Status) {
			defer t.guard(&st)
			return s.SyncFS(never, h)
		}()
	}
	t.answerStatus(w, h, st)
	return st
}
