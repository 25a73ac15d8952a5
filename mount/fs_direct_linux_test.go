//go:build !386

package mount

import (
	"slices"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// told remembers what a kernel would have been told.
type told struct {
	drops [][3]int64
	slow  func() // what a drop waits for
}

func (n *told) InodeNotify(node uint64, off, size int64) fuse.Status {
	if n.slow != nil {
		n.slow()
	}
	n.drops = append(n.drops, [3]int64{int64(node), off, size})
	return fuse.OK
}

func (*told) EntryNotify(uint64, string) fuse.Status          { return fuse.OK }
func (*told) DeleteNotify(uint64, uint64, string) fuse.Status { return fuse.OK }

// Who writes past the cache has the kernel drop what it has of the range, if it
// can have any, and nobody else does: pages that are being written are locked.
func TestWrite_directDropsPages(t *testing.T) {
	d := serveDirect(t, Options{})
	var kernel told
	d.Bound(&kernel)
	f := d.create(1, "f", 0o644).NodeId
	write := func(flags uint32, want ...[3]int64) {
		t.Helper()
		kernel.drops = nil
		d.is(d.write(f, 4096, "data", flags), 0, "write %#x", flags)
		if !slices.Equal(kernel.drops, want) {
			t.Errorf("flags %#x: the kernel was told to drop %v, want %v", flags, kernel.drops, want)
		}
	}
	write(fuse.WRITE_LOCKOWNER)
	direct := fuse.ReadIn{InHeader: on(f, 0), Size: 4, ReadFlags: fuse.READ_LOCKOWNER}
	if _, s := d.ReadInto(&direct, make([]byte, 4)); s != fuse.OK {
		t.Fatal(s)
	}
	write(fuse.WRITE_LOCKOWNER)
	if _, s := d.read(f, 0, 4); s != fuse.OK { // into the cache
		t.Fatal(s)
	}
	write(fuse.WRITE_LOCKOWNER, [3]int64{int64(f), 4096, 4})
	write(fuse.WRITE_CACHE)
	write(fuse.WRITE_CACHE | fuse.WRITE_LOCKOWNER)
	write(0)
	// Nobody waits who would be the last to serve the others.
	for range maxDropping {
		d.drops.waiting <- struct{}{}
	}
	kernel.drops = nil
	kernel.slow = func() { time.Sleep(maxDropWait / 20) }
	d.is(d.write(f, 0, "data", fuse.WRITE_LOCKOWNER), 0, "write")
	if want := [][3]int64{{int64(f), 0, 4}}; !slices.Equal(kernel.drops, want) {
		t.Errorf("when the write is answered: %v, want %v", kernel.drops, want)
	}
	kernel.drops = nil
	locked := make(chan struct{})
	kernel.slow = func() { <-locked }
	d.is(d.write(f, 4, "data", fuse.WRITE_LOCKOWNER), 0, "write to what is locked")
	close(locked)
	d.drops.behind.Wait()
	if want := [][3]int64{{int64(f), 4, 4}}; !slices.Equal(kernel.drops, want) {
		t.Errorf("behind: %v, want %v", kernel.drops, want)
	}
	d.release(f)
}
