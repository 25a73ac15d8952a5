package format

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

// nowhere is a device that forgets what is written.
type nowhere struct{ size int64 }

func (n nowhere) Size() int64                            { return n.size }
func (n nowhere) ReadAt(p []byte, _ int64) (int, error)  { clear(p); return len(p), nil }
func (n nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (n nowhere) Sync() error                            { return nil }

// manyFiles is a tree of files of 5000 bytes, so many in each directory.
func manyFiles(tb testing.TB, files, perDir int) *tree.Tree {
	tb.Helper()
	tr := tree.New()
	c := &pieces{size: 5000}
	var d tree.ID
	for i := range files {
		var err error
		if i%perDir == 0 {
			if d, err = tr.Add(tree.Root, fmt.Sprintf("directory-%d", i), tree.Node{Mode: disk.ModeDir | 0o755}); err != nil {
				tb.Fatal(err)
			}
		}
		id, err := tr.Add(d, fmt.Sprintf("file-name-%d", i), tree.Node{Mode: disk.ModeRegular | 0o644, Size: c.size})
		if err == nil {
			err = tr.SetContent(id, zeroContent{c})
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return tr
}

// zeroContent costs nothing to read.
type zeroContent struct{ *pieces }

func (z zeroContent) Open() (tree.File, error)            { return z, nil }
func (zeroContent) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{20_000, 200_000} {
		for _, perDir := range []int{100, n} {
			b.Run(fmt.Sprintf("files=%d/dir=%d", n, perDir), func(b *testing.B) {
				tr := manyFiles(b, n, perDir)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Plan(b.Context(), Options{Size: SizeAuto}, tr); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{20_000, 200_000} {
		for _, perDir := range []int{100, n} {
			b.Run(fmt.Sprintf("files=%d/dir=%d", n, perDir), func(b *testing.B) {
				j, err := Plan(b.Context(), Options{Size: SizeAuto, Zeroed: true}, manyFiles(b, n, perDir))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetBytes(int64(n) * 5000)
				for b.Loop() {
					if _, err := j.Write(b.Context(), nowhere{j.Size()}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestPlan_memory holds that what a plan keeps goes with the number of files,
// and is small: the tree itself takes three times as much.
func TestPlan_memory(t *testing.T) {
	const files, most = 100_000, 64 // bytes for each
	tr := manyFiles(t, files, 100)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	j, err := Plan(t.Context(), Options{Size: SizeAuto}, tr)
	if err != nil {
		t.Fatal(err)
	}
	if got := (heap() - before) / files; got > most {
		t.Errorf("a plan takes %d bytes for each file, want at most %d", got, most)
	}
	runtime.KeepAlive(j)
	runtime.KeepAlive(tr)
}
