//go:build !386

package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// wanted are the capabilities that are asked of every kernel; what it does not
// offer is left out.
//
//   - FLOCK_LOCKS, POSIX_LOCKS are not among them: the kernel keeps locks itself.
//   - AUTO_INVAL_DATA is not: nobody changes the image behind the kernel's back.
//   - ATOMIC_O_TRUNC is not: truncation comes as a SETATTR, which ext4 does anyway.
//   - SPLICE_* are not: the answer's buffer is filled straight from the image.
//   - SECURITY_CTX is not: labels are made by the kernel with a SETXATTR.
//   - CREATE_SUPP_GROUP is not: the kernel strips S_ISGID by itself.
//   - ALLOW_IDMAP is for who asks: it hides the caller's ids.
const wanted uint64 = fuse.CAP_ASYNC_READ | fuse.CAP_FILE_OPS | fuse.CAP_EXPORT_SUPPORT | fuse.CAP_BIG_WRITES |
	fuse.CAP_DONT_MASK | fuse.CAP_IOCTL_DIR | fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_ASYNC_DIO |
	fuse.CAP_WRITEBACK_CACHE | fuse.CAP_NO_OPEN_SUPPORT | fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_PARALLEL_DIROPS |
	fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_MAX_PAGES | fuse.CAP_CACHE_SYMLINKS | fuse.CAP_EXPLICIT_INVAL_DATA |
	fuse.CAP_SETXATTR_EXT | fuse.CAP_DIRECT_IO_ALLOW_MMAP

// refused are never agreed on, although go-fuse would.
const refused uint64 = fuse.CAP_AUTO_INVAL_DATA | fuse.CAP_PASSTHROUGH | fuse.CAP_ALLOW_IDMAP

const (
	maxBackground = 128 // asynchronous requests (read-ahead, write-back) at a time
	congestion    = 96
	maxReadAhead  = 2 << 20 // bytes; an unprivileged mount gets the kernel's default
)

// oldestMinor is Linux 3.15's: before it the answer to INIT is a shorter one.
const oldestMinor = 23

// Optional interfaces of a file system for the agreement with the kernel.
type (
	// capsWanter adds to the capabilities asked for and takes from them.
	capsWanter interface{ WantCaps() (want, refuse uint64) }
	// negotiator learns what was agreed on, before the first operation.
	negotiator interface{ Negotiated(caps uint64) }
	// timeGrainer tells the grain of times in nanoseconds.
	timeGrainer interface{ TimeGran() uint32 }
)

// transportOptions is what a transport is told.
type transportOptions struct {
	Logger *slog.Logger
	Trace  bool
	ACL    bool
	URing  bool // by io_uring, if the kernel offers it
}

// initReply is our side of the agreement, and then what was agreed on.
type initReply struct {
	want, refuse uint64
	maxWrite     int
	grain        uint32

	minor    uint32 // of the protocol, agreed on
	caps     uint64
	maxPages int
}

func newInitReply(raw fuse.RawFileSystem, o *transportOptions) initReply {
	r := initReply{want: wanted, refuse: refused, maxWrite: writeLimit()}
	if o.ACL {
		r.want |= fuse.CAP_POSIX_ACL
	} else {
		r.refuse |= fuse.CAP_POSIX_ACL
	}
	if w, ok := raw.(capsWanter); ok {
		want, refuse := w.WantCaps()
		r.want, r.refuse = r.want|want, r.refuse&^want|refuse
	}
	if g, ok := raw.(timeGrainer); ok {
		r.grain = g.TimeGran()
	}
	return r
}

