package indirect

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// fakeTx is a transaction as the journal makes them: private versions that are
// written at the commit. A handle must not use more credits than it has, and
// every block it touches costs one.
type fakeTx struct {
	t       testing.TB
	v       *volume
	c       *cache.Cache
	id      uint32
	open    map[disk.BlockNum]*cache.Buffer // versions of the running transaction
	touched map[disk.BlockNum]bool          // by this handle
	credits int
	room    int                    // what Extend may still give
	failAt  int                    // this call of Write or Fresh from now on fails; 0: none
	mayBe   map[disk.BlockNum]bool // blocks that may be written though not given out

	space *fakeSpace
}

const plenty = 1 << 30

func newFakeTx(t testing.TB, v *volume) *fakeTx {
	blocks := uint64(len(v.bytes) / v.blockSize)
	tx := &fakeTx{
		t: t, v: v, id: 1, credits: plenty, open: map[disk.BlockNum]*cache.Buffer{}, touched: map[disk.BlockNum]bool{},
		c:     cache.New(device.NewMemory(v.bytes), v.blockSize, blocks, cache.Options{}),
		space: &fakeSpace{nodes: map[disk.BlockNum]bool{}},
	}
	for bn := disk.BlockNum(blocks - 1); bn > 1; bn-- {
		tx.space.free = append(tx.space.free, bn)
	}
	return tx
}

func (x *fakeTx) ID() uint32 { return x.id }

func (x *fakeTx) Credits() int { return x.credits }

func (x *fakeTx) Extend(n int) error {
	if n > x.room {
		return cache.ErrCredits
	}
	x.room -= n
	x.credits += n
	return nil
}

func (x *fakeTx) use(n int) {
	if x.credits -= n; x.credits < 0 {
		x.t.Fatal("more credits used than there are")
	}
}

func (x *fakeTx) touch(bn disk.BlockNum) error {
	if x.failAt > 0 {
		if x.failAt--; x.failAt == 0 {
			return syscall.EIO
		}
	}
	if !x.touched[bn] {
		x.touched[bn] = true
		x.use(1)
	}
	return nil
}

func (x *fakeTx) Write(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	if s != nil || !x.space.nodes[bn] && !x.mayBe[bn] {
		x.t.Fatalf("write to block %d, which has no pointers, sealer %v", bn, s)
	}
	if err := x.touch(bn); err != nil {
		return nil, err
	}
	if b := x.open[bn]; b != nil {
		return b, nil
	}
	old, err := x.c.Get(bn)
	if err != nil {
		return nil, err
	}
	return x.install(bn, old)
}

func (x *fakeTx) Fresh(bn disk.BlockNum, _ cache.Sealer) (*cache.Buffer, error) {
	if err := x.touch(bn); err != nil {
		return nil, err
	}
	return x.install(bn, nil)
}

func (x *fakeTx) install(bn disk.BlockNum, old *cache.Buffer) (*cache.Buffer, error) {
	b, err := x.c.NewVersion(bn, old, uint64(x.id))
	if err != nil {
		return nil, err
	}
	x.c.Install(b)
	x.open[bn] = b
	return b, nil
}

func (x *fakeTx) Forget(bn disk.BlockNum) {
	delete(x.open, bn)
	x.c.Drop(bn)
}

// restart begins a new handle of the same transaction.
func (x *fakeTx) restart(credits int) {
	clear(x.touched)
	x.credits, x.room = credits, 0
}

// commit writes everything home and destroys the versions that were changed:
// whoever still reads them is found out.
func (x *fakeTx) commit() {
	for bn, b := range x.open {
		frozen, err := x.c.NewVersion(bn, b, 0)
		if err != nil {
			x.t.Fatal(err)
		}
		copy(x.v.block(uint32(bn)), frozen.Data())
		x.c.Install(frozen)
		x.c.Unpin(frozen)
		for i := range b.Data() {
			b.Data()[i] = 0xaa
		}
	}
	clear(x.open)
	x.space.free = append(x.space.free, x.space.freed...)
	x.space.freed = x.space.freed[:0]
	x.id++
}

// fakeSpace gives pointer blocks from a list.
type fakeSpace struct {
	free, freed []disk.BlockNum
	nodes       map[disk.BlockNum]bool // given out
	failAt      int                    // this call of AllocNode from now on fails; 0: none
	give        disk.BlockNum          // what AllocNode gives next, if not 0
}

func (s *fakeSpace) AllocNode(tx cache.Tx, goal disk.BlockNum) (disk.BlockNum, error) {
	tx.(*fakeTx).use(nodeCredits)
	if s.failAt > 0 {
		if s.failAt--; s.failAt == 0 {
			return 0, syscall.ENOSPC
		}
	}
	if bn := s.give; bn != 0 {
		s.give = 0
		s.nodes[bn] = true
		return bn, nil
	}
	if len(s.free) == 0 {
		return 0, syscall.ENOSPC
	}
	bn := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.nodes[bn] = true
	return bn, nil
}

func (s *fakeSpace) FreeNode(tx cache.Tx, bn disk.BlockNum) error {
	tx.(*fakeTx).use(nodeCredits)
	if !s.nodes[bn] {
		return fmt.Errorf("block %d has no pointers", bn)
	}
	delete(s.nodes, bn)
	tx.Forget(bn)
	s.freed = append(s.freed, bn)
	return nil
}
