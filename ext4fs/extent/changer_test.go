package extent

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// cellar is the model of a map: what every logical block is.
type cellar struct {
	blocks []cell
}

type cell struct {
	bn        disk.BlockNum // 0: hole
	unwritten bool
}

// runs are the model's extents, as long as they can be.
func (m *cellar) runs() (out []Extent) {
	for l, c := range m.blocks {
		if c.bn == 0 {
			continue
		}
		e := Extent{Logical: disk.LogicalNum(l), Physical: c.bn, Len: 1}
		if c.unwritten {
			e.Flags = FlagUnwritten
		}
		if n := len(out); n > 0 && touches(out[n-1], e) {
			out[n-1].Len++
			continue
		}
		out = append(out, e)
	}
	return out
}

func touches(a, b Extent) bool {
	return a.End() == uint64(b.Logical) && a.Physical+disk.BlockNum(a.Len) == b.Physical && a.Flags == b.Flags
}

func joinRuns(in []Extent) (out []Extent) {
	for _, e := range in {
		if n := len(out); n > 0 && touches(out[n-1], e) {
			out[n-1].Len += e.Len
			continue
		}
		out = append(out, e)
	}
	return out
}

// bench is a changer with its model, transaction and space.
type bench struct {
	t     testing.TB
	v     *volume
	tx    *fakeTx
	m     *changer
	model cellar
	r     *rand.Rand
	next  disk.BlockNum // data blocks
	old   bool          // the tree has what old kernels left: low keys and empty leaves
}

// newBench has nodes with room for perNode entries, 6 or more: the root with what
// one edit adds must fit into a node, as it does in all real ones.
func newBench(t testing.TB, perNode, nodes, blocks int) *bench {
	v := newVolume(t, disk.ExtentHeaderSize+perNode*disk.ExtentEntrySize+disk.ExtentTailSize, nodes)
	b := &bench{t: t, v: v, tx: newFakeTx(t, v), next: 1000, r: rand.New(rand.NewPCG(uint64(perNode), uint64(blocks)))}
	b.model.blocks = make([]cell, blocks)
	b.reopen(EmptyRoot())
	return b
}

func (b *bench) reopen(root []byte) {
	b.t.Helper()
	m, err := Open(b.tx.c, b.v.owner(), root, b.tx.space)
	if err != nil {
		b.t.Fatal(err)
	}
	b.m = m.(*changer)
}

// fresh is a run in a hole of the model; it may go on where the one before
// ends.
func (b *bench) fresh() (Extent, bool) {
	l := b.r.IntN(len(b.model.blocks))
	n := 0
	for most := 1 + b.r.IntN(6); n < most && l+n < len(b.model.blocks) && b.model.blocks[l+n].bn == 0; n++ {
	}
	if n == 0 {
		return Extent{}, false
	}
	e := Extent{Logical: disk.LogicalNum(l), Len: uint32(n)}
	switch {
	case b.r.IntN(3) == 0: // where an identity map would put it: merges
		e.Physical = disk.BlockNum(l) + 1<<30
	case l > 0 && b.model.blocks[l-1].bn != 0 && b.r.IntN(2) == 0:
		e.Physical = b.model.blocks[l-1].bn + 1
	default:
		e.Physical = b.next
		b.next += disk.BlockNum(n) + 1
	}
	if b.r.IntN(2) == 0 {
		e.Flags = FlagUnwritten
	}
	return e, true
}

func (b *bench) put(e Extent) {
	for i := range e.Len {
		b.model.blocks[int(e.Logical)+int(i)] = cell{e.Physical + disk.BlockNum(i), e.Flags&FlagUnwritten != 0}
	}
}

// step does one random change to map and model. Errors that injection makes
// are fine as long as the map is as it was.
func (b *bench) step() error {
	size := len(b.model.blocks)
	from := b.r.IntN(size)
	end := min(from+1+b.r.IntN(8), size)
	if b.r.IntN(50) == 0 {
		end = min(from+b.r.IntN(size), size)
	}
	switch k := b.r.IntN(20); {
	case k < 11:
		e, ok := b.fresh()
		if !ok {
			return nil
		}
		err := b.m.Insert(b.tx, e)
		if err == nil {
			b.put(e)
		}
		return err
	case k < 15:
		return b.remove(from, end)
	case k < 19:
		return b.convert(from, end)
	}
	return b.shift(from)
}

