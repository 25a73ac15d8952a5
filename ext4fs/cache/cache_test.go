package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// fakeDevice has blocks that each begin with their number. It counts reads,
// can fail on blocks, and can hold reads back.
type fakeDevice struct {
	blockSize int
	size      int64
	reads     atomic.Int64
	largest   atomic.Int64
	fail      func(off, n int64) error
	gate      chan struct{} // if not nil, each read takes one
	entered   chan struct{} // if not nil, each read says that it began
}

func newFake(blockSize int, blocks uint64) *fakeDevice {
	return &fakeDevice{blockSize: blockSize, size: int64(blockSize) * int64(blocks)}
}

func (d *fakeDevice) Size() int64 { return d.size }

func (d *fakeDevice) ReadAt(p []byte, off int64) (int, error) {
	d.reads.Add(1)
	if d.entered != nil {
		d.entered <- struct{}{}
	}
	if d.gate != nil {
		<-d.gate
	}
	for n := int64(len(p)); n > d.largest.Load(); {
		d.largest.Store(n)
	}
	if d.fail != nil {
		if err := d.fail(off, int64(len(p))); err != nil {
			return 0, err
		}
	}
	if off >= d.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), d.size-off))
	for i := 0; i+8 <= n; i += d.blockSize {
		binary.LittleEndian.PutUint64(p[i:], uint64(off+int64(i))/uint64(d.blockSize))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func mustGet(t testing.TB, c *Cache, bn disk.BlockNum) *Buffer {
	t.Helper()
	b, err := c.Get(bn)
	if err != nil {
		t.Fatalf("Get(%d): %v", bn, err)
	}
	check(t, b, bn)
	return b
}

func check(t testing.TB, b *Buffer, bn disk.BlockNum) {
	t.Helper()
	if b.Block() != bn || binary.LittleEndian.Uint64(b.Data()) != uint64(bn) {
		t.Errorf("asked for block %d, got %d with the content of %d",
			bn, b.Block(), binary.LittleEndian.Uint64(b.Data()))
	}
}

func TestGet_readsOnceAndCounts(t *testing.T) {
	d := newFake(1024, 100)
	c := New(d, 1024, 100, Options{})
	first := mustGet(t, c, 7)
	if again := mustGet(t, c, 7); again != first {
		t.Error("second Get gave another buffer")
	}
	mustGet(t, c, 0)
	mustGet(t, c, 99)
	got := c.Stats()
	want := Stats{Hits: 1, Misses: 3, Reads: 3, Bytes: 3 * 1024, MaxBytes: 100 * 1024}
	if got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if c.BlockSize() != 1024 || c.Blocks() != 100 || len(first.Data()) != 1024 {
		t.Errorf("block size %d, blocks %d, data %d", c.BlockSize(), c.Blocks(), len(first.Data()))
	}
}

func TestGet_errors(t *testing.T) {
	broken := errors.New("broken sector")
	d := newFake(1024, 10)
	d.size -= 100 // the last block is cut off
	d.fail = func(off, n int64) error {
		if off == 3*1024 {
			return broken
		}
		return nil
	}
	c := New(d, 1024, 12, Options{})
	for _, tt := range []struct {
		bn   disk.BlockNum
		want error
	}{
		{3, broken},
		{9, io.ErrUnexpectedEOF},  // partly there
		{10, io.ErrUnexpectedEOF}, // not there
		{12, disk.ErrCorrupt},     // beyond the file system
		{math.MaxUint64, disk.ErrCorrupt},
		{1 << 54, disk.ErrCorrupt},
	} {
		b, err := c.Get(tt.bn)
		if b != nil || !errors.Is(err, tt.want) {
			t.Errorf("Get(%d) = %v, %v; want %v", tt.bn, b, err, tt.want)
		}
		var re *ReadError
		if tt.want != disk.ErrCorrupt && (!errors.As(err, &re) || re.Block != tt.bn) {
			t.Errorf("Get(%d): %v does not name the block", tt.bn, err)
		}
	}
	if st := c.Stats(); st.Bytes != 0 {
		t.Errorf("%d bytes cached of failed reads", st.Bytes)
	}
}

func TestGet_failedReadIsNotCached(t *testing.T) {
	d := newFake(1024, 10)
	c := New(d, 1024, 10, Options{})
	d.fail = func(int64, int64) error { return io.ErrClosedPipe }
	if _, err := c.Get(5); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("error %v", err)
	}
	d.fail = nil
	mustGet(t, c, 5)
}

