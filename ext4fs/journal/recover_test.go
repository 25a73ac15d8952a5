package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// planted is a device of 200 blocks with the log of a synth behind.
type planted struct {
	t    *testing.T
	dev  device.Writer
	runs []Run
	bs   int
}

func plant(s *synth, t *testing.T, wrap wrapper) *planted {
	t.Helper()
	p := &planted{t: t, bs: s.log.bs, runs: []Run{{0, 200, s.log.Blocks()}}}
	p.dev = device.NewRAM(int64(200*s.log.bs + len(s.log.b)))
	if _, err := p.dev.WriteAt(s.log.b, int64(200*s.log.bs)); err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		p.dev = wrap(p.dev)
	}
	return p
}

func (p *planted) log(d device.Writer) *WriteLog {
	p.t.Helper()
	log, err := NewInternalWriter(d, p.bs, p.runs)
	if err != nil {
		p.t.Fatal(err)
	}
	return log
}

func (p *planted) load(d device.Writer, o Options) (*WriteLog, *Recovery) {
	p.t.Helper()
	o.BlockSize = p.bs
	log := p.log(d)
	rec, err := Load(context.Background(), log, o)
	if err != nil {
		p.t.Fatal(err)
	}
	return log, rec
}

func (p *planted) recover(o Options) (Recovered, *disk.JournalSuperblock) {
	p.t.Helper()
	log, rec := p.load(p.dev, o)
	done, err := Recover(context.Background(), p.dev, rec, log)
	if err != nil {
		p.t.Fatal(err)
	}
	sb, bad, err := ReadSuperblock(log, p.bs)
	if err != nil || bad != nil {
		p.t.Fatal(err, bad)
	}
	return done, sb
}

func (p *planted) block(d device.Device, bn int64) string {
	p.t.Helper()
	b := make([]byte, p.bs)
	if _, err := d.ReadAt(b, bn*int64(p.bs)); err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

func TestRecover(t *testing.T) {
	forKinds(t, func(t *testing.T, k kind) {
		s := newSynth(t, k, 1024, 1100, 1090, 5) // goes round
		escaped := fill(1024, 3)
		disk.Unescape(escaped)
		s.commit([]write{{1, fill(1024, 1)}, {2, fill(1024, 2)}, {3, escaped}}, nil)
		s.commit([]write{{2, fill(1024, 4)}, {7, fill(1024, 7)}, {8, fill(1024, 8)}}, []disk.BlockNum{1})
		s.sb.Errno = -5
		s.super()
		p := plant(s, t, nil)
		done, sb := p.recover(Options{NeedsRecovery: true})
		if done.Blocks != 4 || done.Open || done.Errno != -5 {
			t.Errorf("%+v", done)
		}
		if sb.Start != 0 || sb.Sequence != 8 || sb.Errno != -5 || sb.Head != s.next {
			t.Errorf("superblock: start %d, sequence %d, errno %d, head %d", sb.Start, sb.Sequence, sb.Errno, sb.Head)
		}
		for bn, want := range map[int64][]byte{
			1: make([]byte, 1024), 2: fill(1024, 4), 3: escaped, 7: fill(1024, 7), 8: fill(1024, 8),
		} {
			if p.block(p.dev, bn) != string(want) {
				t.Errorf("block %d is wrong", bn)
			}
		}
		if done, _ := p.recover(Options{NeedsRecovery: true}); done.Blocks != 0 {
			t.Errorf("recovered again: %+v", done)
		}
	})
}

func TestRecover_discards(t *testing.T) {
	s := newSynth(t, kinds[6], 1024, 1100, 1, 5)
	s.commit([]write{{1, fill(1024, 1)}}, nil)
	p := plant(s, t, nil)
	done, sb := p.recover(Options{})
	if done.Blocks != 0 || sb.Start != 0 || disk.SequenceBefore(sb.Sequence, 6+1099) {
		t.Errorf("%+v; start %d, sequence %d", done, sb.Start, sb.Sequence)
	}
	if p.block(p.dev, 1) != string(make([]byte, 1024)) {
		t.Error("a discarded transaction was replayed")
	}
}

// A log whose blocks would be written over the journal or past the device is
// not recovered at all.
func TestRecover_hostileHomes(t *testing.T) {
	for _, home := range []disk.BlockNum{200, 201, 1299, 1300, 1 << 40, 1<<48 - 1} {
		s := newSynth(t, kinds[6], 1024, 1100, 1, 5)
		s.commit([]write{{1, fill(1024, 1)}, {home, fill(1024, 2)}}, nil)
		p := plant(s, t, nil)
		log, rec := p.load(p.dev, Options{NeedsRecovery: true})
		if _, err := Recover(context.Background(), p.dev, rec, log); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("home %d: %v", home, err)
		}
		if p.block(p.dev, 1) != string(make([]byte, 1024)) {
			t.Error("something was written")
		}
	}
}

