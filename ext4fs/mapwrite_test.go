package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestEndWrite_crash cuts the power at any moment of writes that somebody else
// makes, with a commit after each of their steps: no file has blocks beyond its
// size that are not unwritten, nor shows what was in them before.
func TestEndWrite_crash(t *testing.T) {
	for _, name := range []string{"4k", "nocsum", "bigalloc", "ext3", "orphan_file", "quota"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := crashKindOf(t, name)
			rec, err := testimages.NewRecorder(kind.base(t))
			if err != nil {
				t.Fatal(err)
			}
			f, err := kind.open(rec, nil, true)
			if err != nil {
				t.Fatal(err)
			}
			i, err := mustRoot(t, f).Create("file", &NewNode{Mode: disk.ModeRegular | 0o600, Content: bytes.Repeat([]byte{1}, 1500)})
			if err != nil {
				t.Fatal(err)
			}
			bs := int64(f.BlockSize())
			for _, off := range []int64{4 * bs, 30 * bs, 29 * bs, 0, 60 * bs} {
				directWrite(t, f, i, off, 2*bs)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			d, err := testimages.NewDumper(testimages.Scratch(t) + "/crash")
			if err != nil {
				t.Fatal(err)
			}
			o := testimages.CrashOptions{Subsets: 1, Seed: 4, Workers: 1, Rate: 0.5}
			_, err = testimages.CrashStates(t.Context(), rec.Log(), o, func(s *testimages.CrashState) error {
				recovered := s.Dev.Clone()
				f, err := kind.open(recovered, nil, true)
				if err != nil {
					return err
				}
				if err := f.Close(); err != nil {
					return err
				}
				return errors.Join(nothingStale(recovered), d.CheckClean(recovered))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func crashKindOf(t *testing.T, name string) *crashKindCase {
	t.Helper()
	for _, kind := range crashKinds {
		if kind.name == name {
			return kind
		}
	}
	t.Fatalf("no kind %s", name)
	return nil
}

// directWrite writes past the file system, and commits after each step.
func directWrite(t *testing.T, f *FS, i *Inode, off, n int64) {
	t.Helper()
	sync := func() {
		if err := f.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := i.MapForWrite(off, n)
	if err != nil {
		t.Fatal(err)
	}
	sync()
	bs := int64(f.BlockSize())
	for _, e := range runs {
		if _, err := f.live.dev.WriteAt(bytes.Repeat([]byte{2}, int(e.Len)*int(bs)), int64(e.Physical)*bs); err != nil {
			t.Fatal(err)
		}
	}
	sync()
	if err := i.EndWrite(off, n); err != nil {
		t.Fatal(err)
	}
	sync()
	if end := off + n; i.Size() < end {
		t.Errorf("%d bytes, want %d", i.Size(), end)
	}
	if i.orphan.kind != orphanNone {
		t.Errorf("still an orphan")
	}
}

// TestEndWrite_inParts: where the conversion takes several transactions the size
// never gets ahead of it, nor stays behind.
func TestEndWrite_inParts(t *testing.T) {
	f := openQuiet(t, formatRAM(t, 8<<20))
	i, err := mustRoot(t, f).Create("file", &NewNode{Mode: disk.ModeRegular | 0o600})
	if err != nil {
		t.Fatal(err)
	}
	bs := int64(f.BlockSize())
	if _, err := i.MapForWrite(bs, 4*bs); err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	w := written{i: i, off: bs, to: 4*bs + 10, at: 1, end: 3}
	done, err := w.step()
	if err != nil || !done || i.Size() != 3*bs {
		t.Errorf("half: %v, %v, %d bytes", done, err, i.Size())
	}
	w.end = 5
	done, err = w.step()
	if err != nil || !done || i.Size() != 4*bs+10 {
		t.Errorf("all: %v, %v, %d bytes", done, err, i.Size())
	}
	i.mu.Unlock()
	if err := i.EndWrite(bs, bs); err != nil || i.Size() != 4*bs+10 {
		t.Errorf("again: %v, %d bytes", err, i.Size())
	}
	for e, err := range i.Extents() {
		if err != nil || e.Flags != 0 {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

// TestEndWrite_tail: what lies between the old end and the new data reads as
// zeros, whatever was in the block.
func TestEndWrite_tail(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	if err := f.WriteFile("file", []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	i, err := f.Lookup("file")
	if err != nil {
		t.Fatal(err)
	}
	bs := int64(f.BlockSize())
	for e, err := range i.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.live.dev.WriteAt(bytes.Repeat([]byte{stale}, 100), int64(e.Physical)*bs+7); err != nil {
			t.Fatal(err)
		}
	}
	directWrite(t, f, i, bs, bs)
	p := make([]byte, bs)
	if _, err := i.ReadAt(p, 0); err != nil || !bytes.Equal(p[:7], []byte("content")) || len(bytes.Trim(p[7:], "\x00")) > 0 {
		t.Errorf("%q, %v", p, err)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// TestEndWrite_wrong: errors come before anything changes.
func TestEndWrite_wrong(t *testing.T) {
	f := openQuiet(t, formatRAM(t, 8<<20))
	i, err := mustRoot(t, f).Create("file", &NewNode{Mode: disk.ModeRegular | 0o600})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off, n int64
		want   error
	}{{-1, 1, ErrInvalid}, {0, 0, ErrInvalid}, {i.maxBytes(), 1, ErrFileTooBig}, {1, i.maxBytes(), ErrFileTooBig}, {1 << 62, 1 << 62, ErrFileTooBig}} {
		if err := i.EndWrite(c.off, c.n); !errors.Is(err, c.want) {
			t.Error(fmt.Errorf("%d at %d: %w, want %w", c.n, c.off, err, c.want))
		}
	}
	if i.Size() != 0 {
		t.Errorf("%d bytes", i.Size())
	}
}