func (b *bench) remove(from, end int) error {
	next, err := b.m.Remove(b.tx, disk.LogicalNum(from), uint64(end), func(e Extent) error {
		for i := range e.Len {
			c := &b.model.blocks[int(e.Logical)+int(i)]
			if want := (cell{e.Physical + disk.BlockNum(i), e.Flags == FlagUnwritten}); *c != want {
				b.t.Fatalf("%+v freed where %+v is", want, *c)
			}
			*c = cell{}
		}
		return nil
	})
	if next < uint64(from) || next > uint64(max(end, from)) || err == nil && next != uint64(from) && b.tx.credits > 1000 {
		b.t.Fatalf("Remove(%d, %d) = %d, %v", from, end, next, err)
	}
	for _, c := range b.model.blocks[next:max(end, int(next))] {
		if c.bn != 0 {
			b.t.Fatalf("Remove(%d, %d) = %d, but not all is free", from, end, next)
		}
	}
	return err
}

func (b *bench) convert(from, end int) error {
	unwritten := b.r.IntN(2) == 0
	hole := false
	for _, c := range b.model.blocks[from:end] {
		hole = hole || c.bn == 0
	}
	next, err := b.m.SetUnwritten(b.tx, disk.LogicalNum(from), uint64(end), unwritten)
	for i := from; i < int(next); i++ {
		b.model.blocks[i].unwritten = unwritten
	}
	if hole && err == nil && next == uint64(end) {
		b.t.Fatalf("SetUnwritten(%d, %d) found no hole", from, end)
	}
	if !hole && (errors.Is(err, ErrNotMapped) || err == nil && next != uint64(end) && b.tx.credits > 1000) {
		b.t.Fatalf("SetUnwritten(%d, %d) = %d, %v", from, end, next, err)
	}
	if errors.Is(err, ErrNotMapped) {
		err = nil
	}
	return err
}

// shift collapses or inserts a few blocks.
func (b *bench) shift(from int) error {
	size := len(b.model.blocks)
	d := 1 + b.r.IntN(5)
	if b.r.IntN(2) == 0 { // down
		if from < d {
			return nil
		}
		if err := b.remove(from-d, from); err != nil || b.anyIn(from-d, from) {
			return err
		}
		for pos := uint64(from); ; {
			next, done, err := b.m.Shift(b.tx, disk.LogicalNum(pos), -int64(d))
			for i := pos; i < min(next, uint64(size)); i++ {
				if b.model.blocks[i].bn != 0 {
					b.model.blocks[int(i)-d], b.model.blocks[i] = b.model.blocks[i], cell{}
				}
			}
			if err != nil || done {
				for i := next; err == nil && i < uint64(size); i++ {
					if b.model.blocks[i].bn != 0 {
						b.t.Fatalf("Shift is done at %d, but not all is moved", next)
					}
				}
				return err
			}
			pos = next
			b.again()
		}
	}
	if err := b.remove(size-d, size); err != nil || b.anyIn(size-d, size) {
		return err
	}
	for upto := uint64(size); ; {
		next, done, err := b.m.Shift(b.tx, disk.LogicalNum(from), int64(d))
		for i := int(upto) - 1; i >= int(next) && i >= from; i-- {
			if b.model.blocks[i].bn != 0 {
				b.model.blocks[i+d], b.model.blocks[i] = b.model.blocks[i], cell{}
			}
		}
		if err != nil || done {
			return err
		}
		upto = next
		b.again()
	}
}

// anyIn says whether some of the blocks are mapped.
func (b *bench) anyIn(from, end int) bool {
	return slices.ContainsFunc(b.model.blocks[from:end], func(c cell) bool { return c.bn != 0 })
}

// again ends the transaction and begins one with as many credits as a step
// may need.
func (b *bench) again() {
	b.tx.commit()
	b.tx.restart(b.m.InsertCredits(1) + freeCredits)
}

