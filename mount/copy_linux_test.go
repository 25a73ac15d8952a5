package mount

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A signal, which programs in Go get all the time, does not cut short a copy that
// takes no time, and a longer one does not fail for it.
func TestCopyFileRange_interrupted(t *testing.T) {
	d := serveDirect(t, Options{})
	from, to := d.create(1, "from", 0o644), d.create(1, "to", 0o644)
	for off := range uint64(10) { // with holes between
		d.is(d.write(from.NodeId, off*20000, strings.Repeat("x", 5000), 0), 0, "write")
	}
	signal := make(chan struct{})
	close(signal)
	for range 20 {
		in := fuse.CopyFileRangeIn{InHeader: on(from.NodeId, 0), NodeIdOut: to.NodeId, Len: 1 << 20}
		if n, s := d.CopyFileRange(signal, &in); s != fuse.OK || n != 185000 {
			t.Fatalf("copied %d bytes, %v", n, s)
		}
	}
	d.is(d.write(from.NodeId, 64<<20, "end", 0), 0, "write")
	in := fuse.CopyFileRangeIn{InHeader: on(from.NodeId, 0), NodeIdOut: to.NodeId, Len: 1 << 30}
	if n, s := d.CopyFileRange(signal, &in); s != fuse.OK || n < 1<<20 {
		t.Errorf("copied %d bytes, %v", n, s)
	}
	d.release(from.NodeId)
	d.release(to.NodeId)
}

// copyFS tells how many requests are detached while it copies.
type copyFS struct {
	*nullFS
	tr *transport
}

func (c *copyFS) ShortCopy(in *fuse.CopyFileRangeIn) bool { return in.Len <= 100 }

func (c *copyFS) CopyFileRange(_ <-chan struct{}, _ *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return uint32(len(c.tr.detached)), fuse.OK
}

// Short copies are answered by who has read the request.
func TestWire_shortCopies(t *testing.T) {
	c := &copyFS{nullFS: newNullFS()}
	w := newWire(t, c)
	c.tr = w.tr
	w.begin()
	for i, length := range []uint64{100, 101} {
		in := fuse.CopyFileRangeIn{Len: length}
		w.write(opCopyRange, uint64(10+i), nullNode, bytesOf(&in)[inHeaderLen:])
		data := w.expect(uint64(10+i), fuse.OK)
		if out := (*fuse.WriteOut)(unsafe.Pointer(&data[0])); out.Size != uint32(i) {
			t.Errorf("copy of %d bytes: %d requests detached", length, out.Size)
		}
	}
	w.write(opCopyRange, 20, nullNode, make([]byte, 10))
	w.expect(20, fuse.EINVAL)
}

func TestShortCopy(t *testing.T) {
	d := serveDirect(t, Options{})
	from := d.create(1, "from", 0o644)
	d.is(d.write(from.NodeId, 3<<20, "end", 0), 0, "write")
	const all = 1 << 60
	for _, c := range []struct {
		node, off, n uint64
		short        bool
	}{
		{from.NodeId, 0, wholeCopy, true}, {from.NodeId, 0, wholeCopy + 1, false}, {from.NodeId, 0, all, false},
		{from.NodeId, 2<<20 + 3, all, true}, {from.NodeId, 2<<20 + 2, all, false},
		{from.NodeId, 4 << 20, all, true}, {from.NodeId, 1<<64 - 1, all, true}, {12345, 0, all, true},
	} {
		in := fuse.CopyFileRangeIn{InHeader: on(c.node, 0), NodeIdOut: from.NodeId, OffIn: c.off, Len: c.n}
		if got := d.ShortCopy(&in); got != c.short {
			t.Errorf("%d bytes at %d: %v", c.n, c.off, got)
		}
	}
	d.release(from.NodeId)
}
