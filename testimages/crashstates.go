package testimages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sort"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// CrashOptions choose the crash states of a log. The zero value is every
// prefix, and nothing else.
type CrashOptions struct {
	// NoPrefixes leaves out the states in which everything before the crash
	// arrived and nothing after.
	NoPrefixes bool
	// TornTails is how many times the write at which a prefix ends arrives
	// in part.
	TornTails int
	// Subsets is how many random subsets are made for each interval between
	// two flushes: some of its writes arrived, some did not, some in part.
	// Intervals of few writes get fewer.
	Subsets int
	// Rate is the share of those states that are made at all, at random;
	// 0 is all of them.
	Rate float64
	// Seed decides about everything random.
	Seed uint64
	// From is the first event before which the crash may be: what comes
	// earlier was not of interest.
	From int
	// Max ends after that many states; 0 does not.
	Max int
	// Workers is how many states are looked at in parallel; 0 is the number
	// of processors.
	Workers int
}

// CrashID names a crash state of a log, for [WriteLog.State].
type CrashID struct {
	Pos int // the events before it happened
	// Subset is not 0 if what was not flushed arrived only in part; it
	// decides what.
	Subset uint64
	// Torn is not 0 if the event Pos arrived in part, on top of all before.
	Torn uint64
}

// String is the name as Go source.
func (id CrashID) String() string {
	switch {
	case id.Subset != 0:
		return fmt.Sprintf("{Pos: %d, Subset: %#x}", id.Pos, id.Subset)
	case id.Torn != 0:
		return fmt.Sprintf("{Pos: %d, Torn: %#x}", id.Pos, id.Torn)
	}
	return fmt.Sprintf("{Pos: %d}", id.Pos)
}

// CrashState is the disk as a power cut left it.
type CrashState struct {
	ID CrashID
	// Dev belongs to whom the state was given to, who may write to it.
	Dev *device.RAM
	// Marks are those that were set before the crash; read only.
	Marks []any
	// Pending is how many writes were not flushed; of them Kept arrived,
	// and Torn in part.
	Pending, Kept, Torn int
	// Worker tells who looks at it, from 0 on: one state at a time each.
	Worker int
}

// String describes the state.
func (s *CrashState) String() string {
	return fmt.Sprintf("crash state %s: of %d writes since the last flush %d arrived, %d in part; %d marks",
		s.ID, s.Pending, s.Kept, s.Torn, len(s.Marks))
}

// CrashStates calls f with states in which a crash can leave the device of the
// log, and returns how many there were. What a flush covered that had returned
// is there; of what came later anything may be missing, or there in part, by
// sectors of 512 bytes. States come in the order of the log, made one from the
// other: a state costs as much as what is written to it.
//
// f runs in several goroutines (see CrashState.Worker). Its first error ends
// it, and is returned with the state's description; so does ctx.
func CrashStates(ctx context.Context, l *WriteLog, o CrashOptions, f func(s *CrashState) error) (int, error) {
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	states := make(chan *CrashState)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for s := range states {
				s.Worker = i
				if err := f(s); err != nil {
					cancel(fmt.Errorf("%v: %w", s, err))
				}
			}
		})
	}
	sw := &sweep{log: l, o: o, full: l.Base.Clone(), durable: l.Base.Clone(), changes: make([]int, len(l.Events)+1)}
	for i := range l.Events {
		sw.changes[i+1] = sw.changes[i]
		if l.Events[i].changes() {
			sw.changes[i+1]++
		}
	}
	sw.emit = func(s *CrashState) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case states <- s:
		}
		if sw.made++; sw.made == o.Max {
			return errEnough
		}
		return nil
	}
	err := sw.run()
	close(states)
	wg.Wait()
	if err == nil || errors.Is(err, errEnough) {
		err = context.Cause(ctx) // of the last states
	}
	return sw.made, err
}

// errEnough ends a sweep that made as many states as were asked for.
var errEnough = errors.New("enough states")

// sweep goes through a log once.
type sweep struct {
	log  *WriteLog
	o    CrashOptions
	emit func(*CrashState) error
	made int

	full    *device.RAM // after all events so far
	durable *device.RAM // after those that were flushed
	covered int         // events in durable
	begin   int         // first event after the last flush
	marks   []any
	marked  []int // the event of each mark
	changes []int // how many events before that one change something
}

