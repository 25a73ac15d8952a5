//go:build !386

package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// devFuse is where a FUSE connection begins.
const devFuse = "/dev/fuse"

// linuxSession is a mount served by our own transport.
type linuxSession struct {
	t     *transport
	point string // absolute, without symbolic links
	dev   string // MAJOR:MINOR of the mounted file system; "" if unknown
	since time.Time
}

// start mounts and agrees with the kernel.
func (s *Server) start(ctx context.Context, mountpoint string) (session, error) {
	point, mode, err := mountDir(mountpoint)
	if err != nil {
		return nil, err
	}
	req := s.mountRequest(point, mode)
	t, err := s.connect(ctx, req, s.o.IOURing.or(true))
	if errors.Is(err, errURing) {
		// The kernel's part of the connection counts on the rings now.
		t, err = s.connect(ctx, req, false)
	}
	if err != nil {
		return nil, s.failed(req, err)
	}
	if s.o.IOURing == SwitchOn && t.uring == nil {
		t.log.Warn("requests come by "+devFuse+", not by io_uring", "reason", noURing())
	}
	ses := &linuxSession{t: t, point: point, since: time.Now()}
	if m, ok := mountAt(point); ok && m.fuse() {
		ses.dev = m.dev
	}
	if m, ok := mountAt(point); ok && req.device != nil && m.block() {
		t.atEnd = req.device.Close
	}
	t.begin()
	ses.tune()
	t.probe.run(t, point)
	return ses, nil
}

// connect mounts, and agrees with the kernel. When it fails nothing is mounted.
func (s *Server) connect(ctx context.Context, req *mountRequest, uring bool) (*transport, error) {
	fd, err := req.do(ctx)
	if err != nil {
		return nil, err
	}
	t := newTransport(fd, s.core.raw, &transportOptions{Logger: s.o.Logger, Trace: s.o.Trace, ACL: req.acl, URing: uring}, &s.stats)
	if b, ok := s.core.raw.(bound); ok {
		b.Bound(t)
	}
	if err := t.agree(ctx); err != nil {
		t.close() // aborts the connection, so that nobody waits in the mount
		req.undo()
		return nil, err
	}
	return t, nil
}

// mountDir resolves a mountpoint and returns its type bits.
func mountDir(path string) (point string, mode uint32, err error) {
	point, err = filepath.Abs(path)
	if err != nil {
		return "", 0, err
	}
	point, err = filepath.EvalSymlinks(point)
	if err != nil {
		return "", 0, err
	}
	var st unix.Stat_t
	if err := unix.Stat(point, &st); err != nil {
		return "", 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return "", 0, unix.ENOTDIR
	}
	return point, st.Mode & unix.S_IFMT, nil
}

// defaultSubtype is what follows "fuse." in the type of a mount.
const defaultSubtype = "e4kit"

// mountRequest is a mount to be made.
type mountRequest struct {
	point   string
	mode    uint32
	source  string
	subtype string
	flags   uintptr // MS_*
	maxRead int

	allowOther, checks, acl bool
	// device, where not nil, is to be mounted as a block device.
	device *Device
}

// mountRequest collects what the options say about the mount itself.
func (s *Server) mountRequest(point string, mode uint32) *mountRequest {
	o, root := &s.o, os.Geteuid() == 0
	r := &mountRequest{
		point: point, mode: mode, source: o.FSName, subtype: o.Subtype, maxRead: o.MaxRead,
		allowOther: o.AllowOther || root && !o.Private, acl: o.ACL.or(true),
		checks: o.DefaultPermissions.or(!o.FakeRoot) && !unchecked(s.fsys, o),
	}
	if r.source == "" {
		r.source = "e4kit"
	}
	if r.subtype == "" {
		r.subtype = defaultSubtype
	}
	if s.asDevice() {
		r.device, r.source = o.Device, o.Device.Path
	}
	if r.maxRead == 0 || r.maxRead > writeLimit() {
		r.maxRead = writeLimit()
	}
	// An unprivileged user's image must not bring programs with rights.
	for _, f := range []struct {
		set  bool
		flag uintptr
	}{
		{o.ReadOnly || !s.fsys.Writable(), unix.MS_RDONLY},
		{!o.Suid.or(root), unix.MS_NOSUID},
		{!o.Dev.or(root), unix.MS_NODEV},
		{!o.Exec.or(true), unix.MS_NOEXEC},
		{o.Atime == AtimeNever, unix.MS_NOATIME},
		{o.Sync, unix.MS_SYNCHRONOUS},
		{o.DirSync, unix.MS_DIRSYNC},
	} {
		if f.set {
			r.flags |= f.flag
		}
	}
	return r
}

