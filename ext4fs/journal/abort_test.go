package journal

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// script commits, forgets, checkpoints and closes; it stops at the first error.
// acked is the newest transaction that was durable.
func script(w *world, acked *uint32, values *[10]uint64) error {
	ctx := context.Background()
	for i := range uint64(6) {
		h, err := w.j.Begin(ctx, 3)
		if err != nil {
			return err
		}
		for n := range disk.BlockNum(3) {
			bn := (disk.BlockNum(i) + n*n) % 10
			b, err := h.Write(bn, testSealer{})
			if err != nil {
				return errors.Join(err, h.End())
			}
			put(b.Data(), i+1)
			values[bn] = i + 1
		}
		id := h.ID()
		if err := h.End(); err != nil {
			return err
		}
		if err := w.j.Commit(ctx, id); err != nil {
			return err
		}
		*acked = id
		if i == 3 {
			if err := w.j.Checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	return w.j.Close(ctx)
}

// Every write and every flush fails once. The journal must abort with the
// cause, write nothing but its superblock afterwards, and lose nothing that it
// has called durable.
func TestAbort_everyOperation(t *testing.T) {
	for _, op := range []testimages.FaultOps{testimages.FaultWrite, testimages.FaultSync} {
		for _, logless := range []bool{false, true} {
			failed := 0
			for nth := 1; ; nth++ {
				if !abortAt(t, op, nth, logless) {
					break
				}
				failed++
			}
			if failed < 8 {
				t.Errorf("%v: only %d operations", op, failed)
			}
		}
	}
}

// abortAt lets the nth operation fail; false if there are not so many.
func abortAt(t *testing.T, op testimages.FaultOps, nth int, logless bool) bool {
	t.Helper()
	var fault *testimages.FaultWriter
	w := newWorld(t, kinds[6], 1024, func(d device.Writer) device.Writer {
		fault = testimages.NewFaultWriter(d)
		return fault
	})
	log := w.log
	if logless {
		w.log = nil
	}
	var told atomic.Int32
	w.cfg.OnAbort = func(err error) {
		if errors.Is(err, ErrAborted) {
			told.Add(1)
		}
	}
	j := w.start()
	broken := errors.New("broken")
	fault.Inject(testimages.Fault{Ops: op, Nth: nth, Torn: testimages.TornPrefix, Seed: uint64(nth), Err: broken})
	var acked uint32
	var values [10]uint64
	err := script(w, &acked, &values)
	if fault.Hits() == 0 {
		if err != nil {
			t.Errorf("%v %d: %v", op, nth, err)
		}
		return false
	}
	if !errors.Is(err, ErrAborted) || !errors.Is(err, broken) || told.Load() != 1 {
		t.Errorf("%v %d: %v; told %d times", op, nth, err, told.Load())
	}
	writes := fault.Calls(testimages.FaultWrite)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, beginErr := j.Begin(ctx, 1)
	for _, err := range []error{beginErr, j.Sync(ctx), j.Flush(ctx), j.Checkpoint(ctx), j.Close(ctx), j.Close(ctx)} {
		if !errors.Is(err, ErrAborted) || !errors.Is(err, broken) {
			t.Errorf("%v %d: after the abort: %v", op, nth, err)
		}
	}
	if n := fault.Calls(testimages.FaultWrite) - writes; n > 1 {
		t.Errorf("%v %d: %d writes after the abort", op, nth, n)
	}
	if logless {
		return true
	}
	w.log = log
	rec := w.load()
	if rec.Superblock.Errno != -int32(syscall.EIO) {
		t.Errorf("%v %d: errno %d in the superblock", op, nth, rec.Superblock.Errno)
	}
	last := rec.Superblock.Sequence - 1
	if rec.Needed {
		last = rec.EndID - 1
	}
	if disk.SequenceBefore(last, acked) {
		t.Errorf("%v %d: recovery ends with %d, but %d was durable", op, nth, last, acked)
	}
	return true
}

// Those who wait must not wait for ever.
func TestAbort_wakesAll(t *testing.T) {
	w := newWorld(t, kinds[0], 1024, nil)
	j := w.start()
	h := w.begin(j.Stats().MaxCredits)
	errs := make(chan error)
	for _, f := range []func() error{
		func() error { return j.Commit(context.Background(), h.ID()) },
		func() error { return j.Sync(context.Background()) },
		func() error { _, err := j.Begin(context.Background(), 5); return err },
		func() error { return j.Checkpoint(context.Background()) },
		func() error { return j.Close(context.Background()) },
	} {
		go func() { errs <- f() }()
	}
	time.Sleep(20 * time.Millisecond)
	cause := syscall.ENOMEM
	j.Abort(cause)
	j.Abort(errors.New("too late"))
	for range 5 {
		// A Begin that meets Close first is told that the journal is closing.
		if err := <-errs; !errors.Is(err, ErrAborted) && !errors.Is(err, ErrClosed) {
			t.Errorf("waiter got %v", err)
		}
	}
	if _, err := h.Write(1, nil); !errors.Is(err, cause) {
		t.Errorf("write after the abort: %v", err)
	}
	if err := h.End(); !errors.Is(err, cause) {
		t.Errorf("end after the abort: %v", err)
	}
	if err := j.Close(context.Background()); !errors.Is(err, cause) {
		t.Errorf("close after the abort: %v", err)
	}
	sb, _, err := ReadSuperblock(w.log, w.bs)
	if err != nil || sb.Errno != -int32(syscall.ENOMEM) {
		t.Errorf("errno %d, %v", sb.Errno, err)
	}
	if err := ClearError(w.log); err != nil {
		t.Fatal(err)
	}
	if sb, _, _ := ReadSuperblock(w.log, w.bs); sb.Errno != 0 {
		t.Errorf("errno %d after ClearError", sb.Errno)
	}
}

// A block that cannot be read is the caller's trouble, not the journal's.
func TestWrite_readError(t *testing.T) {
	var fault *testimages.FaultWriter
	w := newWorld(t, kinds[0], 1024, func(d device.Writer) device.Writer {
		fault = testimages.NewFaultWriter(d)
		return fault
	})
	w.start()
	fault.Inject(testimages.Fault{Ops: testimages.FaultRead})
	h := w.begin(1)
	if _, err := h.Write(3, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("write of an unreadable block: %v", err)
	}
	if h.Credits() != 1 {
		t.Error("the credit is gone")
	}
	if _, err := h.Write(3, nil); err != nil {
		t.Error(err)
	}
	w.end(h)
}
