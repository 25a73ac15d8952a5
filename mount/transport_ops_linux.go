//go:build !386

package mount

import (
	"bytes"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// fastOp is a kind of request that is answered without go-fuse's ProtocolServer.
// One of call, fill and forget is set.
type fastOp struct {
	in    int // bytes of the request's header and structure
	names int // which follow, each with a zero, and nothing behind them
	// call answers with a structure of out bytes, which is zero before.
	out  int
	call func(raw fuse.RawFileSystem, in, out unsafe.Pointer, name, other string) fuse.Status
	// fill answers with as much as it finds. It may use the channel's buffers. It
	// reports false for what is to be left to the slow path.
	fill func(t *transport, ch *channel, in unsafe.Pointer, name string) (data []byte, st fuse.Status, ok bool)
	// forget has no answer; rest is what follows the structure.
	forget func(raw fuse.RawFileSystem, in unsafe.Pointer, rest []byte) (ok bool)
}

// sizeOf is the length of a structure of the protocol.
func sizeOf[T any]() int {
	var v T
	return int(unsafe.Sizeof(v))
}

// fastOps are the kinds of requests, by opcode, but for READ and WRITE.
var fastOps = [opCount]fastOp{
	opLookup:   {in: inHeaderLen, names: 1, out: sizeOf[fuse.EntryOut](), call: callLookup},
	opGetattr:  {in: sizeOf[fuse.GetAttrIn](), out: sizeOf[fuse.AttrOut](), call: callGetattr},
	opSetattr:  {in: sizeOf[fuse.SetAttrIn](), out: sizeOf[fuse.AttrOut](), call: callSetattr},
	opStatfs:   {in: inHeaderLen, out: sizeOf[fuse.StatfsOut](), call: callStatfs},
	opAccess:   {in: sizeOf[fuse.AccessIn](), call: callAccess},
	opReadlink: {in: inHeaderLen, fill: fillReadlink},

	opCreate:  {in: sizeOf[fuse.CreateIn](), names: 1, out: sizeOf[fuse.CreateOut](), call: callCreate},
	opMknod:   {in: sizeOf[fuse.MknodIn](), names: 1, out: sizeOf[fuse.EntryOut](), call: callMknod},
	opMkdir:   {in: sizeOf[fuse.MkdirIn](), names: 1, out: sizeOf[fuse.EntryOut](), call: callMkdir},
	opSymlink: {in: inHeaderLen, names: 2, out: sizeOf[fuse.EntryOut](), call: callSymlink},
	opLink:    {in: sizeOf[fuse.LinkIn](), names: 1, out: sizeOf[fuse.EntryOut](), call: callLink},
	opUnlink:  {in: inHeaderLen, names: 1, call: callUnlink},
	opRmdir:   {in: inHeaderLen, names: 1, call: callRmdir},
	opRename:  {in: renameInLen, names: 2, call: callRename},
	opRename2: {in: sizeOf[fuse.RenameIn](), names: 2, call: callRename},

	opOpen:       {in: sizeOf[fuse.OpenIn](), out: sizeOf[fuse.OpenOut](), call: callOpen},
	opOpendir:    {in: sizeOf[fuse.OpenIn](), out: sizeOf[fuse.OpenOut](), call: callOpendir},
	opFlush:      {in: sizeOf[fuse.FlushIn](), call: callFlush},
	opRelease:    {in: sizeOf[fuse.ReleaseIn](), call: callRelease},
	opReleasedir: {in: sizeOf[fuse.ReleaseIn](), call: callReleasedir},

	opReaddir:     {in: sizeOf[fuse.ReadIn](), fill: fillReaddir},
	opReaddirplus: {in: sizeOf[fuse.ReadIn](), fill: fillReaddirplus},
	opGetxattr:    {in: sizeOf[fuse.GetXAttrIn](), names: 1, fill: fillGetxattr},
	opListxattr:   {in: sizeOf[fuse.GetXAttrIn](), fill: fillListxattr},

	opForget:      {in: sizeOf[fuse.ForgetIn](), forget: forgetOne},
	opBatchForget: {in: batchForgetInLen, forget: forgetMany},
}

const (
	// renameInLen is the length of a RENAME's structure, which is a RENAME2's
	// without flags. quickCall completes it.
	renameInLen = inHeaderLen + 8
	// batchForgetInLen is that of a BATCH_FORGET: the number of forgets, each of
	// which is a node and a number of lookups.
	batchForgetInLen = inHeaderLen + 8
	forgetLen        = 16
)

// cutNames takes names, each with a zero, off b, in which nothing else may be.
func cutNames(b []byte, names int) (name, other string, ok bool) {
	switch names {
	case 0:
		return "", "", len(b) == 0
	case 2:
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return "", "", false
		}
		name, b = string(b[:i]), b[i+1:]
	}
	if i := bytes.IndexByte(b, 0); i < 0 || i != len(b)-1 {
		return "", "", false
	}
	if names == 2 {
		return name, string(b[:len(b)-1]), true
	}
	return string(b[:len(b)-1]), "", true
}

