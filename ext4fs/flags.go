package ext4fs

import (
	"errors"
	"fmt"
	"math"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// The flags that a user can see, and those that he can change. Those between
// are ignored when they are set, since tools read all, change one, and write all.
const (
	settableFlags = disk.FlagSecureRM | disk.FlagUnRM | disk.FlagCompr | disk.FlagSync | disk.FlagImmutable |
		disk.FlagAppend | disk.FlagNoDump | disk.FlagNoAtime | disk.FlagJournalData | disk.FlagNoTail |
		disk.FlagDirSync | disk.FlagTopDir | disk.FlagExtents | disk.FlagDAX | disk.FlagProjInherit | disk.FlagCasefold
	visibleFlags = settableFlags | disk.FlagDirty | disk.FlagComprBlk | disk.FlagNoCompr | disk.FlagEncrypt |
		disk.FlagIndex | disk.FlagIMagic | disk.FlagHugeFile | disk.FlagVerity | disk.FlagEAInode |
		disk.FlagEOFBlocks | disk.FlagInlineData
)

// SetFlags changes the flags of the inode as chattr does: those that a user can
// change become what flags says, others stay as they are. FlagDAX is kept, and
// has no effect here.
//
// ErrNotSupported: flags that no user sees; flags that this kind of inode does
// not have; another FlagExtents than there is; FlagCasefold without the
// feature, FlagDAX where the kernel does not take it. ErrNotDir, ErrNotEmpty:
// FlagCasefold changes on empty directories only. ErrNotPermitted: an immutable
// inode that stays so changes nothing else. ErrBusy: FlagJournalData cannot be
// cleared while a batch is open.
func (i *Inode) SetFlags(flags disk.InodeFlags) error {
	return i.SetAttr(&SetAttr{Valid: AttrFlags, Flags: flags})
}

// checkFlags says why the flags cannot be set. Called with mu.
func (i *Inode) checkFlags(flags disk.InodeFlags) error {
	refuse := func(f disk.InodeFlags) error {
		return fmt.Errorf("flags %s of inode %d: %w", f, i.num, ErrNotSupported)
	}
	if bad := flags &^ visibleFlags; bad != 0 {
		return refuse(bad)
	}
	old := i.Flags()
	flags &= settableFlags
	changed := (old ^ flags) & settableFlags
	switch {
	case i.IsDir():
	case i.IsRegular():
		if bad := flags & notForFiles; bad != 0 {
			return refuse(bad)
		}
	default:
		// A long target has an extent map, which is no wish of the caller's.
		if bad := flags &^ (flagsForOthers | old&disk.FlagExtents); bad != 0 {
			return refuse(bad)
		}
	}
	// Like the kernel this compares with all flags that the inode has.
	if old&flags&disk.FlagImmutable != 0 && old != flags {
		return fmt.Errorf("inode %d is immutable: %w", i.num, ErrNotPermitted)
	}
	if changed&disk.FlagExtents != 0 {
		return refuse(disk.FlagExtents)
	}
	if flags.Has(disk.FlagDAX) && changed&disk.FlagDAX != 0 &&
		(old&(disk.FlagEncrypt|disk.FlagVerity) != 0 || i.fs.super.Features.Incompat.Has(disk.IncompatInlineData) || flags.Has(disk.FlagJournalData)) {
		return refuse(disk.FlagDAX)
	}
	if changed&disk.FlagCasefold != 0 {
		return i.checkCasefold()
	}
	return nil
}

// checkCasefold says why a directory cannot change how names are compared.
func (i *Inode) checkCasefold() error {
	switch {
	case !i.fs.super.Features.Incompat.Has(disk.IncompatCasefold):
		return fmt.Errorf("inode %d: %w: no casefold feature", i.num, ErrNotSupported)
	case !i.IsDir():
		return ErrNotDir
	}
	if i.record().Links() == 0 {
		return nil
	}
	return i.mustBeEmpty()
}

// newFlags are the flags after the change.
func (i *Inode) newFlags(a *SetAttr) disk.InodeFlags {
	old := i.Flags()
	if !a.has(AttrFlags) {
		return old
	}
	return old&^settableFlags | a.Flags&settableFlags
}

// switchJournaling prepares for data that will go through the journal from now
// on, or will not any more: what is in the log must be home, or a replay would bring it back over
// newer data, and the cache must not keep it. Called with mu, and no handle.
func (i *Inode) switchJournaling(flags disk.InodeFlags) error {
	f := i.fs
	if !i.IsRegular() || i.Flags().Has(disk.FlagJournalData) == flags.Has(disk.FlagJournalData) || f.live.data == DataJournal {
		return nil
	}
	if flags.Has(disk.FlagJournalData) {
		// Writes have passed the cache by: what somebody has looked at there
		// is old.
		return i.dropCached()
	}
	if !i.journalsData() {
		return nil
	}
	if f.batched() {
		return fmt.Errorf("inode %d: %w: a batch is open", i.num, ErrBusy)
	}
	if err := f.live.journal.CheckpointUnheld(f.context()); err != nil {
		if errors.Is(err, journal.ErrHeld) {
			err = fmt.Errorf("inode %d: %w: %w", i.num, ErrBusy, err)
		}
		return f.liveError(err)
	}
	return i.dropCached()
}

// dropCached makes the cache forget the file's data.
func (i *Inode) dropCached() error {
	if !i.hasBlocks() {
		return nil
	}
	m, err := i.Map()
	if err != nil {
		return err
	}
	left := i.fs.cache.Capacity()
	for e, err := range m.From(0) {
		if err != nil {
			return err
		}
		if e.Flags&extent.FlagHole != 0 {
			continue
		}
		if left -= int(e.Len); left < 0 {
			i.fs.cache.Shrink(math.MaxInt64) // all that is not pinned
			return nil
		}
		for n := range e.Len {
			i.fs.cache.Drop(e.Physical + disk.BlockNum(n))
		}
	}
	return nil
}
