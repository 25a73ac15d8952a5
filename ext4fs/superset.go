package ext4fs

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxLabel is the longest name of a file system, in bytes.
const maxLabel = 16

// Label is the name of the file system, "" for none.
func (f *FS) Label() string {
	sb := f.superNow()
	name, _, _ := bytes.Cut(sb.VolumeName[:], []byte{0})
	return string(name)
}

// UUID is the identity of the file system; all zeros for none.
func (f *FS) UUID() [16]byte { return f.superNow().UUID }

// superNow is the superblock with what was changed since the open.
func (f *FS) superNow() disk.Superblock {
	if f.live == nil {
		return f.super
	}
	return f.live.super.now()
}

// SetLabel gives the file system a name of at most 16 bytes, in the superblock
// and in its copies. It is durable when SetLabel returns, and who looks at the
// device sees it. A longer name, or one with a NUL, gives ErrInvalid.
func (f *FS) SetLabel(label string) error {
	if len(label) > maxLabel || bytes.IndexByte([]byte(label), 0) >= 0 {
		return fmt.Errorf("label %q: at most %d bytes, none of them NUL: %w", label, maxLabel, ErrInvalid)
	}
	return f.setSuper(func(sb *disk.Superblock) {
		clear(sb.VolumeName[:])
		copy(sb.VolumeName[:], label)
	})
}

// SetUUID changes the identity of the file system, in the superblock and in its
// copies. It is durable when SetUUID returns, and who looks at the device sees it.
//
// Metadata checksums begin with the UUID, unless the feature metadata_csum_seed
// keeps their beginning: it is switched on then, as Linux does it (which it
// knows since 4.4). ErrNotSupported: the older checksums of group descriptors
// (gdt_csum) have no such way; encryption keys are derived from the UUID
// (stable_inodes); an external journal knows the file system by it.
func (f *FS) SetUUID(uuid [16]byte) error {
	s := &f.super
	switch {
	case s.Features.Compat.Has(disk.CompatStableInodes):
		return fmt.Errorf("encryption depends on the UUID (stable_inodes): %w", ErrNotSupported)
	case s.HasGroupCsum() && !s.HasMetadataCsum():
		return fmt.Errorf("checksums of groups depend on the UUID (uninit_bg without metadata_csum): %w", ErrNotSupported)
	case f.hasExternalJournal():
		return fmt.Errorf("the external journal knows the file system by its UUID: %w", ErrNotSupported)
	}
	return f.setSuper(func(sb *disk.Superblock) {
		if sb.HasMetadataCsum() && !sb.Features.Incompat.Has(disk.IncompatCsumSeed) {
			sb.Features.Incompat |= disk.IncompatCsumSeed
			sb.ChecksumSeed = f.seed
		}
		sb.UUID = uuid
	})
}

// superBatch bounds the copies that are changed in one transaction.
const superBatch = 64

// setSuper changes the superblock and its copies. All of it is one transaction
// where the copies are few (sparse_super); else the superblock is in the first.
func (f *FS) setSuper(change func(sb *disk.Superblock)) error {
	if err := f.mayChange(); err != nil {
		return err
	}
	var groups []disk.GroupNum
	for g := disk.GroupNum(1); g < f.super.Groups(); g++ {
		if f.super.HasSuper(g) {
			groups = append(groups, g)
		}
	}
	primary := true
	for primary || len(groups) > 0 {
		n := min(len(groups), superBatch)
		if err := f.setSupers(primary, groups[:n], change); err != nil {
			return err
		}
		primary, groups = false, groups[n:]
	}
	// Home as well: blkid and udev look at the device, not into the journal.
	return f.liveError(f.live.journal.Checkpoint(f.context()))
}

// setSupers is one transaction of setSuper.
func (f *FS) setSupers(primary bool, groups []disk.GroupNum, change func(sb *disk.Superblock)) (err error) {
	h, err := f.begin(len(groups) + 1)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	if primary {
		if err := f.live.super.edit(h, change); err != nil {
			return err
		}
	}
	for _, g := range groups {
		err := f.setCopy(h, g, change)
		if errors.Is(err, ErrCorrupt) {
			f.live.super.noteLater(err) // a check will find it too
			continue
		}
		if err != nil {
			return f.abort(err)
		}
	}
	return nil
}

// setCopy changes the copy of the superblock in group g. What is no copy stays
// as it is, and gives ErrCorrupt.
func (f *FS) setCopy(h *txn, g disk.GroupNum, change func(sb *disk.Superblock)) error {
	block := f.super.GroupFirstBlock(g)
	old, err := f.cache.Get(block)
	if err != nil {
		return fmt.Errorf("superblock of group %d: %w", g, err)
	}
	var sb disk.Superblock
	bad := &CorruptError{What: "superblock", Block: block, Detail: fmt.Sprintf("the copy in group %d is none", g)}
	if err := sb.Decode(old.Data()[:disk.SuperblockSize]); err != nil {
		return bad
	}
	if sb.Magic != disk.SuperblockMagic || sb.Blocks() != f.super.Blocks() {
		return bad
	}
	var seal cache.Sealer
	if f.super.HasMetadataCsum() {
		seal = superSealer(0)
	}
	buf, err := h.Write(block, seal)
	if err != nil {
		return fmt.Errorf("superblock of group %d: %w", g, err)
	}
	change(&sb)
	sb.Encode(buf.Data()[:disk.SuperblockSize])
	return nil
}
