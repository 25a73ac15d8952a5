//go:build !386

package mount

import (
	"runtime/debug"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Opcodes that the transport itself knows.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opReadlink    = 5
	opSymlink     = 6
	opMknod       = 8
	opMkdir       = 9
	opUnlink      = 10
	opRmdir       = 11
	opRename      = 12
	opLink        = 13
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opFsync       = 20
	opGetxattr    = 22
	opListxattr   = 23
	opFlush       = 25
	opInit        = 26
	opOpendir     = 27
	opReaddir     = 28
	opReleasedir  = 29
	opFsyncdir    = 30
	opSetlkw      = 33
	opAccess      = 34
	opCreate      = 35
	opInterrupt   = 36
	opBmap        = 37
	opDestroy     = 38
	opIoctl       = 39
	opPoll        = 40
	opNotifyReply = 41
	opBatchForget = 42
	opFallocate   = 43
	opReaddirplus = 44
	opRename2     = 45
	opLseek       = 46
	opCopyRange   = 47
	opSyncfs      = 50
)

// never is the cancel channel of requests too short to be interrupted.
var never = make(chan struct{})

// intoReader is a file system that reads into a buffer without a ReadResult.
type intoReader interface {
	ReadInto(in *fuse.ReadIn, dst []byte) (int, fuse.Status)
}

// fits reports whether the channel has room for an answer of that size, which
// the kernel may ask for.
func (t *transport) fits(ch *channel, size uint32) bool {
	return uint64(size) <= uint64(min(t.init.maxWrite, len(ch.out)))
}

// fastPath calls the file system for the commonest requests without go-fuse's
// ProtocolServer, which allocates for each, and copies nothing.
type fastPath struct {
	raw  fuse.RawFileSystem
	into intoReader // nil: by raw.Read

	blocks blocker // nil: no request waits for others
}

func newFastPath(raw fuse.RawFileSystem) fastPath {
	into, _ := raw.(intoReader)
	blocks, _ := raw.(blocker)
	return fastPath{raw: raw, into: into, blocks: blocks}
}

// quick answers the request if it is of a kind that it knows and has just the
// form that it should. n is the data carried. Everything else, also what is
// malformed, is left to the slow path.
func (t *transport) quick(ch *channel, h *fuse.InHeader, req []byte) (n int, st fuse.Status, ok bool) {
	if h.TotalExtlen != 0 || h.Opcode >= opCount {
		return 0, 0, false
	}
	switch h.Opcode {
	case opRead:
		return t.quickRead(ch, req)
	case opWrite:
		return t.quickWrite(ch, req)
	}
	op := &fastOps[h.Opcode]
	switch {
	case op.call != nil:
		st, ok = t.quickCall(op, ch, h, req)
	case op.fill != nil:
		st, ok = t.quickFill(op, ch, h, req)
	case op.forget != nil:
		ok = t.quickForget(op, req)
	}
	return 0, st, ok
}

// guard turns a panic of the file system into EIO: one request fails, the
// mount lives.
func (t *transport) guard(st *fuse.Status) {
	if r := recover(); r != nil {
		t.log.Error("panic in a file system operation", "panic", r, "stack", string(debug.Stack()))
		*st = fuse.EIO
	}
}

// quickRead answers READ: the file system reads into the answer's buffer.
func (t *transport) quickRead(ch *channel, req []byte) (int, fuse.Status, bool) {
	if len(req) != int(unsafe.Sizeof(fuse.ReadIn{})) {
		return 0, 0, false
	}
	in := (*fuse.ReadIn)(unsafe.Pointer(&req[0]))
	if !t.fits(ch, in.Size) {
		return 0, 0, false
	}
	data, st := t.read(in, ch.out[:in.Size])
	if st != fuse.OK {
		data = nil
	}
	t.reply(ch, &in.InHeader, st, data)
	return len(data), st, true
}

func (t *transport) read(in *fuse.ReadIn, dst []byte) (data []byte, st fuse.Status) {
	defer t.guard(&st)
	if t.fast.into != nil {
		n, st := t.fast.into.ReadInto(in, dst)
		return dst[:min(max(n, 0), len(dst))], st
	}
	res, st := t.raw.Read(never, in, dst)
	if res == nil {
		return nil, st
	}
	defer res.Done()
	if st != fuse.OK {
		return nil, st
	}
	data, st = res.Bytes(dst)
	if len(data) > len(dst) {
		data = data[:len(dst)] // more than was asked for would be refused whole
	}
	return data, st
}

// quickWrite answers WRITE from the buffer that the kernel filled.
func (t *transport) quickWrite(ch *channel, req []byte) (int, fuse.Status, bool) {
	if len(req) < writeInLen {
		return 0, 0, false
	}
	in := (*fuse.WriteIn)(unsafe.Pointer(&req[0]))
	data := req[writeInLen:]
	if uint64(in.Size) != uint64(len(data)) {
		return 0, 0, false
	}
	n, st := t.write(in, data)
	out := (*fuse.WriteOut)(unsafe.Pointer(&ch.small[0]))
	*out = fuse.WriteOut{Size: n}
	t.reply(ch, &in.InHeader, st, ch.small[:unsafe.Sizeof(*out)])
	return int(n), st, true
}

func (t *transport) write(in *fuse.WriteIn, data []byte) (n uint32, st fuse.Status) {
	defer t.guard(&st)
	return t.raw.Write(never, in, data)
}

// reply answers from the fast path; a status other than OK goes without data.
func (t *transport) reply(ch *channel, h *fuse.InHeader, st fuse.Status, data []byte) {
	if st != fuse.OK {
		data = nil
	}
	*ch.hdr = fuse.OutHeader{Length: uint32(outHeaderLen + len(data)), Status: -int32(st), Unique: h.Unique}
	if t.sent(h.Opcode, ch.answer(ch.hdr, data)) && st == fuse.OK {
		t.answerStatus(ch, h, fuse.EIO)
	}
}
