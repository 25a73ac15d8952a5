package ext4fs

import (
	"context"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// attrsText tells what a crash must not tear: attributes, owners and modes.
func attrsText(f *FS) (string, error) {
	root, err := f.Root()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for e, err := range root.Entries() {
		if err != nil {
			return "", err
		}
		i, err := f.Inode(e.Inode)
		if err != nil {
			return "", err
		}
		list, err := i.Xattrs()
		if err != nil {
			return "", err
		}
		st := i.Stat()
		fmt.Fprintf(&b, "%s %o %d %d %d", e.Name, st.RawMode, st.UID, st.GID, st.Project)
		for _, x := range list {
			fmt.Fprintf(&b, " %s=%d,%x", x.Name, len(x.Value), crc32.ChecksumIEEE(x.Value))
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

// TestAttrsCrash: after a crash at any moment the attributes are as they were
// after one of the changes, and e2fsck agrees with references and quotas.
func TestAttrsCrash(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	for _, c := range attrCases {
		switch c.name {
		case "plain", "values_quota", "orphan_file":
		default:
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			steps, states := 250, 250
			if testing.Short() {
				steps, states = 100, 50
			}
			dev := loadRAM(t, formatFile(t, c.size, c.mkfs...))
			rec, err := testimages.NewRecorder(dev)
			if err != nil {
				t.Fatal(err)
			}
			m := newAttrModel(t, rec, 4)
			crash := &attrCrash{last: map[string]int{}}
			crash.note(t, m.fs, 0)
			m.must(m.fs.Sync(context.Background()))
			m.must(rec.Restart())
			for k := 1; k <= steps; k++ {
				m.step()
				crash.note(t, m.fs, k)
				if m.rng.IntN(12) == 0 {
					m.must(m.fs.Sync(context.Background()))
					rec.Mark(k)
				}
			}
			closeWrite(t, m.fs)
			crash.check(t, rec.Log(), states)
		})
	}
}

// attrCrash knows all states that the attributes were in.
type attrCrash struct {
	last map[string]int // the last change after which it was so
	dump *testimages.Dumper
}

func (c *attrCrash) note(t *testing.T, f *FS, k int) {
	t.Helper()
	text, err := attrsText(f)
	if err != nil {
		t.Fatal(err)
	}
	c.last[text] = k
}

func (c *attrCrash) check(t *testing.T, log *testimages.WriteLog, states int) {
	t.Helper()
	var err error
	if c.dump, err = testimages.NewDumper(filepath.Join(testimages.Scratch(t), "crash")); err != nil {
		t.Fatal(err)
	}
	defer c.dump.Close()
	o := testimages.CrashOptions{Subsets: 3, TornTails: 1, Seed: 7, Workers: 1}
	if total := log.Writes() * 3; total > states {
		o.Rate = float64(states) / float64(total)
	}
	n, err := testimages.CrashStates(context.Background(), log, o, func(s *testimages.CrashState) error { return c.recovered(s) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d crash states of %d writes", n, log.Writes())
}

func (c *attrCrash) recovered(s *testimages.CrashState) error {
	durable := 0
	if n := len(s.Marks); n > 0 {
		durable = s.Marks[n-1].(int)
	}
	f, err := Open(s.Dev, &Options{Write: true})
	if err != nil {
		return err
	}
	text, err := attrsText(f)
	if err != nil {
		return err
	}
	if at, known := c.last[text]; !known || at < durable {
		return fmt.Errorf("attributes as never before, or as after change %d; %d was durable:\n%.2000s", at, durable, text)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return c.dump.CheckClean(s.Dev)
}
