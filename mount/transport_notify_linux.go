//go:build !386

package mount

import (
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Notifier tells the kernel about changes that it did not ask for. The kernel
// may wait for locks that it holds during an operation: a file system must not
// call it from within an operation on the same inode or directory.
type Notifier interface {
	// InodeNotify drops the kernel's attributes of a node and its data from off
	// on, n bytes (0: all); with a negative off only attributes.
	InodeNotify(node uint64, off, n int64) fuse.Status
	// EntryNotify drops a name that the kernel remembers, or remembers not to be.
	EntryNotify(parent uint64, name string) fuse.Status
	// DeleteNotify drops a name and tells watchers that child is gone.
	DeleteNotify(parent, child uint64, name string) fuse.Status
}

// bound is a file system that wants a Notifier; it gets it before the first
// operation.
type bound interface{ Bound(n Notifier) }

// InodeNotify implements [Notifier].
func (t *transport) InodeNotify(node uint64, off, n int64) fuse.Status {
	if off >= 0 && t.uring != nil && t.uring.isThread() {
		// It waits for pages, which are locked until a request is answered that
		// this thread may have to answer.
		t.long.Add(1)
		go func() {
			defer t.long.Done()
			t.InodeNotify(node, off, n)
		}()
		return fuse.OK
	}
	out := fuse.NotifyInvalInodeOut{Ino: node, Off: off, Length: n}
	return t.notify(fuse.NOTIFY_INVAL_INODE, (*[unsafe.Sizeof(out)]byte)(unsafe.Pointer(&out))[:], "")
}

// EntryNotify implements [Notifier].
func (t *transport) EntryNotify(parent uint64, name string) fuse.Status {
	out := fuse.NotifyInvalEntryOut{Parent: parent, NameLen: uint32(len(name))}
	return t.notify(fuse.NOTIFY_INVAL_ENTRY, (*[unsafe.Sizeof(out)]byte)(unsafe.Pointer(&out))[:], name+"\x00")
}

// DeleteNotify implements [Notifier].
func (t *transport) DeleteNotify(parent, child uint64, name string) fuse.Status {
	out := fuse.NotifyInvalDeleteOut{Parent: parent, Child: child, NameLen: uint32(len(name))}
	return t.notify(fuse.NOTIFY_DELETE, (*[unsafe.Sizeof(out)]byte)(unsafe.Pointer(&out))[:], name+"\x00")
}

// notifyPrune is FUSE_NOTIFY_PRUNE, which go-fuse has no name for.
const notifyPrune = -9

// PruneNotify has the kernel forget a node that nobody uses. Linux 6.18 and later
// do; before, and for a node that is unknown, it has no effect.
func (t *transport) PruneNotify(node uint64) fuse.Status {
	out := struct {
		count, _ uint32
		_        uint64
		node     uint64
	}{count: 1, node: node}
	return t.notify(notifyPrune, (*[unsafe.Sizeof(out)]byte)(unsafe.Pointer(&out))[:], "")
}

// notify writes a message that answers nothing.
func (t *transport) notify(code int32, data []byte, name string) fuse.Status {
	b := make([]byte, 0, outHeaderLen+len(data)+len(name))
	h := fuse.OutHeader{Length: uint32(cap(b)), Status: -code}
	b = append(b, (*[outHeaderLen]byte)(unsafe.Pointer(&h))[:]...)
	b = append(append(b, data...), name...)
	t.life.RLock()
	defer t.life.RUnlock()
	if t.fd < 0 {
		return fuse.ENODEV
	}
	_, err := unix.Write(t.fd, b)
	if err == nil {
		return fuse.OK
	}
	return fuse.ToStatus(err)
}
