package format

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// countWriter counts what is written to a device that has no bytes, but for
// the part that the test wants to know.
type countWriter struct {
	size    int64
	mu      sync.Mutex
	writes  int
	bytes   int64
	syncs   int
	pages   map[int64]bool // of 4 KiB
	superAt int            // how many syncs there were before the primary superblock
}

func (w *countWriter) Size() int64                           { return w.size }
func (w *countWriter) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func (w *countWriter) WriteAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	w.bytes += int64(len(p))
	for a := off / 4096; a <= (off+int64(len(p))-1)/4096; a++ {
		w.pages[a] = true
	}
	if off == disk.SuperblockOffset {
		w.superAt = w.syncs
	}
	return len(p), nil
}

func (w *countWriter) Sync() error { w.syncs++; return nil }

var _ device.Writer = (*countWriter)(nil)

// TestFormat_writesLittle holds the promises about empty sparse images.
func TestFormat_writesLittle(t *testing.T) {
	for _, c := range []struct {
		size   int64
		writes int
		mib    int64
	}{{64 << 30, 80, 12}, {1 << 40, 600, 20}, {16<<40 - 4096, 9000, 260}} {
		w := &countWriter{size: c.size, pages: map[int64]bool{}}
		start := time.Now()
		if err := Format(context.Background(), w, Options{Zeroed: true}); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		mib := int64(len(w.pages)) * 4096 >> 20
		t.Logf("%d GiB: %d writes, %d MiB, %v", c.size>>30, w.writes, mib, took)
		if w.writes > c.writes || mib > c.mib {
			t.Errorf("%d GiB: %d writes and %d MiB, want at most %d and %d", c.size>>30, w.writes, mib, c.writes, c.mib)
		}
		if w.superAt != 1 || w.syncs != 2 {
			t.Errorf("the superblock was written after %d flushes of %d", w.superAt, w.syncs)
		}
	}
}

// BenchmarkFormat makes empty file systems in sparse files, each with mke2fs
// beside it.
func BenchmarkFormat(b *testing.B) {
	for _, c := range []mkfsCase{"64G", "1T"} {
		dir := testimages.Scratch(b)
		b.Run("size="+string(c)+"/e4kit", func(b *testing.B) {
			for b.Loop() {
				if _, err := c.make(b, dir); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("size="+string(c)+"/mke2fs", func(b *testing.B) {
			testimages.RequireTool(b, "mke2fs")
			for b.Loop() {
				if _, err := c.mke2fs(b, dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
