package ext4fs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Multiple mount protection: who writes to the file system says so in a block of
// its own, and says it again every few seconds with another number.
//
//	start   read the number; clean: take it. Else wait for longer than its owner
//	        may be silent: a number that changes is of a living one. Write an own
//	        number, wait again, look whether it is still there
//	running every interval: look whether the block is as it was left, count on
//	stop    look once more, write that it is clean
//
// The record goes past the journal and past what the host caches. Bytes of the
// block that are not known stay as they are. The kernel looks whether the block
// is its own only when it was late; looking each time costs one read.

const (
	mmpMinInterval = 5 * time.Second   // for which others wait at least
	mmpMaxInterval = 300 * time.Second // for which nobody has to wait longer
	mmpMaxExtra    = 60 * time.Second
	mmpPoll        = time.Second // how often a wait looks whether it is in vain
)

// MMPConfig says where the protection block is and who keeps it.
type MMPConfig struct {
	Device    device.Writer
	Block     disk.BlockNum // s_mmp_block
	BlockSize int           // bytes
	// UpdateInterval is s_mmp_update_interval; 0 is 5 seconds.
	UpdateInterval time.Duration
	// Checksum tells that the file system has metadata checksums, with that
	// seed.
	Checksum bool
	Seed     uint32
	// Node and Name are what others are told: this host ("" asks the system)
	// and the device or file on it.
	Node, Name string
	// Fsck keeps the block as a checker: others are refused at once.
	Fsck bool
	// OnLost is called once, from a goroutine, when the block is not ours
	// any more, or could not be written for so long that others may take it.
	// Nothing may be written to the file system from then on.
	OnLost func(error)
	// Now is the time to write down; nil is time.Now.
	Now func() time.Time
}

// MMPError says that the file system belongs to somebody else. It matches
// ErrBusy and syscall.EBUSY.
type MMPError struct {
	Status MMPStatus // what the block says
	Block  disk.BlockNum
	Lost   bool  // it was ours before
	Err    error // why it was given up, if not for what the block says
}

func (e *MMPError) Error() string {
	const what = "multiple mount protection: "
	switch {
	case e.Err != nil:
		return what + "block " + fmt.Sprint(e.Block) + " could not be kept: " + e.Err.Error()
	case e.Lost:
		return what + "taken away: " + e.Status.String()
	}
	return what + e.Status.String()
}

// Is reports whether target is ErrBusy or syscall.EBUSY.
func (e *MMPError) Is(target error) bool {
	return target == ErrBusy || target == error(syscall.EBUSY)
}

// Unwrap returns the cause.
func (e *MMPError) Unwrap() error { return e.Err }

// MMPKeeper holds the protection block until Stop. Its methods are safe for
// concurrent use.
type MMPKeeper struct {
	c        MMPConfig
	interval time.Duration

	// Of the goroutine, once it runs.
	last  []byte        // the record as it was written
	tried []byte        // one that may be there instead: its write failed
	wrote time.Time     // when last was
	check time.Duration // what it promises: others wait longer

	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine writes no more
	stop   sync.Once
	mu     sync.Mutex // guards err
	err    error      // why it ended
}

// StartMMP takes the file system. If the last owner did not stop in order that
// lasts several times his interval, at least 11 seconds twice; cancelling ctx
// ends it. An owner that is alive, a checker or an unknown number is a
// *MMPError, a block that cannot be one *CorruptError or *ChecksumError.
func StartMMP(ctx context.Context, c MMPConfig) (*MMPKeeper, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Node == "" {
		c.Node, _ = os.Hostname() // an empty name is as good
	}
	k := &MMPKeeper{c: c, interval: c.UpdateInterval, done: make(chan struct{})}
	if k.interval <= 0 {
		k.interval = mmpMinInterval
	}
	k.interval = min(k.interval, mmpMaxInterval)
	if err := k.take(ctx); err != nil {
		return nil, err
	}
	var run context.Context
	run, k.cancel = context.WithCancel(context.Background())
	go k.run(run)
	return k, nil
}

func mmpClamp(d time.Duration) time.Duration {
	return min(max(d, mmpMinInterval), mmpMaxInterval)
}

// take is the start of the protocol.
func (k *MMPKeeper) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, m, err := k.read()
	if err != nil {
		return err
	}
	var wait time.Duration
	switch {
	case m.Seq == disk.MMPClean:
	case m.Seq > disk.MMPMaxSeq: // a checker, or unknown
		return &MMPError{Status: mmpStatus(&m), Block: k.c.Block}
	default:
		check := mmpClamp(max(k.interval, time.Duration(m.CheckInterval)*time.Second))
		wait = min(2*check+time.Second, check+mmpMaxExtra)
		if err := k.watch(ctx, b, wait); err != nil {
			return err
		}
	}
	if err := k.write(b, 1+rand.Uint32N(disk.MMPMaxSeq), 2*k.interval); err != nil {
		return err
	}
	if err := k.watch(ctx, k.last, wait); err != nil {
		return err
	}
	if k.c.Fsck {
		return k.write(b, disk.MMPFsck, 2*k.interval)
	}
	return nil
}

