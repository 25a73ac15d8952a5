package ext4fs

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
)

// blockMap is an inode's map for changes, and what its changes have taken.
type blockMap struct {
	extent.Changer
	space *mapSpace
	tx    opTx
	// plain: the write under way has found nothing but written blocks so far.
	plain bool
}

// opTx is a handle of which some credits are kept for the end of the operation:
// maps and allocator spend all that they see.
type opTx struct {
	h    *txn
	keep int
}

var _ cache.Tx = (*opTx)(nil)

// in makes h the handle of the operation on the map that begins now. Called
// with mapMu. Nothing is allocated.
func (m *blockMap) in(h *txn, keep int) *opTx {
	m.tx = opTx{h, keep}
	return &m.tx
}

func (t *opTx) ID() uint32 { return t.h.ID() }

func (t *opTx) Write(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	return t.h.Write(bn, s)
}

func (t *opTx) Fresh(bn disk.BlockNum, s cache.Sealer) (*cache.Buffer, error) {
	return t.h.Fresh(bn, s)
}

func (t *opTx) Forget(bn disk.BlockNum) { t.h.Forget(bn) }

func (t *opTx) Credits() int { return max(t.h.Credits()-t.keep, 0) }

func (t *opTx) Extend(n int) error { return t.h.Extend(n) }

// mapSpace gives a map the blocks for its nodes.
type mapSpace struct {
	i *Inode
	// taken counts blocks of the file system that the map's nodes and the
	// data have taken, less those given back, since the last storeMap. Guarded
	// by the inode's mapMu.
	taken int64
}