// quickCall answers a request whose answer is a structure, or nothing.
func (t *transport) quickCall(op *fastOp, ch *channel, h *fuse.InHeader, req []byte) (fuse.Status, bool) {
	if len(req) < op.in {
		return 0, false
	}
	name, other, ok := cutNames(req[op.in:], op.names)
	if !ok {
		return 0, false
	}
	out := ch.small[:op.out] // the names may have been here
	clear(out)
	in := unsafe.Pointer(h)
	if h.Opcode == opRename {
		ch.rename = fuse.RenameIn{InHeader: *h, Newdir: *(*uint64)(unsafe.Add(in, inHeaderLen))}
		in = unsafe.Pointer(&ch.rename)
	}
	st := t.call(op, in, unsafe.Pointer(unsafe.SliceData(out)), name, other)
	t.reply(ch, h, st, out)
	return st, true
}

func (t *transport) call(op *fastOp, in, out unsafe.Pointer, name, other string) (st fuse.Status) {
	defer t.guard(&st)
	return op.call(t.raw, in, out, name, other)
}

// quickFill answers a request whose answer has no fixed length.
func (t *transport) quickFill(op *fastOp, ch *channel, h *fuse.InHeader, req []byte) (fuse.Status, bool) {
	if len(req) < op.in {
		return 0, false
	}
	name, _, ok := cutNames(req[op.in:], op.names)
	if !ok {
		return 0, false
	}
	data, st, ok := t.fill(op, ch, unsafe.Pointer(h), name)
	if !ok {
		return 0, false
	}
	t.reply(ch, h, st, data)
	return st, true
}

func (t *transport) fill(op *fastOp, ch *channel, in unsafe.Pointer, name string) (data []byte, st fuse.Status, ok bool) {
	ok = true // also after a panic
	defer t.guard(&st)
	return op.fill(t, ch, in, name)
}

// quickForget takes a request that has no answer.
func (t *transport) quickForget(op *fastOp, req []byte) (ok bool) {
	if len(req) < op.in {
		return false
	}
	ok = true
	var st fuse.Status
	defer t.guard(&st)
	return op.forget(t.raw, unsafe.Pointer(&req[0]), req[op.in:])
}

func forgetOne(raw fuse.RawFileSystem, in unsafe.Pointer, rest []byte) bool {
	if len(rest) != 0 {
		return false
	}
	f := (*fuse.ForgetIn)(in)
	raw.Forget(f.NodeId, f.Nlookup)
	return true
}

func forgetMany(raw fuse.RawFileSystem, in unsafe.Pointer, rest []byte) bool {
	count := *(*uint32)(unsafe.Add(in, inHeaderLen))
	if count == 0 || uint64(count)*forgetLen != uint64(len(rest)) {
		return false
	}
	type forget struct{ node, lookups uint64 }
	for _, f := range unsafe.Slice((*forget)(unsafe.Pointer(&rest[0])), count) {
		if f.node != probeNode {
			raw.Forget(f.node, f.lookups)
		}
	}
	return true
}

func callLookup(raw fuse.RawFileSystem, in, out unsafe.Pointer, name, _ string) fuse.Status {
	return raw.Lookup(never, (*fuse.InHeader)(in), name, (*fuse.EntryOut)(out))
}

func callGetattr(raw fuse.RawFileSystem, in, out unsafe.Pointer, _, _ string) fuse.Status {
	return raw.GetAttr(never, (*fuse.GetAttrIn)(in), (*fuse.AttrOut)(out))
}

func callSetattr(raw fuse.RawFileSystem, in, out unsafe.Pointer, _, _ string) fuse.Status {
	return raw.SetAttr(never, (*fuse.SetAttrIn)(in), (*fuse.AttrOut)(out))
}

func callStatfs(raw fuse.RawFileSystem, in, out unsafe.Pointer, _, _ string) fuse.Status {
	return raw.StatFs(never, (*fuse.InHeader)(in), (*fuse.StatfsOut)(out))
}

func callAccess(raw fuse.RawFileSystem, in, _ unsafe.Pointer, _, _ string) fuse.Status {
	return raw.Access(never, (*fuse.AccessIn)(in))
}

func callCreate(raw fuse.RawFileSystem, in, out unsafe.Pointer, name, _ string) fuse.Status {
	return raw.Create(never, (*fuse.CreateIn)(in), name, (*fuse.CreateOut)(out))
}

func callMknod(raw fuse.RawFileSystem, in, out unsafe.Pointer, name, _ string) fuse.Status {
	return raw.Mknod(never, (*fuse.MknodIn)(in), name, (*fuse.EntryOut)(out))
}

func callMkdir(raw fuse.RawFileSystem, in, out unsafe.Pointer, name, _ string) fuse.Status {
	return raw.Mkdir(never, (*fuse.MkdirIn)(in), name, (*fuse.EntryOut)(out))
}

