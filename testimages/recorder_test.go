package testimages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
)

func content(t testing.TB, d device.Device) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	if err := readAll(d, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// record makes a log of random changes, with a mark after each flush that says
// what the device held.
func record(t testing.TB, seed uint64, steps int) *WriteLog {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 9))
	const size = 40_000
	ram := device.NewRAM(size)
	if _, err := ram.WriteAt(bytes.Repeat([]byte{1}, size), 0); err != nil {
		t.Fatal(err)
	}
	rec, err := NewRecorder(ram)
	if err != nil {
		t.Fatal(err)
	}
	for i := range steps {
		off := rng.Int64N(size - 6000)
		n := 1 + rng.Int64N(6000)
		b := bytes.Repeat([]byte{byte(i%250 + 2)}, int(n))
		var err error
		switch rng.IntN(8) {
		case 0:
			err = rec.Zero(off, n)
		case 1:
			err = rec.Discard(off, n)
		case 2:
			err = rec.Sync()
			rec.Mark(content(t, ram))
		case 3:
			err = device.WriteV(rec, [][]byte{b[:n/3], b[n/3:]}, off)
		default:
			_, err = rec.WriteAt(b, off)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(content(t, rec), content(t, ram)) {
		t.Fatal("the recorder reads something else")
	}
	return rec.Log()
}

// Every state has, in every sector, what some write put there that was not
// overwritten by one that was flushed; and it can be made again by its name.
func TestCrashStates_legal(t *testing.T) {
	l := record(t, 1, 100)
	ids := make(map[CrashID]bool)
	var mu sync.Mutex
	n, err := CrashStates(context.Background(), l, CrashOptions{TornTails: 2, Subsets: 6, Seed: 5}, func(s *CrashState) error {
		mu.Lock()
		ids[s.ID] = true
		mu.Unlock()
		again, err := l.State(s.ID)
		if err != nil {
			return err
		}
		got := content(t, s.Dev)
		if !bytes.Equal(got, content(t, again.Dev)) || again.String() != s.String() {
			return fmt.Errorf("made again it is another one: %v", again)
		}
		return l.legal(s, got)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < l.Writes()*2 || len(ids) < n*9/10 {
		t.Errorf("%d states, %d of them different, of %d writes", n, len(ids), l.Writes())
	}
}

// legal compares a state, sector by sector, with what may be there: the content
// at the last flush, changed by any of the later events.
func (l *WriteLog) legal(s *CrashState, got []byte) error {
	events := l.Events[:s.ID.Pos]
	covered := 0
	for i := range events {
		if events[i].Kind == EventSync {
			covered = events[i].Covers
		}
	}
	if s.ID.Torn != 0 {
		events = l.Events[:s.ID.Pos+1]
	}
	old := l.Base.Clone()
	for i := range covered {
		if err := events[i].apply(old); err != nil {
			return err
		}
	}
	versions := [][]byte{make([]byte, len(got))}
	if err := readAll(old, versions[0], 0); err != nil {
		return err
	}
	for _, e := range events[covered:] {
		if !e.changes() {
			continue
		}
		// Of every version so far there may be one with this event on top.
		for _, v := range versions[:len(versions):len(versions)] {
			for _, fill := range []byte{0, 0xd5} {
				b := bytes.Clone(v)
				for i := e.Off; i < e.Off+e.N; i++ {
					b[i] = fill
				}
				copy(b[e.Off:], e.Data)
				versions = append(versions, b)
				if e.Kind != EventDiscard {
					break
				}
			}
		}
		if len(versions) > 100 {
			return nil // others were looked at
		}
	}
	for at := 0; at < len(got); at += sectorSize {
		end := min(at+sectorSize, len(got))
		ok := false
		for _, v := range versions {
			ok = ok || bytes.Equal(v[at:end], got[at:end])
		}
		if !ok {
			return fmt.Errorf("the sector at %d holds what nobody wrote", at)
		}
	}
	return nil
}

// The last mark of a prefix is of the last flush before it, and what was
// flushed is in all states after it.
func TestCrashStates_marks(t *testing.T) {
	rec, err := NewRecorder(device.NewRAM(8192))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := rec.WriteAt([]byte{byte(i + 1)}, int64(i)*8); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			if err := rec.Sync(); err != nil {
				t.Fatal(err)
			}
			rec.Mark(i)
		}
	}
	last := 0
	_, err = CrashStates(context.Background(), rec.Log(), CrashOptions{Subsets: 20, Workers: 1}, func(s *CrashState) error {
		done := -1
		for _, m := range s.Marks {
			done = m.(int)
		}
		last = max(last, done)
		b := content(t, s.Dev)
		for i := range done + 1 {
			if b[i*8] != byte(i+1) {
				return fmt.Errorf("write %d is lost, which was flushed before mark %d", i, done)
			}
		}
		return nil
	})
	if err != nil || last != 17 {
		t.Errorf("last mark %d, %v", last, err)
	}
	if s := rec.Stats(); s != (RecorderStats{Writes: 20, Bytes: 20, Syncs: 6}) {
		t.Errorf("%+v", s)
	}
}

// A write that runs beside a flush is not covered by it.
func TestRecorder_syncCoversWhatWasComplete(t *testing.T) {
	slow := &slowSync{Writer: device.NewRAM(4096), begun: make(chan bool), end: make(chan bool)}
	rec, err := NewRecorder(slow)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.WriteAt([]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- rec.Sync() }()
	<-slow.begun
	if _, err := rec.WriteAt([]byte{2}, 1); err != nil {
		t.Fatal(err)
	}
	slow.end <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	rec.Mark("flushed")
	seen := map[string]bool{}
	_, err = CrashStates(context.Background(), rec.Log(), CrashOptions{Subsets: 100, Workers: 1}, func(s *CrashState) error {
		if len(s.Marks) == 1 {
			b := content(t, s.Dev)
			seen[fmt.Sprint(b[:2])] = true
		}
		return nil
	})
	if err != nil || !seen["[1 2]"] || !seen["[1 0]"] || len(seen) != 2 {
		t.Errorf("states after the flush: %v, %v", seen, err)
	}
}

type slowSync struct {
	device.Writer
	begun, end chan bool
}

func (s *slowSync) Sync() error {
	s.begun <- true
	<-s.end
	return s.Writer.Sync()
}

func TestCrashStates_options(t *testing.T) {
	l := record(t, 2, 100)
	count := func(o CrashOptions) int {
		t.Helper()
		n := 0
		var mu sync.Mutex
		got, err := CrashStates(context.Background(), l, o, func(s *CrashState) error {
			mu.Lock()
			defer mu.Unlock()
			n++
			if s.ID.Pos < o.From {
				return errors.New("too early")
			}
			return nil
		})
		if err != nil || got != n {
			t.Errorf("%+v: %d states, %d told, %v", o, n, got, err)
		}
		return n
	}
	all := count(CrashOptions{})
	if all != l.Writes()+1 {
		t.Errorf("%d prefixes of %d writes", all, l.Writes())
	}
	if n := count(CrashOptions{NoPrefixes: true}); n != 0 {
		t.Errorf("%d states of nothing", n)
	}
	if n := count(CrashOptions{Max: 7}); n != 7 {
		t.Errorf("%d states, 7 wanted", n)
	}
	many := count(CrashOptions{Subsets: 50, TornTails: 5})
	if n := count(CrashOptions{Subsets: 50, TornTails: 5, Rate: 0.1}); n < many/20 || n > many/5 {
		t.Errorf("a tenth of %d is %d", many, n)
	}
	if n := count(CrashOptions{From: len(l.Events) / 2}); n >= all || n < 10 {
		t.Errorf("the second half of %d is %d", all, n)
	}
	boom := errors.New("boom")
	if _, err := CrashStates(context.Background(), l, CrashOptions{}, func(*CrashState) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := CrashStates(ctx, l, CrashOptions{}, func(*CrashState) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for _, id := range []CrashID{{Pos: -1}, {Pos: len(l.Events) + 1}, {Pos: len(l.Events), Torn: 1}} {
		if _, err := l.State(id); err == nil {
			t.Errorf("made %v", id)
		}
	}
}

// Restart forgets the past.
func TestRecorder_restart(t *testing.T) {
	ram := device.NewRAM(1000)
	rec, err := NewRecorder(ram)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := rec.WriteAt([]byte{9}, int64(i)); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if err := rec.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := rec.Log()
	if b := content(t, l.Base); len(l.Events) != 1 || !bytes.Equal(b[:4], []byte{9, 9, 0, 0}) {
		t.Errorf("%v after % x", l.Events, b[:4])
	}
}

func TestFaultWriter(t *testing.T) {
	ram := device.NewRAM(64 << 10)
	f := NewFaultWriter(ram)
	write := func(off int64) error {
		_, err := f.WriteAt(bytes.Repeat([]byte{1}, 8192), off)
		return err
	}
	f.Inject(Fault{Ops: FaultWrite, Nth: 2, Count: 2})
	f.Inject(Fault{Ops: FaultSync | FaultRead, Count: -1, Err: syscall.ENXIO})
	for i, want := range []error{nil, syscall.EIO, syscall.EIO, nil} {
		if err := write(int64(i) * 8192); !errors.Is(err, want) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	b := content(t, ram)
	if b[0] != 1 || b[8192] != 0 || b[3*8192] != 1 {
		t.Error("wrong content")
	}
	var fe *FaultError
	if err := f.Sync(); !errors.Is(err, syscall.ENXIO) || !errors.As(err, &fe) || fe.Op != FaultSync {
		t.Errorf("sync: %v", err)
	}
	if _, err := f.ReadAt(b, 0); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("read: %v", err)
	}
	if f.Hits() != 4 || f.Calls(FaultWrite) != 4 || f.Calls(FaultZero) != 0 {
		t.Errorf("%d hits, %d writes", f.Hits(), f.Calls(FaultWrite))
	}
	f.Heal()
	if err := errors.Join(f.Sync(), f.Zero(0, 10), f.Discard(0, 10), device.WriteV(f, [][]byte{{1}, {2}}, 0)); err != nil {
		t.Error(err)
	}
	// Only what touches the range.
	f.Inject(Fault{Ops: FaultWrite | FaultZero | FaultDiscard, Off: 10_000, N: 10, Count: -1})
	if err := errors.Join(write(0), write(10_010)); err != nil {
		t.Error(err)
	}
	for _, err := range []error{write(10_009), write(2000), f.Zero(10_000, 1), f.Discard(9999, 2)} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%v", err)
		}
	}
}

// A torn write leaves whole sectors.
func TestFaultWriter_torn(t *testing.T) {
	for _, how := range []Torn{TornNothing, TornAll, TornPrefix, TornSectors} {
		kinds := map[string]bool{}
		for seed := range uint64(30) {
			ram := device.NewRAM(16 << 10)
			f := NewFaultWriter(ram, Fault{Ops: FaultWrite, Torn: how, Seed: seed})
			n, err := f.WriteAt(bytes.Repeat([]byte{1}, 3000), 1000)
			if n != 0 || !errors.Is(err, syscall.EIO) {
				t.Fatalf("%d, %v", n, err)
			}
			b := content(t, ram)
			pattern := ""
			for at := 1000; at < 4000; at = (at/512 + 1) * 512 {
				end := min((at/512+1)*512, 4000)
				s := b[at:end]
				if bytes.Count(s, s[:1]) != len(s) {
					t.Fatalf("half a sector at %d", at)
				}
				pattern += fmt.Sprint(s[0])
			}
			clear(b[1000:4000])
			if !allZero(b) {
				t.Fatal("written elsewhere")
			}
			kinds[pattern] = true
		}
		want := map[Torn]int{TornNothing: 1, TornAll: 1, TornPrefix: 7, TornSectors: 20}[how]
		if len(kinds) < want || want == 1 && len(kinds) != 1 {
			t.Errorf("%d: %d outcomes: %v", how, len(kinds), kinds)
		}
	}
}

func TestDumper(t *testing.T) {
	l := record(t, 3, 60)
	d, err := NewDumper(filepath.Join(Scratch(t), "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	i := 0
	_, err = CrashStates(context.Background(), l, CrashOptions{Subsets: 3, Workers: 1}, func(s *CrashState) error {
		if err := d.Dump(s.Dev); err != nil {
			return err
		}
		got, err := d.Load()
		if err != nil {
			return err
		}
		if !bytes.Equal(content(t, got), content(t, s.Dev)) {
			return errors.New("the file is something else")
		}
		if i++; i%5 == 0 { // somebody changes it
			d.Path()
			_, err = d.f.WriteAt([]byte("changed"), int64(i)*100)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkCrashStates tells what a state costs, without a judge.
func BenchmarkCrashStates(b *testing.B) {
	l := record(b, 4, 3000)
	n := 0
	for b.Loop() {
		k, err := CrashStates(context.Background(), l, CrashOptions{Subsets: 20}, func(*CrashState) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		n += k
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/state")
}

// A forgotten flush is found: a pointer must not arrive before what it points
// at, nor half of what it points at.
func TestCrashStates_findsMissingFlush(t *testing.T) {
	for _, flush := range []bool{true, false} {
		rec, err := NewRecorder(device.NewRAM(64 << 10))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			data := bytes.Repeat([]byte{byte(i + 1)}, 4096)
			if _, err := rec.WriteAt(data, int64(i+1)*4096); err != nil {
				t.Fatal(err)
			}
			if flush {
				if err := rec.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := rec.WriteAt([]byte{byte(i + 1)}, 0); err != nil {
				t.Fatal(err)
			}
			if err := rec.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		_, err = CrashStates(context.Background(), rec.Log(), CrashOptions{Subsets: 50, TornTails: 1}, func(s *CrashState) error {
			b := content(t, s.Dev)
			if p := int(b[0]); p != 0 && bytes.Count(b[p*4096:][:4096], b[:1]) != 4096 {
				return errors.New("it points at garbage")
			}
			return nil
		})
		if (err == nil) != flush {
			t.Errorf("flush %v: %v", flush, err)
		}
	}
}