// check compares all the map says with the model, and looks at the tree.
func (b *bench) check() {
	b.t.Helper()
	m, err := New(b.tx.c, b.v.owner(), b.m.Root())
	if err != nil {
		b.t.Fatal(err)
	}
	want := b.model.runs()
	for _, m := range []Map{m, b.m} {
		got, err := collect(m, 0)
		if err != nil || !slices.Equal(joinRuns(got), want) {
			b.t.Fatalf("%v\nmap   %+v\nmodel %+v", err, got, want)
		}
	}
	for n, err := range m.Nodes() {
		if err != nil || !n.ChecksumOK {
			b.t.Fatalf("%+v, %v", n, err)
		}
	}
	seen := map[disk.BlockNum]bool{}
	b.checkNode(disk.ExtentNode(b.m.Root()), 0, seen)
	if len(seen) != len(b.tx.space.nodes) {
		b.t.Fatalf("%d nodes in the tree, %d given out", len(seen), len(b.tx.space.nodes))
	}
	l := disk.LogicalNum(b.r.IntN(len(b.model.blocks)))
	e, err := b.m.Find(l)
	if c := b.model.blocks[l]; err != nil || (c.bn == 0) != (e.Flags == FlagHole) ||
		c.bn != 0 && (e.Physical+disk.BlockNum(l-e.Logical) != c.bn || c.unwritten != (e.Flags == FlagUnwritten)) {
		b.t.Fatalf("Find(%d) = %+v, %v, model %+v", l, e, err, c)
	}
}

// checkNode checks what a checker asks of a node that must not have been so
// before.
func (b *bench) checkNode(n disk.ExtentNode, bn disk.BlockNum, seen map[disk.BlockNum]bool) {
	b.t.Helper()
	count := n.Entries()
	if p := n.HeaderProblem(-1); p != "" || bn != 0 && count == 0 && !b.old {
		b.t.Fatalf("node %d, %d entries: %s", bn, count, p)
	}
	if p := n.EntriesProblem(1, 1<<40); p != "" {
		b.t.Fatalf("node %d: %s", bn, p)
	}
	end := entryAt(max(n.Max(), count))
	for _, x := range n[entryAt(count):end] {
		if x != 0 {
			b.t.Fatalf("node %d: bytes behind the entries", bn)
		}
	}
	if n.Depth() == 0 {
		return
	}
	for i := range count {
		x := n.Index(i)
		if seen[x.Child] || !b.tx.space.nodes[x.Child] {
			b.t.Fatalf("node %d is there twice or was not given", x.Child)
		}
		seen[x.Child] = true
		buf, err := b.tx.c.Get(x.Child)
		if err != nil {
			b.t.Fatal(err)
		}
		child := disk.ExtentNode(buf.Data())
		if child.Depth() != n.Depth()-1 || !b.old && (child.Entries() == 0 || child.Key(0) != x.Logical) {
			b.t.Fatalf("node %d: depth %d, %d entries, key %d; parent's depth %d, key %d",
				x.Child, child.Depth(), child.Entries(), child.Key(0), n.Depth(), x.Logical)
		}
		b.checkNode(child, x.Child, seen)
	}
}

// checkHome looks at the tree on the device after a commit: sealed, and the
// same.
func (b *bench) checkHome() {
	b.t.Helper()
	b.tx.commit()
	m, err := New(b.v.cache(), b.v.owner(), b.m.Root())
	if err != nil {
		b.t.Fatal(err)
	}
	count := 0
	for n, err := range m.Nodes() {
		if err != nil || !n.ChecksumOK {
			b.t.Fatalf("%+v, %v", n, err)
		}
		count++
	}
	got, err := collect(m, 0)
	if err != nil || count != len(b.tx.space.nodes) || !slices.Equal(joinRuns(got), b.model.runs()) {
		b.t.Fatalf("%d nodes, %v", count, err)
	}
}

