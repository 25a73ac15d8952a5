package ext4fs

import (
	"errors"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// RecoverReport says what a writable open had to put right.
type RecoverReport struct {
	// Journal is what the journal held, nil without one.
	Journal *journal.Recovery
	// Blocks were written home from it.
	Blocks int
	// FastCommits were applied.
	FastCommits int
	// Orphans were cleaned up.
	Orphans Orphans
	// JournalError is the error number that the journal was aborted with in
	// an earlier life, 0 for none.
	JournalError int32
}

// Recovered says what the writable open had to put right.
func (f *FS) Recovered() RecoverReport {
	if f.live == nil {
		return RecoverReport{}
	}
	return f.live.recovered
}

// writableROCompat are the features that an image may have to be written. With
// others it is refused, by their names.
const writableROCompat = disk.ROCompatSparseSuper | disk.ROCompatLargeFile | disk.ROCompatHugeFile |
	disk.ROCompatGDTCsum | disk.ROCompatDirNlink | disk.ROCompatExtraIsize | disk.ROCompatQuota |
	disk.ROCompatBigalloc | disk.ROCompatMetadataCsum | disk.ROCompatProject | disk.ROCompatVerity |
	disk.ROCompatOrphanPresent

// mayWrite says why the image must not be written, whatever the caller wants.
func (f *FS) mayWrite() error {
	if bad := f.super.Features.ROCompat &^ writableROCompat; bad != 0 {
		return fmt.Errorf("%w: %w", ErrReadOnly, &FeatureError{Set: "ro_compat", Names: bad.Names()})
	}
	return nil
}

// openLive makes an FS, whose superblock has been read, writable: it takes the
// multiple mount protection, replays the journal, marks the image as in use
// and cleans up the orphans.
func (f *FS) openLive() (err error) {
	w, ok := device.AsWriter(f.base)
	if !ok {
		return fmt.Errorf("the device cannot be written: %w", ErrReadOnly)
	}
	if f.opts.Superblock != 0 || f.opts.NoReplay {
		return fmt.Errorf("a file system is not written by a backup superblock, nor without its journal: %w", ErrInvalid)
	}
	if err := f.mayWrite(); err != nil {
		return err
	}
	l := &live{dev: w, nodes: newNodes()}
	l.super.fs = f
	if err := f.startMMP(l); err != nil {
		return err
	}
	defer func() {
		if err != nil && l.mmp != nil {
			err = errors.Join(err, l.mmp.Stop())
		}
	}()
	log, resume, err := f.recoverLive(l)
	if err != nil {
		return err
	}
	zones, err := f.journalZones()
	if err != nil {
		return err
	}
	// What the journal held may be another superblock.
	if err := f.mayWrite(); err != nil {
		return err
	}
	if err := l.mmpLost(); err != nil {
		return err
	}
	if err := f.markInUse(l); err != nil {
		return err
	}
	if l.recovered.JournalError != 0 {
		// The superblock tells of it from now on.
		if err := journal.ClearError(log); err != nil {
			return err
		}
	}
	if err := f.startLive(l, log, resume, zones); err != nil {
		return err
	}
	if err := f.settleLive(l, resume); err != nil {
		f.live = nil
		return errors.Join(err, l.journal.Close(f.opts.Context))
	}
	return nil
}

// startMMP takes the protection block.
func (f *FS) startMMP(l *live) (err error) {
	if !f.super.Features.Incompat.Has(disk.IncompatMMP) {
		return nil
	}
	l.mmp, err = StartMMP(f.opts.Context, MMPConfig{
		Device: l.dev, Block: f.super.MMPBlock, BlockSize: f.super.BlockSize(),
		UpdateInterval: seconds(f.super.MMPInterval), Checksum: f.super.HasMetadataCsum(), Seed: f.seed,
		Node: f.opts.Owner, Name: f.opts.deviceName(), Now: f.opts.Clock,
		OnLost: func(err error) {
			if j := l.keeper.Load(); j != nil {
				j.Abort(err)
			}
		},
	})
	return err
}

// mmpLost says whether the protection is gone.
func (l *live) mmpLost() error {
	if l.mmp == nil {
		return nil
	}
	return l.mmp.Err()
}

// recoverLive replays the journal into the image and reads the superblock
// again. resume: fast commits are still to be applied, by the first
// transaction.
func (f *FS) recoverLive(l *live) (log *journal.WriteLog, resume bool, err error) {
	log, err = f.writeLog()
	if err != nil || log == nil {
		return nil, false, err
	}
	rec, err := journal.Load(f.opts.Context, log, f.loadOptions())
	if err != nil {
		return nil, false, fmt.Errorf("replay journal: %w", err)
	}
	done, err := journal.Recover(f.opts.Context, l.dev, rec, log)
	if err != nil {
		return nil, false, fmt.Errorf("replay journal: %w", err)
	}
	l.recovered = RecoverReport{Journal: rec, Blocks: done.Blocks, JournalError: done.Errno}
	if rec.Needed {
		f.recovery = rec
	}
	if err := f.readSuper(); err != nil {
		return nil, false, fmt.Errorf("after journal replay: %w", err)
	}
	return log, done.Open, nil
}

// markInUse writes the superblock as it has to be before anything else is
// written, and reads it again.
func (f *FS) markInUse(l *live) error {
	sb := f.super
	now := uint64(max(f.now().Unix(), 0))
	if l.recovered.JournalError != 0 {
		sb.State |= disk.StateError
	}
	if sb.Features.Compat.Has(disk.CompatHasJournal) {
		sb.Features.Incompat |= disk.IncompatRecover
	} else {
		sb.Features.Incompat &^= disk.IncompatRecover
		sb.State &^= disk.StateValid
	}
	if sb.Features.Compat.Has(disk.CompatOrphanFile) {
		sb.Features.ROCompat |= disk.ROCompatOrphanPresent
	}
	if f.opts.MountPoint != "" {
		sb.MountTime, sb.MountCount = now, sb.MountCount+1
		clear(sb.LastMounted[:])
		copy(sb.LastMounted[:], f.opts.MountPoint)
	}
	sb.WriteTime = now
	l.wasValid = f.super.State&disk.StateValid != 0
	if err := writeSuper(l.dev, &sb); err != nil {
		return err
	}
	return f.readSuper()
}

// startLive brings up allocator and journal.
func (f *FS) startLive(l *live, log *journal.WriteLog, resume bool, zones []alloc.Run) (err error) {
	l.super.sb = f.super
	l.data = f.opts.DataMode
	if l.data == DataDefault {
		l.data = f.defaultDataMode()
	}
	c := alloc.Config{
		Cache: f.cache, Super: &f.super, Seed: f.seed, Verify: f.verify(), Reserved: f.super.Reserved(),
		Zones:     zones,
		Virgin:    func(tx cache.Tx, bn disk.BlockNum) error { _, err := tx.Fresh(bn, nil); return err },
		OnCorrupt: func(g disk.GroupNum, err error) { l.super.noteLater(fmt.Errorf("group %d: %w", g, err)) },
	}
	if d, ok := l.dev.(device.Discarder); ok && f.opts.Discard {
		bs := int64(f.super.BlockSize())
		c.Discard = func(bn disk.BlockNum, n uint64) { _ = d.Discard(int64(bn)*bs, int64(n)*bs) } // a hint
	}
	if l.alloc, err = alloc.New(f.opts.Context, c); err != nil {
		return err
	}
	l.tables = make([]disk.BlockNum, f.super.Groups())
	for g := range l.tables {
		desc, err := l.alloc.Group(disk.GroupNum(g))
		if err != nil {
			return err
		}
		l.tables[g] = desc.InodeTable()
	}
	cfg := journal.Config{
		Cache: f.cache, Device: l.dev, Log: log, Resume: resume, Interval: f.opts.CommitInterval,
		Bits64:     f.super.Features.Incompat.Has(disk.Incompat64bit),
		FastCommit: f.super.Features.Compat.Has(disk.CompatFastCommit),
		OnCommit:   l.alloc.Committed, Now: f.opts.Clock, OnAbort: f.opts.OnAbort,
	}
	if f.super.HasMetadataCsum() {
		cfg.Checksum = journal.ChecksumV3
	}
	if l.journal, err = journal.Start(cfg); err != nil {
		return err
	}
	// Whoever takes the protection away from now on ends the journal.
	l.keeper.Store(l.journal)
	if err := l.mmpLost(); err != nil {
		l.journal.Abort(err)
	}
	return nil
}

// settleLive does what is left to do after the replay.
func (f *FS) settleLive(l *live, resume bool) error {
	f.live = l
	if resume {
		n, err := f.writeFast(l.recovered.Journal.FastCommits)
		if err != nil {
			return fmt.Errorf("apply fast commits: %w", err)
		}
		l.recovered.FastCommits = n
	}
	if l.quota == nil { // the fast commits have not opened them
		if err := f.openQuotas(); err != nil {
			return err
		}
	}
	report, err := f.processOrphans(f.opts.Context)
	l.recovered.Orphans = report
	l.settled = err == nil
	return err
}

// defaultDataMode is the mode that the superblock asks for.
func (f *FS) defaultDataMode() DataMode {
	switch f.super.DefaultMountOpts & 0x60 {
	case 0x20:
		return DataJournal
	case 0x60:
		return DataWriteback
	}
	return DataOrdered
}

// errBatchOpen is why Close does not keep what a batch has changed so far.
var errBatchOpen = fmt.Errorf("closed while a batch is open: %w", ErrBusy)

// closeLive writes everything home and leaves the image clean. Who comes late
// waits for the first caller. It does not stop before the journal has ended:
// nothing may be written after the protection is given back.
func (f *FS) closeLive() error {
	l := f.live
	l.close.Do(func() {
		l.closing.Store(true)
		l.closeErr = f.liveError(f.endLive())
	})
	return l.closeErr
}

func (f *FS) endLive() error {
	l := f.live
	if f.batched() {
		l.journal.Abort(errBatchOpen)
	}
	if l.journal.Err() == nil {
		if err := f.dropOrphans(); err != nil && l.journal.Err() == nil {
			f.noteDamage(err)
		}
	}
	l.closed.Store(true)
	err := l.journal.Close(f.context())
	if err == nil {
		err = f.markClean()
	}
	if l.mmp != nil {
		err = errors.Join(err, l.mmp.Stop())
	}
	return err
}

// markClean writes the superblock of an image that is not in use any more.
func (f *FS) markClean() error {
	l := f.live
	sb := l.super.now()
	counts := l.alloc.Counts()
	sb.FreeBlocks, sb.FreeInodes = counts.FreeBlocks, uint32(counts.FreeInodes)
	sb.Features.Incompat &^= disk.IncompatRecover
	if l.orphans.empty() {
		sb.Features.ROCompat &^= disk.ROCompatOrphanPresent
	}
	// Without a journal nobody else knows of orphans that are left.
	if l.wasValid && (l.orphans.empty() || sb.Features.Compat.Has(disk.CompatHasJournal)) {
		sb.State |= disk.StateValid
	}
	if l.super.noted != nil {
		if sb.State&disk.StateError == 0 {
			markError(&sb, l.super.noted, uint64(max(f.now().Unix(), 0)))
		}
	}
	sb.WriteTime = uint64(max(f.now().Unix(), 0))
	return writeSuper(l.dev, &sb)
}
