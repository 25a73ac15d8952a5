package device_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
)

var errOverlayFault = errors.New("injected")

// failingStore fails writes or syncs from some moment on.
type failingStore struct {
	*device.RAM
	writes, syncs int // left until the first failure; negative: none
}

func (f *failingStore) WriteAt(b []byte, off int64) (int, error) {
	if f.writes--; f.writes == -1 {
		f.writes = 0
		n, _ := f.RAM.WriteAt(b[:len(b)/2], off)
		return n, errOverlayFault
	}
	return f.RAM.WriteAt(b, off)
}

// WriteVAt hides that of RAM.
func (f *failingStore) WriteVAt(bufs [][]byte, off int64) (int, error) {
	return f.WriteAt(bytes.Join(bufs, nil), off)
}

func (f *failingStore) Sync() error {
	if f.syncs--; f.syncs == -1 {
		return errOverlayFault // and the next one would say that all is well
	}
	return nil
}

// TestOverlayFile_faults: a write that fails leaves what was there; after a Sync
// that failed all of them do, though the store says nothing more.
func TestOverlayFile_faults(t *testing.T) {
	base := device.NewRAM(1 << 20)
	if _, err := base.WriteAt(bytes.Repeat([]byte("base"), 4096), 0); err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		s := &failingStore{device.NewRAM(device.OverlayStoreSize(base.Size())), -1, -1}
		o, err := device.OverlayOn(s, base)
		if err != nil {
			t.Fatal(err)
		}
		s.writes = n
		for i := range int64(8) {
			b := bytes.Repeat([]byte{'x'}, 100)
			off := i*4096 + 50
			_, err := o.WriteAt(b, off)
			got := make([]byte, 100)
			if _, err := o.ReadAt(got, off); err != nil {
				t.Fatal(err)
			}
			if err != nil && !errors.Is(err, errOverlayFault) || err == nil && !bytes.Equal(got, b) || err != nil && bytes.Contains(got, b[:1]) {
				t.Errorf("write %d of %d: %v, %q", i, n, err, got)
			}
		}
	}
	for n := range 3 {
		s := &failingStore{device.NewRAM(device.OverlayStoreSize(base.Size())), -1, -1}
		o, err := device.OverlayOn(s, base)
		if err != nil {
			t.Fatal(err)
		}
		s.syncs = n
		var first error
		for i := range int64(4) {
			if _, err := o.WriteAt([]byte{1}, i*5000); err != nil {
				t.Fatal(err)
			}
			err := o.Sync()
			if first != nil && !errors.Is(err, errOverlayFault) {
				t.Errorf("sync %d after a failure: %v", i, err)
			}
			if first == nil {
				first = err
			}
		}
		if !errors.Is(first, errOverlayFault) || !errors.Is(o.Close(), errOverlayFault) {
			t.Errorf("%d: the failure is not told: %v", n, first)
		}
	}
}

// FuzzOpenOverlay: whatever header and index hold, the file is refused or reads
// and takes writes.
func FuzzOpenOverlay(f *testing.F) {
	base := device.NewMemory(make([]byte, 300_000))
	size := device.OverlayStoreSize(base.Size())
	s := device.NewRAM(size)
	o, err := device.OverlayOn(s, base)
	if err != nil {
		f.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		o.WriteAt([]byte("content"), rng.Int64N(290_000))
		o.Sync()
	}
	seed := make([]byte, 16384)
	s.ReadAt(seed, 0)
	f.Add(seed, true)
	o.Close()
	s.ReadAt(seed, 0)
	f.Add(seed, true)
	f.Add(seed, false)
	f.Fuzz(func(t *testing.T, head []byte, seal bool) {
		head = bytes.Clone(head[:min(len(head), 16384)])
		if seal {
			device.SealOverlay(head)
		}
		s := device.NewRAM(size)
		if _, err := s.WriteAt(head, 0); err != nil {
			t.Fatal(err)
		}
		if w := device.NewRAM(base.Size()); true {
			device.CommitOverlayOn(t.Context(), s.Clone(), w, device.OverlayCommitOptions{})
		}
		o, err := device.OverlayOn(s, base)
		if err != nil {
			return
		}
		b := make([]byte, base.Size())
		if _, err := o.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteAt([]byte("new"), 299_990); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if o, err = device.OverlayOn(s, base); err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		if _, err := o.ReadAt(b[:3], 299_990); err != nil || string(b[:3]) != "new" {
			t.Fatalf("%q %v", b[:3], err)
		}
	})
}
