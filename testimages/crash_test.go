package testimages

import "testing"

func TestCrashImage_leavesJournalToRecover(t *testing.T) {
	RequireLoop(t)
	dir := Scratch(t)
	for seed := range uint64(16) {
		c, err := CrashImage(dir, seed)
		if err != nil {
			t.Error(err)
			continue
		}
		if !c.Dirty {
			t.Errorf("seed %d: nothing to recover (%s)", seed, c.How)
		}
		if len(c.Tree) < 2 {
			t.Errorf("seed %d: a tree of %d lines (%s)", seed, len(c.Tree), c.How)
		}
	}
}
