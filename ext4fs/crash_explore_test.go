package ext4fs

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/e4kit/e4kit/testimages"
)

var (
	crashStates     = flag.Int("crash-states", 0, "explore crash states until there were that many, instead of a sample")
	crashStatesSeed = flag.Uint64("crash-states-seed", 1, "the first seed of the campaign")
	crashStatesJobs = flag.Int("crash-states-jobs", 2, "how many states are looked at in parallel")
	crashKernel     = flag.Int("crash-kernel", 0, "have the kernel recover one in so many of the states that e2fsck recovers; 0 is none")
	crashOnly       = flag.String("crash-only", "", "explore only this kind/workload/seed")
)

// TestCrashExplore cuts the power at random moments of random work on all kinds
// of images. What is left is recovered by e4kit, or by e2fsck, and has to be as
// it was after one of the operations: not before the last one that was made
// durable, with nothing torn, and with nothing in a file that was never written
// to it. e2fsck has to find nothing in it.
//
// With -crash-states it is a campaign, see also -crash-states-seed.
func TestCrashExplore(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	if *crashKernel > 0 {
		testimages.RequireLoop(t)
	}
	if *crashStates > 0 || *crashOnly != "" {
		crashCampaign(t)
		return
	}
	states := 80
	if testing.Short() {
		states = 8
	}
	rates := crashRates{check: 6, e2fsck: 8, view: 8, again: 40, kernel: *crashKernel}
	for n, kind := range crashKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			dir := testimages.Scratch(t)
			for k, work := range crashWorks {
				if work.suits(kind) {
					crashRun(t, dir, kind, work, uint64(n+k), states, 1, rates)
				}
			}
		})
	}
}

// crashRun records a workload and looks at about that many of its states, or
// all for 0. Its files are in dir.
func crashRun(t *testing.T, dir string, kind *crashKindCase, work *crashWork, seed uint64, states, workers int, rates crashRates) *crashCount {
	t.Helper()
	start := time.Now()
	w, log := work.record(t, kind, seed)
	recorded := time.Since(start)
	j := newCrashJudge(t, dir, w, workers, rates)
	defer j.close()
	o := testimages.CrashOptions{Subsets: 5, TornTails: 1, Seed: seed, Workers: workers}
	if total := log.Writes() * 3; states > 0 && total > states {
		o.Rate = float64(states) / float64(total)
	}
	_, err := testimages.CrashStates(t.Context(), log, o, j.judge)
	if err != nil {
		t.Errorf("%s/%s/%d: %v", kind.name, work.name, seed, err)
	}
	t.Logf("%s/%s/%d: %d operations, %d writes (%v), %v in %v", kind.name, work.name, seed,
		w.count(), log.Writes(), recorded.Round(time.Millisecond), &j.count, time.Since(start).Round(time.Millisecond))
	return &j.count
}

// crashCampaign goes on with new seeds until there were enough states.
func crashCampaign(t *testing.T) {
	rates := crashRates{check: 5, e2fsck: 10, view: 10, again: 100, kernel: *crashKernel}
	dir := testimages.Scratch(t)
	total := new(crashCount)
	table := make(map[string]*crashCount)
	var order []string
	for seed := *crashStatesSeed; ; seed++ {
		for _, kind := range crashKinds {
			for _, work := range crashWorks {
				name := kind.name + "/" + work.name
				if only := *crashOnly; !work.suits(kind) || only != "" && only != name && only != fmt.Sprintf("%s/%d", name, seed) {
					continue
				}
				c := crashRun(t, dir, kind, work, seed, 0, *crashStatesJobs, rates)
				total.add(c)
				t.Logf("so far: %v", total)
				for _, key := range []string{"kind " + kind.name, "work " + work.name} {
					if table[key] == nil {
						table[key], order = new(crashCount), append(order, key)
					}
					table[key].add(c)
				}
			}
		}
		if total.states.Load() >= int64(*crashStates) || *crashOnly != "" && seed > *crashStatesSeed+20 {
			break
		}
	}
	for _, key := range order {
		t.Logf("%s: %v", key, table[key])
	}
	t.Logf("total: %v", total)
}
