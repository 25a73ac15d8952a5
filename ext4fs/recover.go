package ext4fs

import (
	"encoding/binary"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// openJournal replays the journal into memory when the file system needs
// recovery, and reads the superblock again as it is after that.
func (f *FS) openJournal() error {
	feat := f.super.Features
	if f.opts.NoReplay || !feat.Compat.Has(disk.CompatHasJournal) || !feat.Incompat.Has(disk.IncompatRecover) {
		return nil
	}
	log, err := f.Journal()
	if err != nil {
		return err
	}
	rec, err := journal.Load(f.opts.Context, log, f.loadOptions())
	if err != nil {
		return fmt.Errorf("replay journal: %w", err)
	}
	f.recovery = rec
	if !rec.Needed {
		return nil
	}
	f.dev = rec.Overlay(f.base)
	if err := f.readSuper(); err != nil {
		return fmt.Errorf("after journal replay: %w", err)
	}
	if len(rec.FastCommits) > 0 {
		view, err := f.applyFast(rec.FastCommits)
		if err != nil {
			return err
		}
		f.fast = view
	}
	return nil
}

func (f *FS) loadOptions() journal.Options {
	return journal.Options{
		BlockSize: f.super.BlockSize(),
		// Not the superblock's count: a file system that was being grown may
		// have logged blocks past its old end.
		FSBlocks:        uint64(f.base.Size()) / uint64(f.super.BlockSize()),
		NeedsRecovery:   f.super.Features.Incompat.Has(disk.IncompatRecover),
		IgnoreChecksums: f.opts.IgnoreChecksums,
	}
}

// Journal opens the journal as it lies there, to look at: the one inside the
// file system, or Options.Journal. Without a journal it returns nil and no
// error.
func (f *FS) Journal() (journal.Log, error) {
	if !f.super.Features.Compat.Has(disk.CompatHasJournal) {
		return nil, nil
	}
	if f.hasExternalJournal() {
		if f.opts.Journal == nil {
			return nil, f.noJournal()
		}
		return journal.OpenExternal(f.opts.Journal, f.externalOptions())
	}
	runs, err := f.journalRuns()
	if err != nil {
		return nil, err
	}
	return journal.NewInternal(f.base, f.super.BlockSize(), runs)
}

// writeLog opens the journal to be written; nil and no error without one.
func (f *FS) writeLog() (*journal.WriteLog, error) {
	if !f.super.Features.Compat.Has(disk.CompatHasJournal) {
		return nil, nil
	}
	if f.hasExternalJournal() {
		w, ok := device.AsWriter(f.opts.Journal)
		if !ok {
			return nil, f.noJournal()
		}
		return journal.OpenExternalWriter(w, f.externalOptions())
	}
	runs, err := f.journalRuns()
	if err != nil {
		return nil, err
	}
	w, ok := device.AsWriter(f.base)
	if !ok {
		return nil, ErrReadOnly
	}
	return journal.NewInternalWriter(w, f.super.BlockSize(), runs)
}

func (f *FS) hasExternalJournal() bool {
	return f.super.JournalInode == 0 && f.super.JournalUUID != [16]byte{}
}

func (f *FS) noJournal() error {
	return fmt.Errorf("external journal %s: %w", disk.UUIDString(f.super.JournalUUID), ErrNoJournal)
}

func (f *FS) externalOptions() journal.ExternalOptions {
	return journal.ExternalOptions{
		BlockSize: f.super.BlockSize(), JournalUUID: f.super.JournalUUID, FSUUID: f.super.UUID,
		IgnoreChecksums: f.opts.IgnoreChecksums,
	}
}

// journalZones are the blocks of an internal journal.
func (f *FS) journalZones() ([]alloc.Run, error) {
	if !f.super.Features.Compat.Has(disk.CompatHasJournal) || f.hasExternalJournal() {
		return nil, nil
	}
	runs, err := f.journalRuns()
	if err != nil {
		return nil, err
	}
	var zones []alloc.Run
	for _, r := range runs {
		zones = append(zones, alloc.Run{Start: r.Physical, Len: uint64(r.Len)})
	}
	return zones, nil
}

// journalRuns is where an internal journal lies.
func (f *FS) journalRuns() ([]journal.Run, error) {
	runs, err := f.internalJournal()
	if err == nil {
		return runs, nil
	}
	// The superblock keeps a copy of the journal inode's block map.
	backup, berr := f.backupJournal()
	if berr != nil {
		return nil, fmt.Errorf("journal inode %d: %w", f.super.JournalInode, err)
	}
	return backup, nil
}

// internalJournal reads the block map of the journal inode.
func (f *FS) internalJournal() ([]journal.Run, error) {
	i, err := f.Inode(f.super.JournalInode)
	if err != nil {
		return nil, err
	}
	if !i.IsRegular() || i.record().Links() == 0 {
		return nil, &CorruptError{What: "journal inode", Inode: i.num,
			Detail: fmt.Sprintf("mode 0%o, %d links", i.record().Mode(), i.record().Links())}
	}
	m, err := i.Map()
	if err != nil {
		return nil, err
	}
	return f.mappedJournal(m, i.Size())
}

// backupJournal reads the copy of the map in the superblock.
func (f *FS) backupJournal() ([]journal.Run, error) {
	s := &f.super
	if s.JournalBackupType != 1 {
		return nil, ErrNoJournal
	}
	root := make([]byte, disk.InodeBlockSize)
	for n := range 15 {
		binary.LittleEndian.PutUint32(root[4*n:], s.JournalBlocks[n])
	}
	// Blocks below the root carry a checksum whose seed needs the inode, which
	// is what cannot be read here.
	owner := extent.Owner{Inode: s.JournalInode, FirstBlock: disk.BlockNum(s.FirstDataBlock)}
	var m extent.Map
	var err error
	if disk.ExtentNode(root).Magic() == disk.ExtentMagic {
		m, err = extent.New(f.cache, owner, root)
	} else {
		m, err = indirect.New(f.cache, owner, root)
	}
	if err != nil {
		return nil, err
	}
	return f.mappedJournal(m, int64(s.JournalBlocks[15])<<32|int64(s.JournalBlocks[16]))
}

// mappedJournal is where the log of size bytes lies that m maps.
func (f *FS) mappedJournal(m extent.Map, size int64) ([]journal.Run, error) {
	blocks := uint64(size) >> f.blockShift()
	var runs []journal.Run
	for e, err := range m.From(0) {
		if err != nil {
			return nil, err
		}
		if uint64(e.Logical) >= blocks {
			break
		}
		n := uint32(min(uint64(e.Len), blocks-uint64(e.Logical)))
		runs = append(runs, journal.Run{Logical: e.Logical, Physical: e.Physical, Len: n})
	}
	return runs, nil
}
