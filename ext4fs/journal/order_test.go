package journal

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// teller says what is written and flushed, by the parts of a world.
type teller struct {
	device.Writer
	w    *world
	name string
	tell *strings.Builder
	mu   *sync.Mutex
}

func (d *teller) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.tell, format, args...)
}

func (d *teller) Sync() error {
	d.say("%s.sync ", d.name)
	return d.Writer.Sync()
}

func (d *teller) WriteAt(p []byte, off int64) (int, error) {
	bn := off / int64(d.w.bs)
	n := len(p) / d.w.bs
	what := "home"
	if h, ok := disk.DecodeJournalHeader(p); ok && (d.name == "log" || bn >= worldBlocks) {
		what = h.Type.String()
	}
	d.say("%s.%s%d ", d.name, what, n)
	return d.Writer.WriteAt(p, off)
}

func (d *teller) told() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.tell.Reset()
	return strings.TrimSpace(d.tell.String())
}

// The writes and flushes of a commit and a checkpoint: none is missing, and
// none too many. With the first write goes a block of zeros to where the commit
// block will be.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		external bool
		logless  bool
		want     [4]string // first commit, second, revoking one, close
	}{
		{name: "internal", want: [4]string{
			"dev.superblock v21 dev.descriptor5 dev.sync dev.commit1 dev.sync",
			"dev.descriptor3 dev.sync dev.commit1 dev.sync",
			"dev.superblock v21 dev.revoke4 dev.sync dev.commit1 dev.sync",
			"dev.home1 dev.home1 dev.home1 dev.sync dev.superblock v21 dev.sync",
		}},
		{name: "external", external: true, want: [4]string{
			"log.superblock v21 log.descriptor5 dev.sync log.sync log.commit1 log.sync",
			"log.descriptor3 dev.sync log.sync log.commit1 log.sync",
			"log.superblock v21 log.revoke4 dev.sync log.sync log.commit1 log.sync",
			"dev.home1 dev.home1 dev.home1 dev.sync log.superblock v21 log.sync",
		}},
		{name: "none", logless: true, want: [4]string{
			"dev.sync dev.home3 dev.sync",
			"dev.sync dev.home1 dev.sync",
			"dev.sync dev.home1 dev.sync",
			"dev.sync",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d *teller
			w := newWorld(t, kinds[6], 1024, func(dev device.Writer) device.Writer {
				d = &teller{Writer: dev, name: "dev", tell: new(strings.Builder), mu: new(sync.Mutex)}
				return d
			})
			d.w = w
			if tt.external {
				l := *d
				l.name = "log"
				w.log.w, w.log.external = &l, true
			}
			if tt.logless {
				w.log = nil
			}
			w.start()
			d.told()
			for i, change := range []func(h *Handle){
				func(h *Handle) {
					for n := range disk.BlockNum(3) {
						b, _ := h.Write(n, testSealer{})
						put(b.Data(), 1)
					}
				},
				func(h *Handle) { b, _ := h.Write(1, testSealer{}); put(b.Data(), 2) },
				func(h *Handle) { h.Forget(1); b, _ := h.Write(9, testSealer{}); put(b.Data(), 4) },
			} {
				h := w.begin(3)
				change(h)
				w.commit(w.end(h))
				if got := d.told(); got != tt.want[i] {
					t.Errorf("commit %d: %s\nwant      %s", i, got, tt.want[i])
				}
			}
			// Nothing to commit: data is flushed all the same.
			if err := w.j.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := d.told(); got != "dev.sync" {
				t.Errorf("idle sync: %s", got)
			}
			if err := w.j.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := d.told(); got != tt.want[3] {
				t.Errorf("close: %s\nwant   %s", got, tt.want[3])
			}
		})
	}
}

// TestTornCommit: where a commit block goes there are zeros, lap after lap, so
// that any part of its sectors is a whole commit block, or none.
func TestTornCommit(t *testing.T) {
	var old *tornWatch
	w := newWorld(t, kinds[6], 1024, func(dev device.Writer) device.Writer {
		old = &tornWatch{Writer: dev}
		return old
	})
	old.w = w
	w.start()
	for v := range uint64(1500) {
		w.commit(w.change(v+1, disk.BlockNum(v%300), disk.BlockNum(v*7%300)))
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	if old.commits < 1500 || old.bad > 0 {
		t.Errorf("%d of %d commit blocks came over something else than zeros", old.bad, old.commits)
	}
}

// tornWatch looks at what commit blocks are written over.
type tornWatch struct {
	device.Writer
	w  *world
	mu sync.Mutex // guards what follows

	commits, bad int
}

func (d *tornWatch) WriteAt(p []byte, off int64) (int, error) {
	if h, ok := disk.DecodeJournalHeader(p); ok && h.Type == disk.JournalCommit && off/int64(d.w.bs) >= worldBlocks {
		b := make([]byte, len(p))
		if _, err := d.Writer.ReadAt(b, off); err != nil {
			return 0, err
		}
		d.mu.Lock()
		if d.commits++; !allZeros(b) || len(b) != d.w.bs {
			d.bad++
		}
		d.mu.Unlock()
	}
	return d.Writer.WriteAt(p, off)
}
