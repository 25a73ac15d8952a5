package ext4fs

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestSuperIsOneSector: whatever is done, the second half of the superblock
// stays as it is, so that the writing of it cannot stop half way.
func TestSuperIsOneSector(t *testing.T) {
	for _, kind := range crashKinds {
		rec, err := testimages.NewRecorder(kind.base(t))
		if err != nil {
			t.Fatal(err)
		}
		f, err := kind.open(rec, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		i := create(t, rootOf(t, f), "file", disk.ModeRegular|0o644)
		i.Hold()
		if err := f.Remove("file"); err != nil { // the head of the list of orphans
			t.Fatal(err)
		}
		if err := f.SetLabel("label"); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := f.live.journal.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := i.Release(); err != nil {
			t.Fatal(err)
		}
		closeWrite(t, f)
		log := rec.Log()
		want := make([]byte, 512)
		if _, err := log.Base.ReadAt(want, disk.SuperblockOffset+512); err != nil {
			t.Fatal(err)
		}
		writes := 0
		for n := range log.Events {
			e := &log.Events[n]
			at := disk.SuperblockOffset + 512 - e.Off
			if e.Kind != testimages.EventWrite || at < 0 || at+512 > e.N {
				continue
			}
			if writes++; !bytes.Equal(e.Data[at:at+512], want) {
				t.Errorf("%s: write %v changes the second half of the superblock", kind.name, e)
			}
		}
		if writes < 2 {
			t.Errorf("%s: the superblock was written %d times", kind.name, writes)
		}
	}
}

// TestClosedIsForgotten: nothing keeps a file system that was closed in memory,
// of which there may be many, one after the other.
func TestClosedIsForgotten(t *testing.T) {
	for _, kind := range crashKinds {
		gone := make(chan struct{})
		func() {
			f, err := kind.open(kind.base(t), nil, true)
			if err != nil {
				t.Fatal(err)
			}
			create(t, rootOf(t, f), "file", disk.ModeRegular|0o644)
			closeWrite(t, f)
			runtime.AddCleanup(f, func(done chan struct{}) { close(done) }, gone)
		}()
		forgotten := false
		for range 100 {
			runtime.GC()
			select {
			case <-gone:
				forgotten = true
			case <-time.After(10 * time.Millisecond):
			}
			if forgotten {
				break
			}
		}
		if !forgotten {
			t.Errorf("%s: still in memory", kind.name)
		}
	}
}