func TestChanger_model(t *testing.T) {
	for _, tt := range []struct{ perNode, blocks, steps int }{
		{6, 60, 30_000}, {6, 400, 30_000}, {6, 3000, 30_000}, {7, 1000, 30_000}, {9, 6000, 30_000}, {84, 3000, 30_000},
	} {
		t.Run(fmt.Sprintf("%d per node, %d blocks", tt.perNode, tt.blocks), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.perNode, 20_000, tt.blocks)
			depth, every := 0, max(tt.blocks/40, 6)
			for i := range tt.steps {
				if err := b.step(); err != nil && !errors.Is(err, ErrTooBig) {
					t.Fatal(err)
				}
				depth = max(depth, disk.ExtentNode(b.m.Root()).Depth())
				if i%every == 0 {
					b.check()
				}
				switch b.r.IntN(200) {
				case 0:
					b.checkHome()
				case 1:
					b.reopen(b.m.Root())
				}
			}
			b.check()
			if err := b.remove(0, tt.blocks); err != nil {
				t.Fatal(err)
			}
			if len(b.tx.space.nodes) != 0 || !slices.Equal(b.m.Root(), EmptyRoot()) {
				t.Fatalf("an empty tree with root %x", b.m.Root())
			}
			t.Logf("depth %d", depth)
		})
	}
}

// Every step gets just the credits that InsertCredits promises to be enough,
// or less.
func TestChanger_credits(t *testing.T) {
	for _, perNode := range []int{6, 7, 84} {
		t.Run(fmt.Sprint(perNode), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, perNode, 20_000, 300+perNode*20)
			stops := 0
			for i := range 10_000 {
				if b.r.IntN(3) == 0 {
					b.tx.commit()
				}
				enough := b.m.InsertCredits(1) + freeCredits
				b.tx.restart(b.r.IntN(enough + 1))
				b.tx.room = b.r.IntN(3)
				err := b.step()
				if errors.Is(err, cache.ErrCredits) {
					stops++
				} else if err != nil && !errors.Is(err, ErrTooBig) {
					t.Fatal(err)
				}
				if i%10 == 0 {
					b.tx.restart(plenty)
					b.check()
				}
				if e, ok := b.fresh(); ok && b.r.IntN(4) == 0 {
					b.again()
					if err := b.m.Insert(b.tx, e); err == nil {
						b.put(e)
					} else if !errors.Is(err, ErrTooBig) {
						t.Fatal(err)
					}
				}
			}
			if stops < 100 {
				t.Errorf("%d stops", stops)
			}
		})
	}
}

// Removing and converting with few credits gets on in every transaction.
func TestChanger_goesOn(t *testing.T) {
	b := newBench(t, 6, 20_000, 500)
	for round := range 100 {
		b.tx.restart(plenty)
		for range 200 {
			if e, ok := b.fresh(); ok && b.m.Insert(b.tx, e) == nil {
				b.put(e)
			}
		}
		from := b.r.IntN(50)
		transactions := 0
		for end := len(b.model.blocks); end > from; transactions++ {
			b.again()
			next, err := b.m.Remove(b.tx, disk.LogicalNum(from), uint64(end), func(e Extent) error {
				b.tx.use(2)
				for i := range e.Len {
					b.model.blocks[int(e.Logical)+int(i)] = cell{}
				}
				return nil
			})
			if err != nil || next >= uint64(end) {
				t.Fatalf("round %d: at %d of %d: %v", round, next, end, err)
			}
			end = int(next)
		}
		if transactions < 3 {
			t.Errorf("%d transactions", transactions)
		}
		b.tx.restart(plenty)
		b.check()
	}
}

// The nth node is not to be had, or the nth version.
func TestChanger_faults(t *testing.T) {
	for _, perNode := range []int{6, 8} {
		t.Run(fmt.Sprint(perNode), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, perNode, 20_000, 300)
			space, versions := 0, 0
			for i := range 15_000 {
				b.tx.space.failAt, b.tx.failAt = 0, 0
				if b.r.IntN(2) == 0 {
					b.tx.space.failAt = 1 + b.r.IntN(4)
				} else if b.r.IntN(2) == 0 {
					b.tx.failAt = 1 + b.r.IntN(6)
				}
				err := b.step()
				b.tx.space.failAt, b.tx.failAt = 0, 0
				switch {
				case errors.Is(err, syscall.ENOSPC):
					space++
				case errors.Is(err, syscall.EIO):
					versions++
				case err != nil && !errors.Is(err, ErrTooBig):
					t.Fatal(err)
				}
				if err != nil || i%8 == 0 {
					b.check()
				}
			}
			if space < 80 || versions < 200 {
				t.Errorf("%d and %d faults", space, versions)
			}
		})
	}
}

