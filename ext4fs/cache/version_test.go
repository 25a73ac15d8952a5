package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func version(t testing.TB, c *Cache, bn disk.BlockNum, from *Buffer, owner uint64) *Buffer {
	t.Helper()
	b, err := c.NewVersion(bn, from, owner)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(b.data, uint64(bn))
	return b
}

func TestInstall_swapUnpinDrop(t *testing.T) {
	c := New(newFake(1024, 1000), 1024, 1000, Options{})
	old := mustGet(t, c, 7)
	b1 := version(t, c, 7, old, 1)
	c.Install(b1)
	if mustGet(t, c, 7) != b1 || c.Pinned(7) != b1 || !c.AnyPinned(0, 8) {
		t.Error("the version is not current and pinned")
	}
	b2 := version(t, c, 7, b1, 0)
	if c.Swap(old, b2) {
		t.Error("swapped for a version that is not current")
	}
	if !c.Swap(b1, b2) || mustGet(t, c, 7) != b2 {
		t.Error("not swapped")
	}
	c.Unpin(b1) // not current any more
	if c.Pinned(7) != b2 || c.Stats().Pinned != 1024 {
		t.Errorf("pinned %d", c.Stats().Pinned)
	}
	c.Unpin(b2)
	c.Unpin(b2)
	if c.Pinned(7) != nil || c.AnyPinned(0, math.MaxUint64) || mustGet(t, c, 7) != b2 || c.Stats().Pinned != 0 {
		t.Error("not an ordinary block after Unpin")
	}
	b3 := version(t, c, 7, nil, 5)
	c.Install(b3)
	c.DropOld(7, 4)
	if c.Pinned(7) != b3 {
		t.Error("a newer transaction's version was dropped")
	}
	c.DropOld(7, 5)
	if c.Pinned(7) != nil || c.AnyPinned(7, 1) {
		t.Error("still pinned after Drop")
	}
	if b := mustGet(t, c, 7); b == b2 || b == b3 {
		t.Error("found after Drop")
	}
	c.Drop(8) // never there
	if _, err := c.NewVersion(1000, nil, 1); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("version of a block beyond the end: %v", err)
	}
	checkShards(t, c)
}

// A read that began before a version was installed, or the block dropped, must
// not take its place.
func TestInstall_overtakesRead(t *testing.T) {
	for _, drop := range []bool{false, true} {
		d := newFake(1024, 10)
		d.gate, d.entered = make(chan struct{}), make(chan struct{}, 1)
		c := New(d, 1024, 10, Options{})
		var wg sync.WaitGroup
		var stale *Buffer
		wg.Go(func() { stale, _ = c.Get(3) })
		<-d.entered
		if drop {
			c.Drop(3)
		} else {
			c.Install(version(t, c, 3, nil, 1))
		}
		close(d.gate)
		wg.Wait()
		if stale == nil {
			t.Error("the reader got nothing")
		}
		d.entered = nil
		if b := mustGet(t, c, 3); b == stale {
			t.Errorf("drop %v: an overtaken read was kept", drop)
		}
		checkShards(t, c)
	}
}

func TestPriority(t *testing.T) {
	const blocks = 20000
	d := newFake(1024, blocks)
	c := New(d, 1024, blocks, Options{MaxBytes: 500 << 10})
	for bn := range disk.BlockNum(100) {
		mustGet(t, c, bn*3).SetPriority(PriorityHigh)
	}
	for bn := disk.BlockNum(1000); bn < 1700; bn++ {
		mustGet(t, c, bn)
	}
	before := c.Stats().Reads
	for bn := range disk.BlockNum(100) {
		mustGet(t, c, bn*3)
	}
	if n := c.Stats().Reads - before; n > 5 {
		t.Errorf("%d of 100 blocks of high priority are gone", n)
	}
	// But not for ever.
	for range 20 {
		for bn := disk.BlockNum(1000); bn < blocks; bn += 7 {
			mustGet(t, c, bn)
		}
	}
	c.Shrink(400 << 10)
	checkShards(t, c)
	// Journaled data does not stay.
	b := version(t, c, 5, nil, 1)
	b.SetPriority(PriorityNone)
	c.Install(b)
	c.Unpin(b)
	if got := mustGet(t, c, 5); got == b {
		t.Error("a block of priority none stayed")
	}
}

