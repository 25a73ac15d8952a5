package journal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

var modelSeed = flag.Uint64("model-seed", 1, "seed of the journal model tests")

// use is what a block is good for after some transaction.
type use uint8

const (
	useMeta use = iota // holds the value
	useData            // holds the value, which did not go through the journal
	useFree            // may hold anything
)

// fact is what a block is from transaction id on.
type fact struct {
	id  uint32
	use use
	v   uint64
}

// model knows what each block must hold after each transaction.
type model struct {
	w         *world
	rec       *testimages.Recorder
	committed atomic.Uint32
	values    atomic.Uint64
	blocks    []modelBlock
	mu        sync.Mutex // guards the content of the last block
}

type modelBlock struct {
	mu    sync.Mutex // guards the content of the block, too
	facts []fact     // oldest first
}

func (b *modelBlock) now() fact {
	if len(b.facts) == 0 {
		return fact{}
	}
	return b.facts[len(b.facts)-1]
}

// newModel is a model on a recorded world.
func newModel(t testing.TB, k kind, blocks int) *model {
	m := &model{blocks: make([]modelBlock, blocks)}
	m.w = newWorld(t, k, 1024, func(d device.Writer) device.Writer {
		rec, err := testimages.NewRecorder(d)
		if err != nil {
			t.Fatal(err)
		}
		m.rec = rec
		return rec
	})
	m.w.cfg.OnCommit = func(id uint32) { m.committed.Store(id) }
	m.w.start()
	return m
}

// work makes n random changes.
func (m *model) work(seed uint64, n int) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	for range n {
		if err := m.step(rng); err != nil {
			return err
		}
	}
	return nil
}

func (m *model) step(rng *rand.Rand) error {
	ctx := context.Background()
	switch rng.IntN(60) {
	case 0:
		return m.w.j.Checkpoint(ctx)
	case 1:
		m.w.cache.Shrink(1 << 40)
	case 2:
		return m.batch(rng)
	}
	id, err := m.handle(rng)
	if err != nil || rng.IntN(8) != 0 || id == 0 {
		return err
	}
	err = m.w.j.Commit(ctx, id)
	if rng.IntN(4) == 0 {
		err = errors.Join(err, m.w.j.Sync(ctx))
	}
	if err == nil {
		m.rec.Mark(id)
	}
	return err
}

// batch makes a few changes that must end up in one transaction.
func (m *model) batch(rng *rand.Rand) error {
	defer m.w.hold()()
	var first uint32
	for range 3 {
		id, err := m.handle(rng)
		switch {
		case errors.Is(err, ErrHeld):
			return nil
		case err != nil:
			return err
		case id == 0: // changed nothing
			continue
		case first != 0 && id != first:
			return fmt.Errorf("transaction %d in a batch of %d", id, first)
		}
		first = id
	}
	return nil
}

// handle changes a few blocks in one handle: all to the same value.
func (m *model) handle(rng *rand.Rand) (uint32, error) {
	var picks []int
	for range 1 + rng.IntN(6) {
		if n := rng.IntN(len(m.blocks)); !slices.Contains(picks, n) {
			picks = append(picks, n)
		}
	}
	slices.Sort(picks)
	h, err := m.w.j.Begin(context.Background(), len(picks)+1)
	if err != nil {
		return 0, err
	}
	if err := m.changeAll(rng, h, picks); err != nil {
		return 0, errors.Join(err, h.End())
	}
	id := h.ID()
	if !m.wrote(id, picks) {
		id = 0 // nothing to wait for
	}
	if rng.IntN(10) == 0 {
		if err := h.Restart(3); err != nil {
			return 0, err
		}
	}
	return id, h.End()
}

// wrote reports whether one of the blocks was changed by transaction id.
func (m *model) wrote(id uint32, picks []int) bool {
	for _, n := range picks {
		b := &m.blocks[n]
		b.mu.Lock()
		now := b.now()
		b.mu.Unlock()
		if now.id == id {
			return true
		}
	}
	return false
}

