package alloc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Run is a run of blocks.
type Run struct {
	Start disk.BlockNum
	Len   uint64 // blocks
}

// Config of an allocator. Cache and Super are required.
type Config struct {
	Cache *cache.Cache
	// Super must be valid; it is copied. Its counters are not looked at.
	Super *disk.Superblock
	Seed  uint32 // the file system's checksum seed
	// Verify: descriptors and bitmaps that fail their checksum are not used.
	Verify bool
	// Reserved is how many blocks only Request.Root and Meta may have.
	Reserved uint64
	// Zones are blocks beyond those that the descriptors tell of which must
	// never be given out or freed, whatever the bitmaps say: the journal's,
	// for one.
	Zones []Run
	// Discard is called by Committed for blocks that were freed, in ascending
	// order and merged, before anybody can get them again. nil: not at all.
	Discard func(bn disk.BlockNum, n uint64)
	// Virgin prepares an inode table block that was never used: it makes it
	// fresh in the transaction. NewInode calls it with the group's lock held,
	// so that nobody can get another inode of the block and read what was
	// there before. nil: the caller of NewInode sees to it, and that no other
	// NewInode comes in between.
	Virgin func(tx cache.Tx, bn disk.BlockNum) error
	// OnCorrupt is told, once each, of a group's block or inode bitmap that
	// will not be used any more, and why. It is called with the group's lock
	// held: it may note it, and must not call the allocator or begin a handle.
	OnCorrupt func(g disk.GroupNum, err error)
}

// Allocator gives out and takes back the blocks and inodes of one file system.
// All its methods are safe for concurrent use.
type Allocator struct {
	cfg     Config
	super   disk.Superblock
	ratio   uint32 // blocks in a cluster
	perGrp  uint32 // clusters in a group
	flex    uint   // log2 of the groups in a flex group
	groups  []group
	sealers []descSealer // by descriptor block
	zones   []zone       // ascending, apart

	freeClusters atomic.Int64 // as the descriptors say
	freeInodes   atomic.Int64
	dirs         atomic.Int64
	avail        atomic.Int64 // clusters that can be claimed
	reserved     int64        // clusters for root
	pool         int64        // clusters for metadata

	flexes  []flexStat
	ranks   ranks
	inodes  lockedSet // groups that have an inode to give
	parents parents
	owners  owners
	pending pending
	loaded  loadedGroups

	// gate is held shared by every attempt to allocate. Who found no space
	// takes it alone to look again: then nobody has claimed what he does not
	// use, and nothing is set aside for others. It comes before every lock of
	// this package.
	gate sync.RWMutex
}

// flexStat sums up the groups of a flex group, or a group without flex_bg.
type flexStat struct{ clusters, inodes, dirs atomic.Int64 }

// maxGroups bounds what an image can make us keep in memory: 512 TiB of 4 KiB
// blocks.
const maxGroups = 1 << 22

// New reads all group descriptors, and no bitmap: these are read when they are
// needed. Descriptors that are impossible or fail their checksum are reported
// to OnCorrupt, and their groups are left alone. Errors are those of reading,
// or a *disk.CorruptError about a geometry that cannot be written to.
func New(ctx context.Context, cfg Config) (*Allocator, error) {
	a := &Allocator{cfg: cfg, super: *cfg.Super}
	s := &a.super
	a.ratio = s.ClusterRatio()
	a.perGrp = s.BlocksPerGroup / a.ratio
	if err := a.checkGeometry(); err != nil {
		return nil, err
	}
	if s.Features.Incompat.Has(disk.IncompatFlexBG) && s.LogGroupsPerFlex < 32 {
		a.flex = uint(s.LogGroupsPerFlex)
	}
	if err := a.readDescs(ctx); err != nil {
		return nil, err
	}
	a.findZones()
	a.initSums()
	a.sealers = make([]descSealer, s.DescBlocks())
	for i := range a.sealers {
		a.sealers[i] = descSealer{a, disk.GroupNum(uint32(i) * s.DescsPerBlock())}
	}
	a.owners.init()
	a.loaded.limit = maxLoaded
	a.reserved = int64(cfg.Reserved / uint64(a.ratio))
	if s.Features.Incompat.Has(disk.IncompatExtents) {
		a.pool = int64(min(s.Blocks()/uint64(a.ratio)/50, 4096))
	}
	return a, nil
}

