package format

import (
	"context"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// journalDevice reports whether the options make an external journal instead of
// a file system.
func (o *Options) journalDevice() bool {
	b := newBuilder(o, o.Size)
	return b.chooseFeatures() == nil && b.sb.Features.Incompat.Has(disk.IncompatJournalDev)
}

// FormatJournal makes an external journal, which file systems are made for with
// Options.Journal.Device. It is what Format does with the feature journal_dev.
//
// It begins with a superblock that says that this is no file system; in the
// next block is that of the journal, and then the log.
func FormatJournal(ctx context.Context, w device.Writer, o Options) error {
	if o.Size == 0 {
		o.Size = deviceBytes(w.Size())
	}
	if !o.journalDevice() {
		o.Features = append(o.Features[:len(o.Features):len(o.Features)], "journal_dev")
	}
	b := newBuilder(&o, o.Size)
	for _, step := range []func() error{b.chooseFeatures, b.chooseBlocks, b.chooseInodeSize, b.identity, b.journalGeometry} {
		if err := step(); err != nil {
			return err
		}
	}
	if o.Reproducible {
		// There is no content to derive it from; two journals must differ.
		if err := b.randomIdentity(); err != nil {
			return err
		}
	}
	if b.size > w.Size() {
		return fmt.Errorf("a journal of %d bytes: %w", b.size, &device.RangeError{Op: "write", N: b.size, Size: w.Size()})
	}
	return b.writeJournalDevice(ctx, w)
}

// journalGeometry fills in what the superblock of a journal says.
func (b *builder) journalGeometry() error {
	sb := &b.sb
	sb.LogClusterSize = sb.LogBlockSize
	sb.BlocksCount = b.asked
	if sb.BlocksCount < journalMin {
		return &SmallError{sb.BlocksCount, "a journal"}
	}
	if sb.BlocksCount > 1<<32-1 {
		return bad("size", b.size, "%d blocks are too many for a journal", sb.BlocksCount)
	}
	if sb.LogBlockSize == 0 {
		sb.FirstDataBlock = 1
	}
	sb.BlocksPerGroup = min(8*uint32(sb.BlockSize()), maxGroupClusters)
	sb.ClustersPerGroup = sb.BlocksPerGroup
	sb.Flags &^= disk.SuperFlagSignedHash
	return nil
}

// journalStart is the block of an external journal's superblock.
func journalStart(blockSize int) int64 {
	if blockSize == disk.MinBlockSize {
		return 2
	}
	return 1
}

func (b *builder) writeJournalDevice(ctx context.Context, w device.Writer) error {
	sb := &b.sb
	bs := int64(sb.BlockSize())
	m := &image{p: &b.plan, w: w}
	if err := b.clearJournalDevice(ctx, m); err != nil {
		return err
	}
	j := disk.JournalSuperblock{
		Type: disk.JournalSuperblockV2, BlockSize: uint32(bs), MaxLen: uint32(sb.BlocksCount),
		First: uint32(journalStart(int(bs)) + 1), Sequence: 1, UUID: sb.UUID,
	}
	block := make([]byte, bs)
	j.Encode(block)
	if err := m.write(ctx, disk.BlockNum(journalStart(int(bs))), block); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("flush before the superblock: %w", err)
	}
	s := b.encodeSuper(0)
	if err := m.writeBytes(ctx, disk.SuperblockOffset, s[:]); err != nil {
		return fmt.Errorf("superblock: %w", err)
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// clearJournalDevice wipes what was on the device.
func (b *builder) clearJournalDevice(ctx context.Context, m *image) error {
	bs, blocks := b.sb.BlockSize(), b.sb.BlocksCount
	size := int64(blocks) * int64(bs)
	if b.zeroed = b.o.Zeroed; b.zeroed {
		return nil
	}
	if err := wipeSupers(ctx, m.w); err != nil {
		return err
	}
	if !b.o.NoDiscard {
		if err := b.discard(m.w, size); err != nil {
			return err
		}
	}
	if b.zeroed {
		return nil
	}
	if err := wipeSignatures(m.w, size); err != nil || b.o.LazyJournal {
		return err
	}
	return m.zeroBlocks(ctx, interval{uint64(journalStart(bs)), blocks})
}

// ReadJournalDevice reads what a file system needs to know of an external
// journal. What is none is a *disk.CorruptError.
func ReadJournalDevice(d device.Device) (JournalDevice, error) {
	sb, j, _, err := readJournalDevice(d)
	if err != nil {
		return JournalDevice{}, err
	}
	return JournalDevice{UUID: j.UUID, BlockSize: sb.BlockSize(), Blocks: sb.BlocksCount}, nil
}

func readJournalDevice(d device.Device) (sb disk.Superblock, j disk.JournalSuperblock, raw []byte, err error) {
	raw = make([]byte, disk.SuperblockSize)
	if _, err = d.ReadAt(raw, disk.SuperblockOffset); err != nil {
		return sb, j, nil, fmt.Errorf("read the journal device: %w", err)
	}
	if err = sb.Decode(raw); err != nil {
		return sb, j, nil, err
	}
	if !sb.Features.Incompat.Has(disk.IncompatJournalDev) || sb.LogBlockSize > 6 {
		return sb, j, nil, &disk.CorruptError{What: "superblock", Detail: "not that of an external journal"}
	}
	if _, err = d.ReadAt(raw, journalStart(sb.BlockSize())*int64(sb.BlockSize())); err != nil {
		return sb, j, nil, fmt.Errorf("read the journal device: %w", err)
	}
	if err = j.Decode(raw); err != nil {
		return sb, j, nil, err
	}
	if int(j.BlockSize) != sb.BlockSize() {
		return sb, j, nil, &disk.CorruptError{What: "journal superblock",
			Detail: fmt.Sprintf("block size %d, that of the device is %d", j.BlockSize, sb.BlockSize())}
	}
	return sb, j, raw, nil
}

// AddJournalUser enters a file system into the list of those that use an
// external journal, if it is not there. Kernels mount only what is the one user
// of its journal.
func AddJournalUser(w device.Writer, fs [16]byte) error {
	sb, j, raw, err := readJournalDevice(w)
	if err != nil {
		return err
	}
	if j.NrUsers > disk.JournalMaxUsers {
		return &disk.CorruptError{What: "journal superblock", Detail: fmt.Sprintf("%d users", j.NrUsers)}
	}
	for _, u := range j.Users[:j.NrUsers] {
		if u == fs {
			return nil
		}
	}
	if j.NrUsers == disk.JournalMaxUsers {
		return bad("-J device", nil, "the journal has %d users already", j.NrUsers)
	}
	j.Users[j.NrUsers] = fs
	j.NrUsers++
	j.Encode(raw)
	if j.HasChecksum() {
		disk.SealJournalSuperblock(raw)
	}
	off := journalStart(sb.BlockSize()) * int64(sb.BlockSize())
	n, err := w.WriteAt(raw, off)
	if err == nil && n < len(raw) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = w.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the journal superblock: %w", err)
	}
	return nil
}

// deviceBytes is how much of a device of so many bytes is used when nobody says
// how much: whole pages, as mke2fs does.
func deviceBytes(size int64) int64 { return size &^ (defaultPage - 1) }
