package dump

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestClearRuns_agreesWithBits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		b := make([]byte, 1+rnd.IntN(40))
		for i := range b {
			switch rnd.IntN(3) {
			case 0:
				b[i] = 0xff
			case 1:
				b[i] = byte(rnd.Uint32())
			}
		}
		n := rnd.IntN(8*len(b) + 1)
		var want, got [][2]int
		for i := 0; i < n; i++ {
			if b[i/8]&(1<<(i%8)) != 0 {
				continue
			}
			if k := len(want) - 1; k >= 0 && want[k][0]+want[k][1] == i {
				want[k][1]++
			} else {
				want = append(want, [2]int{i, 1})
			}
		}
		clearRuns(b, n, func(first, length int) { got = append(got, [2]int{first, length}) })
		if !slices.Equal(got, want) {
			t.Fatalf("%x, %d bits: runs %v, want %v", b, n, got, want)
		}
	}
}
