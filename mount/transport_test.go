//go:build linux && !386

package mount

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/e4kit/e4kit/testimages"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// nullFS has a file "data" of endless zeros, more whose names are numbers, and
// forgets what is written.
// It is as fast as a file system can be: what it measures is the transport.
type nullFS struct {
	fuse.RawFileSystem
	hold    chan struct{} // fsync waits for it
	waiting chan struct{} // told by each fsync that waits
	boom    atomic.Bool   // getattr panics
	ended   sync.Once
	gone    chan struct{} // closed at the end
}

func newNullFS() *nullFS {
	return &nullFS{RawFileSystem: fuse.NewDefaultRawFileSystem(), hold: make(chan struct{}),
		waiting: make(chan struct{}, 4096), gone: make(chan struct{})}
}

const (
	nullSize = 1 << 40
	nullNode = 2
)

func (n *nullFS) attr(node uint64, a *fuse.Attr) {
	*a = fuse.Attr{Ino: node, Mode: unix.S_IFDIR | 0o755, Nlink: 2}
	if node >= nullNode {
		*a = fuse.Attr{Ino: node, Mode: unix.S_IFREG | 0o644, Nlink: 1, Size: nullSize}
	}
}

func (n *nullFS) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	out.NodeId, out.Generation = nullNode, 1
	if i, err := strconv.Atoi(name); err == nil {
		out.NodeId += uint64(i)
	} else if name != "data" {
		return fuse.ENOENT
	}
	out.SetEntryTimeout(time.Hour)
	n.attr(out.NodeId, &out.Attr)
	return fuse.OK
}