// marksAt are those before the event pos.
func (w *sweep) marksAt(pos int) []any {
	n := sort.SearchInts(w.marked, pos)
	return w.marks[:n:n]
}

// pending counts the changes from covered on, before pos.
func (w *sweep) pending(pos int) int { return w.changes[pos] - w.changes[w.covered] }

func (w *sweep) run() error {
	events := w.log.Events
	for pos := range events {
		e := &events[pos]
		switch e.Kind {
		case EventMark:
			w.marks, w.marked = append(w.marks, e.Mark), append(w.marked, pos)
		case EventSync:
			if err := w.subsets(pos); err != nil {
				return err
			}
			if err := w.flush(pos); err != nil {
				return err
			}
		default:
			if err := w.before(pos, e); err != nil {
				return err
			}
			if err := e.apply(w.full); err != nil {
				return fmt.Errorf("event %d: %w", pos, err)
			}
		}
	}
	if err := w.subsets(len(events)); err != nil {
		return err
	}
	return w.prefix(CrashID{Pos: len(events)}, nil)
}

// flush makes durable what the flush at pos covers.
func (w *sweep) flush(pos int) error {
	covers := w.log.Events[pos].Covers
	for ; w.covered < covers; w.covered++ {
		if err := w.log.Events[w.covered].apply(w.durable); err != nil {
			return fmt.Errorf("event %d: %w", w.covered, err)
		}
	}
	w.begin = pos + 1
	return nil
}

// before makes the states in which the change at pos has not arrived, or not
// as a whole.
func (w *sweep) before(pos int, e *Event) error {
	if err := w.prefix(CrashID{Pos: pos}, nil); err != nil {
		return err
	}
	if e.N <= sectorSize && e.Off/sectorSize == (e.Off+e.N-1)/sectorSize {
		return nil
	}
	for k := range w.o.TornTails {
		id := CrashID{Pos: pos, Torn: mix(w.o.Seed, uint64(pos), uint64(k), 1)}
		if err := w.prefix(id, e); err != nil {
			return err
		}
	}
	return nil
}

// prefix makes the state after all events so far and, if there is one, a part
// of the next.
func (w *sweep) prefix(id CrashID, torn *Event) error {
	if id.Pos < w.o.From || torn == nil && w.o.NoPrefixes || !w.chosen(id) {
		return nil
	}
	s := &CrashState{ID: id, Dev: w.full.Clone(), Marks: w.marksAt(id.Pos), Pending: w.pending(id.Pos)}
	s.Kept = s.Pending
	if torn != nil {
		s.Pending++
		s.Torn++
		if err := torn.applyTorn(s.Dev, rand.New(rand.NewPCG(id.Torn, 1))); err != nil {
			return err
		}
	}
	return w.emit(s)
}

// subsets makes the random states of the interval that ends before pos.
func (w *sweep) subsets(pos int) error {
	if w.o.Subsets == 0 || pos < w.o.From {
		return nil
	}
	var crash []int // where there is something new to lose
	if w.pending(w.begin) > 0 && w.begin >= w.o.From {
		crash = append(crash, w.begin) // it ran beside the last flush
	}
	for i := max(w.begin, w.o.From-1); i < pos; i++ {
		if w.log.Events[i].changes() {
			crash = append(crash, i+1)
		}
	}
	if len(crash) == 0 {
		return nil
	}
	// A single write has three outcomes, two have nine, ...
	n := w.o.Subsets
	if p := w.pending(pos); p < 16 {
		n = min(n, 1<<(p+p/2+2))
	}
	for k := range n {
		rng := rand.New(rand.NewPCG(mix(w.o.Seed, uint64(pos), uint64(k), 2), 2))
		at := crash[len(crash)-1]
		if rng.IntN(2) == 0 { // at the end most is at stake
			at = crash[rng.IntN(len(crash))]
		}
		// Marks that follow bind this state too.
		for at < pos && !w.log.Events[at].changes() {
			at++
		}
		id := CrashID{Pos: at, Subset: rng.Uint64() | 1}
		if !w.chosen(id) {
			continue
		}
		s := &CrashState{ID: id, Dev: w.durable.Clone(), Marks: w.marksAt(at)}
		if err := w.log.subset(s, w.covered); err != nil {
			return err
		}
		if err := w.emit(s); err != nil {
			return err
		}
	}
	return nil
}

