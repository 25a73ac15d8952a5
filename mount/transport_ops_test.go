//go:build linux && !386

package mount

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// echoFS notes what it is asked, and answers with what follows from it alone.
type echoFS struct {
	fuse.RawFileSystem
	calls []string
	st    fuse.Status // of all answers
	boom  bool
}

func newEchoFS() *echoFS { return &echoFS{RawFileSystem: fuse.NewDefaultRawFileSystem()} }

// note takes a call down; in is the request's structure.
func note[T any](e *echoFS, op string, in *T, more ...any) fuse.Status {
	e.calls = append(e.calls, fmt.Sprintf("%s %+v %q", op, *in, more))
	if e.boom {
		panic("boom")
	}
	return e.st
}

// fill gives most bytes of an answer values of their own; what it leaves out must
// be zero.
func fill[T any](out *T, with string) {
	b := bytesOf(out)
	for i := range b {
		if i%5 != 0 {
			b[i] = byte(i*7 + len(with))
		}
	}
}

func (e *echoFS) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	fill(out, name)
	return note(e, "lookup", h, name)
}

func (e *echoFS) Forget(node, n uint64) { note(e, "forget", &node, n) }

func (e *echoFS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	fill(out, "")
	return note(e, "getattr", in)
}

func (e *echoFS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	fill(out, "")
	return note(e, "setattr", in)
}

func (e *echoFS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	fill(out, name)
	return note(e, "mknod", in, name)
}

func (e *echoFS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	fill(out, name)
	return note(e, "mkdir", in, name)
}

func (e *echoFS) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return note(e, "unlink", h, name)
}

func (e *echoFS) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return note(e, "rmdir", h, name)
}

func (e *echoFS) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, to string) fuse.Status {
	return note(e, "rename", in, name, to)
}

func (e *echoFS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	fill(out, name)
	return note(e, "link", in, name)
}

func (e *echoFS) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	fill(out, name)
	return note(e, "symlink", h, target, name)
}

func (e *echoFS) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	return []byte("the/target"), note(e, "readlink", h)
}

func (e *echoFS) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	return note(e, "access", in)
}

func (e *echoFS) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dst []byte) (uint32, fuse.Status) {
	return e.xattr(dst, note(e, "getxattr", h, name, len(dst)))
}

func (e *echoFS) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dst []byte) (uint32, fuse.Status) {
	return e.xattr(dst, note(e, "listxattr", h, len(dst)))
}

func (e *echoFS) xattr(dst []byte, st fuse.Status) (uint32, fuse.Status) {
	const value = "a value"
	if st == fuse.OK && len(dst) < len(value) {
		st = fuse.ERANGE
	}
	copy(dst, value)
	return uint32(len(value)), st
}

func (e *echoFS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	fill(out, name)
	return note(e, "create", in, name)
}

func (e *echoFS) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	fill(out, "")
	return note(e, "open", in)
}

func (e *echoFS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	fill(out, "")
	return note(e, "opendir", in)
}

func (e *echoFS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { note(e, "release", in) }

func (e *echoFS) ReleaseDir(in *fuse.ReleaseIn) { note(e, "releasedir", in) }

func (e *echoFS) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	return note(e, "flush", in)
}

func (e *echoFS) StatFs(_ <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	fill(out, "")
	return note(e, "statfs", h)
}

func (e *echoFS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	for i := uint64(1); out.AddDirEntry(fuse.DirEntry{Name: strings.Repeat("n", int(i)), Ino: i, Mode: unix.S_IFREG}); i++ {
	}
	return note(e, "readdir", in)
}

func (e *echoFS) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	for i := uint64(1); ; i++ {
		entry := out.AddDirLookupEntry(fuse.DirEntry{Name: strings.Repeat("n", int(i)), Ino: i})
		if entry == nil {
			return note(e, "readdirplus", in)
		}
		fill(entry, "")
		out.FixMode(unix.S_IFDIR)
	}
}

// sink keeps answers.
type sink struct{ answers [][]byte }

func (s *sink) answer(h *fuse.OutHeader, data []byte) error {
	b := append(slices.Clone(bytesOf(h)), data...)
	if int(h.Length) != len(b) {
		return unix.EINVAL
	}
	s.answers = append(s.answers, b)
	return nil
}

func (s *sink) later() way { return s }

// twoPaths answers requests by the fast path and by the slow one.
type twoPaths struct {
	t  *transport
	fs *echoFS
	// shared: answers are made where the request's payload lies, as on a ring.
	shared bool
}

func newTwoPaths() *twoPaths {
	fs := newEchoFS()
	t := newTransport(-1, fs, &transportOptions{}, &opStats{})
	t.init.maxWrite = 64 << 10
	return &twoPaths{t: t, fs: fs}
}

