//go:build linux && !386

package mount

import (
	"slices"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
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

// It is looked for requests that queue up now and then, and once some do at every
// request: a few in a row call for another reader.
func TestWatch_looksSeldom(t *testing.T) {
	w := newWire(t, newNullFS())
	defer unix.Close(w.fd)
	defer w.tr.close()
	now := time.Duration(lookEvery)
	look := func(want bool, queued int32) {
		t.Helper()
		if got := w.tr.queue(w.tr.fd, now); got != want || w.tr.queued.Load() != queued {
			t.Errorf("at %v: %v with %d found in a row, want %v with %d", now, got, w.tr.queued.Load(), want, queued)
		}
	}
	look(false, 0)
	w.write(opStatfs, 1, 1, nil)
	now += lookEvery - 1
	look(false, 0)
	now++
	for i := range int32(queuedOften - 1) {
		look(false, i+1)
	}
	look(true, 0)
	if w.tr.crowd.Load() != crowdLasts {
		t.Errorf("a crowd of %d", w.tr.crowd.Load())
	}
	now += lookEvery
	look(false, 1)
	if _, err := unix.Read(w.tr.fd, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	look(false, 0)
}
