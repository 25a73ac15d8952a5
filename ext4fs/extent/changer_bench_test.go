package extent

import (
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// benchChanger is an empty tree of nodes of 4 KiB with a transaction that
// commits now and then.
func benchChanger(b *testing.B) (Changer, *fakeTx) {
	v := newVolume(b, 4096, 3000)
	tx := newFakeTx(b, v)
	tx.credits, tx.room = 1<<30, 1<<30
	m, err := Open(tx.c, v.owner(), EmptyRoot(), tx.space)
	if err != nil {
		b.Fatal(err)
	}
	return m, tx
}

const benchRuns = 100_000

// fillTree inserts runs in the given order, with holes between them.
func fillTree(b *testing.B, order func(i int) int) (Changer, *fakeTx) {
	m, tx := benchChanger(b)
	for i := range benchRuns {
		k := order(i)
		e := Extent{Logical: disk.LogicalNum(k * 4), Physical: disk.BlockNum(5000 + k*8), Len: 3}
		if err := m.Insert(tx, e); err != nil {
			b.Fatal(err)
		}
		if i%5000 == 0 {
			tx.commit()
		}
	}
	return m, tx
}

func perRun(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRuns, "ns/run")
}

func BenchmarkInsert_append(b *testing.B) {
	for b.Loop() {
		fillTree(b, func(i int) int { return i })
	}
	perRun(b)
}

func BenchmarkInsert_random(b *testing.B) {
	order := rand.New(rand.NewPCG(1, 2)).Perm(benchRuns)
	for b.Loop() {
		fillTree(b, func(i int) int { return order[i] })
	}
	perRun(b)
}

// Blocks that go on where the last run ends.
func BenchmarkInsert_extendLast(b *testing.B) {
	m, tx := fillTree(b, func(i int) int { return i })
	l := disk.LogicalNum(benchRuns * 4)
	for b.Loop() {
		if err := m.Insert(tx, Extent{Logical: l, Physical: disk.BlockNum(l) + 1<<33, Len: 1}); err != nil {
			b.Fatal(err)
		}
		l++
	}
}

func BenchmarkRemove_all(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		m, tx := fillTree(b, func(i int) int { return i })
		b.StartTimer()
		if next, err := m.Remove(tx, 0, 1<<40, func(Extent) error { return nil }); err != nil || next != 0 {
			b.Fatal(next, err)
		}
	}
	perRun(b)
}

func BenchmarkSetUnwritten_random(b *testing.B) {
	m, tx := fillTree(b, func(i int) int { return i })
	i, unwritten := 0, true
	for b.Loop() {
		l := disk.LogicalNum(i * 4)
		if _, err := m.SetUnwritten(tx, l, uint64(l)+3, unwritten); err != nil {
			b.Fatal(err)
		}
		if i = (i + 7919) % benchRuns; i == 0 {
			unwritten = !unwritten
		}
	}
}

func BenchmarkShift(b *testing.B) {
	m, tx := fillTree(b, func(i int) int { return i })
	for b.Loop() {
		if _, done, err := m.Shift(tx, 0, 8); err != nil || !done {
			b.Fatal(err)
		}
		if _, done, err := m.Shift(tx, 8, -8); err != nil || !done {
			b.Fatal(err)
		}
	}
	perRun(b)
}

func BenchmarkFind_changed(b *testing.B) {
	m, _ := fillTree(b, func(i int) int { return i })
	b.ReportAllocs()
	l := disk.LogicalNum(0)
	for b.Loop() {
		if _, err := m.Find(l); err != nil {
			b.Fatal(err)
		}
		l = (l + 7919) % (4 * benchRuns)
	}
}
