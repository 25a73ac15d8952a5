package journal

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// bigSynth is a log of 16384 blocks of 4 KiB, full of transactions.
func bigSynth(t testing.TB) *synth {
	s := newSynth(t, kinds[6], 4096, 16384, 1, 1)
	data := fill(4096, 1)
	for i := range uint32(60) {
		w := make([]write, 250)
		for k := range w {
			w[k] = write{disk.BlockNum(i*1000 + uint32(k)*3), data}
		}
		s.commit(w, []disk.BlockNum{disk.BlockNum(i * 500)})
	}
	return s
}

func BenchmarkLoad(b *testing.B) {
	s := bigSynth(b)
	b.SetBytes(int64(len(s.log.b)))
	for b.Loop() {
		s.mustLoad(Options{})
	}
}

func BenchmarkWalk(b *testing.B) {
	s := bigSynth(b)
	b.SetBytes(int64(len(s.log.b)))
	for b.Loop() {
		for _, err := range Walk(s.log, 4096) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// Reads of 1 MiB: of nothing replayed, and of a third of the blocks; then of
// one replayed block.
func BenchmarkOverlay(b *testing.B) {
	r := bigSynth(b).mustLoad(Options{})
	mem := zeros(1 << 30)
	for _, c := range []struct {
		name string
		dev  interface {
			ReadAt(p []byte, off int64) (int, error)
		}
		off  int64
		size int
	}{
		{"base", mem, 100_000 * 4096, 1 << 20},
		{"untouched", r.Overlay(mem), 100_000 * 4096, 1 << 20},
		{"third", r.Overlay(mem), 3000 * 4096, 1 << 20},
		{"block", r.Overlay(mem), 3000 * 4096, 4096},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := make([]byte, c.size)
			b.SetBytes(int64(c.size))
			for b.Loop() {
				if _, err := c.dev.ReadAt(p, c.off); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