// A run that is not freed stays mapped.
func TestRemove_freeFails(t *testing.T) {
	b := newBench(t, 6, 20_000, 300)
	wrong := errors.New("wrong")
	for range 3000 {
		if e, ok := b.fresh(); ok && b.m.Insert(b.tx, e) == nil {
			b.put(e)
		}
		from := b.r.IntN(300)
		end := uint64(min(300, from+b.r.IntN(30)))
		left := b.r.IntN(3)
		next, err := b.m.Remove(b.tx, disk.LogicalNum(from), end, func(e Extent) error {
			if left == 0 {
				return wrong
			}
			left--
			for i := range e.Len {
				b.model.blocks[int(e.Logical)+int(i)] = cell{}
			}
			return nil
		})
		if err != nil && (!errors.Is(err, wrong) || next <= uint64(from) || b.model.blocks[next-1].bn == 0) {
			t.Fatalf("%d, %v", next, err)
		}
		b.check()
	}
}

func TestChanger_refuses(t *testing.T) {
	b := newBench(t, 6, 1000, 100)
	if err := b.m.Insert(b.tx, Extent{Logical: 10, Physical: 100, Len: 5}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		e    Extent
		want error
	}{
		{Extent{Logical: 10, Physical: 200, Len: 1}, fs.ErrExist},
		{Extent{Logical: 14, Physical: 200, Len: 3}, ErrMapped},
		{Extent{Logical: 0, Physical: 200, Len: 11}, ErrMapped},
		{Extent{Logical: 0, Physical: 200, Len: 0}, ErrInvalid},
		{Extent{Logical: 0, Physical: 200, Len: 1, Flags: FlagHole}, ErrInvalid},
		{Extent{Logical: disk.MaxLogical + 1, Physical: 200, Len: 1}, ErrTooBig},
		{Extent{Logical: disk.MaxLogical, Physical: 200, Len: 2}, syscall.EFBIG},
		{Extent{Logical: 0, Physical: 1, Len: 1}, disk.ErrCorrupt},
		{Extent{Logical: 0, Physical: 1 << 40, Len: 1}, disk.ErrCorrupt},
		{Extent{Logical: 0, Physical: 1<<40 - 1, Len: 2}, disk.ErrCorrupt},
		{Extent{Logical: 0, Physical: 1 << 48, Len: 2}, ErrTooBig},
	} {
		if err := b.m.Insert(b.tx, tt.e); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt.e, err)
		}
	}
	if _, err := b.m.SetUnwritten(b.tx, 12, 16, true); !errors.Is(err, ErrNotMapped) {
		t.Error(err)
	}
	if next, _, err := b.m.Shift(b.tx, 10, -11); !errors.Is(err, ErrInvalid) {
		t.Error(next, err)
	}
	if next, _, err := b.m.Shift(b.tx, 15, -1); !errors.Is(err, ErrMapped) {
		t.Error(next, err)
	}
	if next, _, err := b.m.Shift(b.tx, 12, int64(disk.MaxLogical)); !errors.Is(err, ErrTooBig) {
		t.Error(next, err)
	}
	if next, done, err := b.m.Shift(b.tx, 12, int64(disk.MaxLogical)-14); err != nil || !done {
		t.Error(next, err)
	}
	if e, err := b.m.Find(disk.MaxLogical); err != nil || e.Logical != disk.MaxLogical-2 || e.Physical != 102 || e.Len != 3 {
		t.Errorf("%+v, %v", e, err)
	}
	if next, err := b.m.Remove(b.tx, 0, 1<<40, nil); err != nil || next != 0 || !slices.Equal(b.m.Root(), EmptyRoot()) {
		t.Error(next, err)
	}
}

