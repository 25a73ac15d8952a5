//go:build !386

package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// fuseblk is the kernel's type of FUSE file systems on block devices.
const fuseblk = "fuseblk"

// block reports whether the kernel has mounted a block device.
func (m mountEntry) block() bool { return m.kind == fuseblk || strings.HasPrefix(m.kind, fuseblk+".") }

// asDevice reports whether the file system's device is to be mounted as one. Before
// Linux 6.18 the kernel sends no SYNCFS, and waits for the answer to each close.
// And it waits for a server that is killed, and with it a mount namespace that was
// the server's last: for ever, since what waits has the connection open itself. So
// that has to be asked for but in the namespace that always lives. The kernel discards
// nothing for others on a device that it has mounted.
func (s *Server) asDevice() bool {
	o := &s.o
	switch {
	case o.Device == nil || os.Geteuid() != 0 || o.ReadOnly || !s.fsys.Writable():
		return false
	case o.FSName != "" && o.FSName != o.Device.Path: // which is what is mounted
		return false
	}
	return o.BlkDev.or(kernelAtLeast(6, 18) && firstNamespace() && !o.Discard)
}

// firstNamespace reports whether the server has the mounts of the machine.
func firstNamespace() bool {
	const first = "mnt:[4026531832]" // its number is fixed
	space, err := os.Readlink("/proc/self/ns/mnt")
	return err == nil && space == first
}

// unmountDevice is umount2(2) of a block device, which waits for the server, on a
// thread without the connection: should the server be killed meanwhile, the kernel
// must see that nobody has it any more.
func (l *linuxSession) unmountDevice(flags int) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		withoutFiles(l.t.unshare, func() { err = unix.Unmount(l.point, flags) })
	}()
	<-done
	return err
}

// kernelAtLeast reports whether the kernel has that version or a later one.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	var a, b int
	if unix.Uname(&u) != nil {
		return false
	}
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// errTaken is a device that somebody else took while it was nobody's. What is in
// memory must not be written any more.
var errTaken = errors.New("somebody else took the device while it was handed to the kernel")

// mountDevice mounts the device as one; false and no error says that the kernel
// does not. In between the device is nobody's for a moment.
func (r *mountRequest) mountDevice(data string) (done bool, err error) {
	// A size that differs would have the kernel drop what it has of the device.
	size, err := blockSize(r.device.Path)
	if err != nil {
		return false, nil
	}
	if err := r.device.Yield(); err != nil {
		return false, err
	}
	kind := fuseblk // as people and programs know it
	if r.subtype != defaultSubtype {
		kind += "." + r.subtype
	}
	err = unix.Mount(r.source, r.point, kind, r.flags, fmt.Sprintf("%s,blksize=%d", data, size))
	if err == nil {
		return true, nil
	}
	if again := r.device.Reclaim(); again != nil {
		return false, fmt.Errorf("%w: mount(2): %w: %w", errTaken, err, again)
	}
	return false, nil
}

// blockSize is the size of the blocks in which the kernel keeps what it has read of
// a device.
func blockSize(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return unix.IoctlGetInt(int(f.Fd()), unix.BLKBSZGET)
}

// failed is what to do when a mount fails that may have yielded the device. What is
// in memory is not written where somebody else may have it.
func (s *Server) failed(req *mountRequest, err error) error {
	if req.device != nil && !errors.Is(err, errTaken) {
		if again := req.device.Reclaim(); again != nil {
			err = fmt.Errorf("%w: %w: %w", errTaken, err, again)
		}
	}
	if errors.Is(err, errTaken) {
		_ = s.fsys.Shutdown(context.Background(), ext4fs.ShutdownNow)
	}
	return err
}

// maxDestroyWait bounds the wait for requests that are being answered when the
// mount ends: nobody is left who waits for them.
const maxDestroyWait = 10 * time.Second

// destroy is the end of a mount whose user waits for it: of a block device.
func (t *transport) destroy() {
	if t.atEnd == nil {
		return
	}
	for began := time.Now(); t.inFlight.Load() > 0 && time.Since(began) < maxDestroyWait; {
		time.Sleep(time.Millisecond)
	}
	t.raw.OnUnmount()
	if err := t.atEnd(); err != nil {
		t.fail(err)
	}
	t.atEnded.Store(true)
}

// closed reports whether the file system was closed at the end of the mount.
func (l *linuxSession) closed() bool { return l.t.atEnded.Load() }

// mapper is a file system that answers BMAP, which RawFileSystem lacks.
type mapper interface {
	Bmap(in *bmapIn) (block uint64, st fuse.Status)
}

// bmapIn asks where a block of a file lies on the device.
type bmapIn struct {
	fuse.InHeader
	Block     uint64
	BlockSize uint32
	Padding   uint32
}

// bmap answers BMAP.
func (t *transport) bmap(w way, h *fuse.InHeader, req []byte) fuse.Status {
	m, ok := t.raw.(mapper)
	switch {
	case !ok:
		t.answerStatus(w, h, fuse.ENOSYS)
		return fuse.ENOSYS
	case len(req) < sizeOf[bmapIn]():
		t.answerStatus(w, h, fuse.EINVAL)
		return fuse.EINVAL
	}
	var out uint64
	var st fuse.Status
	func() {
		defer t.guard(&st)
		out, st = m.Bmap((*bmapIn)(unsafe.Pointer(&req[0])))
	}()
	t.send(w, h, st, (*[8]byte)(unsafe.Pointer(&out))[:])
	return st
}

// Bmap says where a block of a file lies on the device, 0 for nowhere. It is for
// FIBMAP and for swap files, which the kernel then reads and writes without us. So
// it tells only of blocks that nothing else reaches: not of those that are smaller
// than a page, which has their neighbours too, nor of data that the journal writes.
func (h *handler) Bmap(in *bmapIn) (uint64, fuse.Status) {
	n, err := h.known(in.NodeId)
	if err != nil {
		return 0, h.fail(err)
	}
	size := h.fsys.BlockSize()
	if h.o.Device == nil || size != int(in.BlockSize) || size < os.Getpagesize() || in.Block > uint64(disk.MaxLogical) ||
		h.o.Data == ext4fs.DataJournal || n.ino.Flags().Has(disk.FlagJournalData) || !n.ino.IsRegular() {
		return 0, fuse.OK
	}
	if in.Block == 0 {
		// Who wants them all begins here. What is still to be written must not come
		// after what he writes.
		h.writeBack(in.NodeId)
		if err := n.ino.Fsync(context.Background(), true); err != nil {
			return 0, h.fail(err)
		}
	}
	m, err := n.ino.Map()
	if err != nil {
		return 0, h.fail(err)
	}
	e, err := m.Find(disk.LogicalNum(in.Block))
	if err != nil || e.Flags&(ext4fs.ExtentHole|ext4fs.ExtentUnwritten|ext4fs.ExtentInline) != 0 {
		return 0, h.fail(err)
	}
	return uint64(e.Physical) + in.Block - uint64(e.Logical), fuse.OK
}
