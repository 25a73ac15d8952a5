package format

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// wild draws a value that is often at an edge.
func wild(r *rand.Rand) uint64 {
	switch r.IntN(5) {
	case 0:
		return uint64(r.IntN(3))
	case 1:
		return 1 << r.IntN(64)
	case 2:
		return 1<<r.IntN(64) - 1
	case 3:
		return r.Uint64() >> r.IntN(64)
	}
	return math.MaxUint64
}

// wildOptions are options that nobody should give.
func wildOptions(r *rand.Rand) *Options {
	o := &Options{}
	set := func(f func(v uint64)) {
		if r.IntN(14) == 0 {
			f(wild(r))
		}
	}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	set(func(v uint64) { o.BlockSize = int(v) })
	set(func(v uint64) { o.BlockSize = 1024 << (v % 7) })
	set(func(v uint64) { o.MinBlockSize = int(v) })
	set(func(v uint64) { o.ClusterSize = int64(v) })
	set(func(v uint64) { o.InodeSize = int(v) })
	set(func(v uint64) { o.InodeRatio = int64(v) })
	set(func(v uint64) { o.Inodes = v })
	set(func(v uint64) { o.BlocksPerGroup = uint32(v) })
	set(func(v uint64) { o.FlexSize = uint32(v) })
	set(func(v uint64) { o.ReservedPercent = ptr(math.Float64frombits(v)) })
	set(func(v uint64) { o.Stride = uint16(v) })
	set(func(v uint64) { o.StripeWidth = uint32(v) })
	set(func(v uint64) { o.Resize = Amount{v, v%2 == 0} })
	set(func(v uint64) { o.DescSize = int(v) })
	set(func(v uint64) { o.BackupSupers = ptr(int(v)) })
	set(func(v uint64) { o.OrphanFileSize = Amount{v, v%2 == 0} })
	set(func(v uint64) { o.MMPInterval = uint16(v) })
	set(func(v uint64) { o.Journal.Size = int64(v) })
	set(func(v uint64) { o.Journal.FastSize = int64(v) })
	set(func(v uint64) { o.Journal.Location = &Amount{v, v%2 == 0} })
	set(func(v uint64) { o.Quota = []disk.QuotaKind{disk.QuotaKind(v)} })
	set(func(uint64) { o.PackedMeta = true })
	set(func(uint64) { o.Revision0 = true })
	set(func(uint64) { o.Type = pick("ext2", "ext3", "ext4") })
	for range r.IntN(6) {
		o.Features = append(o.Features, pick("^resize_inode", "bigalloc", "meta_bg", "^64bit", "^flex_bg", "sparse_super2", "^sparse_super",
			"mmp", "quota", "project", "orphan_file", "fast_commit", "inline_data", "none", "^extent", "extent", "^metadata_csum"))
	}
	return o
}

// TestNewPlan_wild gives options without sense: they make an error that says
// so, or a plan that holds together.
func TestNewPlan_wild(t *testing.T) {
	t.Parallel()
	made := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 11))
		o := wildOptions(r)
		size := int64(wild(r)>>28 + uint64(r.IntN(1<<30)))
		p, err := newPlan(o, size, need{})
		if err != nil {
			if !errors.Is(err, ErrOption) {
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		made++
		if err := p.sb.Validate(size); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		checkPlaces(t, seed, p)
		if seed%4 != 0 || size > 1<<30 {
			continue
		}
		o.Size, o.Zeroed = size, true
		w := &countWriter{size: size, pages: map[int64]bool{}}
		if err := Format(context.Background(), w, *o); err != nil && !errors.Is(err, ErrOption) && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("seed %d: format: %v", seed, err)
		}
	}
	if made < 200 {
		t.Errorf("only %d plans were made", made)
	}
}

// checkPlaces looks for places that overlap or lie outside.
func checkPlaces(t *testing.T, seed uint64, p *plan) {
	t.Helper()
	want := uint64(0)
	table := uint64(p.sb.InodeTableBlocks())
	var tables blockSet
	for g := range p.sb.Groups() {
		first, n := p.sb.BaseMeta(g)
		tables.add(uint64(first), uint64(n))
		want += uint64(n) + 2 + table
		at := p.groups[g]
		tables.add(uint64(at.blockBitmap), 1)
		tables.add(uint64(at.inodeBitmap), 1)
		tables.add(uint64(at.inodeTable), table)
	}
	total := uint64(0)
	for v := range tables.all {
		total += v.to - v.from
		if v.to > p.sb.Blocks() {
			t.Errorf("seed %d: places up to %d of %d", seed, v.to, p.sb.Blocks())
		}
	}
	if total != want {
		t.Errorf("seed %d: tables of %d blocks lie in %d", seed, want, total)
	}
	for bn, n := range p.journal.all {
		if uint64(bn)+uint64(n) > p.sb.Blocks() || tables.at(uint64(bn)) != tables.at(uint64(bn)+uint64(n)-1) {
			t.Errorf("seed %d: the journal has %d blocks at %d", seed, n, bn)
		}
	}
}

// TestPlan_largeFile: a hidden file of 2 GiB or more needs the feature, also
// where it was not wanted; e2fsck complains without it.
func TestPlan_largeFile(t *testing.T) {
	for _, tt := range []struct {
		args mkfsCase
		want bool
	}{
		{"-t ext4 -O ^large_file 1G", true}, // the resize inode
		{"-t ext2 -O ^large_file 1G", true},
		{"-t ext4 -b 1024 -O ^large_file 1G", false},
		{"-t ext4 -O ^large_file,^resize_inode 1G", false},
		{"-t ext4 -O ^large_file,^resize_inode -J size=2047 30G", false},
		{"-t ext4 -O ^large_file,^resize_inode -J size=2048 30G", true},
		{"-t ext4 -O large_file,^resize_inode 1G", true},
		{"-t ext2 -r 0 1G", false},
	} {
		j, err := Plan(context.Background(), *tt.args.options(t), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		sb := j.Super()
		if got := sb.Features.ROCompat.Has(disk.ROCompatLargeFile); got != tt.want {
			t.Errorf("%s: large_file %v", tt.args, got)
		}
	}
}
