package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/testimages"
)

// openQuiet opens a device for writing; nothing is committed by itself.
func openQuiet(t testing.TB, dev device.Writer) *FS {
	t.Helper()
	f, err := Open(dev, &Options{Write: true, CommitInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustRoot(t testing.TB, f *FS) *Inode {
	t.Helper()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// endsSoon fails the test where op does not end.
func endsSoon(t testing.TB, what string, op func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- op() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not end", what)
		return nil
	}
}

// TestFsync_afterReload: an inode that has left memory, and was read again, has
// changes that are not durable yet.
func TestFsync_afterReload(t *testing.T) {
	for _, dataOnly := range []bool{false, true} {
		dev := formatRAM(t, 8<<20)
		f := openQuiet(t, dev)
		root := mustRoot(t, f)
		i, err := root.Create("file", &NewNode{Mode: 0o644})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.WriteAt([]byte("content"), 0); err != nil {
			t.Fatal(err)
		}
		num := i.num
		i = nil
		shard := f.live.nodes.shard(num)
		shard.mu.Lock()
		for range lastInodes { // others come
			shard.note(newLive(f, 1))
		}
		shard.mu.Unlock()
		for n := 0; ; n++ {
			runtime.GC()
			shard.mu.Lock()
			there := shard.held[num] != nil || shard.loose[num].Value() != nil
			shard.mu.Unlock()
			if !there {
				break
			}
			if n == 10000 {
				t.Fatal("the inode is not forgotten")
			}
			time.Sleep(time.Millisecond)
		}
		if i, err = f.Inode(num); err != nil {
			t.Fatal(err)
		}
		if err := i.Fsync(context.Background(), dataOnly); err != nil {
			t.Fatal(err)
		}
		crashed := openWrite(t, dev.Clone())
		if b, err := crashed.ReadFile("file"); err != nil || string(b) != "content" {
			t.Errorf("after a crash: %q, %v", b, err)
		}
		closeWrite(t, crashed)
		closeWrite(t, f)
	}
}

// TestFsync_newFile: like in Linux, fdatasync of a new file makes it be there.
func TestFsync_newFile(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	i, err := mustRoot(t, f).Create("file", &NewNode{Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Fsync(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	crashed := openWrite(t, dev.Clone())
	if _, err := crashed.Stat("file"); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	closeWrite(t, crashed)
	closeWrite(t, f)
}

// TestInode_deletedNumber: an inode that was deleted and is asked for by its
// number cannot be changed, nor deleted again, also when the number is given
// out anew.
func TestInode_deletedNumber(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	i, err := root.Create("file", &NewNode{Mode: 0o644, Content: bytes.Repeat([]byte("x"), 9000)})
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Unlink("file"); err != nil {
		t.Fatal(err)
	}
	dead, err := f.Inode(i.num)
	if err != nil {
		t.Fatal(err)
	}
	if dead.Acquire() {
		t.Error("a deleted inode was acquired")
	}
	dead.Hold()
	if err := dead.Release(); err != nil {
		t.Errorf("release: %v", err)
	}
	if err := f.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	again, err := root.Create("again", &NewNode{Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if again.num != dead.num {
		t.Fatalf("inode %d, want %d once more", again.num, dead.num)
	}
	for what, op := range map[string]func() error{
		"write":    func() error { _, err := dead.WriteAt([]byte("bad"), 0); return err },
		"truncate": func() error { return dead.Truncate(5) },
		"setattr":  func() error { return dead.SetAttr(&SetAttr{Valid: AttrUID, UID: 7}) },
		"setxattr": func() error { return dead.SetXattr("user.x", []byte("v"), 0) },
		"update":   func() error { return dead.change(func(h *txn) error { return dead.update(h, dead.touch) }) },
	} {
		if err := op(); !errors.Is(err, ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", what, err)
		}
	}
	if same, err := f.Inode(again.num); err != nil || same != again {
		t.Errorf("another Inode of the number: %v", err)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

// TestWriteFrom_deletedMeanwhile: who writes to an inode that he does not hold
// may lose it, and must not write to the next one with its number.
func TestWriteFrom_deletedMeanwhile(t *testing.T) {
	dev := formatRAM(t, 32<<20)
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	i, err := root.Create("file", &NewNode{Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	_, err = i.WriteFrom(context.Background(), readerFunc(func(p []byte) (int, error) {
		if reads++; reads == 2 {
			if err := errors.Join(root.Unlink("file"), f.Sync(context.Background()), f.WriteFile("other", []byte("content"), 0o600)); err != nil {
				t.Error(err)
			}
		}
		return len(p), nil
	}), 0, 8<<20)
	if !errors.Is(err, ErrNotExist) {
		t.Errorf("write: %v", err)
	}
	other, err := f.Stat("other")
	if err != nil || other.Sys().(*Stat).Inode != i.num {
		t.Fatalf("the number was not used again: %v", err)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// TestBatch_syncFlag: inodes that want every change to be durable do not let
// the owner of a batch wait for himself.
func TestBatch_syncFlag(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	i, err := root.Create("file", &NewNode{Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(i.SetFlags(i.Flags()|disk.FlagSync), root.SetFlags(root.Flags()|disk.FlagDirSync)); err != nil {
		t.Fatal(err)
	}
	err = endsSoon(t, "a batch", func() error {
		b, err := f.Begin(context.Background())
		if err != nil {
			return err
		}
		err = errors.Join(f.WriteFile("file", []byte("new"), 0o644), f.Chmod("file", 0o600), f.Mkdir("dir", 0o755))
		return errors.Join(err, b.Commit(context.Background()))
	})
	if err != nil {
		t.Error(err)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// TestClose_openBatch: all of a batch or nothing, and Close ends.
func TestClose_openBatch(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	if err := errors.Join(f.Mkdir("before", 0o755), f.Sync(context.Background())); err != nil {
		t.Fatal(err)
	}
	b, err := f.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Mkdir("batch", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := endsSoon(t, "Close", f.Close); !errors.Is(err, ErrBusy) {
		t.Errorf("close: %v, want ErrBusy", err)
	}
	if err := b.Commit(context.Background()); err == nil {
		t.Error("a batch was committed after Close")
	}
	f = openWrite(t, dev)
	if _, err := f.Stat("before"); err != nil {
		t.Error(err)
	}
	if _, err := f.Stat("batch"); !errors.Is(err, ErrNotExist) {
		t.Errorf("half of a batch: %v", err)
	}
	closeWrite(t, f)
}

// TestClose_cancelled: who is interrupted leaves a clean image, orphans
// deleted, and all callers of Close wait for that.
func TestClose_cancelled(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	ctx, cancel := context.WithCancel(context.Background())
	f, err := Open(dev, &Options{Write: true, Context: ctx, CommitInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mustRoot(t, f).Tmpfile(&NewNode{Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("file", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := f.Mkdir("late", 0o755); !errors.Is(err, context.Canceled) {
		t.Errorf("mkdir: %v", err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := f.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			var sb disk.Superblock
			raw := make([]byte, disk.SuperblockSize)
			if _, err := dev.ReadAt(raw, disk.SuperblockOffset); err != nil {
				t.Error(err)
			}
			if err := sb.Decode(raw); err != nil || sb.Features.Incompat.Has(disk.IncompatRecover) || sb.State != disk.StateValid || sb.LastOrphan != 0 {
				t.Errorf("not clean: state %d, last orphan %d, %v", sb.State, sb.LastOrphan, err)
			}
		})
	}
	group.Wait()
	fsckDevice(t, dev)
}

// TestOpenWrite_refusedFeatures: each by its name, before anything is written.
func TestOpenWrite_refusedFeatures(t *testing.T) {
	for _, c := range []struct {
		bits disk.ROCompat
		name string
	}{
		{disk.ROCompatReadonly, "read-only"}, {disk.ROCompatSharedBlocks, "shared_blocks"}, {1 << 30, "FEATURE_R30"},
		{disk.ROCompatSharedBlocks | 1<<29, "FEATURE_R29"},
	} {
		dev := formatRAM(t, 4<<20)
		f := openQuiet(t, dev)
		sb := f.live.super.now()
		closeWrite(t, f)
		sb.Features.ROCompat |= c.bits
		if err := writeSuper(dev, &sb); err != nil {
			t.Fatal(err)
		}
		before := deviceBytes(t, dev)
		_, err := Open(dev, &Options{Write: true})
		var feature *FeatureError
		if !errors.Is(err, ErrReadOnly) || !errors.As(err, &feature) || feature.Set != "ro_compat" {
			t.Errorf("%s: %v", c.name, err)
		} else if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(c.bits.Names()[0])) {
			t.Errorf("%v does not name %v", err, c.bits.Names())
		}
		if !bytes.Equal(before, deviceBytes(t, dev)) {
			t.Errorf("%s: the image was written", c.name)
		}
		if ro, err := Open(dev, nil); err != nil {
			t.Errorf("%s: reading: %v", c.name, err)
		} else {
			ro.Close()
		}
	}
}

func deviceBytes(t testing.TB, dev device.Device) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(dev, 0, dev.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOpenWrite_refusedAfterReplay: what the journal brings counts too.
func TestOpenWrite_refusedAfterReplay(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	if err := f.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := f.begin(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.end(h, f.live.super.setROCompat(h, disk.ROCompatReadonly)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if g, err := Open(dev.Clone(), &Options{Write: true}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v, want ErrReadOnly", err)
		if err == nil {
			g.Close()
		}
	}
	closeWrite(t, f)
}

// TestWrite_refusedInodes: what cannot be written safely says so.
func TestWrite_refusedInodes(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	for _, c := range []struct {
		flag disk.InodeFlags
		want error
	}{{disk.FlagVerity, ErrNotPermitted}, {disk.FlagImmutable, ErrNotPermitted}, {disk.FlagEncrypt, ErrNoKey}} {
		i, err := root.Create(c.flag.String(), &NewNode{Mode: 0o644, Content: make([]byte, 5000)})
		if err != nil {
			t.Fatal(err)
		}
		set := func(on bool) {
			err := i.change(func(h *txn) error {
				return i.update(h, func(r disk.Inode) { r.SetFlags(r.Flags() ^ c.flag) })
			})
			if err != nil || i.Flags().Has(c.flag) != on {
				t.Fatal(err)
			}
		}
		set(true)
		for what, op := range map[string]func() error{
			"write":     func() error { _, err := i.WriteAt([]byte("x"), 0); return err },
			"append":    func() error { _, _, err := i.Append([]byte("x")); return err },
			"truncate":  func() error { return i.Truncate(1) },
			"size":      func() error { return i.SetAttr(&SetAttr{Valid: AttrSize}) },
			"fallocate": func() error { return i.Fallocate(0, 0, 9000) },
			"map":       func() error { _, err := i.MapForWrite(0, 100); return err },
			"end":       func() error { return i.EndWrite(0, 9000) },
			"from": func() error {
				_, err := i.WriteFrom(context.Background(), strings.NewReader("x"), 0, 1)
				return err
			},
		} {
			if err := op(); !errors.Is(err, c.want) {
				t.Errorf("%s of an inode with %s: %v, want %v", what, c.flag, err, c.want)
			}
		}
		set(false)
	}
	dir, err := root.Create("dir", &NewNode{Mode: disk.ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	flip := func() {
		if err := dir.change(func(h *txn) error {
			return dir.update(h, func(r disk.Inode) { r.SetFlags(r.Flags() ^ disk.FlagEncrypt) })
		}); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	_, err = dir.Create("name", &NewNode{Mode: 0o644})
	_, err2 := dir.Tmpfile(&NewNode{Mode: 0o644})
	for _, err := range []error{err, err2, dir.Link("name", root), root.Rename(disk.FlagVerity.String(), dir, "name", 0)} {
		if !errors.Is(err, ErrNoKey) {
			t.Errorf("encrypted names: %v, want ErrNoKey", err)
		}
	}
	flip()
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// TestNoteError_afterLater: damage that was noted by somebody with locks does
// not keep the next one from ending the writing.
func TestNoteError_afterLater(t *testing.T) {
	dev := formatRAM(t, 8<<20, "-e", "remount-ro")
	f := openQuiet(t, dev)
	f.live.super.noteLater(&CorruptError{What: "first"})
	f.noteError(&CorruptError{What: "second"})
	if f.Writable() {
		t.Error("the file system is still writable")
	}
	f.Close()
}

// TestOpenWrite_journalError: the superblock takes the journal's error over,
// once.
func TestOpenWrite_journalError(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	if err := errors.Join(f.Mkdir("dir", 0o755), f.Sync(context.Background())); err != nil {
		t.Fatal(err)
	}
	f.live.journal.Abort(&CorruptError{What: "something"})
	if err := f.Close(); !errors.Is(err, journal.ErrAborted) {
		t.Errorf("close: %v", err)
	}
	f = openWrite(t, dev)
	if f.Recovered().JournalError == 0 || f.Super().State&disk.StateError == 0 {
		t.Errorf("journal error %d, state %d", f.Recovered().JournalError, f.Super().State)
	}
	closeWrite(t, f)
	f = openWrite(t, dev)
	if f.Recovered().JournalError != 0 || f.Super().State&disk.StateError == 0 {
		t.Errorf("next open: journal error %d, state %d", f.Recovered().JournalError, f.Super().State)
	}
	closeWrite(t, f)
	path := saveRAM(t, dev)
	testimages.Run(t, "e2fsck", "-fy", path)
	testimages.Fsck(t, path)
}

// TestSetFlags_journalDataStaleCache: what somebody has looked at through the
// cache is not what direct writes have made of it since.
func TestSetFlags_journalDataStaleCache(t *testing.T) {
	dev := formatRAM(t, 8<<20)
	f := openQuiet(t, dev)
	i, err := mustRoot(t, f).Create("file", &NewNode{Mode: 0o644, Content: bytes.Repeat([]byte("old "), 1024)})
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range i.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Block(e.Physical); err != nil {
			t.Fatal(err)
		}
	}
	want := bytes.Repeat([]byte("new "), 1024)
	if _, err := i.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := i.SetFlags(i.Flags() | disk.FlagJournalData); err != nil {
		t.Fatal(err)
	}
	if _, err := i.WriteAt([]byte("more"), 8); err != nil {
		t.Fatal(err)
	}
	copy(want[8:], "more")
	if got, err := f.ReadFile("file"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes that differ, %v", len(got), err)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// A file that is copied to itself can lose a hole on the way: the last bytes of
// what is copied, and the first place for it, lie in one block.
func TestCopyFrom_ownHole(t *testing.T) {
	w := newWriteImage(t, nil, 8<<20, 1)
	i := w.inode("f0")
	want := make([]byte, 15<<12)
	for k := range 7 << 12 {
		want[k] = byte(k%251 + 1)
	}
	if _, err := i.WriteAt(want[:7<<12], 0); err != nil {
		t.Fatal(err)
	}
	if err := i.Truncate(int64(len(want))); err != nil {
		t.Fatal(err)
	}
	const from, to, n = 5 << 12, 7<<12 + 4000, 2<<12 + 1000 // reads up to 1000 in the block with to
	copy(want[to:], append([]byte(nil), want[from:from+n]...))
	if done, err := i.CopyFrom(t.Context(), i, from, to, n); done != n || err != nil {
		t.Errorf("copied %d, %v", done, err)
	}
	w.close(map[string][]byte{"f0": want})
}

// TestCopyFrom_ends: lengths up to the largest number mean up to the end, and
// the ranges that count are those that are copied.
func TestCopyFrom_ends(t *testing.T) {
	f := openQuiet(t, formatRAM(t, 8<<20))
	i, err := mustRoot(t, f).Create("file", &NewNode{Mode: 0o644, Content: make([]byte, 100)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := i.CopyFrom(ctx, i, 0, 10, math.MaxInt64); !errors.Is(err, ErrInvalid) {
		t.Errorf("overlap: %v", err)
	}
	if n, err := i.CopyFrom(ctx, i, 0, 100, math.MaxInt64); n != 100 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := i.CopyFrom(ctx, i, 1000, 0, 10); n != 0 || err != nil {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
	if _, err := i.CopyFrom(ctx, i, 0, math.MaxInt64-5, 100); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("too far: %v", err)
	}
	closeWrite(t, f)
}

// TestOpenFile_exclusive: an image has one writer, and no readers meanwhile who
// ask for the lock.
func TestOpenFile_exclusive(t *testing.T) {
	path := formatFile(t, 4<<20)
	f, err := OpenFile(path, &Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []*Options{{Write: true}, nil} {
		g, err := OpenFile(path, o)
		if !errors.Is(err, ErrBusy) && !errors.Is(err, syscall.EBUSY) {
			t.Errorf("another open: %v", err)
		}
		if err == nil {
			g.Close()
		}
	}
	closeWrite(t, f)
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	testimages.Fsck(t, path)
}