// callSymlink gets the link's name first, then what it points to.
func callSymlink(raw fuse.RawFileSystem, in, out unsafe.Pointer, name, target string) fuse.Status {
	return raw.Symlink(never, (*fuse.InHeader)(in), target, name, (*fuse.EntryOut)(out))
}

func callLink(raw fuse.RawFileSystem, in, out unsafe.Pointer, name, _ string) fuse.Status {
	return raw.Link(never, (*fuse.LinkIn)(in), name, (*fuse.EntryOut)(out))
}

func callUnlink(raw fuse.RawFileSystem, in, _ unsafe.Pointer, name, _ string) fuse.Status {
	return raw.Unlink(never, (*fuse.InHeader)(in), name)
}

func callRmdir(raw fuse.RawFileSystem, in, _ unsafe.Pointer, name, _ string) fuse.Status {
	return raw.Rmdir(never, (*fuse.InHeader)(in), name)
}

func callRename(raw fuse.RawFileSystem, in, _ unsafe.Pointer, name, to string) fuse.Status {
	return raw.Rename(never, (*fuse.RenameIn)(in), name, to)
}

func callOpen(raw fuse.RawFileSystem, in, out unsafe.Pointer, _, _ string) fuse.Status {
	return raw.Open(never, (*fuse.OpenIn)(in), (*fuse.OpenOut)(out))
}

func callOpendir(raw fuse.RawFileSystem, in, out unsafe.Pointer, _, _ string) fuse.Status {
	return raw.OpenDir(never, (*fuse.OpenIn)(in), (*fuse.OpenOut)(out))
}

func callFlush(raw fuse.RawFileSystem, in, _ unsafe.Pointer, _, _ string) fuse.Status {
	return raw.Flush(never, (*fuse.FlushIn)(in))
}

func callRelease(raw fuse.RawFileSystem, in, _ unsafe.Pointer, _, _ string) fuse.Status {
	raw.Release(never, (*fuse.ReleaseIn)(in))
	return fuse.OK
}

func callReleasedir(raw fuse.RawFileSystem, in, _ unsafe.Pointer, _, _ string) fuse.Status {
	raw.ReleaseDir((*fuse.ReleaseIn)(in))
	return fuse.OK
}

func fillReadlink(t *transport, _ *channel, in unsafe.Pointer, _ string) ([]byte, fuse.Status, bool) {
	target, st := t.raw.Readlink(never, (*fuse.InHeader)(in))
	return target[:min(len(target), smallAnswer)], st, true
}

func fillReaddir(t *transport, ch *channel, in unsafe.Pointer, _ string) ([]byte, fuse.Status, bool) {
	r := (*fuse.ReadIn)(in)
	if !t.fits(ch, r.Size) {
		return nil, 0, false
	}
	ch.list = *fuse.NewDirEntryList(ch.out[:r.Size:r.Size], r.Offset)
	st := t.raw.ReadDir(never, r, &ch.list)
	return ch.list.Bytes(), st, true
}

func fillReaddirplus(t *transport, ch *channel, in unsafe.Pointer, _ string) ([]byte, fuse.Status, bool) {
	r := (*fuse.ReadIn)(in)
	if !t.fits(ch, r.Size) {
		return nil, 0, false
	}
	ch.list = *fuse.NewDirEntryList(ch.out[:r.Size:r.Size], r.Offset)
	st := t.raw.ReadDirPlus(never, r, &ch.list)
	return ch.list.Bytes(), st, true
}

func fillGetxattr(t *transport, ch *channel, in unsafe.Pointer, name string) ([]byte, fuse.Status, bool) {
	x := (*fuse.GetXAttrIn)(in)
	if !t.fits(ch, x.Size) {
		return nil, 0, false
	}
	n, st := t.raw.GetXAttr(never, &x.InHeader, name, ch.out[:x.Size:x.Size])
	data, st := ch.xattr(x.Size, n, st)
	return data, st, true
}

func fillListxattr(t *transport, ch *channel, in unsafe.Pointer, _ string) ([]byte, fuse.Status, bool) {
	x := (*fuse.GetXAttrIn)(in)
	if !t.fits(ch, x.Size) {
		return nil, 0, false
	}
	n, st := t.raw.ListXAttr(never, &x.InHeader, ch.out[:x.Size:x.Size])
	data, st := ch.xattr(x.Size, n, st)
	return data, st, true
}

// xattr is the answer to who has asked for size bytes of n in out; for none he
// gets the number.
func (ch *channel) xattr(size, n uint32, st fuse.Status) ([]byte, fuse.Status) {
	if size > 0 {
		return ch.out[:min(n, size)], st
	}
	if st == fuse.ERANGE {
		st = fuse.OK
	}
	out := (*fuse.GetXAttrOut)(unsafe.Pointer(&ch.small[0]))
	*out = fuse.GetXAttrOut{Size: n}
	return ch.small[:unsafe.Sizeof(*out)], st
}
