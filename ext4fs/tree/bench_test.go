package tree

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// million makes a tree of a million files, 100 to a directory, with names of
// 20 bytes.
func million(b testing.TB) *Tree {
	tr := New()
	for i := range 100 {
		top := must(tr.Add(Root, fmt.Sprintf("top%03d", i), directory()))
		for j := range 99 {
			dir := must(tr.Add(top, fmt.Sprintf("directory%03d", j), directory()))
			for k := range 100 {
				if _, err := tr.Add(dir, fmt.Sprintf("file-with-a-name-%03d", k), regular(1)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	return tr
}

// BenchmarkMillion tells the memory that a tree takes, by node, with all that
// the allocator needs for it.
func BenchmarkMillion(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		tr := million(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/float64(tr.Len()), "B/node")
		b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/(1<<20), "MiB")
		runtime.KeepAlive(tr)
	}
}

func TestTree_memory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million files")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tr := million(t)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapInuse) - int64(before.HeapInuse); used > 150<<20 {
		t.Errorf("%d nodes take %d MiB", tr.Len(), used>>20)
	}
	runtime.KeepAlive(tr)
}

// BenchmarkEntries lists every directory of a million files.
func BenchmarkEntries(b *testing.B) {
	tr := million(b)
	b.ResetTimer()
	for b.Loop() {
		n := 0
		for id := range ID(tr.Len()) {
			n += len(tr.Entries(id))
		}
		if n != tr.Len()-1 {
			b.Fatal(n)
		}
	}
}

// BenchmarkFromDir reads a directory of 57,000 small files.
func BenchmarkFromDir(b *testing.B) {
	dir := testimages.Scratch(b)
	for d := range 570 {
		sub := fmt.Sprintf("%s/%02d/%d", dir, d%19, d)
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 100 {
			if err := os.WriteFile(fmt.Sprintf("%s/file%d", sub, f), []byte("content"), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, no := range []bool{false, true} {
		b.Run(fmt.Sprintf("NoXattrs=%v", no), func(b *testing.B) {
			for b.Loop() {
				tr := load(b, Options{NoXattrs: no}, Dir(dir))
				b.ReportMetric(float64(tr.Len()), "nodes")
			}
		})
	}
	b.Run("open", func(b *testing.B) {
		tr := load(b, Options{}, Dir(dir))
		p := make([]byte, 100)
		for b.Loop() {
			for id := range ID(tr.Len()) {
				if !tr.Node(id).IsRegular() {
					continue
				}
				f, err := tr.Open(id)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := f.ReadAt(p, 0); n != 7 {
					b.Fatal(err)
				}
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