// buffers are a channel's: out follows what holds the longest structure.
func (p *twoPaths) channel(req []byte) (*channel, *sink, []byte) {
	const lead = 128
	room := lead + len(req) + p.t.init.maxWrite + 4096
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&make([]uint64, room/8+1)[0])), room)
	s := &sink{}
	ch := &channel{way: s, fd: -1, hdr: new(fuse.OutHeader)}
	in := mem[:len(req)]
	ch.out = mem[len(req)/8*8+8:]
	if h := (*fuse.InHeader)(unsafe.Pointer(&req[0])); p.shared && h.Opcode < opCount {
		// The payload begins out.
		begin := lead
		if op := fastOps[h.Opcode]; op.in > 0 {
			begin = op.in
		}
		in, ch.out = mem[lead-begin:][:len(req)], mem[lead:]
	}
	ch.small = ch.out[:smallLen]
	copy(in, req)
	for i := len(in); i < len(ch.out); i += 97 {
		ch.out[i] = 0xee // what an earlier answer has left
	}
	return ch, s, in
}

// result is what one path has done.
type result struct {
	answers [][]byte
	calls   []string
	st      fuse.Status
}

func (p *twoPaths) fast(req []byte) (r result, ok bool) {
	ch, s, in := p.channel(req)
	p.fs.calls = nil
	_, r.st, ok = p.t.quick(ch, (*fuse.InHeader)(unsafe.Pointer(&in[0])), in)
	r.answers, r.calls = s.answers, p.fs.calls
	return r, ok
}

func (p *twoPaths) slow(req []byte) (r result) {
	s := &sink{}
	own := unsafe.Slice((*byte)(unsafe.Pointer(&make([]uint64, len(req)/8+1)[0])), len(req))
	copy(own, req)
	p.fs.calls = nil
	r.st = p.t.slow(s, own, nil)
	r.answers, r.calls = s.answers, p.fs.calls
	return r
}

// compare fails where the fast path does something else than the slow one with
// what it takes.
func (p *twoPaths) compare(t *testing.T, req []byte) (taken bool) {
	t.Helper()
	fast, ok := p.fast(req)
	if !ok {
		if len(fast.answers) != 0 || len(fast.calls) != 0 {
			t.Errorf("% x: left to the slow path after %q, %d answers", req, fast.calls, len(fast.answers))
		}
		return false
	}
	slow := p.slow(req)
	if !slices.EqualFunc(fast.answers, slow.answers, bytes.Equal) {
		t.Errorf("% x: answer\n% x, the slow path's is\n% x", req, fast.answers, slow.answers)
	}
	if !slices.Equal(fast.calls, slow.calls) {
		t.Errorf("% x: calls\n%q, the slow path's are\n%q", req, fast.calls, slow.calls)
	}
	if fast.st != slow.st {
		t.Errorf("% x: status %d, the slow path's is %d", req, fast.st, slow.st)
	}
	return true
}

// bodyOf is a request's body: a structure with a value of its own for each byte,
// and names.
func bodyOf(op uint32, names ...string) []byte {
	b := make([]byte, fastOps[op].in-inHeaderLen)
	for i := range b {
		b[i] = byte(i + 1)
	}
	for _, n := range names {
		b = append(append(b, n...), 0)
	}
	return b
}

// sized is a body of READDIR and its like, or of GETXATTR.
func sized(op, size uint32, names ...string) []byte {
	b := bodyOf(op, names...)
	at := uintptr(unsafe.Offsetof(fuse.ReadIn{}.Size))
	if op == opGetxattr || op == opListxattr {
		at = unsafe.Offsetof(fuse.GetXAttrIn{}.Size)
	}
	copy(b[at-uintptr(inHeaderLen):], bytesOf(&size))
	return b
}

func forgets(count uint32, nodes ...uint64) []byte {
	b := make([]byte, 8)
	copy(b, bytesOf(&count))
	for i, n := range nodes {
		f := [2]uint64{n, uint64(i + 1)}
		b = append(b, bytesOf(&f)...)
	}
	return b
}

// wellFormed has one request at least of each kind that the fast path knows.
func wellFormed() [][]byte {
	var list [][]byte
	for op := range uint32(opCount) {
		add := func(body []byte) { list = append(list, frame(op, uint64(1000+op), 1, body)) }
		switch o := &fastOps[op]; {
		case op == opBatchForget:
			add(forgets(1, 7))
			add(forgets(3, 7, 8, probeNode))
		case op == opReaddir || op == opReaddirplus || op == opGetxattr || op == opListxattr:
			for _, size := range []uint32{0, 1, 7, 24, 300, 4096, 64 << 10} {
				add(sized(op, size, []string{"user.name"}[:o.names]...))
			}
		case o.in == 0:
		case o.names == 0:
			add(bodyOf(op))
		default:
			for _, name := range []string{"n", "", "file", strings.Repeat("x", 255), strings.Repeat("y", 1023), "\xff/\n"} {
				add(bodyOf(op, []string{name, "to" + name}[:o.names]...))
			}
		}
	}
	return list
}

