package indirect

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// bench is a changer with its model, transaction and space.
type bench struct {
	t     testing.TB
	v     *volume
	tx    *fakeTx
	m     extent.Changer
	model map[uint64]disk.BlockNum
	r     *rand.Rand
	next  disk.BlockNum // data blocks
}

func newBench(t testing.TB, seed uint64) *bench {
	v := newVolume(t, 1024, 3000)
	b := &bench{t: t, v: v, tx: newFakeTx(t, v), next: 100_000, r: rand.New(rand.NewPCG(seed, 1)), model: map[uint64]disk.BlockNum{}}
	b.reopen(make([]byte, rootSize))
	return b
}

func (b *bench) reopen(root []byte) {
	b.t.Helper()
	m, err := Open(b.tx.c, b.v.owner(), root, b.tx.space)
	if err != nil {
		b.t.Fatal(err)
	}
	b.m = m
}

// The places where levels and pointer blocks meet, for blocks of 1 KiB.
var borders = []uint64{
	0, 6, 12, 12 + 200, 12 + 256, 12 + 2*256, 12 + 20*256, 12 + 256 + 30000, 12 + 256 + 65536, 12 + 256 + 65536 + 256,
	12 + 256 + 2*65536, 12 + 256 + 65536 + 1<<23, 12 + 256 + 65536 + 1<<24,
}

const mapSize = 12 + 256 + 65536 + 1<<24

// place is a logical block near one of the borders.
func (b *bench) place() uint64 {
	at := borders[b.r.IntN(len(borders))] + uint64(b.r.IntN(40))
	return min(max(at, 20)-20, mapSize-1)
}

func (b *bench) insert() error {
	l := b.place()
	n := uint64(1 + b.r.IntN(30))
	if b.r.IntN(20) == 0 {
		n = uint64(b.r.IntN(1500) + 1)
	}
	for i := range n {
		if b.model[l+i] != 0 || l+i >= mapSize {
			n = i
			break
		}
	}
	if n == 0 {
		return nil
	}
	e := extent.Extent{Logical: disk.LogicalNum(l), Physical: b.next, Len: uint32(n)}
	if before := b.model[l-1]; l > 0 && before != 0 && b.r.IntN(2) == 0 {
		e.Physical = before + 1
	} else {
		b.next += disk.BlockNum(n)
	}
	err := b.m.Insert(b.tx, e)
	if err == nil {
		for i := range n {
			b.model[l+i] = e.Physical + disk.BlockNum(i)
		}
	}
	return err
}

func (b *bench) remove(from, end uint64) (uint64, error) {
	next, err := b.m.Remove(b.tx, disk.LogicalNum(from), end, func(e extent.Extent) error {
		for i := range uint64(e.Len) {
			l := uint64(e.Logical) + i
			if bn := b.model[l]; bn != e.Physical+disk.BlockNum(i) || l < from || l >= end {
				b.t.Fatalf("%+v freed, block %d is %d", e, l, bn)
			}
			delete(b.model, l)
		}
		return nil
	})
	if next < from || next > max(end, from) {
		b.t.Fatalf("Remove(%d, %d) = %d, %v", from, end, next, err)
	}
	for l := range b.model {
		if l >= next && l < end {
			b.t.Fatalf("Remove(%d, %d) = %d, but %d is mapped", from, end, next, l)
		}
	}
	return next, err
}

func (b *bench) step() error {
	if b.r.IntN(3) > 0 {
		return b.insert()
	}
	from := b.place()
	end := from + uint64(b.r.IntN(60))
	if b.r.IntN(8) == 0 {
		end = max(from, b.place())
	}
	_, err := b.remove(from, end)
	return err
}

// check compares all that the map says with the model, and what nodes it has
// with what was given out.
func (b *bench) check() {
	b.t.Helper()
	m, err := New(b.tx.c, b.v.owner(), b.m.Root())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range []extent.Map{m, b.m} {
		got := map[uint64]disk.BlockNum{}
		for e, err := range m.From(0) {
			if err != nil {
				b.t.Fatal(err)
			}
			for i := range uint64(e.Len) {
				got[uint64(e.Logical)+i] = e.Physical + disk.BlockNum(i)
			}
		}
		if !maps.Equal(got, b.model) {
			b.t.Fatalf("map has %d blocks, model %d", len(got), len(b.model))
		}
	}
	seen := map[disk.BlockNum]bool{}
	for n, err := range m.Nodes() {
		if err != nil || n.Entries == 0 || seen[n.Block] {
			b.t.Fatalf("%+v, %v", n, err)
		}
		seen[n.Block] = true
	}
	if !maps.Equal(seen, b.tx.space.nodes) {
		b.t.Fatalf("%d nodes in the map, %d given out", len(seen), len(b.tx.space.nodes))
	}
}

