package indirect

import (
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// A file of 1 GiB in 4 KiB blocks: contiguous, or each block by itself.
func BenchmarkFrom(b *testing.B) {
	for _, tt := range []struct {
		name string
		step uint32
	}{{"contiguous", 1}, {"fragmented", 2}} {
		b.Run(tt.name, func(b *testing.B) {
			v := newVolume(b, 4096, 400)
			const n = 1 << 18
			for l := range uint32(n) {
				v.set(uint64(l), 1000+tt.step*l)
			}
			m := v.open(v.owner())
			for b.Loop() {
				blocks := uint32(0)
				for e, err := range m.From(0) {
					if err != nil {
						b.Fatal(err)
					}
					blocks += e.Len
				}
				if blocks != n {
					b.Fatal(blocks)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/block")
		})
	}
}

func BenchmarkFind(b *testing.B) {
	v := newVolume(b, 4096, 400)
	for l := range uint32(1 << 18) {
		v.set(uint64(l), 1000+2*l)
	}
	m := v.open(v.owner())
	b.ReportAllocs()
	l := disk.LogicalNum(0)
	for b.Loop() {
		if _, err := m.Find(l); err != nil {
			b.Fatal(err)
		}
		l = (l + 7919) % (1 << 18)
	}
}
