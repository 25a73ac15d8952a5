package device_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// overlayBase is a base of an odd size with content around the places at which
// the index has seams.
func overlayBase(t testing.TB) *device.RAM {
	t.Helper()
	base := device.NewRAM(device.OverlaySpan + 64<<10 + 1536)
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 64<<10)
	for _, at := range overlayPlaces(base.Size()) {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if _, err := base.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

// overlayPlaces are where 64 KiB of interest start.
func overlayPlaces(size int64) []int64 {
	return []int64{0, 5 << 20, device.OverlaySpan - 32<<10, size - 64<<10}
}

// TestOverlayFile_model: random changes, with the file closed and opened again,
// against memory.
func TestOverlayFile_model(t *testing.T) {
	base := overlayBase(t)
	before := base.Clone()
	model := device.NewOverlay(base.Clone())
	path := filepath.Join(t.TempDir(), "overlay")
	o, err := device.OpenOverlay(path, base)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	places := overlayPlaces(base.Size())
	for step := range 1500 {
		at := places[rng.IntN(len(places))] + rng.Int64N(60<<10)
		n := 1 + rng.Int64N(min(9000, base.Size()-at))
		if rng.IntN(2) == 0 {
			at, n = at&^1023, min((n+1023)&^1023, base.Size()-at&^1023)
		}
		b := bytes.Repeat([]byte{byte(step), byte(step >> 8), 3}, int(n)/3+1)[:n]
		switch rng.IntN(12) {
		case 0:
			err = errors.Join(o.Zero(at, n), model.Zero(at, n))
		case 1:
			bufs := [][]byte{b[:n/3], b[n/3 : n/2], b[n/2:]}
			_, err = o.WriteVAt(bufs, at)
			_, other := model.WriteVAt(bufs, at)
			err = errors.Join(err, other)
		case 2:
			_, err = o.WriteSyncAt(b, at)
			_, other := model.WriteAt(b, at)
			err = errors.Join(err, other)
		case 3:
			// What it reads as is undefined until it is written again.
			err = o.Discard(at, n)
			_, other := o.WriteAt(b, at)
			_, third := model.WriteAt(b, at)
			err = errors.Join(err, other, third)
		case 4:
			err = o.Sync()
		case 5:
			if step%5 != 0 {
				continue
			}
			if err = o.Close(); err == nil {
				o, err = device.OpenOverlay(path, base)
			}
		default:
			_, err = o.WriteAt(b, at)
			_, other := model.WriteAt(b, at)
			err = errors.Join(err, other)
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		sameAround(t, o, model, at, n, step)
	}
	for _, at := range places {
		sameAround(t, o, model, at, 64<<10, -1)
	}
	if err := base.Diff(before, func(off, n int64) error { return fmt.Errorf("the base was changed at %d", off) }); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// sameAround compares what was changed, and some bytes around it.
func sameAround(t *testing.T, a, b device.Device, at, n int64, step int) {
	t.Helper()
	from, to := max(0, at-5000), min(a.Size(), at+n+5000)
	x, y := make([]byte, to-from), make([]byte, to-from)
	for _, r := range []struct {
		d device.Device
		b []byte
	}{{a, x}, {b, y}} {
		if _, err := r.d.ReadAt(r.b, from); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	if !bytes.Equal(x, y) {
		i := 0
		for x[i] == y[i] {
			i++
		}
		t.Fatalf("step %d: the byte at %d differs after a change of %d bytes at %d", step, from+int64(i), n, at)
	}
}

// TestOverlayFile_sharedChunk: writes to parts of the same new chunk at the same
// time all arrive.
func TestOverlayFile_sharedChunk(t *testing.T) {
	base := overlayBase(t)
	o, err := device.OpenOverlay(filepath.Join(t.TempDir(), "overlay"), base)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	const chunks = 100
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			b := bytes.Repeat([]byte{byte(part + 1)}, 512)
			for i := range int64(chunks) {
				if _, err := o.WriteAt(b, i*4096+int64(part)*512); err != nil {
					t.Error(err)
				}
				if part == 0 && i%10 == 0 {
					if err := o.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	b := make([]byte, chunks*4096)
	if _, err := o.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if want := byte(i%4096/512 + 1); b[i] != want {
			t.Fatalf("byte %d is %d, want %d", i, b[i], want)
		}
	}
}

// TestOverlayFile_crash: after a crash at any moment every sector has what the
// last Sync covered, or what was written to it later.
func TestOverlayFile_crash(t *testing.T) {
	base := device.NewRAM(device.OverlaySpan + 64<<10 + 1536)
	for _, at := range overlayPlaces(base.Size()) {
		var b [64 << 10]byte
		for i := 0; i < len(b); i += 512 {
			b[i], b[i+504] = 1, 1 // what the base has is version 1
		}
		if _, err := base.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := testimages.NewRecorder(device.NewRAM(device.OverlayStoreSize(base.Size())))
	if err != nil {
		t.Fatal(err)
	}
	o, err := device.OverlayOn(rec, base)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	now := map[int64]uint64{} // sector: version
	places := overlayPlaces(base.Size())
	for version := uint64(2); version <= 150; version++ {
		place := rng.IntN(len(places))
		at := places[place] + rng.Int64N(48)*512
		n := min(512*(1+rng.Int64N(20)), base.Size()-at)
		b := make([]byte, n)
		for i := int64(0); i < n; i += 512 {
			binary.LittleEndian.PutUint64(b[i:], version)
			binary.LittleEndian.PutUint64(b[i+504:], version)
			now[(at+i)/512] = version
		}
		var err error
		if rng.IntN(10) == 0 {
			_, err = o.WriteSyncAt(b, at)
		} else {
			_, err = o.WriteAt(b, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		if rng.IntN(6) == 0 {
			if err := o.Sync(); err != nil {
				t.Fatal(err)
			}
			rec.Mark(maps.Clone(now))
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	rec.Mark(maps.Clone(now))
	n, err := testimages.CrashStates(t.Context(), rec.Log(), testimages.CrashOptions{TornTails: 2, Subsets: 6, Seed: 7}, func(s *testimages.CrashState) error {
		kept := map[int64]uint64{}
		if len(s.Marks) > 0 {
			kept = s.Marks[len(s.Marks)-1].(map[int64]uint64)
		}
		again, err := device.OverlayOn(s.Dev, base)
		if err != nil {
			return err
		}
		var b [512]byte
		for sector := range now {
			if _, err := again.ReadAt(b[:], sector*512); err != nil {
				return err
			}
			got, end := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[504:])
			if got < max(kept[sector], 1) || got > now[sector] || got != end {
				return fmt.Errorf("sector %d has version %d-%d, want %d to %d", sector, got, end, kept[sector], now[sector])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states", n)
}

// TestCommitOverlay_crash: a commit that was interrupted anywhere is completed
// by the next one.
func TestCommitOverlay_crash(t *testing.T) {
	base := overlayBase(t)
	size := base.Size()
	start := (size + 4095) &^ 4095 // of the overlay
	both := device.NewRAM(start + device.OverlayStoreSize(size))
	for _, at := range overlayPlaces(size) {
		b := make([]byte, 64<<10)
		base.ReadAt(b, at)
		both.WriteAt(b, at)
	}
	rec, err := testimages.NewRecorder(both)
	if err != nil {
		t.Fatal(err)
	}
	halves := func(w device.Writer) (image, store device.Writer) {
		image, err1 := device.NewWriterWindow(w, 0, size)
		store, err2 := device.NewWriterWindow(w, start, device.OverlayStoreSize(size))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return image, store
	}
	image, store := halves(rec)
	o, err := device.OverlayOn(store, image)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 9))
	for i := range 60 {
		at := overlayPlaces(size)[i%4] + rng.Int64N(50<<10)
		b := bytes.Repeat([]byte{byte(i)}, int(min(1+rng.Int64N(9000), size-at)))
		if _, err := o.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	want := make([][]byte, 4)
	for i, at := range overlayPlaces(size) {
		want[i] = make([]byte, 64<<10)
		if _, err := o.ReadAt(want[i], at); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	from := len(rec.Log().Events)
	if _, err := device.CommitOverlayOn(t.Context(), store, image, device.OverlayCommitOptions{}); err != nil {
		t.Fatal(err)
	}
	n, err := testimages.CrashStates(t.Context(), rec.Log(), testimages.CrashOptions{TornTails: 2, Subsets: 20, Seed: 7, From: from}, func(s *testimages.CrashState) error {
		image, store := halves(s.Dev)
		if _, err := device.CommitOverlayOn(context.Background(), store, image, device.OverlayCommitOptions{}); err != nil {
			return err
		}
		b := make([]byte, 64<<10)
		for i, at := range overlayPlaces(size) {
			if _, err := image.ReadAt(b, at); err != nil || !bytes.Equal(b, want[i]) {
				return fmt.Errorf("at %d the image is another one (%v)", at, err)
			}
		}
		if _, err := device.OverlayOn(store, image); !errors.Is(err, device.ErrOverlayCommit) {
			return fmt.Errorf("a committed overlay is opened: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d states", n)
}

// TestOpenOverlay_wrongBase: another image, or one that was changed, is refused;
// so is a second opening.
func TestOpenOverlay_wrongBase(t *testing.T) {
	dir := t.TempDir()
	img, path := filepath.Join(dir, "img"), filepath.Join(dir, "overlay")
	content := make([]byte, 1<<20)
	if err := os.WriteFile(img, content, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() (*device.OverlayFile, error) {
		base, err := device.Open(img, device.Options{Partition: "@0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { base.Close() })
		return device.OpenOverlay(path, base)
	}
	o, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteAt([]byte("changed"), 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, device.ErrBusy) {
		t.Errorf("opened twice: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(img)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(img, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, device.ErrWrongBase) {
		t.Errorf("changed later: %v", err)
	}
	content[1024+0x70] = 1
	if err := os.WriteFile(img, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(img, time.Time{}, st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, device.ErrWrongBase) {
		t.Errorf("another superblock: %v", err)
	}
	if err := os.Truncate(img, 2<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, device.ErrWrongBase) {
		t.Errorf("another size: %v", err)
	}
}

// TestCommitOverlay_keep: an overlay that was kept goes on above the changed
// image.
func TestCommitOverlay_keep(t *testing.T) {
	dir := t.TempDir()
	img, path := filepath.Join(dir, "img"), filepath.Join(dir, "overlay")
	if err := os.WriteFile(img, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"first", "second"} {
		base, err := device.Open(img, device.Options{Partition: "@0"})
		if err != nil {
			t.Fatal(err)
		}
		o, err := device.OpenOverlay(path, base)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteAt([]byte(text), int64(i)*100_000); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(o.Close(), base.Close()); err != nil {
			t.Fatal(err)
		}
		w, err := device.Open(img, device.Options{Partition: "@0", Write: true})
		if err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		n, err := device.CommitOverlay(t.Context(), path, w, device.OverlayCommitOptions{Keep: true, Progress: func(done, total int64) { last = total }})
		if err != nil || n == 0 || i == 1 && last == 0 {
			t.Errorf("%d bytes of %d, %v", n, last, err)
		}
		w.Close()
	}
	got, err := os.ReadFile(img)
	if err != nil || string(got[:5]) != "first" || string(got[100_000:100_006]) != "second" {
		t.Errorf("the image has not both: %v", err)
	}
	if info, err := device.ReadOverlayInfo(path); err != nil || !info.Clean || info.Size != 1<<20 || info.Committed {
		t.Errorf("%+v %v", info, err)
	}
}

// TestOpenOverlay_hostile: files that are no overlays, or damaged ones.
func TestOpenOverlay_hostile(t *testing.T) {
	base := device.NewMemory(make([]byte, 1<<20))
	dir := t.TempDir()
	path := filepath.Join(dir, "overlay")
	o, err := device.OpenOverlay(path, base)
	if err != nil {
		t.Fatal(err)
	}
	o.WriteAt(make([]byte, 9000), 12345)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, content []byte, want error) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := device.OpenOverlay(path, base)
		if err == nil {
			o.Close()
		}
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	try("good", good, nil)
	try("text", bytes.Repeat([]byte("text"), 3000), disk.ErrCorrupt)
	try("short", []byte("x"), disk.ErrCorrupt)
	try("cut off", good[:len(good)-4096], disk.ErrCorrupt)
	try("header only", good[:8192], disk.ErrCorrupt)
	for off := range 8192 * 2 {
		if good[off] == 0 {
			continue
		}
		b := bytes.Clone(good)
		b[off] ^= 0x40
		// One bad copy of the header may be the older one: then it opens.
		if off >= 8192 {
			try(fmt.Sprintf("byte %d", off), b, disk.ErrCorrupt)
		}
	}
	if _, err := device.ReadOverlayInfo(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := device.OpenOverlay(dir, base); err == nil {
		t.Error("a directory is taken for an overlay")
	}
}