func TestShrink(t *testing.T) {
	c := New(newFake(1024, 5000), 1024, 5000, Options{})
	c.Prefetch(0, 500)
	var pinned []*Buffer
	for bn := range disk.BlockNum(50) {
		b := version(t, c, bn, nil, 1)
		pinned = append(pinned, b)
		c.Install(b)
	}
	if n := c.Shrink(100<<10 - 1); n != 100<<10 {
		t.Errorf("shrunk by %d", n)
	}
	if n := c.Shrink(math.MaxInt64); n != 350<<10 {
		t.Errorf("shrunk by %d, want the remaining 350 KiB", n)
	}
	if c.Shrink(0) != 0 || c.Shrink(-1) != 0 {
		t.Error("shrunk by nothing")
	}
	for _, b := range pinned {
		if mustGet(t, c, b.Block()) != b {
			t.Error("a pinned block is gone")
		}
	}
	checkShards(t, c)
}

// Pinned blocks take from the bound, but readers keep some room.
func TestInstall_bound(t *testing.T) {
	c := New(newFake(1024, 5000), 1024, 5000, Options{MaxBytes: 256 << 10})
	c.Prefetch(0, 256)
	for bn := range disk.BlockNum(400) {
		c.Install(version(t, c, 1000+bn, nil, 1))
		mustGet(t, c, bn)
	}
	st := c.Stats()
	if clean := st.Bytes - st.Pinned; st.Pinned != 400<<10 || clean > 68<<10 || clean < 60<<10 {
		t.Errorf("%+v", st)
	}
	checkShards(t, c)
}

// writeLog is a device that notes writes; vectored, if v.
type writeLog struct {
	device.Writer
	got []string
}

func (w *writeLog) WriteAt(p []byte, off int64) (int, error) {
	w.got = append(w.got, fmt.Sprintf("%d+%d", off/1024, len(p)/1024))
	return w.Writer.WriteAt(p, off)
}

type vectorLog struct{ *writeLog }

func (w vectorLog) WriteVAt(bufs [][]byte, off int64) (int, error) {
	return w.WriteAt(bytes.Join(bufs, nil), off)
}

func TestWriteBack(t *testing.T) {
	for _, vectored := range []bool{false, true} {
		w := &writeLog{Writer: device.NewRAM(5000 << 10)}
		dev := device.Writer(w)
		if vectored {
			dev = vectorLog{w}
		}
		c := New(dev, 1024, 5000, Options{})
		var list []*Buffer
		add := func(from, n disk.BlockNum) {
			for bn := from; bn < from+n; bn++ {
				list = append(list, version(t, c, bn, nil, 0))
			}
		}
		add(9, 1)
		add(100, 1500)
		add(3, 5)
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if err := c.WriteBack(context.Background(), dev, list); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(w.got), "[3+5 9+1 100+1024 1124+476]"; got != want {
			t.Errorf("writes %s, want %s", got, want)
		}
		for _, b := range list {
			mustGet(t, c, b.Block()) // from the device
		}
		if st := c.Stats(); st.Writes != 4 || st.Written != 1506 {
			t.Errorf("%+v", st)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := c.WriteBack(ctx, dev, list); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		var we *WriteError
		if err := c.WriteBack(context.Background(), device.NewRAM(1<<20), list); !errors.As(err, &we) || we.N == 0 {
			t.Errorf("a device that is too small: %v", err)
		}
	}
}

// Versions, reads, evictions and drops by many at once.
func TestVersions_concurrent(t *testing.T) {
	c := New(newFake(1024, 300), 1024, 300, Options{MaxBytes: 100 << 10})
	var locks [300]sync.Mutex // a version is made under its structure's lock
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(g, 1))
			for range 5000 {
				bn := disk.BlockNum(rng.IntN(300))
				locks[bn].Lock()
				b := mustGet(t, c, bn)
				switch rng.IntN(6) {
				case 0:
					c.Install(version(t, c, bn, b, 1))
				case 1:
					c.Swap(b, version(t, c, bn, b, 0))
				case 2:
					c.Unpin(b)
				case 3:
					c.Drop(bn)
				case 4:
					if p := c.Pinned(bn); p != nil && p != b {
						t.Error("another version is pinned")
					}
					c.AnyPinned(bn, 100)
					c.Prefetch(bn, 10)
				case 5:
					c.Shrink(10 << 10)
				}
				locks[bn].Unlock()
			}
		})
	}
	wg.Wait()
	pinned := 0
	for bn := range disk.BlockNum(300) {
		if b := c.Pinned(bn); b != nil {
			pinned++
			c.Unpin(b)
		}
	}
	checkShards(t, c)
	if c.AnyPinned(0, 300) || c.Stats().Pinned != 0 {
		t.Errorf("after unpinning %d: %+v", pinned, c.Stats())
	}
}

func BenchmarkInstall(b *testing.B) {
	c := New(newFake(4096, 10000), 4096, 10000, Options{})
	from := mustGet(b, c, 7)
	b.ReportAllocs()
	b.SetBytes(4096)
	for b.Loop() {
		v, _ := c.NewVersion(7, from, 1)
		c.Install(v)
		c.Unpin(v)
	}
}
