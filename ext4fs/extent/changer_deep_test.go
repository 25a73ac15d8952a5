package extent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// A tree grows to the depth that the format allows and is full then; what it
// refuses leaves it as it was. At that depth all goes on to work, also with no
// more credits than are promised to be enough.
func TestChanger_deepest(t *testing.T) {
	const size = 200_000
	b := newBench(t, 6, 60_000, size)
	for _, i := range b.r.Perm(size / 2) {
		e := Extent{Logical: disk.LogicalNum(2 * i), Physical: b.next, Len: 1}
		b.next += 2
		if err := b.m.Insert(b.tx, e); err != nil {
			if !errors.Is(err, ErrTooBig) || !errors.Is(err, syscall.EFBIG) {
				t.Fatal(err)
			}
			break
		}
		b.put(e)
	}
	if d := b.m.rootNode().Depth(); d != disk.MaxExtentDepth {
		t.Fatalf("depth %d", d)
	}
	b.check()
	b.checkHome()
	refused := 0
	for range 3000 {
		b.again()
		err := b.step()
		if errors.Is(err, ErrTooBig) {
			refused++
		} else if err != nil && !errors.Is(err, cache.ErrCredits) {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	b.tx.restart(plenty)
	b.check()
	for end := uint64(size); end > 0; {
		b.again()
		next, err := b.m.Remove(b.tx, 0, end, nil)
		if err != nil || next >= end {
			t.Fatal(next, err)
		}
		end = next
	}
	if len(b.tx.space.nodes) != 0 || !slices.Equal(b.m.Root(), EmptyRoot()) {
		t.Errorf("%d nodes left", len(b.tx.space.nodes))
	}
}

// A shallow tree on a deep way down, as collapse leaves none: one entry per
// index.
func TestChanger_thin(t *testing.T) {
	for depth := 1; depth <= disk.MaxExtentDepth; depth++ {
		b := newBench(t, 6, 20_000, 400)
		b.load(gappy(5), 6, depth)
		b.check()
		for i := range 4000 {
			if err := b.step(); err != nil && !errors.Is(err, ErrTooBig) {
				t.Fatal(err)
			}
			if i%7 == 0 {
				b.check()
			}
		}
	}
}

// load opens a tree that was built on the device.
func (b *bench) load(leaves []disk.ExtentLeaf, perNode, depth int) {
	b.t.Helper()
	b.v.next = 2
	root := b.v.build(leaves, perNode, depth)
	for bn := disk.BlockNum(2); bn < b.v.next; bn++ {
		b.tx.space.nodes[bn] = true
	}
	b.tx.space.free = slices.DeleteFunc(b.tx.space.free, func(bn disk.BlockNum) bool { return bn < b.v.next })
	for _, l := range leaves {
		b.put(fromLeaf(l))
	}
	b.next = 2_000_000
	b.reopen(root)
}

// What old kernels and hostile images hold and is still to be understood:
// index keys below their child's first, leaves without entries, nodes that
// claim less room than they have.
func TestChanger_oldTrees(t *testing.T) {
	for seed := range uint64(25) {
		b := newBench(t, 7, 20_000, 600)
		b.old = true
		r := rand.New(rand.NewPCG(seed, 9))
		b.r = r
		leaves := gappy(200)
		perNode := 3 + r.IntN(4)
		b.load(leaves, perNode, 0)
		for bn := disk.BlockNum(2); bn < b.v.next; bn++ {
			n := b.v.block(bn)
			switch n.Depth() {
			case 0:
				if r.IntN(6) == 0 {
					for i := range n.Entries() {
						b.model.blocks[n.Key(i)] = cell{}
					}
					splice(n, 0, n.Entries(), nil)
				}
			default:
				for i := 1; i < n.Entries(); i++ {
					if r.IntN(3) == 0 {
						n.SetKey(i, n.Key(i)-1)
					}
				}
			}
			if r.IntN(2) == 0 {
				n.SetMax(max(n.Entries(), 1+r.IntN(7)))
			}
			b.v.reseal(bn)
		}
		b.tx = restarted(b.tx)
		b.reopen(b.m.Root())
		for i := range 600 {
			if r.IntN(4) == 0 {
				b.tx.space.failAt = 1 + r.IntN(3)
			}
			err := b.step()
			b.tx.space.failAt = 0
			if err != nil && !errors.Is(err, ErrTooBig) && !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if i%7 == 0 {
				b.check()
			}
		}
		b.checkHome()
		if err := b.remove(0, 600); err != nil {
			t.Fatal(err)
		}
		if len(b.tx.space.nodes) != 0 || !slices.Equal(b.m.Root(), EmptyRoot()) {
			t.Errorf("seed %d: %d nodes left", seed, len(b.tx.space.nodes))
		}
	}
}

// restarted is the transaction with a cache that knows nothing.
func restarted(tx *fakeTx) *fakeTx {
	tx.c = tx.v.cache()
	return tx
}

// Nodes that cannot be given back are told, and the tree is good.
func TestRemove_nodesAreLost(t *testing.T) {
	b := newBench(t, 6, 20_000, 400)
	for range 2000 {
		if e, ok := b.fresh(); ok && b.m.Insert(b.tx, e) == nil {
			b.put(e)
		}
	}
	b.tx.space.failFree = true
	lost := 0
	for end := 400; end > 0; {
		next, err := b.m.Remove(b.tx, 0, uint64(end), nil)
		for i := int(next); i < end; i++ {
			b.model.blocks[i] = cell{}
		}
		var le *LostNodeError
		if errors.As(err, &le) && errors.Is(err, syscall.EIO) && !OutOfCredits(errors.Join(err, cache.ErrCredits)) {
			lost++
		} else if err != nil {
			t.Fatal(err)
		}
		got, err := collect(b.m, 0)
		if err != nil || !slices.Equal(joinRuns(got), b.model.runs()) {
			t.Fatal(err)
		}
		end = int(next)
	}
	if lost == 0 {
		t.Error("nothing was told")
	}
}

// A leaf that must be read anew between its check and its change is checked.
func TestChanger_damagedNodeIsNotChanged(t *testing.T) {
	b := newBench(t, 6, 100, 400)
	b.load(gappy(30), 6, 0)
	if _, err := b.m.Find(1); err != nil {
		t.Fatal(err)
	}
	b.v.block(2)[20] ^= 1
	b.tx = restarted(b.tx)
	b.reopen(b.m.Root())
	before := fmt.Sprintf("%x", b.v.bytes)
	e := Extent{Logical: 2, Physical: 77, Len: 1}
	var ce *disk.ChecksumError
	if err := b.m.Insert(b.tx, e); !errors.As(err, &ce) || ce.Block != 2 {
		t.Error(err)
	}
	if _, err := b.m.Remove(b.tx, 0, 4, nil); !errors.As(err, &ce) {
		t.Error(err)
	}
	if _, err := b.m.SetUnwritten(b.tx, 1, 2, true); !errors.As(err, &ce) {
		t.Error(err)
	}
	if _, _, err := b.m.Shift(b.tx, 1, -1); !errors.As(err, &ce) {
		t.Error(err)
	}
	b.tx.commit()
	if after := fmt.Sprintf("%x", b.v.bytes); after != before {
		t.Error("something was written")
	}
}

// InsertCredits bounds what runs take, wherever they go.
func TestInsertCredits(t *testing.T) {
	for _, perNode := range []int{6, 20, 84} {
		b := newBench(t, perNode, 60_000, 20_000)
		for round := range 1500 {
			n := 1 + b.r.IntN(4)
			if round%20 == 0 {
				n = 1 + b.r.IntN(100)
			}
			most := b.m.InsertCredits(n)
			b.tx.restart(plenty)
			for done, from := 0, b.r.IntN(19_000); done < n; {
				e, ok := b.fresh()
				if round%3 == 0 { // close together
					e = Extent{Logical: disk.LogicalNum(from + 2*done), Physical: b.next, Len: 1}
					b.next += 2
					ok = b.model.blocks[e.Logical].bn == 0
				}
				if done++; !ok {
					continue
				}
				if err := b.m.Insert(b.tx, e); errors.Is(err, ErrTooBig) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				b.put(e)
			}
			if used := plenty - b.tx.credits; used > most {
				t.Fatalf("%d runs took %d credits, not %d, at depth %d", n, used, most, b.m.rootNode().Depth())
			}
		}
		b.tx.restart(plenty)
		b.check()
	}
}