// What the fast path answers is byte for byte what the slow path does, and what
// the file system is asked is the same.
func TestQuick_sameAsSlow(t *testing.T) {
	p := newTwoPaths()
	for _, p.shared = range []bool{false, true} {
		for _, p.fs.st = range []fuse.Status{fuse.OK, fuse.ENOENT, fuse.ENOSYS, fuse.ERANGE} {
			for _, p.fs.boom = range []bool{false, true} {
				for _, req := range wellFormed() {
					if !p.compare(t, req) {
						t.Errorf("% x: not taken", req)
					}
				}
			}
		}
	}
}

// Requests that are too short or too long, that bring extensions, too many names
// or none, or ask for too much, are the slow path's.
func TestQuick_leavesWhatIsOdd(t *testing.T) {
	p := newTwoPaths()
	for _, whole := range wellFormed() {
		h := (*fuse.InHeader)(unsafe.Pointer(&whole[0]))
		var odd [][]byte
		for n := inHeaderLen; n < min(len(whole), 300); n++ {
			odd = append(odd, whole[:n])
		}
		for _, more := range []string{"\x00", "a", "a\x00", "12345678", strings.Repeat("\x00", 40)} {
			odd = append(odd, append(slices.Clone(whole), more...))
		}
		ext := slices.Clone(whole)
		(*fuse.InHeader)(unsafe.Pointer(&ext[0])).TotalExtlen = 1
		odd = append(odd, append(ext, 8, 0, 0, 0, 0, 0, 0, 0))
		for _, req := range odd {
			req = slices.Clone(req)
			(*fuse.InHeader)(unsafe.Pointer(&req[0])).Length = uint32(len(req))
			if p.compare(t, req) {
				t.Errorf("opcode %d, % x: taken", h.Opcode, req)
			}
		}
	}
	for _, op := range []uint32{opReaddir, opReaddirplus, opGetxattr, opListxattr} {
		for _, size := range []uint32{64<<10 + 1, 1 << 31, 1<<32 - 1} {
			names := []string{"user.name"}[:fastOps[op].names]
			if p.compare(t, frame(op, 1, 1, sized(op, size, names...))) {
				t.Errorf("opcode %d: %d bytes asked for, taken", op, size)
			}
		}
	}
	for _, body := range [][]byte{forgets(0), forgets(2, 7), forgets(1, 7, 8), forgets(1<<28+1, 7)} {
		if p.compare(t, frame(opBatchForget, 1, 0, body)) {
			t.Errorf("% x: taken", body)
		}
	}
}

// The fast path allocates nothing but names.
func TestQuick_allocates(t *testing.T) {
	tr := newTransport(-1, quietFS{fuse.NewDefaultRawFileSystem()}, &transportOptions{}, &opStats{})
	for _, req := range wellFormed() {
		ch := &channel{way: &nowhere{}, fd: -1, hdr: new(fuse.OutHeader), out: make([]byte, 64<<10), small: make([]byte, smallLen)}
		h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
		want := float64(fastOps[h.Opcode].names)
		got := testing.AllocsPerRun(10, func() {
			if _, _, ok := tr.quick(ch, h, req); !ok {
				t.Errorf("opcode %d: not taken", h.Opcode)
			}
		})
		if got > want {
			t.Errorf("opcode %d: %v allocations, want %v", h.Opcode, got, want)
		}
	}
}

type quietFS struct{ fuse.RawFileSystem }

type nowhere struct{}

func (*nowhere) answer(*fuse.OutHeader, []byte) error { return nil }
func (n *nowhere) later() way                         { return n }

// FuzzQuick looks for requests that the fast path takes and answers otherwise.
func FuzzQuick(f *testing.F) {
	for _, req := range wellFormed() {
		if len(req) < 200 {
			h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
			f.Add(h.Opcode, h.TotalExtlen, req[inHeaderLen:], false)
		}
	}
	p := newTwoPaths()
	f.Fuzz(func(t *testing.T, op uint32, ext uint16, body []byte, shared bool) {
		req := frame(op, 1, 1, body)
		(*fuse.InHeader)(unsafe.Pointer(&req[0])).TotalExtlen = ext
		if _, ok := header(req); !ok || op == opRead || op == opWrite || len(body) > 4096 {
			return
		}
		p.shared = shared
		p.compare(t, req)
	})
}