// Runs up to the limits of an entry are joined, longer ones are divided.
func TestInsert_limits(t *testing.T) {
	for _, flags := range []Flags{0, FlagUnwritten} {
		limit := lenLimit(flags != 0)
		b := newBench(t, 6, 1000, 100)
		insert := func(l, n uint32) {
			t.Helper()
			if err := b.m.Insert(b.tx, Extent{Logical: disk.LogicalNum(l), Physical: 5000 + disk.BlockNum(l), Len: n, Flags: flags}); err != nil {
				t.Fatal(err)
			}
		}
		lens := func() (out []uint32) {
			got, err := collect(b.m, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range got {
				if e.Flags != flags {
					t.Errorf("%+v", e)
				}
				out = append(out, e.Len)
			}
			return out
		}
		insert(0, limit-1)
		insert(limit-1, 1)
		insert(limit, 2)
		if got := lens(); !slices.Equal(got, []uint32{limit, 2}) {
			t.Error(got)
		}
		insert(200_000, 3*limit+1)
		if got := lens(); !slices.Equal(got, []uint32{limit, 2, limit, limit, limit, 1}) {
			t.Error(got)
		}
		// In the middle of a long one there is no room for a node.
		b.tx.space.free = b.tx.space.free[:1]
		before := slices.Clone(b.m.Root())
		count := len(b.tx.space.nodes)
		if err := b.m.Insert(b.tx, Extent{Logical: 500_000, Physical: 1 << 30, Len: 20 * limit, Flags: flags}); !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
		if got := lens(); !slices.Equal(got, []uint32{limit, 2, limit, limit, limit, 1}) || len(b.tx.space.nodes) != count {
			t.Error(got, before)
		}
	}
}

// A written run of the full length does not fit into one unwritten entry.
func TestSetUnwritten_longest(t *testing.T) {
	b := newBench(t, 6, 1000, 100)
	if err := b.m.Insert(b.tx, Extent{Logical: 7, Physical: 5000, Len: disk.MaxExtentLen}); err != nil {
		t.Fatal(err)
	}
	if next, err := b.m.SetUnwritten(b.tx, 7, 7+disk.MaxExtentLen, true); err != nil || next != 7+disk.MaxExtentLen {
		t.Fatal(next, err)
	}
	got, err := collect(b.m, 0)
	if want := []Extent{{7, 5000, disk.MaxUnwrittenLen, FlagUnwritten}, {7 + disk.MaxUnwrittenLen, 5000 + disk.MaxUnwrittenLen, 1, FlagUnwritten}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if next, err := b.m.SetUnwritten(b.tx, 7, 7+disk.MaxExtentLen, false); err != nil || next != 7+disk.MaxExtentLen {
		t.Fatal(next, err)
	}
	got, err = collect(b.m, 0)
	if want := []Extent{{7, 5000, disk.MaxExtentLen, 0}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Appending leaves full nodes behind.
func TestInsert_appendFillsNodes(t *testing.T) {
	b := newBench(t, 84, 3000, 10)
	const n = 84*84*2 + 1
	for i := range uint32(n) {
		if err := b.m.Insert(b.tx, Extent{Logical: disk.LogicalNum(i * 2), Physical: disk.BlockNum(5000 + i*3), Len: 1}); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			b.tx.commit()
		}
	}
	list, err := nodes(b.m)
	if err != nil {
		t.Fatal(err)
	}
	sparse := 0
	for _, x := range list {
		if x.Entries < x.Max {
			sparse++
		}
	}
	if len(list) != 2*84+1+3 || sparse > 2 {
		t.Errorf("%d nodes, %d of them not full", len(list), sparse)
	}
	for i := uint32(n); i > 0; i-- { // and to the front
		if err := b.m.Insert(b.tx, Extent{Logical: 1<<30 + disk.LogicalNum(i*2), Physical: disk.BlockNum(5000 + i*3), Len: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChanger_doesNotAllocate(t *testing.T) {
	b := newBench(t, 84, 3000, 10)
	b.tx.credits, b.tx.room = 1<<30, 1<<30
	for i := range uint32(2000) {
		if err := b.m.Insert(b.tx, Extent{Logical: disk.LogicalNum(i * 4), Physical: disk.BlockNum(5000 + i*8), Len: 2}); err != nil {
			t.Fatal(err)
		}
	}
	free := func(Extent) error { return nil }
	i := 0
	if n := testing.AllocsPerRun(2000, func() {
		l := disk.LogicalNum(i * 4)
		_, err1 := b.m.SetUnwritten(b.tx, l, uint64(l)+2, true)
		_, err2 := b.m.Remove(b.tx, l+1, uint64(l)+2, free)
		err3 := b.m.Insert(b.tx, Extent{Logical: l + 1, Physical: disk.BlockNum(5001 + i*8), Len: 1, Flags: FlagUnwritten})
		_, err4 := b.m.Find(l)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		i = (i + 1) % 1900
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
