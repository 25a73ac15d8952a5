package extent

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const benchExtents = 130_000

func benchTree(b *testing.B, stride disk.BlockNum) (*volume, []byte) {
	v := newVolume(b, 4096, 1000)
	v.stride = stride
	return v, v.build(gappy(benchExtents), 340, 0)
}

func BenchmarkFrom(b *testing.B) {
	v, root := benchTree(b, 1)
	m := v.open(root)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range m.From(0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != benchExtents {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchExtents, "ns/extent")
}

// With a cache that holds nothing yet; leaves side by side or apart.
func BenchmarkFromCold(b *testing.B) {
	for _, tt := range []struct {
		name   string
		stride disk.BlockNum
	}{{"adjacent", 1}, {"apart", 2}} {
		b.Run(tt.name, func(b *testing.B) {
			v, root := benchTree(b, tt.stride)
			for b.Loop() {
				for _, err := range v.open(root).From(0) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkFind(b *testing.B) {
	v, root := benchTree(b, 1)
	m := v.open(root)
	b.ReportAllocs()
	l := disk.LogicalNum(0)
	for b.Loop() {
		if _, err := m.Find(l); err != nil {
			b.Fatal(err)
		}
		l = (l + 7919) % (2 * benchExtents)
	}
}

func BenchmarkFindRoot(b *testing.B) {
	v := newVolume(b, 4096, 10)
	m := v.open(v.build(gappy(4), 340, 0))
	for b.Loop() {
		if _, err := m.Find(5); err != nil {
			b.Fatal(err)
		}
	}
}
