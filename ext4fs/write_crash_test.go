package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// stale is a byte that free blocks are full of, and no file has.
const stale = 0xee

// soil makes all free blocks stale, and the files empty again.
func soil(t *testing.T, w *writeImage) {
	t.Helper()
	i := w.inode("f0")
	p := bytes.Repeat([]byte{stale}, 1<<20)
	for off := int64(0); ; {
		n, err := i.WriteAt(p, off)
		off += int64(n)
		if errors.Is(err, ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := w.fs.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWrite_crashShowsNothingStale cuts the power at any moment of random
// writing: the image must recover, and no file may show what was in its blocks
// before it had them.
func TestWrite_crashShowsNothingStale(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		mkfs []string
	}{
		{"1k", Options{}, []string{"-b", "1024"}},
		{"4k", Options{}, nil},
		{"bigalloc", Options{}, []string{"-O", "bigalloc", "-C", "16384"}},
		{"ext3", Options{}, []string{"-t", "ext3", "-b", "1024"}},
		{"journal", Options{DataMode: DataJournal}, []string{"-b", "1024"}},
		{"inline", Options{}, []string{"-b", "1024", "-O", "inline_data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWriteImage(t, &c.opts, 12<<20, 3, c.mkfs...)
			soil(t, w)
			log := recordWrites(t, w, &c.opts)
			var mu sync.Mutex // guards d and n
			d, err := testimages.NewDumper(w.path + ".crash")
			if err != nil {
				t.Fatal(err)
			}
			o := testimages.CrashOptions{Subsets: 3, Seed: 3, Max: 400, Workers: 2, Rate: 0.5}
			n := 0
			made, err := testimages.CrashStates(context.Background(), log, o, func(s *testimages.CrashState) error {
				if err := nothingStale(s.Dev); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				if n++; n%8 != 0 {
					return nil
				}
				return d.Judge(s.Dev)
			})
			if err != nil {
				t.Fatal(err)
			}
			if made < 50 {
				t.Errorf("only %d states", made)
			}
		})
	}
}

// recordWrites does random things, and returns what the device saw.
func recordWrites(t *testing.T, w *writeImage, opts *Options) *testimages.WriteLog {
	t.Helper()
	rec, err := testimages.NewRecorder(w.dev)
	if err != nil {
		t.Fatal(err)
	}
	o := *opts
	o.Write, o.CommitInterval = true, -1
	if w.fs, err = Open(rec, &o); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	var models []*model
	for n, name := range w.files {
		models = append(models, &model{w: w, i: w.inode(name), name: name, rng: rng, max: 60 << 10, seq: byte(n * 80)})
	}
	for range 60 {
		what, err := models[rng.IntN(3)].step(models[rng.IntN(3)])
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if rng.IntN(4) == 0 {
			if err := w.fs.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.fs.Close(); err != nil {
		t.Fatal(err)
	}
	return rec.Log()
}

func nothingStale(dev device.Device) error {
	f, err := Open(dev, nil)
	if err != nil {
		return err
	}
	return fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		p, err := f.ReadFile(name)
		if at := bytes.IndexByte(p, stale); err == nil && at >= 0 {
			err = fmt.Errorf("%s of %d bytes shows stale data at %d", name, len(p), at)
		}
		return err
	})
}