func (a *Allocator) checkGeometry() error {
	s := &a.super
	bad := func(format string, args ...any) error {
		return &disk.CorruptError{What: "superblock", Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case s.Groups() > maxGroups:
		return fmt.Errorf("%d groups, more than %d: %w", s.Groups(), maxGroups, disk.ErrUnsupported)
	case a.ratio > 1 && s.FirstDataBlock != 0:
		return bad("first data block %d with clusters of %d blocks", s.FirstDataBlock, a.ratio)
	case s.DescSize() < 64 && (a.perGrp > 0xffff || s.InodesPerGroup > 0xffff):
		return bad("%d clusters and %d inodes per group, which a short descriptor cannot count", a.perGrp, s.InodesPerGroup)
	case a.perGrp > uint32(8*s.BlockSize()):
		return bad("%d clusters per group", a.perGrp)
	case s.BlockSize() != a.cfg.Cache.BlockSize():
		return bad("block size %d, the cache's is %d", s.BlockSize(), a.cfg.Cache.BlockSize())
	}
	return nil
}

// initSums fills what is derived from all descriptors together.
func (a *Allocator) initSums() {
	n := len(a.groups)
	a.flexes = make([]flexStat, (n-1)>>a.flex+1)
	a.ranks.init(n)
	a.inodes.s = newGroupSet(n)
	for i := range a.groups {
		g := &a.groups[i]
		a.freeClusters.Add(int64(g.freeClusters))
		a.freeInodes.Add(int64(g.freeInodes))
		a.dirs.Add(int64(g.dirs))
		if g.damage != nil {
			g.badBlocks, g.badInodes = true, true
			a.report(g, g.damage)
			continue
		}
		a.avail.Add(int64(g.freeClusters))
		f := a.flexOf(g.num)
		f.clusters.Add(int64(g.freeClusters))
		f.inodes.Add(int64(g.freeInodes))
		f.dirs.Add(int64(g.dirs))
		if g.freeClusters > 0 {
			a.ranks.unknown.add(g.num)
		}
		if g.freeInodes > 0 {
			a.inodes.s.add(g.num)
		}
	}
}

func (a *Allocator) flexOf(g disk.GroupNum) *flexStat { return &a.flexes[g>>a.flex] }

func (a *Allocator) report(g *group, err error) {
	if a.cfg.OnCorrupt != nil {
		a.cfg.OnCorrupt(g.num, err)
	}
}

// Counts are sums over all groups, as the descriptors have them.
type Counts struct {
	FreeBlocks uint64 // whole clusters counted, also those freed and not committed
	FreeInodes uint64
	Dirs       uint64
}

// Counts tells what is free. It takes no lock: while others allocate, the
// numbers need not be of the same moment.
func (a *Allocator) Counts() Counts {
	return Counts{
		FreeBlocks: uint64(max(a.freeClusters.Load(), 0)) * uint64(a.ratio),
		FreeInodes: uint64(max(a.freeInodes.Load(), 0)),
		Dirs:       uint64(max(a.dirs.Load(), 0)),
	}
}

// Pool is the number of blocks that are held back for Request.Meta.
func (a *Allocator) Pool() uint64 { return uint64(a.pool) * uint64(a.ratio) }

// claim takes up to n clusters out of what can be given out, before it is
// known where they are. 0 says there is no space for this request.
func (a *Allocator) claim(r *Request, n uint32) uint32 {
	floor := a.reserved + a.pool
	switch {
	case r.Meta:
		floor = 0
	case r.Root:
		floor = a.pool
	}
	for {
		have := a.avail.Load()
		if have <= floor {
			return 0
		}
		k := min(int64(n), have-floor)
		if a.avail.CompareAndSwap(have, have-k) {
			return uint32(k)
		}
	}
}