// do mounts and returns the connection. On an error nothing is mounted.
func (r *mountRequest) do(ctx context.Context) (int, error) {
	if os.Geteuid() == 0 {
		fd, err := r.direct()
		if err == nil || !errors.Is(err, unix.EPERM) {
			return fd, err
		}
		// Root of a user namespace that may not mount: fusermount3 may.
	}
	return r.fusermount(ctx)
}

// direct mounts by mount(2).
func (r *mountRequest) direct() (int, error) {
	fd, err := unix.Open(devFuse, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", devFuse, err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,max_read=%d", fd, r.mode, os.Geteuid(), os.Getegid(), r.maxRead)
	if r.checks {
		data += ",default_permissions"
	}
	if r.allowOther {
		data += ",allow_other"
	}
	if r.device != nil {
		if done, err := r.mountDevice(data); done || err != nil {
			return r.mounted(fd, err)
		}
	}
	return r.mounted(fd, unix.Mount(r.source, r.point, "fuse."+r.subtype, r.flags, data))
}

// mounted is what comes of a connection after mount(2).
func (r *mountRequest) mounted(fd int, err error) (int, error) {
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("mount(2): %w", err)
	}
	return fd, nil
}

// undo takes away a mount whose connection is closed.
func (r *mountRequest) undo() {
	if err := unix.Unmount(r.point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		_ = runFusermount(context.Background(), "-u", "-z", "--", r.point)
	}
}

// serve implements session.
func (l *linuxSession) serve() error { return l.t.serve() }

// unmount implements session.
func (l *linuxSession) unmount(lazy bool) error {
	m, ok := mountAt(l.point)
	if !ok || l.dev != "" && m.dev != l.dev {
		if _, mounted := mountOf(l.dev); !mounted {
			return nil // somebody else unmounted it; a lazy mount may live on
		}
		return fmt.Errorf("unmount %s: something else is mounted there: %w", l.point, unix.EBUSY)
	}
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	var err error
	if m.block() {
		err = l.unmountDevice(flags)
	} else {
		err = unix.Unmount(l.point, flags)
	}
	if err == unix.EPERM {
		args := []string{"-u", "--", l.point}
		if lazy {
			args = []string{"-u", "-z", "--", l.point}
		}
		err = runFusermount(context.Background(), args...)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", l.point, err)
	}
	return nil
}

// abort ends the connection at once: all requests fail, also those on their
// way. Only root may.
func (l *linuxSession) abort() error {
	return unix.Unmount(l.point, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
}

// describe implements session.
func (l *linuxSession) describe(st *Stats) {
	st.Mountpoint, st.Device, st.Since = l.point, l.dev, l.since
	st.Readers, st.InFlight = int(l.t.readers.Load()), int(l.t.inFlight.Load())
	st.Transport = "/dev/fuse"
	if l.t.uring != nil {
		st.Transport = "io_uring"
	}
	st.Protocol, st.Caps, st.MaxWrite = fmt.Sprintf("7.%d", l.t.init.minor), l.t.init.caps, l.t.init.maxWrite
}

// mountEntry is a line of mountinfo.
type mountEntry struct{ dev, point, kind string }

func (m mountEntry) fuse() bool {
	kind, _, _ := strings.Cut(m.kind, ".")
	return kind == "fuse" || kind == fuseblk
}

// mountAt returns the uppermost mount at a path, without touching it: a path
// into a mount whose server is gone or stopped must not be looked up.
func mountAt(point string) (found mountEntry, ok bool) {
	for _, m := range mounts() {
		if m.point == point {
			found, ok = m, true
		}
	}
	return found, ok
}

// mountOf returns a mount of a device.
func mountOf(dev string) (mountEntry, bool) {
	for _, m := range mounts() {
		if dev != "" && m.dev == dev {
			return m, true
		}
	}
	return mountEntry{}, false
}

// mounts lists the mounts of this process's namespace, in the order made.
func mounts() []mountEntry {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var list []mountEntry
	for line := range strings.Lines(string(b)) {
		// 36 35 98:0 /root /point options shared:1 - type source superoptions
		head, tail, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(head), strings.Fields(tail)
		if !ok || len(f) < 5 || len(g) < 1 {
			continue
		}
		list = append(list, mountEntry{dev: f[2], point: unescapeMount(f[4]), kind: g[0]})
	}
	return list
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, ok := octal(s[i+1 : i+4]); ok {
				b.WriteByte(n)
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(s string) (byte, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' {
			return 0, false
		}
		n = n<<3 | int(s[i]-'0')
	}
	return byte(n), n < 256
}
