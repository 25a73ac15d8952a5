package ext4fs

import (
	"encoding/binary"
	"fmt"

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
	rec, err := journal.Load(f.opts.Context, log, journal.Options{
		BlockSize: f.super.BlockSize(),
		// Not the superblock's count: a file system that was being grown may
		// have logged blocks past its old end.
		FSBlocks:        uint64(f.base.Size()) / uint64(f.super.BlockSize()),
		NeedsRecovery:   true,
		IgnoreChecksums: f.opts.IgnoreChecksums,
	})
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

// Journal opens the journal as it lies there, to look at: the one inside the
// file system, or Options.Journal. Without a journal it returns nil and no
// error.
func (f *FS) Journal() (journal.Log, error) {
	if !f.super.Features.Compat.Has(disk.CompatHasJournal) {
		return nil, nil
	}
	bs := f.super.BlockSize()
	if f.super.JournalInode == 0 && f.super.JournalUUID != [16]byte{} {
		if f.opts.Journal == nil {
			return nil, fmt.Errorf("external journal %s: %w", disk.UUIDString(f.super.JournalUUID), ErrNoJournal)
		}
		return journal.OpenExternal(f.opts.Journal, journal.ExternalOptions{
			BlockSize: bs, JournalUUID: f.super.JournalUUID, FSUUID: f.super.UUID,
			IgnoreChecksums: f.opts.IgnoreChecksums,
		})
	}
	log, err := f.internalJournal()
	if err == nil {
		return log, nil
	}
	// The superblock keeps a copy of the journal inode's block map.
	backup, berr := f.backupJournal()
	if berr != nil {
		return nil, fmt.Errorf("journal inode %d: %w", f.super.JournalInode, err)
	}
	return backup, nil
}

// internalJournal reads the block map of the journal inode.
func (f *FS) internalJournal() (journal.Log, error) {
	i, err := f.Inode(f.super.JournalInode)
	if err != nil {
		return nil, err
	}
	if !i.IsRegular() || i.raw.Links() == 0 {
		return nil, &CorruptError{What: "journal inode", Inode: i.num,
			Detail: fmt.Sprintf("mode 0%o, %d links", i.raw.Mode(), i.raw.Links())}
	}
	m, err := i.Map()
	if err != nil {
		return nil, err
	}
	return f.mappedJournal(m, i.Size())
}

// backupJournal reads the copy of the map in the superblock.
func (f *FS) backupJournal() (journal.Log, error) {
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

// mappedJournal is the log of size bytes that lies where m says.
func (f *FS) mappedJournal(m extent.Map, size int64) (journal.Log, error) {
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
	return journal.NewInternal(f.base, f.super.BlockSize(), runs)
}