func (m *model) changeAll(rng *rand.Rand, h *Handle, picks []int) error {
	for _, n := range picks {
		m.blocks[n].mu.Lock()
		defer m.blocks[n].mu.Unlock()
	}
	v := m.values.Add(1)
	if err := m.mark(h, v); err != nil {
		return err
	}
	for _, n := range picks {
		if err := m.change(rng, h, disk.BlockNum(n), v); err != nil {
			return err
		}
	}
	return nil
}

// mark stands for the bitmap: every handle changes it.
func (m *model) mark(h *Handle, v uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := h.Write(worldBlocks-1, testSealer{})
	if err == nil {
		put(b.Data(), v)
	}
	return err
}

func (m *model) change(rng *rand.Rand, h *Handle, bn disk.BlockNum, v uint64) error {
	b := &m.blocks[bn]
	now := b.now()
	put := func(u use) { b.facts = append(b.facts, fact{h.ID(), u, v}) }
	switch {
	case now.use == useFree && disk.SequenceBefore(m.committed.Load(), now.id):
		return nil // not to be reused yet
	case now.use == useFree && rng.IntN(2) == 0:
		// Data goes straight to the device, before the handle ends.
		p := make([]byte, m.w.bs)
		m.content(p, v)
		if _, err := m.w.dev.WriteAt(p, int64(bn)*int64(m.w.bs)); err != nil {
			return err
		}
		put(useData)
	case now.use == useFree:
		buf, err := h.Fresh(bn, testSealer{})
		if err != nil {
			return err
		}
		m.content(buf.Data(), v)
		put(useMeta)
	case now.use == useData:
		put(useFree)
	case rng.IntN(5) == 0:
		if rng.IntN(2) == 0 {
			if _, err := h.Write(bn, testSealer{}); err != nil {
				return err
			}
		}
		h.Forget(bn)
		put(useFree)
	default:
		if err := m.modify(rng, h, bn, v, now.v); err != nil {
			return err
		}
		put(useMeta)
	}
	return nil
}

// modify is a change of metadata, which must still hold the value old.
func (m *model) modify(rng *rand.Rand, h *Handle, bn disk.BlockNum, v, old uint64) error {
	var last *cache.Buffer
	for _, get := range []func() (*cache.Buffer, error){
		func() (*cache.Buffer, error) { return m.w.cache.Get(bn) },
		func() (*cache.Buffer, error) { return h.Write(bn, testSealer{}) },
	} {
		buf, err := get()
		if err != nil {
			return err
		}
		if got := valueOf(buf.Data()); got != old {
			return fmt.Errorf("block %d holds %d, want %d", bn, got, old)
		}
		if rng.IntN(30) == 0 {
			buf.SetPriority(cache.Priority(rng.IntN(3)))
		}
		last = buf
	}
	m.content(last.Data(), v)
	return nil
}

func (m *model) content(p []byte, v uint64) {
	put(p, v)
	testSealer{}.Seal(0, p, nil)
}

// check compares a device with the model after transaction id.
func (m *model) check(d device.Device, id uint32) error {
	p := make([]byte, m.w.bs)
	for n := range m.blocks {
		f := fact{}
		for _, x := range m.blocks[n].facts {
			if disk.SequenceBefore(id, x.id) {
				break
			}
			f = x
		}
		if f.use == useFree {
			continue
		}
		if _, err := d.ReadAt(p, int64(n)*int64(m.w.bs)); err != nil {
			return err
		}
		if got, err := value(p); err != nil || got != f.v {
			return fmt.Errorf("after transaction %d block %d (use %d) holds %d (%v), want %d", id, n, f.use, got, err, f.v)
		}
	}
	return nil
}

// crashed judges a crash state: recovery must lead to the state after some
// transaction, and none before the last that was acknowledged.
func (m *model) crashed(s *testimages.CrashState) error {
	log, rec, id, err := m.load(s.Dev)
	if err != nil {
		return err
	}
	for _, mark := range s.Marks {
		if acked := mark.(uint32); disk.SequenceBefore(id, acked) {
			return fmt.Errorf("recovery ends with transaction %d, but %d was durable", id, acked)
		}
	}
	if err := m.check(rec.Overlay(s.Dev), id); err != nil {
		return err
	}
	if s.ID.Pos%16 != 0 {
		return nil
	}
	return m.recovered(s.Dev, log, rec, id)
}