func TestNew_hostileGeometry(t *testing.T) {
	for _, tt := range []struct {
		blockSize int
		blocks    uint64
		max       int64
	}{
		{0, 10, 0}, {-4096, 10, 0}, {4096, 0, 0}, {4096, math.MaxUint64, 0},
		{65536, math.MaxUint64, 1}, {1024, 10, math.MaxInt64}, {1 << 30, 10, 100},
	} {
		c := New(newFake(1024, 10), tt.blockSize, tt.blocks, Options{MaxBytes: tt.max})
		for _, bn := range []disk.BlockNum{math.MaxUint64, 1 << 63, math.MaxInt64} {
			if _, err := c.Get(bn); err == nil {
				t.Errorf("%+v: block %d was read", tt, bn)
			}
			c.Prefetch(bn, math.MaxInt)
		}
	}
}

func TestCache_staysInBound(t *testing.T) {
	const blocks = 5000
	for _, maxBytes := range []int64{1, 1024, 2048, 3 * 1024, 7 * 1024, 64 << 10, 1 << 20} {
		d := newFake(1024, blocks)
		c := New(d, 1024, blocks, Options{MaxBytes: maxBytes})
		held := mustGet(t, c, 1)
		for i := range disk.BlockNum(2 * blocks) {
			mustGet(t, c, i*7%blocks)
			if i%64 == 0 {
				c.Prefetch(i*13%blocks, 16)
			}
			if st := c.Stats(); i%100 == 0 && st.Bytes > max(maxBytes, 1024) {
				t.Fatalf("bound %d: holds %d", maxBytes, st.Bytes)
			}
		}
		st := c.Stats()
		if st.Evictions == 0 || st.Bytes < maxBytes/2 {
			t.Errorf("bound %d: %+v", maxBytes, st)
		}
		check(t, held, 1) // evicted long ago, and still good
		checkShards(t, c)
	}
}

// checkShards compares queues and chains of a cache that nobody uses.
func checkShards(t *testing.T, c *Cache) {
	t.Helper()
	for i := range c.shards {
		s := &c.shards[i]
		seen := make(map[*Buffer]bool)
		for _, q := range []*queue{&s.recent, &s.main} {
			n := 0
			for b := q.oldest; b != nil; b = b.newer {
				n++
				seen[b] = true
				if b.queue != q || s.find(hash(b.block), b.block) != b {
					t.Errorf("block %d is in a queue and not to be found", b.block)
				}
			}
			if n != q.n {
				t.Errorf("queue of %d buffers counts %d", n, q.n)
			}
		}
		chained := 0
		for j := range s.chains {
			for b := s.chains[j].Load(); b != nil; b = b.chain.Load() {
				chained++
			}
		}
		if chained != len(seen)+s.pinned || len(seen) > s.capacity {
			t.Errorf("shard %d: %d in chains, %d in queues, capacity %d", i, chained, len(seen), s.capacity)
		}
		if len(s.inFlight) != 0 {
			t.Errorf("shard %d: %d blocks in flight", i, len(s.inFlight))
		}
	}
}

// A walk over many blocks, each used a few dozen times in a row, must leave
// the blocks that are used again and again.
func TestCache_resistsScan(t *testing.T) {
	const (
		capacity = 1024
		hot      = 400
		blocks   = 100_000
	)
	d := newFake(1024, blocks)
	c := New(d, 1024, blocks, Options{MaxBytes: capacity * 1024})
	bitmap := func(i int) disk.BlockNum { return disk.BlockNum(i * 200) }
	// The hot blocks get hot: used several times, with other work between.
	for round := range 3 {
		for i := range hot {
			mustGet(t, c, bitmap(i))
		}
		for i := range 1000 {
			mustGet(t, c, disk.BlockNum(round*1000+i)*2+1)
		}
	}
	for i := range hot {
		mustGet(t, c, bitmap(i))
	}
	for bn := disk.BlockNum(80_001); bn < blocks; bn++ {
		if bn%200 != 0 {
			for range 16 {
				mustGet(t, c, bn)
			}
		}
	}
	before := c.Stats().Reads
	for i := range hot {
		mustGet(t, c, bitmap(i))
	}
	if lost := c.Stats().Reads - before; lost > hot/10 {
		t.Errorf("the scan pushed out %d of %d hot blocks", lost, hot)
	}
}