// chosen throws the dice for a state.
func (w *sweep) chosen(id CrashID) bool {
	if w.o.Rate <= 0 || w.o.Rate >= 1 {
		return true
	}
	x := mix(w.o.Seed, uint64(id.Pos), id.Subset^id.Torn, 3)
	return float64(x>>11)/(1<<53) < w.o.Rate
}

// pending counts the changes among the events from lo to before hi.
func (l *WriteLog) pending(lo, hi int) int {
	n := 0
	for i := lo; i < hi; i++ {
		if l.Events[i].changes() {
			n++
		}
	}
	return n
}

// subset does some of the events from covered on to the state.
func (l *WriteLog) subset(s *CrashState, covered int) error {
	rng := rand.New(rand.NewPCG(s.ID.Subset, 3))
	keep := []float64{0.1, 0.5, 0.5, 0.9, 0.97}[rng.IntN(5)]
	torn := []float64{0, 0.05, 0.3}[rng.IntN(3)]
	for i := covered; i < s.ID.Pos; i++ {
		e := &l.Events[i]
		if !e.changes() {
			continue
		}
		s.Pending++
		var err error
		switch x, y := rng.Float64(), rng.Float64(); {
		case y < torn:
			s.Torn++
			err = e.applyTorn(s.Dev, rng)
		case x < keep:
			s.Kept++
			err = e.apply(s.Dev)
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	return nil
}

// applyTorn does some sectors of the event to d. Discarded bytes become
// garbage, for they may read as anything.
func (e *Event) applyTorn(d *device.RAM, rng *rand.Rand) error {
	how := TornSectors
	if rng.IntN(2) == 0 {
		how = TornPrefix
	}
	for _, s := range tear(how, rng.Uint64(), e.Off, e.N) {
		var err error
		switch e.Kind {
		case EventWrite:
			_, err = d.WriteAt(e.Data[s.from-e.Off:s.to-e.Off], s.from)
		case EventZero:
			err = d.Zero(s.from, s.to-s.from)
		case EventDiscard:
			err = garble(d, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// garbage is what a careless reader of discarded blocks finds.
var garbage = func() (b [16 << 10]byte) {
	for i := range b {
		b[i] = 0xd5
	}
	return b
}()

func garble(d *device.RAM, s span) error {
	for s.from < s.to {
		n := min(s.to-s.from, int64(len(garbage)))
		if _, err := d.WriteAt(garbage[:n], s.from); err != nil {
			return err
		}
		s.from += n
	}
	return nil
}

// marks are those before the event pos.
func (l *WriteLog) marks(pos int) []any {
	var m []any
	for i := range l.Events[:pos] {
		if l.Events[i].Kind == EventMark {
			m = append(m, l.Events[i].Mark)
		}
	}
	return m
}

// State makes one crash state again, from its name.
func (l *WriteLog) State(id CrashID) (*CrashState, error) {
	if id.Pos < 0 || id.Pos > len(l.Events) || id.Torn != 0 && id.Pos == len(l.Events) {
		return nil, fmt.Errorf("no crash state %v: %d events", id, len(l.Events))
	}
	covered := 0
	for i := range l.Events[:id.Pos] {
		if l.Events[i].Kind == EventSync {
			covered = max(covered, l.Events[i].Covers)
		}
	}
	upto := id.Pos
	if id.Subset != 0 {
		upto = covered
	}
	d := l.Base.Clone()
	for i := range l.Events[:upto] {
		if err := l.Events[i].apply(d); err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
	}
	s := &CrashState{ID: id, Dev: d, Marks: l.marks(id.Pos)}
	if id.Subset != 0 {
		return s, l.subset(s, covered)
	}
	s.Pending = l.pending(covered, id.Pos)
	s.Kept = s.Pending
	if id.Torn != 0 {
		s.Pending++
		s.Torn++
		return s, l.Events[id.Pos].applyTorn(d, rand.New(rand.NewPCG(id.Torn, 1)))
	}
	return s, nil
}

// mix makes a seed of seeds. It is not 0.
func mix(seeds ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, s := range seeds {
		h = (h ^ s) * 0xbf58476d1ce4e5b9
		h ^= h >> 29
		h *= 0x94d049bb133111eb
		h ^= h >> 32
	}
	return h | 1
}
