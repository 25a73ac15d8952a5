package format

import (
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// spaceSuper is a file system of groups of 1024 clusters.
func spaceSuper(blocks uint64, logRatio uint32) *disk.Superblock {
	sb := &disk.Superblock{
		Magic: disk.SuperblockMagic, BlocksCount: blocks, LogBlockSize: 2, LogClusterSize: 2 + logRatio,
		BlocksPerGroup: 1024 << logRatio, ClustersPerGroup: 1024, InodesPerGroup: 64, RawInodeSize: 256,
	}
	if logRatio > 0 {
		sb.Features.ROCompat |= disk.ROCompatBigalloc
	}
	return sb
}

func fixedRuns(runs ...run) iter.Seq2[disk.BlockNum, uint64] {
	return func(yield func(disk.BlockNum, uint64) bool) {
		for _, r := range runs {
			if !yield(r.start, uint64(r.n)) {
				return
			}
		}
	}
}

func TestSpace_takesWholeRunsFirst(t *testing.T) {
	s := newSpace(spaceSuper(4096, 0), fixedRuns(run{0, 10}, run{1024, 24}, run{2048, 1000}))
	if got, want := s.free(), uint64(4096-1034); got != want {
		t.Fatalf("%d blocks free, want %d", got, want)
	}
	for _, tt := range []struct {
		n    uint32
		want []run
	}{
		{1010, []run{{10, 1010}}},
		{5, []run{{1048, 5}}},
		{4, []run{{1020, 4}}},
		{1040, []run{{3048, 1040}}},
		{1000, []run{{1053, 995}, {4088, 5}}},
		{4, nil},
		{3, []run{{4093, 3}}},
		{1, nil},
		{0, nil},
	} {
		got := s.take(tt.n)
		if len(got) != len(tt.want) {
			t.Fatalf("take(%d) = %v, want %v", tt.n, got, tt.want)
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Fatalf("take(%d) = %v, want %v", tt.n, got, tt.want)
			}
		}
	}
	if s.free() != 0 {
		t.Fatalf("%d blocks free at the end", s.free())
	}
}

func TestSpace_takeAt(t *testing.T) {
	s := newSpace(spaceSuper(4096, 2), fixedRuns(run{0, 10}))
	for _, tt := range []struct {
		start disk.BlockNum
		n     uint32
		ok    bool
		free  uint64
	}{
		{11, 1, false, 4084}, // the rest of a cluster in use
		{12, 1, true, 4080},
		{12, 4, false, 4080},
		{2001, 10, true, 4068},
		{2008, 4, false, 4068},
		{2012, 2084, true, 1984},
		{4095, 1, false, 1984},
		{4096, 1, false, 1984},
		{1 << 40, 1, false, 1984},
		{16, 0, false, 1984},
	} {
		if ok := s.takeAt(tt.start, tt.n); ok != tt.ok || s.free() != tt.free {
			t.Fatalf("takeAt(%d, %d) = %v with %d free, want %v, %d", tt.start, tt.n, ok, s.free(), tt.ok, tt.free)
		}
	}
}

// TestSpace_model takes at random and compares with a map of all clusters.
func TestSpace_model(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		logRatio := uint32(rnd.IntN(3)) * 2
		sb := spaceSuper(uint64(2000+rnd.IntN(6000))&^15, logRatio)
		ratio := uint64(sb.ClusterRatio())
		used := make([]bool, sb.Blocks()/ratio+1)
		var fixed []run
		for at := 0; at < int(sb.Blocks())-40; at += 1 + rnd.IntN(900) {
			r := run{disk.BlockNum(at), uint32(1 + rnd.IntN(39))}
			fixed = append(fixed, r)
			at += int(r.n)
			for b := uint64(r.start); b < uint64(r.start)+uint64(r.n); b++ {
				used[b/ratio] = true
			}
		}
		s := newSpace(sb, fixedRuns(fixed...))
		mark := func(r run) {
			t.Helper()
			for c := uint64(r.start) / ratio; c*ratio < uint64(r.start)+uint64(r.n); c++ {
				if used[c] {
					t.Fatalf("seed %d: cluster %d of %v was in use", seed, c, r)
				}
				used[c] = true
			}
		}
		for range 200 {
			if rnd.IntN(4) == 0 {
				r := run{disk.BlockNum(rnd.IntN(int(sb.Blocks()))), uint32(1 + rnd.IntN(30))}
				if s.takeAt(r.start, r.n) {
					mark(r)
				}
				continue
			}
			n := uint32(1 + rnd.IntN(1+rnd.IntN(400)))
			total := uint32(0)
			for i, r := range s.take(n) {
				if uint64(r.start)%ratio != 0 || total%uint32(ratio) != 0 {
					t.Fatalf("seed %d: piece %d of take(%d) is %v", seed, i, n, r)
				}
				mark(r)
				total += r.n
			}
			if total != 0 && total != n {
				t.Fatalf("seed %d: take(%d) gave %d blocks", seed, n, total)
			}
		}
		checkSpace(t, s, used)
	}
}

// checkSpace compares bitmaps and counts with a map of clusters.
func checkSpace(t *testing.T, s *space, used []bool) {
	t.Helper()
	per := int(s.sb.ClustersPerGroup)
	total := uint64(0)
	for g := range s.sb.Groups() {
		b := make([]byte, 4096)
		free := s.groupUsed(g, b)
		if free != s.freeIn(g) {
			t.Fatalf("group %d: %d and %d clusters free", g, free, s.freeIn(g))
		}
		total += uint64(free)
		for i := range 8 * len(b) {
			want := i >= int(s.sb.GroupClusters(g)) || used[int(g)*per+i]
			if got := b[i/8]&(1<<(i%8)) != 0; got != want {
				t.Fatalf("group %d, bit %d is %v, want %v", g, i, got, want)
			}
		}
	}
	if total*s.ratio != s.free() {
		t.Fatalf("%d clusters in groups, %d blocks free", total, s.free())
	}
}
