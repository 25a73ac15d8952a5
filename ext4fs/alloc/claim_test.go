package alloc

import (
	"errors"
	"slices"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

func TestClaim(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, mkfs(t, k.size, k.args...), nil)
			m := newModel(w, 7)
			m.run(300)
			for range 300 {
				r := Run{disk.BlockNum(m.rng.Uint64N(w.super.Blocks())), 1 + m.rng.Uint64N(300)}
				lo, hi := m.clusters(max(r.Start, disk.BlockNum(w.super.FirstDataBlock)), r.Len)
				_, zone := w.a.inZone(disk.BlockNum(lo), hi-lo)
				bad := zone || uint64(r.Start) < uint64(w.super.FirstDataBlock) || uint64(r.Start)+r.Len > w.super.Blocks()
				err := w.a.Claim(w, r.Start, r.Len)
				if errors.Is(err, disk.ErrCorrupt) != bad || !bad && err != nil {
					t.Fatalf("%v: %v, want %v", r, err, bad)
				}
				for b := lo; !bad && b < hi; b += uint64(w.a.ratio) {
					if !m.used[b] {
						m.mark(disk.BlockNum(b), 1, true)
						m.own = append(m.own, Run{disk.BlockNum(b), uint64(w.a.ratio)})
					}
				}
			}
			m.check(w.a)
			for i := range 400 {
				n := w.super.FirstInode + disk.InodeNum(m.rng.Uint32N(uint32(w.super.Inodes()-w.super.FirstInode)))
				if m.inode[n] {
					continue
				}
				for range 2 {
					if err := w.a.ClaimInode(w, n, i%2 == 0); err != nil {
						t.Fatal(err)
					}
				}
				m.inode[n] = true
				m.inos = append(m.inos, n)
				if i%2 == 0 {
					m.dirs[n] = true
				}
			}
			m.run(300)
			m.onDisk()
			m.clear()
			testimages.Fsck(t, w.file())
		})
	}
}

func TestClaim_refuses(t *testing.T) {
	w := newWorld(t, mkfs(t, 64<<20, "-b", "1024"), nil)
	bn, n, err := w.a.Alloc(w, Request{Len: 10, Goal: 30000})
	if err != nil || n != 10 {
		t.Fatal(err)
	}
	ino, _, err := w.a.NewInode(w, NewInode{Parent: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.a.Free(w, bn, 10), w.a.FreeInode(w, ino, false)); err != nil {
		t.Fatal(err)
	}
	if err := w.a.Claim(w, bn+3, 1); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := w.a.ClaimInode(w, ino, false); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	for _, n := range []disk.InodeNum{0, 5, w.super.Inodes() + 1} {
		if err := w.a.ClaimInode(w, n, false); !errors.Is(err, disk.ErrCorrupt) {
			t.Error(n, err)
		}
	}
	w.sync()
	if err := errors.Join(w.a.Claim(w, bn+3, 1), w.a.ClaimInode(w, ino, false)); err != nil {
		t.Error(err)
	}
	if err := w.a.Free(w, bn, 5); !errors.Is(err, disk.ErrCorrupt) {
		t.Fatal(err)
	}
	// That has spoiled the group.
	if err := w.a.Claim(w, bn+9, 1); !errors.Is(err, disk.ErrCorrupt) {
		t.Error(err)
	}
	if err := w.a.FreeInode(w, ino+50, false); !errors.Is(err, disk.ErrCorrupt) {
		t.Error(err)
	}
	if err := w.a.ClaimInode(w, ino+9, false); !errors.Is(err, disk.ErrCorrupt) {
		t.Error(err)
	}
}

// Blocks of an inode table that was never written become part of it.
func TestClaimInode_initialisesTheTable(t *testing.T) {
	for _, ext := range []string{"lazy_itable_init=0", "lazy_itable_init=1"} {
		var got []disk.BlockNum
		w := newWorld(t, mkfs(t, 64<<20, "-b", "1024", "-E", ext), func(c *Config) {
			c.Virgin = func(tx cache.Tx, bn disk.BlockNum) error {
				got = append(got, bn)
				_, err := tx.Fresh(bn, plain{})
				return err
			}
		})
		per := w.super.InodesPerBlock()
		table := w.a.groups[2].inodeTable
		claim := func(i uint32) []disk.BlockNum {
			got = nil
			if err := w.a.ClaimInode(w, w.a.inodeNum(&w.a.groups[2], i), false); err != nil {
				t.Fatal(err)
			}
			return got
		}
		want := []disk.BlockNum{table, table + 1, table + 2}
		if ext == "lazy_itable_init=0" {
			want = want[2:]
		}
		if got := claim(2*per + 1); !slices.Equal(got, want) {
			t.Errorf("%s: fresh %v, want %v", ext, got, want)
		}
		if got := claim(2*per + 3); len(got) != 0 {
			t.Errorf("%s: fresh again: %v", ext, got)
		}
		if got := claim(1); len(got) != 0 {
			t.Errorf("%s: fresh again: %v", ext, got)
		}
		if got := claim(3 * per); !slices.Equal(got, []disk.BlockNum{table + 3}) {
			t.Errorf("%s: fresh %v", ext, got)
		}
	}
}
