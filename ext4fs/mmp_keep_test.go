package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// mmpDisk is a device with a protection block, in block 3 of 4096 bytes.
func mmpDisk(t *testing.T, m disk.MMP) *device.RAM {
	t.Helper()
	r := device.NewRAM(64 << 10)
	if _, err := r.WriteAt(bytes.Repeat([]byte{0x5a}, 16<<10), 0); err != nil {
		t.Fatal(err)
	}
	putMMP(t, r, m)
	return r
}

func putMMP(t *testing.T, r *device.RAM, m disk.MMP) {
	t.Helper()
	b := bytes.Repeat([]byte{0x5a}, disk.MMPSize)
	m.Magic = disk.MMPMagic
	m.Encode(b)
	disk.SealMMP(77, b)
	if _, err := r.WriteAt(b, 3*4096); err != nil {
		t.Fatal(err)
	}
}

// getMMP reads the record and checks that nothing around it changed.
func getMMP(t *testing.T, r *device.RAM) disk.MMP {
	t.Helper()
	all := make([]byte, 64<<10)
	if _, err := r.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(all[3*4096:][:disk.MMPSize])
	var m disk.MMP
	if err := m.Decode(b); err != nil {
		t.Fatal(err)
	}
	if stored, computed := disk.VerifyMMP(77, b); stored != computed {
		t.Error("wrong checksum")
	}
	copy(all[3*4096:], bytes.Repeat([]byte{0x5a}, 0x72))
	copy(all[3*4096+0x3fc:], bytes.Repeat([]byte{0x5a}, 4))
	if bytes.Count(all[:16<<10], []byte{0x5a}) != 16<<10 || bytes.Count(all[16<<10:], []byte{0}) != 48<<10 {
		t.Error("bytes around the record changed")
	}
	return m
}

func mmpConfig(w device.Writer, node string) MMPConfig {
	return MMPConfig{Device: w, Block: 3, BlockSize: 4096, Checksum: true, Seed: 77, Node: node, Name: "dev-" + node}
}

func TestMMP_lifeOfAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean, Node: "old node with a long name", CheckInterval: 10})
		start := time.Now()
		k, err := StartMMP(t.Context(), mmpConfig(r, "a"))
		if err != nil || time.Since(start) != 0 {
			t.Fatal(err, time.Since(start))
		}
		first := getMMP(t, r)
		if first.Node != "a" || first.Device != "dev-a" || first.Seq == 0 || first.Seq > disk.MMPMaxSeq || first.CheckInterval != 10 {
			t.Errorf("%+v", first)
		}
		time.Sleep(26 * time.Second)
		synctest.Wait()
		m := getMMP(t, r)
		if m.Seq != first.Seq+5 || m.Time != first.Time+25 || m.CheckInterval != 10 {
			t.Errorf("first %+v, after 26 s %+v", first, m)
		}
		if err := errors.Join(k.Err(), k.Stop(), k.Stop(), k.Err()); err != nil {
			t.Error(err)
		}
		if m := getMMP(t, r); m.Seq != disk.MMPClean || m.CheckInterval != 10 {
			t.Errorf("after stop %+v", m)
		}
	})
}

func TestMMP_sequenceWraps(t *testing.T) {
	for seq, next := range map[uint32]uint32{1: 2, disk.MMPMaxSeq - 1: disk.MMPMaxSeq, disk.MMPMaxSeq: 1, disk.MMPClean: 1} {
		if got := mmpNext(seq); got != next {
			t.Errorf("%d follows %d", got, seq)
		}
	}
}