func (n *nullFS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if n.boom.Load() {
		panic("boom")
	}
	n.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (n *nullFS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (n *nullFS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Bsize: 4096, Frsize: 4096, Blocks: 1 << 20, NameLen: 255}
	return fuse.OK
}

func (n *nullFS) Read(_ <-chan struct{}, _ *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	return fuse.ReadResultData(buf), fuse.OK
}

func (n *nullFS) Write(_ <-chan struct{}, _ *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return uint32(len(data)), fuse.OK
}

// Fsync waits until it is told to end or interrupted.
func (n *nullFS) Fsync(cancel <-chan struct{}, _ *fuse.FsyncIn) fuse.Status {
	n.waiting <- struct{}{}
	select {
	case <-cancel:
		return fuse.EINTR
	case <-n.hold:
		return fuse.OK
	}
}

func (n *nullFS) OnUnmount() { n.ended.Do(func() { close(n.gone) }) }

// nullByURing has mountNull use io_uring.
var nullByURing bool

// mountNull mounts raw by our own transport until the test ends.
func mountNull(t testing.TB, raw fuse.RawFileSystem) (*linuxSession, string) {
	t.Helper()
	testimages.RequireFUSE(t)
	point, mode, err := mountDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	req := &mountRequest{point: point, mode: mode, source: "null, test", subtype: "e4kit", maxRead: maxWrite, checks: true, allowOther: os.Geteuid() == 0}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fd, err := req.do(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTransport(fd, raw, &transportOptions{URing: nullByURing}, &opStats{})
	if err := tr.agree(ctx); err != nil {
		tr.close()
		req.undo()
		t.Fatal(err)
	}
	if nullByURing && tr.uring == nil {
		t.Error("served by the device")
	}
	m, _ := mountAt(point)
	ses := &linuxSession{t: tr, point: point, dev: m.dev}
	done := make(chan error, 1)
	tr.begin()
	tr.probe.run(tr, point)
	go func() { done <- ses.serve() }()
	// A test that hangs in its own mount hangs no longer than this. (A process
	// that ends while it waits for itself never does.)
	limit := 15 * time.Second
	if _, bench := t.(*testing.B); bench {
		limit = 10 * time.Minute
	}
	patience := time.AfterFunc(limit, func() { _ = ses.abort() })
	t.Cleanup(func() {
		patience.Stop()
		if err := ses.unmount(true); err != nil {
			t.Error(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the transport does not end")
		}
	})
	return ses, point
}

func TestTransport_kernel(t *testing.T) {
	ses, dir := mountNull(t, newNullFS())
	init := ses.t.init
	const need = uint64(fuse.CAP_ASYNC_READ | fuse.CAP_BIG_WRITES | fuse.CAP_MAX_PAGES)
	if init.caps&need != need || init.caps&(fuse.CAP_AUTO_INVAL_DATA|fuse.CAP_POSIX_LOCKS|fuse.CAP_FLOCK_LOCKS) != 0 {
		t.Errorf("agreed on %#x", init.caps)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks != 1<<20 {
		t.Errorf("statfs: %v, %+v", err, st)
	}
	f, err := os.OpenFile(filepath.Join(dir, "data"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := bytes.Repeat([]byte{1}, 3<<20)
	if n, err := f.ReadAt(buf, 0); err != nil || n != len(buf) {
		t.Errorf("read: %d, %v", n, err)
	}
	if n, err := f.WriteAt(buf, 0); err != nil || n != len(buf) {
		t.Errorf("write: %d, %v", n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat of a missing file: %v", err)
	}
	if m, ok := mountAt(dir); !ok || m.kind != "fuse.e4kit" {
		t.Errorf("mountinfo: %+v", m)
	}
}

// A hundred waiting fsyncs must not keep anybody else from being served.
func TestTransport_longRequestsStarveNobody(t *testing.T) {
	raw := newNullFS()
	_, dir := mountNull(t, raw)
	const n = 100
	var wg sync.WaitGroup
	for i := range n { // each of a file of its own: the kernel lets one in per file
		f, err := os.Open(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Error(err)
			break
		}
		wg.Go(func() {
			defer f.Close()
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
	for range n {
		select {
		case <-raw.waiting:
		case <-time.After(10 * time.Second):
			t.Error("not every fsync came in")
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Error(err)
	}
	close(raw.hold)
	wg.Wait()
}

// A killed process must not hang in a request that waits, and the end of the
// connection ends the request that waits.
func TestTransport_interruptAndAbort(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "sync")
	raw := newNullFS()
	ses, dir := mountNull(t, raw)
	for i, stop := range []func(p *os.Process) error{
		func(p *os.Process) error { return p.Kill() },
		func(*os.Process) error { return ses.abort() },
	} {
		cmd := exec.Command("sync", filepath.Join(dir, strconv.Itoa(i)))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-raw.waiting:
		case <-time.After(5 * time.Second):
			t.Error("no fsync came in")
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if err := stop(cmd.Process); err != nil {
			t.Error(err)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Error("sync succeeded")
			}
		case <-time.After(5 * time.Second):
			t.Errorf("sync %d hangs", i)
		}
	}
	select {
	case <-raw.gone:
	case <-time.After(5 * time.Second):
		t.Error("the transport does not end")
	}
}

func TestMountRequest_list(t *testing.T) {
	r := mountRequest{source: `/a,b\c`, subtype: "e4kit", maxRead: 65536, checks: true, flags: unix.MS_RDONLY | unix.MS_NOSUID}
	if got, want := r.list(), `fsname=/a\,b\\c,subtype=e4kit,max_read=65536,default_permissions,ro,nosuid`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTransport_panicFailsOneRequest(t *testing.T) {
	raw := newNullFS()
	ses, dir := mountNull(t, raw)
	f, err := os.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw.boom.Store(true)
	_ = ses.t.InodeNotify(nullNode, -1, 0)
	if _, err := f.Stat(); !errors.Is(err, syscall.EIO) {
		t.Errorf("stat: %v, want EIO", err)
	}
	raw.boom.Store(false)
	if _, err := f.Stat(); err != nil {
		t.Errorf("stat afterwards: %v", err)
	}
}

func TestTransport_unmountBusy(t *testing.T) {
	ses, dir := mountNull(t, newNullFS())
	f, err := os.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ses.unmount(false); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("unmount with an open file: %v, want EBUSY", err)
	}
	f.Close()
	for range 100 { // the kernel closes late
		if err = ses.unmount(false); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ses.t.raw.(*nullFS).gone:
	case <-time.After(10 * time.Second):
		t.Error("not ended")
	}
	if err := ses.unmount(false); err != nil {
		t.Errorf("second unmount: %v", err)
	}
}

// A mount that the kernel does not complete must leave nothing.
func TestTransport_mountHalfWay(t *testing.T) {
	testimages.RequireFUSE(t)
	point, mode, err := mountDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	req := &mountRequest{point: point, mode: mode, source: "null", subtype: "e4kit", maxRead: maxWrite}
	fd, err := req.do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr := newTransport(fd, newNullFS(), &transportOptions{}, &opStats{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.agree(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("agree: %v", err)
	}
	tr.close()
	req.undo()
	if m, ok := mountAt(point); ok {
		t.Errorf("still mounted: %+v", m)
	}
}

// wire is the kernel's end of a transport over a socket.
type wire struct {
	t    *testing.T
	fd   int
	tr   *transport
	done chan error
}

// newWire connects a transport to the test, which plays the kernel.
func newWire(t *testing.T, raw fuse.RawFileSystem) *wire {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, fd: pair[0], tr: newTransport(pair[1], raw, &transportOptions{}, &opStats{}), done: make(chan error, 1)}
	w.tr.clone = false
	return w
}

// begin plays INIT and has the transport serve until the test ends.
func (w *wire) begin() fuse.InitOut {
	w.t.Helper()
	in := fuse.InitIn{Major: 7, Minor: 45, MaxReadAhead: 128 << 10, Flags: ^uint32(0), Flags2: ^uint32(0)}
	w.write(opInit, 1, 0, bytesOf(&in)[inHeaderLen:])
	if err := w.tr.agree(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	h, data := w.read()
	if h.Unique != 1 || h.Status != 0 || len(data) != int(unsafe.Sizeof(fuse.InitOut{})) {
		w.t.Fatalf("INIT: %+v, %d bytes", h, len(data))
	}
	w.tr.begin()
	go func() { w.done <- w.tr.serve() }()
	w.t.Cleanup(w.end)
	return *(*fuse.InitOut)(unsafe.Pointer(&data[0]))
}

func (w *wire) end() {
	_ = unix.Shutdown(w.fd, unix.SHUT_RDWR)
	select {
	case err := <-w.done:
		if err != nil {
			w.t.Error(err)
		}
	case <-time.After(5 * time.Second):
		w.t.Error("the transport does not end")
	}
	_ = unix.Close(w.fd)
}

// bytesOf shows a structure as bytes.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// frame makes a request.
func frame(op uint32, unique, node uint64, body []byte) []byte {
	h := fuse.InHeader{Length: uint32(inHeaderLen + len(body)), Opcode: op, Unique: unique, NodeId: node}
	return append(slices.Clone(bytesOf(&h)), body...)
}

func (w *wire) write(op uint32, unique, node uint64, body []byte) {
	w.raw(frame(op, unique, node, body))
}

func (w *wire) raw(b []byte) {
	w.t.Helper()
	if _, err := unix.Write(w.fd, b); err != nil {
		w.t.Fatal(err)
	}
}

// read takes one answer; it fails when none comes.
func (w *wire) read() (fuse.OutHeader, []byte) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	if err := readable(ctx, w.fd); err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	b := make([]byte, 2<<20)
	n, err := unix.Read(w.fd, b)
	if err != nil || n < outHeaderLen {
		w.t.Fatalf("answer: %d bytes, %v", n, err)
	}
	h := *(*fuse.OutHeader)(unsafe.Pointer(&b[0]))
	if int(h.Length) != n {
		w.t.Fatalf("answer says %d bytes and has %d", h.Length, n)
	}
	return h, b[outHeaderLen:n]
}

// expect takes one answer, which must be to unique with that status.
func (w *wire) expect(unique uint64, st fuse.Status) []byte {
	w.t.Helper()
	h, data := w.read()
	if h.Unique != unique || h.Status != -int32(st) {
		w.t.Fatalf("answer to %d with status %d, want %d with %d", h.Unique, h.Status, unique, -int32(st))
	}
	return data
}

func TestWire_init(t *testing.T) {
	out := newWire(t, newNullFS()).begin()
	if out.MaxWrite != uint32(writeLimit()) || int(out.MaxPages)*syscall.Getpagesize() < writeLimit() || out.MaxBackground != maxBackground {
		t.Errorf("%+v", out)
	}
	got := out.Flags64() &^ fuse.CAP_INIT_EXT
	if got != wanted {
		t.Errorf("agreed on %#x, want %#x", got, wanted)
	}
}

func TestWire_initOfOldKernel(t *testing.T) {
	w := newWire(t, newNullFS())
	defer unix.Close(w.fd)
	defer w.tr.close()
	in := fuse.InitIn{Major: 7, Minor: 8}
	w.write(opInit, 1, 0, bytesOf(&in)[inHeaderLen:])
	if err := w.tr.agree(t.Context()); err == nil {
		t.Error("agreed on protocol 7.8")
	}
	w.expect(1, fuse.Status(unix.EPROTO))
}

func TestWire_firstRequestMustBeInit(t *testing.T) {
	w := newWire(t, newNullFS())
	defer unix.Close(w.fd)
	defer w.tr.close()
	w.write(opStatfs, 7, 1, nil)
	if err := w.tr.agree(t.Context()); err == nil {
		t.Error("agreed without INIT")
	}
	w.expect(7, fuse.EIO)
}

func TestWire_unknownAndMalformed(t *testing.T) {
	raw := newNullFS()
	w := newWire(t, raw)
	w.begin()
	// What has no header has no answer; the next request is answered.
	w.raw([]byte{1, 2, 3})
	w.write(99, 2, 1, nil)
	w.expect(2, fuse.ENOSYS)
	w.write(4000000000, 3, 1, nil)
	w.expect(3, fuse.ENOSYS)
	w.write(opInit, 4, 0, make([]byte, 64))
	w.expect(4, fuse.EIO)
	w.write(opPoll, 5, 2, make([]byte, 24))
	w.expect(5, fuse.ENOSYS)
	// Every opcode with no body at all, and with one byte of it, is answered.
	unique := uint64(100)
	for op := uint32(1); op < 60; op++ {
		for _, body := range [][]byte{nil, {0}} {
			unique++
			switch op {
			case opForget, opBatchForget, 41: // no answer is due, or none for what is unknown
				w.write(op, unique, 1, body)
			case opInterrupt, opFsync, opFsyncdir:
			default:
				w.write(op, unique, 1, body)
				if h, _ := w.read(); h.Unique != unique {
					t.Fatalf("opcode %d: answer to %d, want %d", op, h.Unique, unique)
				}
			}
		}
	}
}

func TestWire_hostileLengths(t *testing.T) {
	w := newWire(t, newNullFS())
	w.begin()
	// A length in the header that is not that of the message.
	for i, n := range []uint32{0, 1, 39, 41, 1 << 31, 1<<32 - 1} {
		b := frame(opStatfs, uint64(10+i), 1, nil)
		binary.NativeEndian.PutUint32(b, n)
		w.raw(b)
		w.expect(uint64(10+i), fuse.EIO)
	}
	// More extensions than there are bytes.
	b := frame(opGetattr, 30, 1, make([]byte, 16))
	binary.NativeEndian.PutUint16(b[36:], 0xffff)
	w.raw(b)
	w.expect(30, fuse.EIO)
	// A read of more than was agreed on, a write that promises more or less than it brings.
	for i, size := range []uint32{maxWrite + 1, 1 << 31, 1<<32 - 1} {
		in := fuse.ReadIn{Size: size}
		w.write(opRead, uint64(40+i), nullNode, bytesOf(&in)[inHeaderLen:])
		w.expect(uint64(40+i), fuse.EINVAL)
		w.write(opReaddir, uint64(50+i), 1, bytesOf(&in)[inHeaderLen:])
		w.expect(uint64(50+i), fuse.EINVAL)
	}
	for i, size := range []uint32{0, 7, 9, 1<<32 - 1} {
		in := fuse.WriteIn{Size: size}
		w.write(opWrite, uint64(60+i), nullNode, append(slices.Clone(bytesOf(&in)[inHeaderLen:]), make([]byte, 8)...))
		w.expect(uint64(60+i), fuse.EINVAL)
	}
	in := fuse.WriteIn{Size: 8}
	w.write(opWrite, 70, nullNode, append(slices.Clone(bytesOf(&in)[inHeaderLen:]), make([]byte, 8)...))
	if data := w.expect(70, fuse.OK); binary.NativeEndian.Uint32(data) != 8 {
		t.Errorf("WRITE: % x", data)
	}
	// A batch of forgets that claims more than it holds.
	forget := make([]byte, 8)
	binary.NativeEndian.PutUint32(forget, 1<<32-1)
	w.write(opBatchForget, 80, 0, forget)
	// Names without an end.
	w.write(opLookup, 81, 1, []byte("data"))
	if h, _ := w.read(); h.Unique != 81 {
		t.Errorf("LOOKUP without a zero: %+v", h)
	}
}

func TestWire_interrupt(t *testing.T) {
	raw := newNullFS()
	w := newWire(t, raw)
	w.begin()
	in := fuse.FsyncIn{}
	w.write(opFsync, 20, nullNode, bytesOf(&in)[inHeaderLen:])
	<-raw.waiting
	stop := fuse.InterruptIn{Unique: 20}
	w.write(opInterrupt, 21, 0, bytesOf(&stop)[inHeaderLen:])
	w.expect(20, fuse.EINTR)
	// Of a request that is not known: the kernel shall ask again.
	w.write(opInterrupt, 23, 0, bytesOf(&stop)[inHeaderLen:])
	w.expect(23, fuse.EAGAIN)
}

func TestWire_readResults(t *testing.T) {
	w := newWire(t, newNullFS())
	w.begin()
	for i, size := range []uint32{0, 1, 4096, 65536} {
		in := fuse.ReadIn{Size: size}
		w.write(opRead, uint64(10+i), nullNode, bytesOf(&in)[inHeaderLen:])
		if data := w.expect(uint64(10+i), fuse.OK); len(data) != int(size) {
			t.Errorf("read of %d: %d bytes", size, len(data))
		}
	}
}

func TestStats_histogram(t *testing.T) {
	var s opStats
	for _, d := range []time.Duration{0, 1, 2, 3, 1023, 1024, time.Hour} {
		s.add(opRead, d, d == 3, 10)
	}
	s.add(1<<31, 1, false, 0)
	list := s.snapshot()
	if len(list) != 2 || list[0].Op != "UNKNOWN" || list[1].Op != "READ" {
		t.Fatalf("%+v", list)
	}
	r := list[1]
	if r.Count != 7 || r.Errors != 1 || r.Bytes != 70 || r.Max != time.Hour {
		t.Errorf("%+v", r)
	}
	want := [HistogramLen]uint64{0: 2, 1: 2, 9: 1, 10: 1, HistogramLen - 1: 1}
	if r.Histogram != want {
		t.Errorf("%v", r.Histogram)
	}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{`/a`: "/a", `/a\040b`: "/a b", `/\134`: `/\`, `/a\04`: `/a\04`, `/\999`: `/\999`} {
		if got := unescapeMount(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
