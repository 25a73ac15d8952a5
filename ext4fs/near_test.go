package ext4fs

import (
	"math/rand/v2"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestWriteAt_outOfOrder: writers that take turns with the pieces of a file, and
// run ahead of each other, leave it in order on the disk.
func TestWriteAt_outOfOrder(t *testing.T) {
	ram := formatRAM(t, 256<<20)
	f := openQuiet(t, ram)
	i, err := mustRoot(t, f).Create("file", &NewNode{Mode: disk.ModeRegular | 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if !i.Acquire() {
		t.Fatal("the file is gone")
	}
	const pieces, piece, writers = 512, 64 << 10, 4
	rng := rand.New(rand.NewPCG(2, 3))
	var next [writers]int
	for left := pieces; left > 0; {
		// Some are ahead, but not without end.
		k := rng.IntN(writers)
		at := next[k]*writers + k
		if at >= pieces || next[k] > next[0]+6 {
			k, at = 0, next[0]*writers
		}
		if at >= pieces {
			for k = range next {
				if at = next[k]*writers + k; at < pieces {
					break
				}
			}
		}
		if _, err := i.WriteAt(testimages.Content(uint64(at), piece), int64(at)*piece); err != nil {
			t.Fatal(err)
		}
		next[k]++
		left--
	}
	if err := i.Release(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range i.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n > 4 {
		t.Errorf("%d extents in a file of %d pieces", n, pieces)
	}
	p := make([]byte, piece)
	for at := range pieces {
		if _, err := i.ReadAt(p, int64(at)*piece); err != nil || string(p) != string(testimages.Content(uint64(at), piece)) {
			t.Fatalf("piece %d: %v", at, err)
		}
	}
}
