package journal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// overlaid is a recovery of some blocks, with the device and what the overlay
// must show.
func overlaid(t testing.TB, bs int, homes ...disk.BlockNum) (*Recovery, base, []byte) {
	s := newSynth(t, kinds[6], bs, 200, 150, 1)
	d := base{bs, 64}
	want := make([]byte, d.Size())
	if _, err := d.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	var w []write
	for _, n := range homes {
		w = append(w, write{n, fill(bs, uint32(n))})
		if int(n) < d.n {
			copy(want[int(n)*bs:], fill(bs, uint32(n)))
		}
	}
	s.commit(w, nil)
	return s.mustLoad(Options{}), d, want
}

func TestOverlay_anyRange(t *testing.T) {
	const bs = 1024
	r, d, want := overlaid(t, bs, 63, 0, 3, 4, 5, 9, 12, 13, 20, 21, 22, 23, 24, 70)
	o := r.Overlay(d)
	if o.Size() != d.Size() {
		t.Errorf("size %d", o.Size())
	}
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(off, n int) {
		t.Helper()
		p := make([]byte, n)
		k, err := o.ReadAt(p, int64(off))
		end := min(off+n, len(want))
		wantN, wantErr := max(0, end-off), error(nil)
		if off+n > len(want) {
			wantErr = io.EOF
		}
		if k != wantN || err != wantErr || !bytes.Equal(p[:k], want[min(off, end):end]) {
			t.Fatalf("read of %d at %d: %d, %v", n, off, k, err)
		}
	}
	for off := 0; off <= 64*bs; off += bs {
		for _, n := range []int{1, bs - 1, bs, bs + 1, 2 * bs, 3 * bs, 64 * bs} {
			for _, shift := range []int{-1, 0, 1, bs / 2} {
				if off+shift >= 0 {
					check(off+shift, n)
				}
			}
		}
	}
	for range 2000 {
		check(rng.IntN(70*bs), 1+rng.IntN(20*bs))
	}
	if _, err := o.ReadAt(make([]byte, 9), -1); err == nil || err == io.EOF {
		t.Errorf("negative offset: %v", err)
	}
}

func TestOverlay_concurrent(t *testing.T) {
	r, d, want := overlaid(t, 1024, 3, 4, 5, 9, 33)
	o := r.Overlay(d)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 2))
			p := make([]byte, 5000)
			for range 500 {
				off := rng.IntN(60*1024 - len(p))
				if _, err := o.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
					t.Errorf("read at %d: %v", off, err)
				}
			}
		})
	}
	wg.Wait()
}

// A block that is replayed as a whole is not read from the device.
func TestOverlay_skipsDevice(t *testing.T) {
	r, d, want := overlaid(t, 1024, 3, 4, 5)
	boom := errors.New("boom")
	o := r.Overlay(failing{d, boom})
	p := make([]byte, 2000)
	if _, err := o.ReadAt(p, 3100); err != nil || !bytes.Equal(p, want[3100:5100]) {
		t.Errorf("inside: %v", err)
	}
	if _, err := o.ReadAt(p, 1024*6-1000); err != boom {
		t.Errorf("across the end: %v", err)
	}
	if _, err := o.ReadAt(p, 9000); err != boom {
		t.Errorf("outside: %v", err)
	}
	r.log.(*memLog).bad = map[uint32]bool{r.entries[1].log: true}
	var be *BlockError
	if _, err := o.ReadAt(p, 3100); !errors.As(err, &be) {
		t.Errorf("unreadable log: %v", err)
	}
}

type failing struct {
	base
	err error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) { return 0, f.err }

// host is a device that lies in a file, at an offset of its own.
type host struct {
	base
	f *os.File
}

func (h host) HostRange(off, n int64) (*os.File, int64, int64) {
	return h.f, off + 1_000_000, min(n, 10_000)
}

func TestOverlay_hostRange(t *testing.T) {
	r, d, _ := overlaid(t, 1024, 3, 4, 9)
	if _, ok := r.Overlay(d).(device.HostRanger); ok {
		t.Error("an overlay over no host file claims one")
	}
	o := r.Overlay(host{d, os.Stdin}).(device.HostRanger)
	for _, c := range []struct{ off, n, length int64 }{
		{0, 1024, 1024},
		{0, 5000, 3072},
		{3071, 5000, 1},
		{3072, 5000, 0},
		{3073, 10, 0},
		{5119, 10, 0},
		{5120, 100_000, 4096},
		{10240, 100, 100},
		{10240, 100_000, 10_000},
		{-1, 10, 0},
		{0, 0, 0},
	} {
		f, at, n := o.HostRange(c.off, c.n)
		if n != c.length || (f == nil) != (n == 0) || n > 0 && at != c.off+1_000_000 {
			t.Errorf("%d bytes at %d: %v, %d, %d", c.n, c.off, f, at, n)
		}
	}
}

func TestOverlay_noAllocationOutside(t *testing.T) {
	r, d, _ := overlaid(t, 1024, 3, 4, 9)
	o := r.Overlay(d)
	p := make([]byte, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := o.ReadAt(p, 20*1024); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