func TestChanger_model(t *testing.T) {
	for seed := range uint64(4) {
		b := newBench(t, seed)
		for i := range 12_000 {
			if err := b.step(); err != nil {
				t.Fatal(err)
			}
			if i%50 == 0 {
				b.check()
			}
			switch b.r.IntN(200) {
			case 0:
				b.tx.commit()
			case 1:
				b.reopen(b.m.Root())
			case 2:
				if _, err := b.remove(b.place(), 1<<40); err != nil {
					t.Fatal(err)
				}
			}
		}
		b.check()
		if next, err := b.remove(0, 1<<40); err != nil || next != 0 {
			t.Fatal(next, err)
		}
		if len(b.tx.space.nodes) != 0 || !slices.Equal(b.m.Root(), make([]byte, rootSize)) {
			t.Fatalf("an empty map with root %x", b.m.Root())
		}
	}
}

// Steps with few credits, and a run that goes on over transactions.
func TestChanger_credits(t *testing.T) {
	b := newBench(t, 5)
	enough := b.m.InsertCredits(1)
	stops := 0
	for i := range 20_000 {
		if b.r.IntN(3) == 0 {
			b.tx.commit()
		}
		b.tx.restart(b.r.IntN(enough + 1))
		b.tx.room = b.r.IntN(3)
		err := b.step()
		if errors.Is(err, cache.ErrCredits) {
			stops++
		} else if err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			b.tx.restart(plenty)
			b.check()
		}
		if b.r.IntN(200) == 0 {
			for end := uint64(1 << 40); end > 0; {
				b.tx.restart(enough + freeCredits)
				next, err := b.remove(0, end)
				if err != nil || next >= end {
					t.Fatalf("at %d of %d: %v", next, end, err)
				}
				end = next
			}
		}
	}
	if stops < 100 {
		t.Errorf("%d stops", stops)
	}
}

// What InsertCredits says is enough for runs of MaxRun blocks anywhere.
func TestInsertCredits(t *testing.T) {
	for _, at := range borders {
		for back := range uint64(3) {
			b := newBench(t, 1)
			l := max(at, back*128) - back*128
			if l+256 > mapSize {
				continue
			}
			b.tx.restart(b.m.InsertCredits(1))
			if err := b.m.Insert(b.tx, extent.Extent{Logical: disk.LogicalNum(l), Physical: 5000, Len: b.m.MaxRun()}); err != nil {
				t.Errorf("%d: %v", l, err)
			}
		}
	}
}

func TestChanger_faults(t *testing.T) {
	b := newBench(t, 6)
	space, versions := 0, 0
	for i := range 20_000 {
		if b.r.IntN(2) == 0 {
			b.tx.space.failAt = 1 + b.r.IntN(4)
		} else {
			b.tx.failAt = 1 + b.r.IntN(4)
		}
		if b.r.IntN(100) == 0 {
			b.tx.failAt, b.tx.space.failAt = 0, 0
			if _, err := b.remove(0, 1<<40); err != nil {
				t.Fatal(err)
			}
			continue
		}
		before := len(b.model)
		err := b.step()
		b.tx.failAt, b.tx.space.failAt = 0, 0
		switch {
		case errors.Is(err, syscall.ENOSPC):
			space++
		case errors.Is(err, syscall.EIO):
			versions++
		case err != nil:
			t.Fatal(err)
		}
		if err != nil || i%20 == 0 || before != len(b.model) && i%5 == 0 {
			b.check()
		}
	}
	if space < 100 || versions < 500 {
		t.Errorf("%d and %d faults", space, versions)
	}
}

func TestRemove_freeFails(t *testing.T) {
	b := newBench(t, 7)
	wrong := errors.New("wrong")
	for range 1000 {
		if err := b.insert(); err != nil {
			t.Fatal(err)
		}
		from := b.place()
		left := b.r.IntN(3)
		next, err := b.m.Remove(b.tx, disk.LogicalNum(from), from+50, func(e extent.Extent) error {
			if left == 0 {
				return wrong
			}
			left--
			for i := range uint64(e.Len) {
				delete(b.model, uint64(e.Logical)+i)
			}
			return nil
		})
		if err != nil && (!errors.Is(err, wrong) || next <= from || b.model[next-1] == 0) {
			t.Fatal(next, err)
		}
		b.check()
	}
}

