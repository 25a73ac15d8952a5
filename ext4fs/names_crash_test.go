package ext4fs

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// treeText lists all names with what a crash must not tear: type, links,
// target.
func treeText(f *FS) (string, error) {
	root, err := f.Root()
	if err != nil {
		return "", err
	}
	var lines []string
	var walk func(path string, d *Inode) error
	walk = func(path string, d *Inode) error {
		for e, err := range d.Entries() {
			if err != nil {
				return err
			}
			if IsDots(e) {
				continue
			}
			i, err := f.Inode(e.Inode)
			if err != nil {
				return err
			}
			st, target := i.Stat(), ""
			if i.IsSymlink() {
				if target, err = i.Readlink(); err != nil {
					return err
				}
			}
			name := path + "/" + string(e.Name)
			lines = append(lines, fmt.Sprintf("%s %d %o %d %s", name, i.num, st.RawMode, st.Links, target))
			if i.IsDir() {
				if err := walk(name, i); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = walk("", root)
	slices.Sort(lines)
	return strings.Join(lines, "\n"), err
}

// TestNamesCrash: after a crash at any moment the names are as they were after
// one of the operations, and not before the last one that was made durable.
func TestNamesCrash(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	for _, format := range []struct {
		name string
		args []string
	}{
		{"1k", []string{"-b", "1024"}},
		{"orphan_file", []string{"-b", "1024", "-O", "orphan_file,inline_data"}},
		{"ext3", []string{"-t", "ext3", "-b", "1024"}},
	} {
		t.Run(format.name, func(t *testing.T) {
			steps, states := 400, 300
			if testing.Short() {
				steps, states = 150, 60
			}
			rec, err := testimages.NewRecorder(formatRAM(t, 16<<20, format.args...))
			if err != nil {
				t.Fatal(err)
			}
			f, err := Open(rec, &Options{Write: true, CommitInterval: -1})
			if err != nil {
				t.Fatal(err)
			}
			c := &nameCrash{last: make(map[string]int)}
			m := newTreeModel(t, f, 3)
			c.note(t, f, 0)
			if err := f.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := rec.Restart(); err != nil {
				t.Fatal(err)
			}
			for k := 1; k <= steps; k++ {
				m.step()
				c.note(t, f, k)
				if m.rng.IntN(12) == 0 {
					if err := f.Sync(context.Background()); err != nil {
						t.Fatal(err)
					}
					rec.Mark(k)
				}
			}
			closeWrite(t, f)
			c.check(t, rec.Log(), states)
		})
	}
}

// nameCrash knows all states that the names were in.
type nameCrash struct {
	last map[string]int // the last operation after which it was so
	dump []*testimages.Dumper
}

func (c *nameCrash) note(t *testing.T, f *FS, k int) {
	t.Helper()
	text, err := treeText(f)
	if err != nil {
		t.Fatal(err)
	}
	c.last[text] = k
}

func (c *nameCrash) check(t *testing.T, log *testimages.WriteLog, states int) {
	t.Helper()
	const workers = 2
	for w := range workers {
		d, err := testimages.NewDumper(filepath.Join(testimages.Scratch(t), fmt.Sprint(w)))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		c.dump = append(c.dump, d)
	}
	o := testimages.CrashOptions{Subsets: 3, TornTails: 1, Seed: 5, Workers: workers}
	if total := log.Writes() * 3; total > states {
		o.Rate = float64(states) / float64(total)
	}
	n, err := testimages.CrashStates(context.Background(), log, o, c.recovered)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d crash states of %d writes", n, log.Writes())
}

// recovered checks one crash state.
func (c *nameCrash) recovered(s *testimages.CrashState) error {
	durable := 0
	if n := len(s.Marks); n > 0 {
		durable = s.Marks[n-1].(int)
	}
	f, err := Open(s.Dev, &Options{Write: true})
	if err != nil {
		return err
	}
	text, err := treeText(f)
	if err != nil {
		return err
	}
	at, known := c.last[text]
	if !known || at < durable {
		return fmt.Errorf("names as never before, or as after operation %d; %d was durable:\n%.2000s", at, durable, text)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return c.dump[s.Worker].CheckClean(s.Dev)
}

// TestUnlinkCrash: what takes many transactions to delete is an orphan until
// the end, and is deleted after a crash in between.
func TestUnlinkCrash(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	// Small groups: each bitmap takes a block of the transaction.
	for _, args := range [][]string{
		{"-b", "1024", "-g", "256"}, {"-b", "1024", "-g", "256", "-O", "orphan_file"}, {"-b", "1024", "-g", "256", "-t", "ext3"},
	} {
		args = append(args, "-O", "^resize_inode,^flex_bg", "-N", "2000", "-J", "size=1")
		rec, err := testimages.NewRecorder(formatRAM(t, 110<<20, args...))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(rec, &Options{Write: true, CommitInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		i := create(t, rootOf(t, f), "file", 0o644)
		if _, err := i.WriteAt(make([]byte, 80<<20), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := f.live.journal.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
		c := &nameCrash{last: make(map[string]int)}
		c.note(t, f, 0)
		if err := rec.Restart(); err != nil {
			t.Fatal(err)
		}
		before := f.live.journal.RunningID()
		if err := f.Remove("file"); err != nil {
			t.Fatal(err)
		}
		if n := f.live.journal.RunningID() - before; n == 0 {
			t.Error("one transaction was enough")
		}
		c.note(t, f, 1)
		closeWrite(t, f)
		c.check(t, rec.Log(), 150)
	}
}