func TestGet_singleFlight(t *testing.T) {
	d := newFake(1024, 10)
	d.gate, d.entered = make(chan struct{}), make(chan struct{}, 1)
	c := New(d, 1024, 10, Options{})
	var wg sync.WaitGroup
	bufs := make([]*Buffer, 8)
	get := func(i int) {
		defer wg.Done()
		bufs[i], _ = c.Get(3)
	}
	wg.Add(len(bufs))
	go get(0)
	<-d.entered
	for i := 1; i < len(bufs); i++ {
		go get(i)
	}
	// All have missed, so they wait for the one read.
	for c.Stats().Misses < uint64(len(bufs)) {
		runtime.Gosched()
	}
	close(d.gate)
	wg.Wait()
	for _, b := range bufs {
		if b == nil || b != bufs[0] {
			t.Fatal("readers of one block got different buffers")
		}
	}
	if n := d.reads.Load(); n != 1 {
		t.Errorf("%d reads for one block", n)
	}
}

// A device that panics must not leave others waiting.
func TestGet_panicReleasesWaiters(t *testing.T) {
	d := newFake(1024, 10)
	d.fail = func(int64, int64) error { panic("device") }
	c := New(d, 1024, 10, Options{})
	func() {
		defer func() { recover() }()
		c.Get(1)
	}()
	func() {
		defer func() { recover() }()
		c.Prefetch(1, 4)
	}()
	d.fail = nil
	mustGet(t, c, 1)
	checkShards(t, c)
}

func TestBuffer_verified(t *testing.T) {
	c := New(newFake(1024, 10), 1024, 10, Options{})
	b := mustGet(t, c, 1)
	if b.Verified(0) || b.Verified(5) {
		t.Error("a fresh buffer is verified")
	}
	b.SetVerified(5)
	if !mustGet(t, c, 1).Verified(5) || b.Verified(6) || b.Verified(0) {
		t.Error("tag 5 was set")
	}
	b.SetVerified(6)
	if b.Verified(5) || !b.Verified(6) {
		t.Error("the last tag counts")
	}
}