func TestChanger_refuses(t *testing.T) {
	b := newBench(t, 8)
	if err := b.m.Insert(b.tx, extent.Extent{Logical: 10, Physical: 100, Len: 5}); err != nil {
		t.Fatal(err)
	}
	o := b.v.owner()
	o.Blocks = 1 << 40
	wide, err := Open(b.tx.c, o, b.m.Root(), b.tx.space)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		e    extent.Extent
		want error
	}{
		{extent.Extent{Logical: 10, Physical: 200, Len: 1}, fs.ErrExist},
		{extent.Extent{Logical: 14, Physical: 200, Len: 3}, extent.ErrMapped},
		{extent.Extent{Logical: 0, Physical: 200, Len: 11}, extent.ErrMapped},
		{extent.Extent{Logical: 0, Physical: 200, Len: 0}, extent.ErrInvalid},
		{extent.Extent{Logical: 0, Physical: 200, Len: 1, Flags: extent.FlagHole}, extent.ErrInvalid},
		{extent.Extent{Logical: 0, Physical: 200, Len: 1, Flags: extent.FlagUnwritten}, errors.ErrUnsupported},
		{extent.Extent{Logical: mapSize, Physical: 200, Len: 1}, extent.ErrTooBig},
		{extent.Extent{Logical: mapSize - 1, Physical: 200, Len: 2}, syscall.EFBIG},
		{extent.Extent{Logical: 0, Physical: 1, Len: 1}, disk.ErrCorrupt},
		{extent.Extent{Logical: 0, Physical: 1<<32 - 1, Len: 2}, syscall.EFBIG},
		{extent.Extent{Logical: 0, Physical: 1 << 32, Len: 1}, syscall.EFBIG},
	} {
		if err := wide.Insert(b.tx, tt.e); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt.e, err)
		}
	}
	if err := wide.Insert(b.tx, extent.Extent{Logical: mapSize - 1, Physical: 1<<32 - 1, Len: 1}); err != nil {
		t.Error(err)
	}
	if e, err := wide.Find(mapSize - 1); err != nil || e.Physical != 1<<32-1 {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := wide.SetUnwritten(b.tx, 10, 12, true); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, _, err := wide.Shift(b.tx, 10, 12); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	// Blocks for pointers that no pointer can name, or that are in use.
	count := len(b.tx.space.nodes)
	for _, tt := range []struct {
		bn   disk.BlockNum
		want error
	}{{1 << 32, syscall.EFBIG}, {1, disk.ErrCorrupt}, {1 << 41, disk.ErrCorrupt}} {
		b.tx.space.give = tt.bn
		if err := wide.Insert(b.tx, extent.Extent{Logical: 400, Physical: 200, Len: 1}); !errors.Is(err, tt.want) {
			t.Errorf("node %d: %v", tt.bn, err)
		}
		delete(b.tx.space.nodes, tt.bn)
		if len(b.tx.space.nodes) != count {
			t.Errorf("node %d: %d nodes, not %d", tt.bn, len(b.tx.space.nodes), count)
		}
	}
}

// Pointer blocks without pointers, as others may leave them, do not outlive
// their range.
func TestRemove_emptyBlocks(t *testing.T) {
	b := newBench(t, 9)
	for _, l := range []uint64{3, 20, 300, 600, 70_000, 200_000} {
		if err := b.m.Insert(b.tx, extent.Extent{Logical: disk.LogicalNum(l), Physical: 5000, Len: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for n, err := range b.m.Nodes() {
		if err != nil {
			t.Fatal(err)
		}
		if n.Depth == 0 {
			buf, err := b.tx.Write(n.Block, nil)
			if err != nil {
				t.Fatal(err)
			}
			clear(buf.Data())
		}
	}
	count := 0
	if next, err := b.m.Remove(b.tx, 0, 1<<40, func(extent.Extent) error { count++; return nil }); next != 0 || err != nil {
		t.Error(next, err)
	}
	if count != 1 || len(b.tx.space.nodes) != 0 || !slices.Equal(b.m.Root(), make([]byte, rootSize)) {
		t.Errorf("%d runs freed, %d nodes left", count, len(b.tx.space.nodes))
	}
}

func TestChanger_loop(t *testing.T) {
	v := newVolume(t, 1024, 40)
	for i := range levels {
		binary.LittleEndian.PutUint32(v.root[(direct+i)*pointerSize:], 2)
	}
	blk := v.block(2)
	for i := range 256 {
		binary.LittleEndian.PutUint32(blk[i*pointerSize:], 2)
	}
	tx := newFakeTx(t, v)
	o := v.owner()
	o.Blocks = 40
	m, err := Open(tx.c, o, v.root[:], tx.space)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Remove(tx, 0, 1<<40, nil); !errors.Is(err, disk.ErrCorrupt) {
		t.Error(err)
	}
	if err := m.Insert(tx, extent.Extent{Logical: 300, Physical: 30, Len: 1}); !errors.Is(err, disk.ErrCorrupt) {
		t.Error(err)
	}
}
