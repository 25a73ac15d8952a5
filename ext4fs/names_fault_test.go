package ext4fs

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestNamesFault has writes and flushes of the journal fail: the file system
// becomes read-only and says so, and the next open finds the names as they were
// after some operation, the last durable one or a later one.
func TestNamesFault(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 8
	}
	base := formatRAM(t, 16<<20, "-b", "1024", "-O", "orphan_file")
	aborted := 0
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 17))
		dev := base.Clone()
		faulty := testimages.NewFaultWriter(dev)
		f, err := Open(faulty, &Options{Write: true, CommitInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		c := &nameCrash{last: make(map[string]int)}
		c.note(t, f, 0)
		durable := 0
		faulty.Inject(testimages.Fault{
			Ops: []testimages.FaultOps{testimages.FaultWrite, testimages.FaultSync}[rng.IntN(2)], Nth: 1 + rng.IntN(20),
			Count: 1 - 2*rng.IntN(2), Torn: testimages.Torn(rng.IntN(4)), Seed: uint64(seed),
		})
		for k := 1; k < 300; k++ {
			err := stressStep(f, rng)
			if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EIO) {
				break
			}
			c.note(t, f, k)
			if k%10 == 0 {
				if err := f.Sync(context.Background()); err == nil {
					durable = k
				} else if !errors.Is(err, syscall.EROFS) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("seed %d: sync: %v", seed, err)
				}
			}
		}
		if f.live.journal.Err() != nil {
			aborted++
			_, err := rootOf(t, f).Create("late", &NewNode{})
			wantErrno(t, "create after an abort", err, syscall.EROFS)
			if err := f.Close(); err == nil {
				t.Errorf("seed %d: close tells nothing of the abort", seed)
			}
		} else if err := f.Close(); err != nil {
			t.Logf("seed %d: close: %v", seed, err)
		}
		faulty.Heal()
		g := openWrite(t, dev)
		text, err := treeText(g)
		if err != nil {
			t.Fatal(err)
		}
		if at, known := c.last[text]; !known || at < durable {
			t.Errorf("seed %d: names as never before, or as after operation %d; %d was durable:\n%.2000s", seed, at, durable, text)
		}
		closeWrite(t, g)
		fsckDevice(t, dev)
	}
	if aborted == 0 {
		t.Error("no fault was met")
	}
}
