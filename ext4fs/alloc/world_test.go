package alloc

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// world is an image in memory with an allocator and a journal that is none:
// transactions live in the cache, and a commit writes them home.
type world struct {
	t       testing.TB
	ram     *device.RAM
	cache   *cache.Cache
	super   disk.Superblock
	a       *Allocator
	corrupt []error

	mu     sync.Mutex
	tid    uint32
	blocks map[disk.BlockNum]member
	limit  int // blocks that may be added; -1: any number
}

type member struct {
	buf *cache.Buffer
	s   cache.Sealer
}

// mkfs returns the bytes of a new file system.
func mkfs(t testing.TB, size int64, args ...string) *device.RAM {
	t.Helper()
	img := filepath.Join(testimages.Scratch(t), "fs.img")
	testimages.Mkfs(t, img, size, args...)
	return load(t, img)
}

func load(t testing.TB, img string) *device.RAM {
	t.Helper()
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	ram := device.NewRAM(int64(len(b)))
	if _, err := ram.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return ram
}

func newWorld(t testing.TB, ram *device.RAM, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, ram: ram, tid: 0xffff_fff0, blocks: make(map[disk.BlockNum]member), limit: -1}
	sb := make([]byte, disk.SuperblockSize)
	if _, err := ram.ReadAt(sb, disk.SuperblockOffset); err != nil {
		t.Fatal(err)
	}
	if err := w.super.Decode(sb); err != nil {
		t.Fatal(err)
	}
	if err := w.super.Validate(ram.Size()); err != nil {
		t.Fatal(err)
	}
	w.cache = cache.New(ram, w.super.BlockSize(), w.super.Blocks(), cache.Options{})
	cfg := Config{
		Cache: w.cache, Super: &w.super, Seed: w.super.Seed(), Verify: true,
		OnCorrupt: func(_ disk.GroupNum, err error) {
			w.mu.Lock()
			w.corrupt = append(w.corrupt, err)
			w.mu.Unlock()
		},
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.a = a
	return w
}

func (w *world) ID() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tid
}

func (w *world) Write(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	b, err := w.cache.Get(bn)
	if err != nil {
		return nil, err
	}
	return w.add(bn, b, s, false)
}

func (w *world) Fresh(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	return w.add(bn, nil, s, true)
}

func (w *world) add(bn disk.BlockNum, from *cache.Buffer, s cache.Sealer, fresh bool) (*cache.Buffer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, ok := w.blocks[bn]
	if ok && !fresh {
		return m.buf, nil
	}
	if !ok {
		if w.limit == 0 {
			return nil, cache.ErrCredits
		}
		if w.limit > 0 {
			w.limit--
		}
	}
	b, err := w.cache.NewVersion(bn, from, 1)
	if err != nil {
		return nil, err
	}
	w.cache.Install(b)
	w.blocks[bn] = member{b, s}
	return b, nil
}

func (w *world) Forget(disk.BlockNum) {}
func (w *world) Credits() int         { return 1 << 20 }
func (w *world) Extend(int) error     { return nil }

// closed is a transaction that gets no more changes.
type closed struct {
	tid    uint32
	blocks map[disk.BlockNum]member
}

// close begins the next transaction.
func (w *world) close() closed {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := closed{w.tid, w.blocks}
	w.tid++
	w.blocks = make(map[disk.BlockNum]member)
	return c
}

// commit seals and writes home what the transaction has. The next one may be
// on its way.
func (w *world) commit(c closed) {
	frozen := make(map[disk.BlockNum]*cache.Buffer)
	for bn, m := range c.blocks {
		frozen[bn], _ = w.cache.NewVersion(bn, m.buf, 0)
	}
	peer := func(bn disk.BlockNum) []byte {
		if b := frozen[bn]; b != nil {
			return b.Data()
		}
		return nil
	}
	for bn, m := range c.blocks {
		m.s.Seal(bn, frozen[bn].Data(), peer)
	}
	for bn, m := range c.blocks {
		w.cache.Swap(m.buf, frozen[bn])
	}
	if err := w.cache.WriteBack(context.Background(), w.ram, slices.Collect(maps.Values(frozen))); err != nil {
		w.t.Fatal(err)
	}
	for _, b := range frozen {
		w.cache.Unpin(b)
	}
	w.a.Committed(c.tid)
}

func (w *world) sync() { w.commit(w.close()) }

func (w *world) file() string {
	w.t.Helper()
	b := make([]byte, w.ram.Size())
	if _, err := w.ram.ReadAt(b, 0); err != nil {
		w.t.Fatal(err)
	}
	img := filepath.Join(testimages.Scratch(w.t), "out.img")
	if err := os.WriteFile(img, b, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return img
}

func (w *world) noDamage() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.corrupt) > 0 {
		w.t.Fatalf("damage: %v", w.corrupt)
	}
}

// dumped is what dumpe2fs says of the groups.
type dumped struct {
	freeBlocks, freeInodes []uint64 // numbers, ascending
	groups                 [][4]uint64
}

var (
	groupLine  = regexp.MustCompile(`(\d+) free (?:blocks|clusters), (\d+) free inodes, (\d+) directories(?:, (\d+) unused inodes)?`)
	blocksLine = regexp.MustCompile(`(?m)^  Free blocks: (.*)$`)
	inodesLine = regexp.MustCompile(`(?m)^  Free inodes: (.*)$`)
)

func dumpe2fs(t testing.TB, img string) dumped {
	t.Helper()
	testimages.RequireTool(t, "dumpe2fs")
	out := testimages.Run(t, "dumpe2fs", img)
	if strings.Contains(out, "EXPECTED") {
		t.Fatal("dumpe2fs expects other checksums:\n" + out)
	}
	var d dumped
	for _, m := range groupLine.FindAllStringSubmatch(out, -1) {
		var g [4]uint64
		for i := range g {
			g[i], _ = strconv.ParseUint(m[i+1], 10, 64)
		}
		d.groups = append(d.groups, g)
	}
	ranges := func(re *regexp.Regexp) (list []uint64) {
		for _, m := range re.FindAllStringSubmatch(out, -1) {
			for _, r := range strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
				from, to, ok := strings.Cut(r, "-")
				lo, err := strconv.ParseUint(from, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				hi := lo
				if ok {
					hi, _ = strconv.ParseUint(to, 10, 64)
				}
				for n := lo; n <= hi; n++ {
					list = append(list, n)
				}
			}
		}
		return list
	}
	d.freeBlocks, d.freeInodes = ranges(blocksLine), ranges(inodesLine)
	return d
}
