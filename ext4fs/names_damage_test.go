package ext4fs

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// damageTree changes bytes of an image's metadata at random.
func damageTree(t *testing.T, f *FS, rng *rand.Rand, write func(p []byte, off int64)) {
	t.Helper()
	bs := int64(f.BlockSize())
	var blocks []int64
	for n := disk.InodeNum(1); n < 60; n++ {
		block, _, err := f.InodeLocation(n)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, int64(block))
		i, err := f.Inode(n)
		if err != nil || !i.IsDir() {
			continue
		}
		for e, err := range i.Extents() {
			if err != nil {
				break
			}
			for k := range e.Len {
				blocks = append(blocks, int64(e.Physical)+int64(k))
			}
		}
	}
	for range 1 + rng.IntN(40) {
		off := blocks[rng.IntN(len(blocks))]*bs + rng.Int64N(bs)
		b := byte(rng.IntN(256))
		if rng.IntN(3) == 0 {
			b = []byte{0, 1, 0xff, 12}[rng.IntN(4)]
		}
		write([]byte{b}, off)
	}
}

// TestNames_damaged: operations on a damaged image fail or not, but they come
// to an end, and the image can be opened again.
func TestNames_damaged(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for n, args := range [][]string{
		{"-b", "1024", "-O", "^metadata_csum,^has_journal"},
		{"-b", "1024", "-O", "^metadata_csum,inline_data"},
		{"-b", "1024", "-t", "ext2"},
	} {
		dev := formatRAM(t, 8<<20, args...)
		f := openWrite(t, dev)
		rng := rand.New(rand.NewPCG(uint64(n), 8))
		for range 400 {
			_ = stressStep(f, rng) // whatever becomes of it
		}
		root := rootOf(t, f)
		for k := range 80 {
			create(t, root, fmt.Sprintf("long-name-for-an-index-%d", k), 0o644)
		}
		closeWrite(t, f)
		for k := range rounds {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(k)))
			bad := dev.Clone()
			clean, err := Open(bad, nil)
			if err != nil {
				t.Fatal(err)
			}
			damageTree(t, clean, rng, func(p []byte, off int64) {
				if _, err := bad.WriteAt(p, off); err != nil {
					t.Fatal(err)
				}
			})
			start := time.Now()
			g, err := Open(bad, &Options{Write: true, CommitInterval: -1})
			if err != nil {
				continue
			}
			for range 200 {
				_ = stressStep(g, rng)
			}
			_ = g.RemoveAll("a")
			_ = g.Close()
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("image %d, round %d took %v", n, k, d)
			}
		}
	}
}
