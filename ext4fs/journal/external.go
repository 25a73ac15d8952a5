package journal

import (
	"fmt"
	"math"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ExternalOptions says which journal a file system expects on a device.
type ExternalOptions struct {
	BlockSize       int      // of the file system
	JournalUUID     [16]byte // the file system's s_journal_uuid
	FSUUID          [16]byte // the file system's own
	IgnoreChecksums bool
}

// OpenExternal is the journal on a device of its own. Block numbers of the
// log are those of the device; the first holds an ext4 superblock with the
// journal_dev feature, and the journal superblock lies in the block after that.
//
// A device that is no journal gives a *disk.CorruptError, one of another file
// system ErrWrongJournal, and one that several file systems share
// disk.ErrUnsupported.
func OpenExternal(dev device.Device, o ExternalOptions) (Log, error) {
	if err := checkBlockSize(o.BlockSize); err != nil {
		return nil, err
	}
	sb, err := readExternalSuper(dev, o)
	if err != nil {
		return nil, err
	}
	blocks := min(uint64(dev.Size())/uint64(o.BlockSize), sb.Blocks(), math.MaxUint32)
	l := &mappedLog{dev: dev, blockSize: o.BlockSize, super: externalSuper(o.BlockSize)}
	if blocks <= uint64(l.super) {
		return nil, &disk.CorruptError{What: "external journal", Detail: fmt.Sprintf("%d blocks long", blocks)}
	}
	l.add(Run{Len: uint32(blocks)})
	return l, checkUsers(l, o)
}

// externalSuper is the block after the one that holds the ext4 superblock.
func externalSuper(blockSize int) uint32 {
	return disk.SuperblockOffset/uint32(blockSize) + 1
}

func readExternalSuper(dev device.Device, o ExternalOptions) (*disk.Superblock, error) {
	raw := make([]byte, disk.SuperblockSize)
	if err := device.ReadFull(dev, raw, disk.SuperblockOffset); err != nil {
		return nil, fmt.Errorf("read superblock of external journal: %w", err)
	}
	sb := new(disk.Superblock)
	if err := sb.Decode(raw); err != nil {
		return nil, fmt.Errorf("external journal: %w", err)
	}
	bad := func(format string, args ...any) error {
		return &disk.CorruptError{What: "external journal", Detail: fmt.Sprintf(format, args...)}
	}
	if !sb.Features.Incompat.Has(disk.IncompatJournalDev) {
		return nil, bad("the device holds a file system, not a journal")
	}
	if sb.LogBlockSize > 6 || sb.BlockSize() != o.BlockSize {
		return nil, bad("block size 2^%d, the file system's is %d", uint64(sb.LogBlockSize)+10, o.BlockSize)
	}
	if stored, computed := disk.VerifySuperblock(raw); sb.HasMetadataCsum() && stored != computed && !o.IgnoreChecksums {
		return nil, &disk.ChecksumError{What: "superblock of external journal", Stored: stored, Computed: computed}
	}
	if sb.UUID != o.JournalUUID {
		return nil, fmt.Errorf("external journal has UUID %x, the file system wants %x: %w",
			sb.UUID, o.JournalUUID, ErrWrongJournal)
	}
	return sb, nil
}

// checkUsers looks for the file system in the journal's list of users. An empty
// list will do, as for e2fsck: the journal's own UUID has been compared.
func checkUsers(l Log, o ExternalOptions) error {
	jsb, _, err := ReadSuperblock(l, o.BlockSize)
	if err != nil {
		return err
	}
	switch {
	case jsb.Type != disk.JournalSuperblockV2:
		return &disk.CorruptError{What: "external journal", Detail: "its superblock has no list of users"}
	case jsb.NrUsers > 1:
		return fmt.Errorf("external journal has %d users: %w", jsb.NrUsers, disk.ErrUnsupported)
	case jsb.NrUsers == 1 && jsb.Users[0] != o.FSUUID:
		return fmt.Errorf("external journal is not used by the file system %x: %w", o.FSUUID, ErrWrongJournal)
	}
	return nil
}