func (m *model) load(d device.Writer) (*WriteLog, *Recovery, uint32, error) {
	log, err := NewInternalWriter(d, m.w.bs, m.w.runs)
	if err != nil {
		return nil, nil, 0, err
	}
	rec, err := Load(context.Background(), log, Options{BlockSize: m.w.bs, FSBlocks: m.w.blocks, NeedsRecovery: true})
	if err != nil {
		return nil, nil, 0, err
	}
	if rec.Needed {
		return log, rec, rec.EndID - 1, nil
	}
	return log, rec, rec.Superblock.Sequence - 1, nil
}

// recovered recovers the device, with crashes, and goes on there.
func (m *model) recovered(d *device.RAM, log *WriteLog, rec *Recovery, id uint32) error {
	r, err := testimages.NewRecorder(d)
	if err != nil {
		return err
	}
	log.w, log.dev = r, r
	ctx := context.Background()
	if _, err := Recover(ctx, r, rec, log); err != nil {
		return err
	}
	if err := m.check(r, id); err != nil {
		return fmt.Errorf("recovered: %w", err)
	}
	o := testimages.CrashOptions{Subsets: 2, Workers: 1, Seed: uint64(id)}
	_, err = testimages.CrashStates(ctx, r.Log(), o, func(s *testimages.CrashState) error {
		_, rec, _, err := m.load(s.Dev)
		if err != nil {
			return err
		}
		return m.check(rec.Overlay(s.Dev), id)
	})
	if err != nil {
		return fmt.Errorf("crash in recovery: %w", err)
	}
	return m.goOn(d, log)
}

// goOn writes on a recovered device.
func (m *model) goOn(d *device.RAM, log *WriteLog) error {
	log.w, log.dev = d, d
	c := m.w.config()
	c.OnCommit = nil
	c.Cache, c.Device, c.Log = cache.New(d, m.w.bs, m.w.blocks, cache.Options{}), d, log
	j, err := Start(c)
	if err != nil {
		return err
	}
	ctx := context.Background()
	defer j.Close(ctx)
	h, err := j.Begin(ctx, 1)
	if err != nil {
		return err
	}
	b, err := h.Fresh(5, testSealer{})
	if err != nil {
		return err
	}
	const v = 1 << 40
	m.content(b.Data(), v)
	if err := errors.Join(h.End(), j.Sync(ctx)); err != nil {
		return err
	}
	_, rec, _, err := m.load(d)
	if err != nil {
		return err
	}
	p := make([]byte, m.w.bs)
	if _, err := rec.Overlay(d).ReadAt(p, 5*int64(m.w.bs)); err != nil || valueOf(p) != v || len(rec.Transactions) != 1 {
		return fmt.Errorf("first transaction after recovery: %d transactions, value %d, %v", len(rec.Transactions), valueOf(p), err)
	}
	return j.Close(ctx)
}

// run lets goroutines work, crashes at every point and judges.
func (m *model) run(t *testing.T, goroutines, steps int, o testimages.CrashOptions) {
	t.Helper()
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() { errs[i] = m.work(*modelSeed*1000+uint64(i), steps) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if *modelSeed%2 == 0 {
		if err := m.w.j.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	st := m.w.j.Stats()
	m.w.j.Abort(nil)
	o.Seed = *modelSeed
	n, err := testimages.CrashStates(context.Background(), m.rec.Log(), o, m.crashed)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d crash states of %d commits, %d checkpoints, %d revokes", n, st.Commits, st.Checkpoints, st.Revokes)
}

func TestModel_crashes(t *testing.T) {
	steps := 250
	if testing.Short() {
		steps = 40
	}
	forKinds(t, func(t *testing.T, k kind) {
		m := newModel(t, k, 60)
		m.run(t, 4, steps, testimages.CrashOptions{TornTails: 1, Subsets: 3})
	})
}

// Few goroutines and few blocks: everything is reused at once.
func TestModel_reuse(t *testing.T) {
	steps := 1500
	if testing.Short() {
		steps = 200
	}
	m := newModel(t, kinds[6], 12)
	m.run(t, 2, steps, testimages.CrashOptions{Subsets: 2})
}
