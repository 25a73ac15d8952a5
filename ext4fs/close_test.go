package ext4fs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// TestClose_orphansMeanwhile: whatever others do while Close is under way, it
// leaves no orphans behind.
func TestClose_orphansMeanwhile(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for _, mkfs := range [][]string{{"-O", "ea_inode"}, {"-O", "orphan_file"}, {"-t", "ext3"}} {
		base := formatRAM(t, 8<<20, append([]string{"-b", "1024"}, mkfs...)...)
		for range rounds {
			dev := base.Clone()
			f := openQuiet(t, dev)
			root := mustRoot(t, f)
			var group sync.WaitGroup
			for k := range 4 {
				group.Go(func() {
					for n := 0; ; n++ {
						err := churnOrphans(f, root, fmt.Sprintf("%d-%d", k, n), n)
						switch {
						case errors.Is(err, ErrReadOnly) || errors.Is(err, ErrClosed) || errors.Is(err, ErrNoSpace):
							return // it was closed, or is full of them
						case err != nil:
							t.Error(err)
							return
						}
					}
				})
			}
			if err := f.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			group.Wait()
			if list := f.live.orphans.list(); len(list) > 0 {
				t.Errorf("%d orphans are left, the first inode %d of %d links", len(list), list[0].num, list[0].record().Links())
			}
			fsckDevice(t, dev)
			if t.Failed() {
				return
			}
		}
	}
}

// churnOrphans makes some that stay until Close, and some that do not.
func churnOrphans(f *FS, root *Inode, name string, n int) error {
	i, err := root.Create(name, &NewNode{Mode: disk.ModeRegular | 0o600, Content: make([]byte, 40<<10)})
	if err != nil {
		return err
	}
	if f.super.Features.Incompat.Has(disk.IncompatEAInode) {
		if err := i.SetXattr("user.big", []byte(strings.Repeat(name, 900)), 0); err != nil {
			return err
		}
		if err := i.RemoveXattr("user.big"); err != nil {
			return err
		}
	}
	if n%2 == 0 {
		i.Hold()
	}
	return root.Unlink(name)
}

// TestClose_truncationLeft: what a truncation that was interrupted has left is
// done by Close.
func TestClose_truncationLeft(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	ctx, cancel := context.WithCancel(context.Background())
	f, err := Open(dev, &Options{Write: true, Context: ctx, CommitInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("file", make([]byte, 300_000), 0o644); err != nil {
		t.Fatal(err)
	}
	i, err := f.Lookup("file")
	if err != nil {
		t.Fatal(err)
	}
	err = i.change(func(h *txn) error {
		if err := f.orphanAdd(h, i); err != nil {
			return err
		}
		return i.update(h, func(r disk.Inode) { r.SetSize(5000) })
	})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if i.Sectors() != 16 && i.Sectors() != 10 {
		t.Errorf("%d sectors", i.Sectors())
	}
	fsckDevice(t, dev)
}
