//go:build linux && !386

package mount

import (
	"slices"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// gatedFS answers GETATTR when a LOOKUP has come.
type gatedFS struct {
	*nullFS
	waits, gate chan struct{}
}

func (g *gatedFS) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	g.waits <- struct{}{}
	<-g.gate
	return g.nullFS.GetAttr(cancel, in, out)
}

func (g *gatedFS) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	for range cap(g.waits) {
		g.gate <- struct{}{}
	}
	return g.nullFS.Lookup(cancel, h, name, out)
}

// More requests than there are readers at first wait, each in its reader, for
// one that comes last; again when the watch has gone to sleep.
func TestWatch_waitingRequestsStarveNobody(t *testing.T) {
	raw := &gatedFS{nullFS: newNullFS(), gate: make(chan struct{})}
	w := newWire(t, raw)
	w.tr.running = min(w.tr.running, maxReaders/2)
	waiting := int(w.tr.running) + 10
	raw.waits = make(chan struct{}, waiting)
	w.begin()
	for round := range uint64(3) {
		var want, got []uint64
		for i := range uint64(waiting) {
			unique := 100*(round+1) + 2*i
			want = append(want, unique)
			w.write(opGetattr, unique, nullNode, make([]byte, 16))
		}
		last := 100*(round+1) + 98
		want = append(want, last)
		w.write(opLookup, last, 1, []byte("data\x00"))
		for range want {
			h, _ := w.read()
			if h.Status != 0 {
				t.Errorf("status %d of %d", h.Status, h.Unique)
			}
			got = append(got, h.Unique)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("answers to %v, want %v", got, want)
		}
		for range waiting {
			<-raw.waits
		}
		time.Sleep(time.Duration(round) * 2 * watchCalm * watchEvery)
	}
}