// Somebody who is alive keeps others out, and is told about.
func TestMMP_refusesLivingOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean})
		a, err := StartMMP(t.Context(), mmpConfig(r, "a"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		start := time.Now()
		_, err = StartMMP(t.Context(), mmpConfig(r, "b"))
		var me *MMPError
		if !errors.As(err, &me) || !errors.Is(err, syscall.EBUSY) || !errors.Is(err, ErrBusy) || me.Lost || me.Status.State != MMPInUse {
			t.Fatalf("%v", err)
		}
		if s := err.Error(); !strings.Contains(s, `host "a"`) || !strings.Contains(s, `"dev-a"`) || !strings.Contains(s, "2000-01-01T00:00:05Z") {
			t.Error(s)
		}
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("refused after %v", d)
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		b, err := StartMMP(t.Context(), mmpConfig(r, "b"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A dead owner is waited for as long as his record says, and replaced.
func TestMMP_takesOverFromTheDead(t *testing.T) {
	for _, tt := range []struct {
		check uint16
		wait  time.Duration
	}{{0, 22 * time.Second}, {10, 42 * time.Second}, {100, 320 * time.Second}, {65535, 720 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			r := mmpDisk(t, disk.MMP{Seq: 99, CheckInterval: tt.check})
			start := time.Now()
			k, err := StartMMP(t.Context(), mmpConfig(r, "a"))
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d != tt.wait {
				t.Errorf("check interval %d: waited %v, not %v", tt.check, d, tt.wait)
			}
			if err := k.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMMP_cancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mmpDisk(t, disk.MMP{Seq: 99})
		for _, after := range []time.Duration{0, 3 * time.Second, 15 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			_, err := StartMMP(ctx, mmpConfig(r, "a"))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			cancel()
		}
	})
}

// A checker, and what nobody knows, is refused without a wait.
func TestMMP_refusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seq, state := range map[uint32]MMPState{disk.MMPFsck: MMPFsck, disk.MMPFsck + 1: MMPUnknown, 0xffffffff: MMPUnknown} {
			r := mmpDisk(t, disk.MMP{Seq: seq, Node: "n", Device: "d"})
			start := time.Now()
			_, err := StartMMP(t.Context(), mmpConfig(r, "a"))
			var me *MMPError
			if !errors.As(err, &me) || me.Status.State != state || time.Since(start) != 0 {
				t.Errorf("%#x: %v", seq, err)
			}
			if m := getMMP(t, r); m.Seq != seq {
				t.Error("written to")
			}
		}
	})
}

func TestMMP_checker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean})
		c := mmpConfig(r, "a")
		c.Fsck = true
		k, err := StartMMP(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		was := getMMP(t, r)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if m := getMMP(t, r); m.Seq != disk.MMPFsck || m.Time != was.Time+10 {
			t.Errorf("%+v", m)
		}
		if _, err := StartMMP(t.Context(), mmpConfig(r, "b")); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "being checked") {
			t.Errorf("%v", err)
		}
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
		if m := getMMP(t, r); m.Seq != disk.MMPClean {
			t.Errorf("%+v", m)
		}
	})
}

// Of many who want what a dead owner left, at most one gets it.
func TestMMP_contest(t *testing.T) {
	for round := range 20 {
		synctest.Test(t, func(t *testing.T) {
			r := mmpDisk(t, disk.MMP{Seq: 5})
			var mu sync.Mutex
			var winners []*MMPKeeper
			var wg sync.WaitGroup
			for i := range 5 {
				wg.Go(func() {
					time.Sleep(time.Duration(i*round) * 100 * time.Millisecond)
					k, err := StartMMP(t.Context(), mmpConfig(r, string(rune('a'+i))))
					if err != nil && !errors.Is(err, ErrBusy) {
						t.Error(err)
					}
					if err == nil {
						mu.Lock()
						winners = append(winners, k)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if len(winners) > 1 {
				t.Errorf("%d owners", len(winners))
			}
			for _, k := range winners {
				if err := k.Stop(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// An owner who was robbed says so, and leaves the block alone.
func TestMMP_lost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean})
		c := mmpConfig(r, "a")
		told := make(chan error, 5)
		var k *MMPKeeper
		c.OnLost = func(err error) { told <- errors.Join(err, k.Stop()) }
		k, err := StartMMP(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		thief := disk.MMP{Seq: 1234, Node: "thief", Device: "sdx"}
		putMMP(t, r, thief)
		err = <-told
		var me *MMPError
		if !errors.As(err, &me) || !me.Lost || !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "thief") {
			t.Errorf("%v", err)
		}
		if !errors.Is(k.Err(), ErrBusy) || !errors.Is(k.Stop(), ErrBusy) || len(told) != 0 {
			t.Errorf("%v, %v", k.Err(), k.Stop())
		}
		if m := getMMP(t, r); m.Seq != 1234 || m.Node != "thief" {
			t.Errorf("%+v", m)
		}
	})
}

// Stop notices too that the block is somebody else's.
func TestMMP_lostAtStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean})
		k, err := StartMMP(t.Context(), mmpConfig(r, "a"))
		if err != nil {
			t.Fatal(err)
		}
		putMMP(t, r, disk.MMP{Seq: 1234, Node: "thief"})
		if err := k.Stop(); !errors.Is(err, ErrBusy) {
			t.Errorf("%v", err)
		}
		if m := getMMP(t, r); m.Seq != 1234 {
			t.Errorf("%+v", m)
		}
	})
}