// watch waits, and fails as soon as the record is not b any more. A read that
// fails on the way may have met somebody who writes.
func (k *MMPKeeper) watch(ctx context.Context, b []byte, wait time.Duration) error {
	for end := time.Now().Add(wait); ; {
		rest := time.Until(end)
		if err := mmpSleep(ctx, min(rest, mmpPoll)); err != nil {
			return fmt.Errorf("wait for the multiple mount protection: %w", err)
		}
		now, m, err := k.read()
		switch {
		case err == nil && !bytes.Equal(now, b):
			st := mmpStatus(&m)
			if st.State == MMPClean { // he took it and let it go
				st.State = MMPInUse
			}
			return &MMPError{Status: st, Block: k.c.Block}
		case rest <= mmpPoll:
			return err
		}
	}
}

// mmpSleep waits; where there is nothing to wait for, ctx is not asked.
func mmpSleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// read reads the record from the disk itself.
func (k *MMPKeeper) read() ([]byte, disk.MMP, error) {
	var m disk.MMP
	off, err := k.offset()
	if err != nil {
		return nil, m, err
	}
	if err := device.Refresh(k.c.Device, off, int64(k.c.BlockSize)); err != nil {
		return nil, m, fmt.Errorf("read MMP block %d: %w", k.c.Block, err)
	}
	b := make([]byte, disk.MMPSize)
	if n, err := k.c.Device.ReadAt(b, off); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, m, fmt.Errorf("read MMP block %d: %w", k.c.Block, err)
	}
	if err := m.Decode(b); err != nil {
		return nil, m, err
	}
	if stored, computed := disk.VerifyMMP(k.c.Seed, b); k.c.Checksum && stored != computed {
		return nil, m, &ChecksumError{What: "MMP block", Block: k.c.Block, Stored: stored, Computed: computed}
	}
	return b, m, nil
}

// offset is where the block is, if it is inside the device.
func (k *MMPKeeper) offset() (int64, error) {
	size := int64(k.c.BlockSize)
	if size < disk.MMPSize || k.c.Block == 0 || uint64(k.c.Block) >= uint64(k.c.Device.Size()/size) {
		return 0, &CorruptError{What: "MMP block", Block: k.c.Block, Detail: "outside the file system"}
	}
	return int64(k.c.Block) * size, nil
}

// write puts our names, seq and a check interval into the record b, and on the
// disk.
func (k *MMPKeeper) write(b []byte, seq uint32, check time.Duration) error {
	off, err := k.offset()
	if err != nil {
		return err
	}
	check = mmpClamp(check.Round(time.Second))
	m := disk.MMP{
		Magic: disk.MMPMagic, Seq: seq, Time: uint64(max(k.c.Now().Unix(), 0)),
		Node: k.c.Node, Device: k.c.Name, CheckInterval: uint16(check / time.Second),
	}
	b = bytes.Clone(b)
	m.Encode(b)
	if k.c.Checksum {
		disk.SealMMP(k.c.Seed, b)
	}
	// The time before the write counts: others saw the record no later.
	start := time.Now()
	if err := device.WriteSync(k.c.Device, b, off); err != nil {
		k.tried = b
		return fmt.Errorf("write MMP block %d: %w", k.c.Block, err)
	}
	k.last, k.tried, k.wrote, k.check = b, nil, start, check
	return nil
}

// run keeps the record alive.
func (k *MMPKeeper) run(ctx context.Context) {
	wait := k.interval
	for {
		if err := mmpSleep(ctx, wait); err != nil {
			close(k.done)
			return
		}
		wait = k.interval
		err := k.update()
		if err == nil {
			continue
		}
		lost, ok := err.(*MMPError)
		if !ok && mmpSilence(k.wrote) < k.check {
			wait = min(mmpPoll, k.interval) // it may go by
			continue
		}
		if !ok {
			lost = &MMPError{Block: k.c.Block, Lost: true, Err: err}
		}
		k.fail(lost)
		close(k.done)
		if k.c.OnLost != nil {
			k.c.OnLost(lost)
		}
		return
	}
}

func (k *MMPKeeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// mmpSilence is how long ago that was, by the clock that is further on: one of
// them stands still while the machine sleeps.
func mmpSilence(since time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// update counts on.
func (k *MMPKeeper) update() error {
	m, err := k.own()
	if err != nil {
		return err
	}
	seq := m.Seq
	if !k.c.Fsck {
		seq = mmpNext(seq)
	}
	// Others must be patient with an owner that is slow.
	return k.write(k.last, seq, 2*mmpSilence(k.wrote))
}

// mmpNext is the number after seq.
func mmpNext(seq uint32) uint32 {
	if seq >= disk.MMPMaxSeq {
		return 1
	}
	return seq + 1
}

// own reads the record, which must be what we wrote.
func (k *MMPKeeper) own() (disk.MMP, error) {
	b, m, err := k.read()
	if err == nil && !bytes.Equal(b, k.last) && !bytes.Equal(b, k.tried) {
		err = &MMPError{Status: mmpStatus(&m), Block: k.c.Block, Lost: true}
	}
	return m, err
}

// Err is why the block was lost; nil while it is held.
func (k *MMPKeeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// Stop gives the file system back: everything else must be on the disk before.
// It returns the error of OnLost if there was one, and leaves the block alone
// then. Another call returns what the first one found. OnLost may call it.
func (k *MMPKeeper) Stop() error {
	k.stop.Do(func() {
		k.cancel()
		<-k.done
		if k.Err() != nil {
			return
		}
		_, err := k.own()
		if err == nil {
			err = k.write(k.last, disk.MMPClean, 2*k.interval)
		}
		k.fail(err)
	})
	return k.Err()
}