// openMap opens the inode's block map for changes.
func (i *Inode) openMap() (extent.Changer, error) {
	f := i.fs
	owner := extent.Owner{
		Inode: i.num, Seed: i.seed(), HasChecksum: f.super.HasMetadataCsum(), Verify: f.verify(),
		FirstBlock: disk.BlockNum(f.super.FirstDataBlock),
	}
	m := &blockMap{space: &mapSpace{i: i}}
	var err error
	switch {
	case !i.hasBlocks():
		return nil, fmt.Errorf("inode %d has no block map: %w", i.num, ErrInvalid)
	case i.Flags().Has(disk.FlagExtents):
		m.Changer, err = extent.Open(f.cache, owner, i.record().Block(), m.space)
	default:
		m.Changer, err = indirect.Open(f.cache, owner, i.record().Block(), m.space)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// theMap is changer in the form in which this package made it. Called with mu
// and mapMu.
func (i *Inode) theMap() (*blockMap, error) {
	c, err := i.changer()
	if err != nil {
		return nil, err
	}
	m, ok := c.(*blockMap)
	if !ok {
		return nil, fmt.Errorf("inode %d: foreign block map: %w", i.num, ErrInvalid)
	}
	return m, nil
}

// AllocNode implements extent.Space.
func (s *mapSpace) AllocNode(tx cache.Tx, goal disk.BlockNum) (disk.BlockNum, error) {
	i := s.i
	ratio := int64(i.fs.super.ClusterRatio())
	if err := i.chargeTx(tx, ratio); err != nil {
		return 0, err
	}
	bn, _, err := i.fs.live.alloc.Alloc(tx, alloc.Request{
		Inode: i.num, Goal: i.inside(goal), Len: 1, Meta: true, Root: true, NoPrealloc: true, Low: i.mapsLow(),
	})
	if err != nil {
		return 0, errors.Join(noSpace(err), i.chargeTx(tx, -ratio))
	}
	s.taken += ratio
	return bn, nil
}

// FreeNode implements extent.Space.
func (s *mapSpace) FreeNode(tx cache.Tx, bn disk.BlockNum) error {
	i := s.i
	ratio := int64(i.fs.super.ClusterRatio())
	if err := i.chargeTx(tx, -ratio); err != nil {
		return err
	}
	tx.Forget(bn)
	if err := i.fs.live.alloc.Free(tx, bn, 1); err != nil {
		return errors.Join(err, i.chargeTx(tx, ratio))
	}
	s.taken -= ratio
	return nil
}

// mapsLow reports whether the map has only 32 bits for a block.
func (i *Inode) mapsLow() bool { return !i.Flags().Has(disk.FlagExtents) }

// noSpace makes the allocator's want of space this package's.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// KeepReserved says on whose behalf the inode takes blocks from now on: with on,
// on that of users whom the blocks reserved for root are not for, as
// Options.KeepReserved has it for all inodes.
func (i *Inode) KeepReserved(on bool) {
	if i.node != nil {
		i.ordinary.Store(on)
	}
}

// asRoot reports whether the inode may take the blocks reserved for root.
func (i *Inode) asRoot() bool { return !i.fs.opts.KeepReserved && !i.ordinary.Load() }

// charge notes in the quota that the inode takes so many blocks of the file
// system, and inodes, more. It gives ErrQuota, and notes nothing, where a limit
// is in the way; giving back never fails for that.
func (i *Inode) charge(h *txn, fsBlocks, inodes int64) error {
	if i.fs.live.quota == nil || fsBlocks == 0 && inodes == 0 {
		return nil
	}
	return i.fs.live.quota.charge(h, i, fsBlocks*int64(i.fs.super.BlockSize()), inodes)
}

func (i *Inode) chargeTx(tx cache.Tx, fsBlocks int64) error {
	if i.fs.live.quota == nil {
		return nil
	}
	switch t := tx.(type) {
	case *txn:
		return i.charge(t, fsBlocks, 0)
	case *opTx:
		return i.charge(t.h, fsBlocks, 0)
	}
	return fmt.Errorf("inode %d: a transaction of another kind: %w", i.num, ErrInvalid)
}

// addBlocks counts fsBlocks blocks of the file system in i_blocks of a record
// that is being changed; with bigalloc these are whole clusters.
func (i *Inode) addBlocks(r disk.Inode, fsBlocks int64) {
	if fsBlocks == 0 {
		return
	}
	bs := i.fs.super.BlockSize()
	huge := i.fs.super.Features.ROCompat.Has(disk.ROCompatHugeFile)
	n := uint64(r.BlocksLo())
	if huge {
		n |= uint64(r.BlocksHi()) << 32
		if r.Flags().Has(disk.FlagHugeFile) {
			n *= uint64(bs / 512)
		}
	}
	change := fsBlocks * int64(bs/512)
	if change < 0 {
		n -= min(n, uint64(-change))
	} else {
		n += uint64(change)
	}
	// The limits of sizes keep the number within what fits.
	r.SetSectors(n, huge, bs)
}

// touch notes a change of the content in a record under edit.
func (i *Inode) touch(r disk.Inode) {
	if !i.fs.live.leaveTimes.Load() || !i.IsRegular() {
		now := i.fs.now()
		r.SetMtime(now)
		r.SetCtime(now)
	}
	r.SetVersion(r.Version() + 1)
}

// storeRoot puts the map's root and what its changes took into the record.
func (i *Inode) storeRoot(h *txn) error { return i.storeMap(h, func(disk.Inode) {}) }

// storeMap is update, with the map's root and what its changes took added to
// what edit does. Called with mu and mapMu.
func (i *Inode) storeMap(h *txn, edit func(r disk.Inode)) error {
	m, _ := i.blocks.(*blockMap)
	err := i.update(h, func(r disk.Inode) {
		if m != nil {
			copy(r.Block(), m.Root())
			i.addBlocks(r, m.space.taken)
		}
		edit(r)
	})
	if err == nil && m != nil {
		m.space.taken = 0
	}
	i.dataTID.Store(h.ID())
	return err
}

// initBlockMap makes the record of a new inode, or of one that had inline data,
// have an empty block map of the kind that the file system has.
//
// A regular file begins with inline data later on, if that is allowed.
func (i *Inode) initBlockMap(r disk.Inode) {
	i.allowInline(r)
	clear(r.Block())
	if i.fs.super.Features.Incompat.Has(disk.IncompatExtents) {
		copy(r.Block(), extent.EmptyRoot())
		r.SetFlags(r.Flags()&^disk.FlagInlineData | disk.FlagExtents)
		return
	}
	r.SetFlags(r.Flags() &^ (disk.FlagInlineData | disk.FlagExtents))
}

// Credits of an operation beside its map: the inode, the superblock, an orphan
// list's neighbour or an orphan file's block, and three quotas with what a new
// entry in them takes.
const (
	inodeCredits  = 1
	superCredits  = 1
	orphanCredits = 3
	quotaCredits  = 3 * 8
)

// baseCredits is what any change of a file's content may add.
func (f *FS) baseCredits() int {
	return inodeCredits + superCredits + f.quotaCredits()
}

// quotaCredits is what charging the quotas of an inode may add.
func (f *FS) quotaCredits() int {
	if f.live.quota == nil {
		return 0
	}
	return quotaCredits
}

// runCredits is what allocating, mapping or converting a run of blocks adds;
// without blocks, nothing is to be allocated.
func (i *Inode) runCredits(m extent.Changer, blocks uint64) int {
	// Part of an unwritten run becomes three of one.
	c := m.InsertCredits(2)
	if blocks > 0 {
		c += alloc.AllocCredits
	}
	return c
}

// need makes sure of n credits.
func need(tx cache.Tx, n int) error {
	if c := tx.Credits(); c < n {
		return tx.Extend(n - c)
	}
	return nil
}

// maxBytes is the largest size that the inode may have.
func (i *Inode) maxBytes() int64 {
	s := &i.fs.super
	shift := i.fs.blockShift()
	huge := s.Features.ROCompat.Has(disk.ROCompatHugeFile)
	if i.Flags().Has(disk.FlagExtents) || i.Flags().Has(disk.FlagInlineData) {
		return maxExtentBytes(shift, huge)
	}
	return maxIndirectBytes(shift, huge)
}

// maxExtentBytes: the last logical block is kept free, so that the length of a
// file fits 32 bits of blocks; and without huge_file the sectors have 32 bits.
func maxExtentBytes(shift uint, huge bool) int64 {
	blocks := int64(math.MaxUint32)
	if !huge {
		blocks = min(blocks, math.MaxUint32>>(shift-9))
	}
	return blocks << shift
}

// maxIndirectBytes: data and pointer blocks together must be counted in
// i_blocks, which is 32 bits of sectors or, with huge_file, 48 bits of blocks.
func maxIndirectBytes(shift uint, huge bool) int64 {
	p := int64(1) << (shift - 2) // pointers in a block
	data := 12 + p + p*p + p*p*p
	limit := int64(math.MaxUint32 >> (shift - 9))
	if huge {
		limit = 1<<48 - 1
	}
	if data+pointerBlocks(data, p) > limit {
		// The number of pointer blocks for the limit is at least that for
		// what is left of it.
		data = limit - pointerBlocks(limit, p)
	}
	return min(data, math.MaxUint32) << shift
}

// pointerBlocks is how many pointer blocks map n data blocks.
func pointerBlocks(n, p int64) int64 {
	meta := int64(0)
	if n -= 12; n > 0 {
		meta++
	}
	if n -= p; n > 0 {
		meta += 1 + (min(n, p*p)+p-1)/p
	}
	if n -= p * p; n > 0 {
		meta += 1 + (n+p-1)/p + (n+p*p-1)/(p*p)
	}
	return meta
}

// allowSize makes the file system tell of files as large as that one is going
// to be.
func (i *Inode) allowSize(h *txn, size int64) error {
	if size <= math.MaxInt32 || !i.IsRegular() || i.fs.live.super.hasROCompat(disk.ROCompatLargeFile) {
		return nil
	}
	return i.fs.live.super.setROCompat(h, disk.ROCompatLargeFile)
}

// readsThroughCache reports whether the inode's blocks are journaled, so that
// the cache and not the device has what was last written to them.
func (i *Inode) readsThroughCache() bool {
	if i.node == nil {
		return false
	}
	if !i.IsRegular() || i.Flags().Has(disk.FlagEAInode) || i.isSystemFile() {
		return true
	}
	return i.journalsData()
}

// isSystemFile reports whether the inode is a file that the file system keeps
// for itself and changes as metadata.
func (i *Inode) isSystemFile() bool {
	s := &i.fs.super
	switch i.num {
	case disk.UserQuotaInode, disk.GrpQuotaInode:
		return true
	}
	return i.num != 0 && (i.num == s.ProjectQuotaInode || i.num == s.OrphanFileInode)
}

// journalsData reports whether a regular file's content goes through the
// journal.
func (i *Inode) journalsData() bool {
	f := i.fs
	if !f.super.Features.Compat.Has(disk.CompatHasJournal) || i.Flags().Has(disk.FlagEncrypt) {
		return false
	}
	return f.live.data == DataJournal || i.Flags().Has(disk.FlagJournalData)
}

// dropPrealloc gives back what the allocator keeps for the file to grow: for
// the last close.
func (i *Inode) dropPrealloc() {
	if i.node != nil && i.fs.live != nil {
		i.fs.live.alloc.Release(i.num)
	}
}

// readRun fills p from byte off of the device on, where the inode has data.
// Journaled data that has not been written home is in the cache.
func (i *Inode) readRun(p []byte, off int64) error {
	f := i.fs
	if !i.readsThroughCache() {
		return f.readDevice(p, off, i.num)
	}
	shift := f.blockShift()
	bs := int64(f.BlockSize())
	for len(p) > 0 {
		bn := disk.BlockNum(off >> shift)
		blocks := uint64((off&(bs-1) + int64(len(p)) + bs - 1) >> shift)
		if !f.cache.AnyPinned(bn, blocks) {
			return f.readDevice(p, off, i.num)
		}
		head := off & (bs - 1)
		n := min(int64(len(p)), bs-head)
		if b := f.cache.Pinned(bn); b != nil {
			copy(p[:n], b.Data()[head:])
		} else if err := f.readDevice(p[:n], off, i.num); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}