// Errors that pass are survived; when others may step in it is over.
func TestMMP_deviceErrors(t *testing.T) {
	for _, op := range []testimages.FaultOps{testimages.FaultRead, testimages.FaultWrite, testimages.FaultSync} {
		for _, torn := range []testimages.Torn{testimages.TornNothing, testimages.TornAll} {
			synctest.Test(t, func(t *testing.T) {
				r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean})
				f := testimages.NewFaultWriter(r)
				c := mmpConfig(f, "a")
				told := make(chan error, 1)
				c.OnLost = func(err error) { told <- err }
				k, err := StartMMP(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				f.Inject(testimages.Fault{Ops: op, Count: 3, Torn: torn})
				time.Sleep(21 * time.Second)
				synctest.Wait()
				if f.Hits() != 3 || k.Err() != nil {
					t.Fatalf("%v: %d hits, %v", op, f.Hits(), k.Err())
				}
				f.Inject(testimages.Fault{Ops: op, Count: -1, Torn: torn})
				start := time.Now()
				err = <-told
				if d := time.Since(start); d < 4*time.Second || d > 16*time.Second {
					t.Errorf("%v: gave up after %v", op, d)
				}
				if !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrBusy) {
					t.Errorf("%v", err)
				}
				if err := k.Stop(); !errors.Is(err, syscall.EIO) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// slowDevice takes its time.
type slowDevice struct {
	device.Writer
	delay time.Duration
}

func (s *slowDevice) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(s.delay)
	return s.Writer.ReadAt(p, off)
}

// A slow owner asks others to be patient.
func TestMMP_slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean})
		k, err := StartMMP(t.Context(), mmpConfig(&slowDevice{r, 40 * time.Second}, "a"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Second)
		if m := getMMP(t, r); m.CheckInterval != 170 { // twice from the write, over a read, 5 s, a read
			t.Errorf("%+v", m)
		}
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestMMP_badBlocks(t *testing.T) {
	r := mmpDisk(t, disk.MMP{Seq: disk.MMPClean})
	for _, bn := range []disk.BlockNum{0, 16, 1 << 40, 1<<64 - 1} {
		c := mmpConfig(r, "a")
		c.Block = bn
		if _, err := StartMMP(t.Context(), c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("block %d: %v", bn, err)
		}
	}
	c := mmpConfig(r, "a")
	c.Block = 2
	if _, err := StartMMP(t.Context(), c); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no magic: %v", err)
	}
	c = mmpConfig(r, "a")
	c.Seed++
	if _, err := StartMMP(t.Context(), c); !errors.Is(err, ErrChecksum) {
		t.Errorf("wrong checksum: %v", err)
	}
	c.Checksum = false
	k, err := StartMMP(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Stop(); err != nil {
		t.Error(err)
	}
}