func TestGet_hitDoesNotAllocate(t *testing.T) {
	c := New(newFake(4096, 1000), 4096, 1000, Options{})
	mustGet(t, c, 5)
	if n := testing.AllocsPerRun(1000, func() { c.Get(5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPrefetch_mergesAndBounds(t *testing.T) {
	const blocks = 10_000
	d := newFake(1024, blocks)
	c := New(d, 1024, blocks, Options{MaxBytes: 64 << 20})
	c.Prefetch(10, 100)
	if n := d.reads.Load(); n != 1 {
		t.Errorf("%d reads for a run", n)
	}
	c.Prefetch(0, 120) // what is there is left out: two runs
	if n := d.reads.Load(); n != 3 {
		t.Errorf("%d reads for the rest on both sides", n)
	}
	c.Prefetch(0, 120)
	if n := d.reads.Load(); n != 3 {
		t.Errorf("%d reads for what is there", n)
	}
	for bn := range disk.BlockNum(120) {
		mustGet(t, c, bn)
	}
	if st := c.Stats(); st.Reads != 3 || st.Misses != 0 || st.Hits != 120 {
		t.Errorf("%+v", st)
	}
	c.Prefetch(blocks-5, 100)
	mustGet(t, c, blocks-1)
	before := d.reads.Load()
	c.Prefetch(1000, 5000)
	if d.largest.Load() > maxRun || d.reads.Load()-before > 3 {
		t.Errorf("%d reads of up to %d bytes", d.reads.Load()-before, d.largest.Load())
	}
	c.Prefetch(5, 0)
	c.Prefetch(5, -1)
}

// One bad sector in a run must not hide its neighbours.
func TestPrefetch_errorsAreLeftToGet(t *testing.T) {
	broken := errors.New("broken sector")
	d := newFake(1024, 100)
	d.fail = func(off, n int64) error {
		if off <= 7*1024 && 7*1024 < off+n {
			return broken
		}
		return nil
	}
	c := New(d, 1024, 100, Options{})
	c.Prefetch(0, 12)
	for bn := range disk.BlockNum(12) {
		if bn == 7 {
			if _, err := c.Get(bn); !errors.Is(err, broken) {
				t.Errorf("Get(7): %v", err)
			}
			continue
		}
		mustGet(t, c, bn)
	}
	checkShards(t, c)
}

// A device that ends inside a run still gives what lies before.
func TestPrefetch_shortRead(t *testing.T) {
	d := newFake(1024, 8)
	c := New(d, 1024, 100, Options{})
	c.Prefetch(0, 12)
	if st := c.Stats(); st.Bytes != 8*1024 {
		t.Errorf("%d bytes", st.Bytes)
	}
}

func TestPrefetch_overlappingReadsOnce(t *testing.T) {
	d := newFake(1024, 1000)
	d.gate, d.entered = make(chan struct{}), make(chan struct{}, 8)
	c := New(d, 1024, 1000, Options{})
	var wg sync.WaitGroup
	wg.Add(3)
	go func() { defer wg.Done(); c.Prefetch(0, 50) }()
	<-d.entered
	// The first 50 are in flight: this one reads only the rest.
	go func() { defer wg.Done(); c.Prefetch(0, 100) }()
	<-d.entered
	go func() {
		defer wg.Done()
		check(t, mustGet(t, c, 20), 20)
	}()
	for c.Stats().Misses < 1 {
		runtime.Gosched()
	}
	close(d.gate)
	wg.Wait()
	if n := d.reads.Load(); n != 2 {
		t.Errorf("%d reads", n)
	}
	checkShards(t, c)
}

func TestCache_stress(t *testing.T) {
	const blocks = 3000
	for _, maxBytes := range []int64{1024, 100 << 10, 1 << 20} {
		d := newFake(1024, blocks)
		var n atomic.Int64
		flaky := errors.New("flaky")
		d.fail = func(int64, int64) error {
			if n.Add(1)%17 == 0 {
				return flaky
			}
			return nil
		}
		c := New(d, 1024, blocks, Options{MaxBytes: maxBytes})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				x := uint64(g)*7919 + 1
				for range 4000 {
					x = x*6364136223846793005 + 1442695040888963407
					bn := disk.BlockNum(x >> 33 % blocks)
					if x>>20&15 == 0 {
						c.Prefetch(bn, int(x>>24&63))
						continue
					}
					b, err := c.Get(bn)
					if err != nil {
						if !errors.Is(err, flaky) {
							t.Errorf("Get(%d): %v", bn, err)
						}
						continue
					}
					check(t, b, bn)
					if !b.Verified(uint64(bn) + 1) {
						b.SetVerified(uint64(bn) + 1)
					}
				}
			})
		}
		wg.Wait()
		if st := c.Stats(); st.Bytes > max(maxBytes, 1024) || st.Hits == 0 {
			t.Errorf("%+v", st)
		}
		checkShards(t, c)
	}
}

func BenchmarkGetHit(b *testing.B) {
	for _, tt := range []struct {
		name string
		hot  uint64
	}{{"one block", 1}, {"1000 blocks", 1000}, {"16000 blocks", 16000}} {
		b.Run(tt.name, func(b *testing.B) {
			c := New(newFake(4096, 16384), 4096, 16384, Options{})
			for bn := range tt.hot {
				mustGet(b, c, disk.BlockNum(bn))
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := uint64(0); pb.Next(); i++ {
					if _, err := c.Get(disk.BlockNum(i * 7919 % tt.hot)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkGetMiss(b *testing.B) {
	c := New(newFake(4096, 1<<40), 4096, 1<<40, Options{MaxBytes: 1 << 20})
	b.SetBytes(4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := c.Get(disk.BlockNum(i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrefetch(b *testing.B) {
	const run = 256
	mem := bytes.NewReader(make([]byte, 64<<20))
	c := New(sized{mem}, 4096, 16384, Options{MaxBytes: 16 << 20})
	b.SetBytes(run * 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Prefetch(disk.BlockNum(i*run%16384), run)
	}
}

type sized struct{ *bytes.Reader }

func (s sized) Size() int64 { return s.Reader.Size() }

func TestGetRun_bringsNeighbours(t *testing.T) {
	broken := errors.New("broken sector")
	d := newFake(1024, 1000)
	c := New(d, 1024, 1000, Options{})
	for range 2 {
		b, err := c.GetRun(20, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		check(t, b, 20)
	}
	mustGet(t, c, 16)
	mustGet(t, c, 47)
	if st := c.Stats(); st.Reads != 1 || st.Misses != 1 || st.Hits != 3 {
		t.Errorf("%+v", st)
	}
	// A run that does not hold the block, is empty or fails does no harm.
	for bn, run := range map[disk.BlockNum][2]int64{100: {200, 5}, 101: {101, 0}, 102: {1 << 40, 9}} {
		b, err := c.GetRun(bn, disk.BlockNum(run[0]), int(run[1]))
		if err != nil {
			t.Fatal(err)
		}
		check(t, b, bn)
	}
	d.fail = func(off, n int64) error {
		if off <= 305*1024 && 305*1024 < off+n {
			return broken
		}
		return nil
	}
	if b, err := c.GetRun(304, 300, 10); err != nil {
		t.Error(err)
	} else {
		check(t, b, 304)
	}
	if _, err := c.GetRun(305, 300, 10); !errors.Is(err, broken) {
		t.Error(err)
	}
	checkShards(t, c)
}
