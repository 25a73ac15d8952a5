package ext4fs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// TestNames_loop: two directories that are in each other, as only damage makes
// them, do not make two operations wait for each other.
func TestNames_loop(t *testing.T) {
	dev := formatRAM(t, 8<<20, "-b", "1024")
	f := openQuiet(t, dev)
	a, err := mustRoot(t, f).Create("a", &NewNode{Mode: disk.ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Create("b", &NewNode{Mode: disk.ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	o, err := b.openDir()
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.begin(o.insertCredits())
	if err != nil {
		t.Fatal(err)
	}
	o.begun(h)
	if err := f.end(h, o.insert("a", a)); err != nil {
		t.Fatal(err)
	}
	b.mu.Unlock()
	var group sync.WaitGroup
	until := time.Now().Add(300 * time.Millisecond)
	for k, op := range []func() error{
		func() error { return a.Rmdir("b") },
		func() error { return b.Rmdir("a") },
		func() error { return b.Unlink("a") },
		func() error { return a.Rename("b", a, "c", 0) },
		func() error { return a.Rename("c", a, "b", 0) },
		func() error { return b.Rename("a", b, "d", 0) },
		func() error { return b.Rename("d", b, "a", 0) },
		func() error { return a.Rename("b", b, "e", 0) },
		func() error { return b.Rename("a", a, "f", RenameExchange) },
		func() error { return f.RemoveAll("a") },
	} {
		group.Go(func() {
			for n := 0; n < 200 || time.Now().Before(until); n++ {
				if err := op(); err == nil || errors.Is(err, ErrNotExist) {
					continue
				} else if !errors.Is(err, ErrNotEmpty) && !errors.Is(err, ErrIsDir) && !errors.Is(err, ErrCorrupt) &&
					!errors.Is(err, ErrInvalid) && !errors.Is(err, ErrBusy) {
					t.Errorf("operation %d: %v", k, err)
				}
			}
		})
	}
	_ = endsSoon(t, "a loop", func() error { group.Wait(); return nil })
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestBatch_byTurns: batches that overlap all the time do not put off a Sync.
func TestBatch_byTurns(t *testing.T) {
	f := openQuiet(t, formatRAM(t, 8<<20))
	if err := errors.Join(f.WriteFile("0", nil, 0o644), f.WriteFile("1", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	var turn sync.Mutex // held to begin, so that each begins while another one is open
	for k := range 2 {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				turn.Lock()
				b, err := f.Begin(context.Background())
				turn.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				err = f.Chmod(fmt.Sprint(k), 0o600)
				time.Sleep(time.Millisecond)
				if err := errors.Join(err, b.Commit(context.Background())); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		if err := endsSoon(t, "Sync", func() error { return f.Sync(context.Background()) }); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	group.Wait()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
