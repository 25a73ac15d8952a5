package mount

import (
	"strings"
	"testing"

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
