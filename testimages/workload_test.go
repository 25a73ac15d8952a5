package testimages

import "testing"

// BenchmarkWorkloads builds what is not there yet and checks nothing else: run
// it first to keep building out of other benchmarks' time.
func BenchmarkWorkloads(b *testing.B) {
	for _, w := range Workloads() {
		b.Run(w.Name, func(b *testing.B) {
			for b.Loop() {
				WorkloadImage(b, w.Name)
			}
		})
	}
}