func TestRecover_errors(t *testing.T) {
	for _, op := range []testimages.FaultOps{testimages.FaultRead, testimages.FaultWrite, testimages.FaultSync} {
		for nth := 1; ; nth++ {
			s := newSynth(t, kinds[6], 1024, 1100, 1, 5)
			s.commit([]write{{1, fill(1024, 1)}, {2, fill(1024, 1)}, {5, fill(1024, 2)}}, nil)
			var fault *testimages.FaultWriter
			p := plant(s, t, func(d device.Writer) device.Writer {
				fault = testimages.NewFaultWriter(d)
				return fault
			})
			log, rec := p.load(p.dev, Options{NeedsRecovery: true})
			broken := errors.New("broken")
			fault.Inject(testimages.Fault{Ops: op, Nth: nth, Torn: testimages.TornPrefix, Err: broken})
			_, err := Recover(context.Background(), p.dev, rec, log)
			if fault.Hits() == 0 {
				break
			}
			if !errors.Is(err, broken) {
				t.Errorf("%v %d: %v", op, nth, err)
			}
			fault.Heal()
			p.recover(Options{NeedsRecovery: true})
			for _, bn := range []int64{1, 2} {
				if p.block(p.dev, bn) != string(fill(1024, 1)) {
					t.Errorf("%v %d: block %d is wrong after the second try", op, nth, bn)
				}
			}
		}
	}
}

// Fast commits count until the one transaction that applies them is durable,
// at every crash before.
func TestRecover_fastCommits(t *testing.T) {
	s := fastSynth(t)
	blocks, _ := fastCommit(t, &disk.FCHead{Transaction: 6}, 6, 3)
	copy(s.area(), blocks)
	var rec *testimages.Recorder
	p := plant(s, t, func(d device.Writer) device.Writer {
		var err error
		if rec, err = testimages.NewRecorder(d); err != nil {
			t.Fatal(err)
		}
		return rec
	})
	done, sb := p.recover(Options{NeedsRecovery: true})
	if !done.Open || sb.Start == 0 || sb.Sequence != 6 || !sb.Incompat.Has(disk.JournalIncompatFastCommit) {
		t.Fatalf("%+v; start %d, sequence %d", done, sb.Start, sb.Sequence)
	}
	// Closed with nothing done they are still there.
	for range 2 {
		j := p.resume()
		if err := errors.Join(j.Checkpoint(context.Background()), j.Close(context.Background())); err != nil {
			t.Fatal(err)
		}
	}
	j := p.resume()
	h, err := j.Begin(context.Background(), 600) // more than a quarter of the log
	if err != nil {
		t.Fatal(err)
	}
	for bn := range disk.BlockNum(150) {
		b, err := h.Fresh(bn, nil)
		if err != nil {
			t.Fatal(err)
		}
		copy(b.Data(), fill(1024, 9))
	}
	if id := h.ID(); id != 6 {
		t.Errorf("applied by transaction %d, want 6", id)
	}
	if err := errors.Join(h.End(), j.Sync(context.Background())); err != nil {
		t.Fatal(err)
	}
	rec.Mark("applied")
	if err := j.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	o := testimages.CrashOptions{Subsets: 20, TornTails: 2}
	n, err := testimages.CrashStates(context.Background(), rec.Log(), o, p.fastOrApplied)
	t.Logf("%d crash states", n)
	if err != nil {
		t.Error(err)
	}
}

func (p *planted) resume() *Journal {
	p.t.Helper()
	j, err := Start(Config{
		Cache: cache.New(p.dev, p.bs, 200, cache.Options{}), Device: p.dev, Log: p.log(p.dev),
		Bits64: true, Checksum: ChecksumV3, FastCommit: true, Resume: true, Interval: -1,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return j
}

func (p *planted) fastOrApplied(s *testimages.CrashState) error {
	log, err := NewInternalWriter(s.Dev, p.bs, p.runs)
	if err != nil {
		return err
	}
	rec, err := Load(context.Background(), log, Options{BlockSize: p.bs, NeedsRecovery: true})
	if err != nil {
		return err
	}
	d := rec.Overlay(s.Dev)
	applied := 0
	for bn := range int64(150) {
		if p.block(d, bn) == string(fill(1024, 9)) {
			applied++
		}
	}
	fast := len(rec.FastCommits) == 3
	if fast && applied == 0 && len(s.Marks) == 0 {
		if p.block(d, 1) != string(fill(1024, 1)) {
			return errors.New("the full commit is gone")
		}
		return nil
	}
	if applied == 150 && len(rec.FastCommits) == 0 {
		return nil
	}
	return fmt.Errorf("%d fast records, %d blocks of the transaction that applies them", len(rec.FastCommits), applied)
}