// writeLimit returns the size of the largest request: maxWrite, or what the
// kernel allows at all.
func writeLimit() int {
	b, err := os.ReadFile("/proc/sys/fs/fuse/max_pages_limit")
	if err != nil {
		return maxWrite
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 1 {
		return maxWrite
	}
	return min(maxWrite, n*syscall.Getpagesize())
}

// mountOptions says it in go-fuse's terms, whose ProtocolServer answers INIT.
func (r *initReply) mountOptions(l *slog.Logger) *fuse.MountOptions {
	return &fuse.MountOptions{
		Name: "e4kit", MaxWrite: r.maxWrite, MaxBackground: maxBackground, CongestionThreshold: congestion,
		ExplicitDataCacheControl: r.refuse&fuse.CAP_EXPLICIT_INVAL_DATA == 0,
		ExtraCapabilities:        r.want &^ r.refuse, DisabledCapabilities: r.refuse | ^r.want,
		IDMappedMount: r.refuse&fuse.CAP_ALLOW_IDMAP == 0,
		Logger:        slog.NewLogLogger(l.Handler(), slog.LevelDebug),
	}
}

// errNoInit is a device that ended before the kernel said INIT.
var errNoInit = errors.New("the kernel ended the connection before it began")

// agree waits for the kernel's INIT and answers it. Nothing else may read from
// the device meanwhile.
func (t *transport) agree(ctx context.Context) error {
	ch, err := t.newChannel()
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.parked = append(t.parked, ch)
	t.mu.Unlock()
	if err := readable(ctx, ch.fd); err != nil {
		return err
	}
	n, end := t.next(ch)
	if end {
		if t.err != nil {
			return t.err
		}
		return errNoInit
	}
	return t.agreeOn(ch, ch.in[:n])
}

// agreeOn answers the request, which must be INIT.
func (t *transport) agreeOn(ch *channel, req []byte) error {
	start := t.uptime()
	h, ok := header(req)
	if !ok || h.Opcode != opInit {
		t.malformed(ch, req, start)
		return errors.New("the first request is not INIT")
	}
	in := fuse.InitIn{}
	copy((*[unsafe.Sizeof(in)]byte)(unsafe.Pointer(&in))[:], req)
	if in.Major != 7 || in.Minor < oldestMinor {
		t.answerStatus(ch, h, fuse.Status(unix.EPROTO))
		return fmt.Errorf("FUSE protocol %d.%d of the kernel: 7.%d and later is spoken here", in.Major, in.Minor, oldestMinor)
	}
	out := ch.out[:smallAnswer]
	n, st := t.proto.HandleRequest([][]byte{req}, [][]byte{out})
	if st != fuse.OK || n < outHeaderLen {
		t.answerStatus(ch, h, fuse.EIO)
		return fmt.Errorf("answer INIT: %w", syscall.Errno(st))
	}
	if o := (*fuse.OutHeader)(unsafe.Pointer(&out[0])); o.Status != 0 {
		t.send(ch, h, fuse.Status(-o.Status), nil)
		return fmt.Errorf("FUSE protocol %d.%d of the kernel: %w", in.Major, in.Minor, syscall.Errno(-o.Status))
	}
	if n < outHeaderLen+int(unsafe.Sizeof(fuse.InitOut{})) {
		return errors.New("the answer to INIT is short")
	}
	rep := (*fuse.InitOut)(unsafe.Pointer(&out[outHeaderLen]))
	t.init.finish(&in, rep)
	if in.Flags&fuse.CAP_INIT_EXT != 0 {
		t.uring = t.startURing(in.Flags64(), uringPayload(rep))
	}
	if t.uring != nil {
		rep.Flags2 |= capOverURing >> 32
		rep.MaxBackground, rep.CongestionThreshold = uringBackground, uringBackground*congestion/maxBackground
		t.init.caps |= capOverURing
	}
	if nt, ok := t.raw.(negotiator); ok {
		nt.Negotiated(t.init.caps)
	}
	t.send(ch, h, fuse.OK, out[outHeaderLen:n])
	t.count(h, start, fuse.OK, 0)
	t.log.Debug("fuse connection", "protocol", fmt.Sprintf("7.%d", t.init.minor), "offered", fmt.Sprintf("%#x", in.Flags64()),
		"agreed", fmt.Sprintf("%#x", t.init.caps), "max_write", rep.MaxWrite, "max_pages", rep.MaxPages)
	if t.uring != nil {
		return t.uring.register()
	}
	return nil
}

// finish puts into the answer what go-fuse does not, and keeps what was agreed.
func (r *initReply) finish(in *fuse.InitIn, out *fuse.InitOut) {
	out.TimeGran = r.grain
	out.MaxReadAhead = max(in.MaxReadAhead, maxReadAhead)
	if in.Flags&fuse.CAP_INIT_EXT == 0 {
		out.Flags &^= fuse.CAP_INIT_EXT
		out.Flags2 = 0
	}
	r.minor, r.caps, r.maxPages = out.Minor, out.Flags64()&in.Flags64(), int(out.MaxPages)
}

// readable waits until fd can be read or ctx ends.
func readable(ctx context.Context, fd int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 50)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
		if n > 0 {
			return nil
		}
	}
}

// cloneDevice opens the device once more for the connection of fd.
func cloneDevice(fd int) (int, error) {
	n, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// FUSE_DEV_IOC_CLONE is _IOR(229, 0, uint32): the number is spelled out
	// for lack of a name in x/sys; MIPS, PowerPC and SPARC count otherwise,
	// and share the device.
	src := uint32(fd)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n), 0x8004e500, uintptr(unsafe.Pointer(&src)))
	if errno != 0 {
		_ = unix.Close(n)
		return -1, errno
	}
	return n, nil
}
