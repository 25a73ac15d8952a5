package format

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// place is where the tables of one group lie.
type place struct{ blockBitmap, inodeBitmap, inodeTable disk.BlockNum }

// need is what the content asks of a plan.
type need struct {
	inodes uint64 // the plan has at least so many, the reserved ones counted; 0: by ratio
	exact  bool   // and no more than rounding gives
}

// plan is the geometry of a file system: everything that can be told before
// its content is known.
type plan struct {
	// sb has all geometry and features set; its free counts are zero.
	sb     disk.Superblock
	groups []place
	o      *Options
	// meta is all blocks of superblocks, descriptors, bitmaps and tables.
	meta *blockSet
	// hosts has a bit for each group that holds tables which a reader could
	// not know of from the group's own descriptor: its bitmap is written.
	hosts   []uint64
	journal journalPlan
	dind    disk.BlockNum // of the resize inode; 0 if there is none
	mmp     disk.BlockNum
	// quotas are the kinds of quota files there will be, and files where they
	// lie. Those and the orphan file get their places with the image.
	quotas []disk.QuotaKind
	files  [disk.QuotaKinds]hiddenFile
	orphan hiddenFile
	l      *placer
	// zeroed says that the device reads as zeros where nothing was written.
	zeroed   bool
	warnings []string
}

// builder makes a plan.
type builder struct {
	plan
	typ   string
	hurd  bool
	size  int64 // bytes, as asked for
	usage usageType
	need  need
	// asked are the blocks and inodes before rounding.
	asked       uint64
	askedInodes uint64
	reserve     float64 // percent
}

// newPlan makes the geometry of a file system of size bytes. Bytes beyond the
// last whole block are left. Errors are *OptionError, or say that the size is
// too small.
func newPlan(o *Options, size int64, c need) (*plan, error) {
	b := newBuilder(o, size)
	b.need = c
	steps := []func() error{
		b.chooseFeatures, b.noJournalDevice, b.chooseBlocks, b.chooseClusters, b.chooseExtended, b.checkFeatures,
		b.chooseGroups, b.chooseInodes, b.identity, b.geometry, b.placeTables, b.placeHidden,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p := b.plan
	return &p, nil
}

func newBuilder(o *Options, size int64) *builder {
	b := &builder{plan: plan{o: o}, size: size, hurd: o.hurd(), typ: o.Type}
	if b.typ == "" {
		b.typ = "ext4"
		if b.hurd {
			b.typ = "ext2"
		}
	}
	return b
}

// noJournalDevice refuses the feature that makes something else.
func (b *builder) noJournalDevice() error {
	if b.sb.Features.Incompat.Has(disk.IncompatJournalDev) {
		return bad("features", "journal_dev", "makes a journal and no file system")
	}
	return nil
}

func (b *builder) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

// hurd reports whether the creator is the Hurd.
func (o *Options) hurd() bool {
	n, err := o.creator()
	return err == nil && n == creatorHurd
}

// Values of s_creator_os.
const (
	creatorLinux   = 0
	creatorHurd    = 1
	creatorFreeBSD = 3
	creatorLites   = 4
)

// creator is s_creator_os.
func (o *Options) creator() (uint32, error) {
	switch strings.ToLower(o.CreatorOS) {
	case "", "linux":
		return creatorLinux, nil
	case "hurd", "gnu":
		return creatorHurd, nil
	case "freebsd":
		return creatorFreeBSD, nil
	case "lites":
		return creatorLites, nil
	}
	n, err := strconv.ParseUint(o.CreatorOS, 10, 32)
	if err != nil {
		return 0, bad("creator OS", o.CreatorOS, "want linux, hurd, freebsd, lites or a number")
	}
	return uint32(n), nil
}

// chooseBlocks finds the block size and the number of blocks.
func (b *builder) chooseBlocks() error {
	o := b.o
	if b.size <= 0 {
		return bad("size", b.size, "must be more than zero")
	}
	var err error
	if b.usage, err = o.resolveUsage(b.size); err != nil {
		return err
	}
	bs := o.BlockSize
	switch {
	case bs == 0 && o.Journal.Device != nil && o.Journal.Device.BlockSize != 0:
		bs = o.Journal.Device.BlockSize
	case bs == 0:
		bs = max(b.usage.blockSize, o.MinBlockSize)
	}
	if bs < disk.MinBlockSize || bs > disk.MaxBlockSize || bs&(bs-1) != 0 {
		return bad("block size", bs, "must be a power of two from 1024 to 65536")
	}
	if bs < o.MinBlockSize {
		return bad("block size", bs, "less than %d", o.MinBlockSize)
	}
	if d := o.Journal.Device; d != nil && d.BlockSize != 0 && d.BlockSize != bs {
		return bad("block size", bs, "that of the journal device is %d", d.BlockSize)
	}
	if bs > defaultPage {
		b.warn("blocks of %d bytes cannot be mounted on most systems", bs)
	}
	b.sb.LogBlockSize = log2(uint64(bs)) - 10
	b.asked = uint64(b.size) / uint64(bs)
	f := &b.sb.Features
	if b.asked > math.MaxUint32 {
		if !f.Incompat.Has(disk.Incompat64bit) {
			return bad("size", b.size, "%d blocks need the feature 64bit", b.asked)
		}
		f.Compat &^= disk.CompatResizeInode
	}
	if b.asked > uint64(bs)*8*(math.MaxUint32+1)-1 || b.asked > 1<<48-1 {
		return bad("size", b.size, "too large for blocks of %d bytes", bs)
	}
	return nil
}

func log2(n uint64) uint32 {
	l := uint32(0)
	for n >>= 1; n > 0; n >>= 1 {
		l++
	}
	return l
}

// blockSize is that of a file system of size bytes.
func (o *Options) blockSize(size int64) int {
	b := &builder{plan: plan{o: o}, size: size}
	if b.chooseBlocks() != nil {
		return defaultPage
	}
	return b.sb.BlockSize()
}

// chooseClusters finds the cluster size.
func (b *builder) chooseClusters() error {
	c, bs := b.o.ClusterSize, int64(b.sb.BlockSize())
	b.sb.LogClusterSize = b.sb.LogBlockSize
	if !b.sb.Features.ROCompat.Has(disk.ROCompatBigalloc) {
		if c != 0 {
			return bad("cluster size", c, "needs bigalloc")
		}
		return nil
	}
	if c == 0 {
		c = 16 * bs
	}
	if c < bs || c > 1<<29 || c&(c-1) != 0 {
		return bad("cluster size", c, "must be a power of two from the block size to 512 MiB")
	}
	b.sb.LogClusterSize = log2(uint64(c)) - 10
	if c > 16*bs {
		b.warn("clusters of more than 16 blocks are experimental")
	}
	return nil
}

// chooseExtended heeds the extended options that change the geometry.
func (b *builder) chooseExtended() error {
	o, sb := b.o, &b.sb
	if sb.Features.Incompat.Has(disk.Incompat64bit) {
		sb.RawDescSize = 64
	}
	if o.DescSize != 0 {
		if sb.RawDescSize == 0 {
			return bad("descriptor size", o.DescSize, "needs 64bit")
		}
		if o.DescSize < 64 || o.DescSize > 1024 || o.DescSize&(o.DescSize-1) != 0 {
			return bad("descriptor size", o.DescSize, "must be a power of two from 64 to 1024")
		}
		sb.RawDescSize = uint16(o.DescSize)
	}
	sb.RAIDStride, sb.RAIDStripeWidth = o.Stride, o.StripeWidth
	if o.Stride != 0 && o.StripeWidth%uint32(o.Stride) != 0 {
		b.warn("the stripe width %d is no multiple of the stride %d", o.StripeWidth, o.Stride)
	}
	if n := o.BackupSupers; n != nil && (*n < 0 || *n > 2) {
		return bad("backup superblocks", *n, "want 0, 1 or 2")
	}
	if o.MMPInterval > mmpMaxInterval {
		return bad("MMP interval", o.MMPInterval, "at most %d seconds", mmpMaxInterval)
	}
	sb.MMPInterval = o.MMPInterval
	if sb.Features.Incompat.Has(disk.IncompatCasefold) {
		name := o.Encoding
		if name == "" {
			name = "utf8"
		}
		var err error
		if sb.Encoding, err = encodingNumber(name); err != nil {
			return err
		}
		if sb.EncodingFlags, err = encodingFlags(o.EncodingFlags); err != nil {
			return err
		}
	}
	return b.reserveGrowth()
}

// reserveGrowth reserves descriptor blocks for the size that Resize asks for.
func (b *builder) reserveGrowth() error {
	sb := &b.sb
	if b.o.Resize.N == 0 {
		return nil
	}
	to := b.o.Resize.blocks(sb.LogBlockSize)
	if to <= b.asked {
		return bad("-E resize", to, "must be greater than the %d blocks of the file system", b.asked)
	}
	per := uint64(b.o.BlocksPerGroup)
	if per == 0 {
		per = 8 * uint64(sb.BlockSize())
	}
	descs := uint64(sb.DescsPerBlock())
	now := divUp(divUp(b.asked, per), descs)
	more := min(divUp(divUp(to, per), descs)-now, uint64(sb.BlockSize()/4))
	if more == 0 {
		return nil
	}
	if b.o.Revision0 {
		return bad("-E resize", to, "not supported with revision 0")
	}
	sb.Features.Compat |= disk.CompatResizeInode
	sb.ReservedGDTBlocks = uint16(more)
	return nil
}

func divUp(a, b uint64) uint64 { return (a + b - 1) / b }

// chooseGroups heeds the group, flex and inode size.
func (b *builder) chooseGroups() error {
	o, sb := b.o, &b.sb
	bs := sb.BlockSize()
	if n := o.BlocksPerGroup; n != 0 && (n < 256 || n > uint32(8*bs) || n%8 != 0) {
		return bad("blocks per group", n, "must be a multiple of 8 from 256 to %d", 8*bs)
	}
	flex := o.FlexSize
	has := sb.Features.Incompat.Has(disk.IncompatFlexBG)
	switch {
	case flex == 0 && has:
		flex = 16
	case flex == 0:
		flex = 1
	case !has:
		return bad("flex group size", flex, "needs flex_bg")
	case flex&(flex-1) != 0:
		return bad("flex group size", flex, "must be a power of two")
	}
	sb.LogGroupsPerFlex = uint8(log2(uint64(flex)))
	return b.chooseInodeSize()
}

func (b *builder) chooseInodeSize() error {
	o, sb := b.o, &b.sb
	if o.Revision0 {
		if o.InodeSize > disk.InodeBaseSize {
			return bad("inode size", o.InodeSize, "revision 0 has inodes of 128 bytes")
		}
		sb.RawInodeSize, sb.FirstInode = disk.InodeBaseSize, disk.FirstInodeRev0
		return nil
	}
	size := o.InodeSize
	project := sb.Features.ROCompat.Has(disk.ROCompatProject)
	if size == 0 {
		size = b.usage.inodeSize
		if project {
			size = max(size, 2*disk.InodeBaseSize)
		}
	}
	// The field has 16 bits.
	if most := min(sb.BlockSize(), 1<<15); size < disk.InodeBaseSize || size > most || size&(size-1) != 0 {
		return bad("inode size", size, "must be a power of two from 128 to %d", most)
	}
	if size == disk.InodeBaseSize {
		if project {
			return bad("inode size", size, "too small for project")
		}
		if sb.Features.Incompat.Has(disk.IncompatInlineData) {
			return bad("inode size", size, "too small for inline_data")
		}
		if !b.hurd {
			b.warn("inodes of 128 bytes cannot hold times beyond 2038")
		}
	} else {
		sb.MinExtraIsize, sb.WantExtraIsize = inodeExtra, inodeExtra
	}
	sb.RawInodeSize, sb.FirstInode, sb.RevLevel = uint16(size), disk.FirstInodeRev0, 1
	return nil
}

// inodeExtra is the part of the extra fields that are in use, with i_projid.
const inodeExtra = 32

// chooseInodes finds how many inodes are wanted and what is reserved for root.
func (b *builder) chooseInodes() error {
	o, bs := b.o, uint64(b.sb.BlockSize())
	ratio := uint64(o.InodeRatio)
	switch {
	case o.InodeRatio == 0:
		cluster := uint64(1) << (10 + b.sb.LogClusterSize)
		ratio = max(uint64(b.usage.inodeRatio), bs, cluster)
	case o.InodeRatio < disk.MinBlockSize || o.InodeRatio > disk.MaxBlockSize*1024:
		return bad("inode ratio", o.InodeRatio, "must be from 1024 to 67108864")
	}
	want := o.Inodes
	if want == 0 {
		want = b.asked * bs / ratio
		if want > math.MaxUint32 {
			if !b.sb.Features.Incompat.Has(disk.Incompat64bit) {
				return bad("inode ratio", ratio, "%d inodes are too many", want)
			}
			want = math.MaxUint32
		}
		switch {
		case b.need.exact:
			want = b.need.inodes
		case want > 0:
			want = max(want, b.need.inodes)
		}
	}
	if want > math.MaxUint32 {
		return bad("inodes", want, "at most 4294967295")
	}
	if want*uint64(b.sb.RawInodeSize) >= b.asked*bs {
		return bad("inodes", want, "of %d bytes are too many for %d blocks", b.sb.RawInodeSize, b.asked)
	}
	b.askedInodes = want
	b.reserve = 5
	if r := o.ReservedPercent; r != nil {
		b.reserve = *r
	}
	if !(b.reserve >= 0 && b.reserve <= 50) {
		return bad("reserved percentage", b.reserve, "must be from 0 to 50")
	}
	return nil
}

// identity sets what says whose the file system is.
func (b *builder) identity() error {
	o, sb := b.o, &b.sb
	var err error
	sb.Magic, sb.State = disk.SuperblockMagic, disk.StateValid
	sb.MaxMountCount = -1
	if sb.CreatorOS, err = o.creator(); err != nil {
		return err
	}
	switch o.Errors {
	case "", "continue":
		sb.Errors = 1
	case "remount-ro":
		sb.Errors = 2
	case "panic":
		sb.Errors = 3
	default:
		return bad("errors behaviour", o.Errors, "want continue, remount-ro or panic")
	}
	switch o.HashAlgorithm {
	case "legacy":
		sb.DefHashVersion = 0
	case "", "half_md4":
		sb.DefHashVersion = 1
	case "tea":
		sb.DefHashVersion = 2
	default:
		return bad("hash algorithm", o.HashAlgorithm, "want legacy, half_md4 or tea")
	}
	if len(o.Label) > len(sb.VolumeName) {
		b.warn("the label is cut to %q", o.Label[:len(sb.VolumeName)])
	}
	copy(sb.VolumeName[:], o.Label)
	copy(sb.LastMounted[:], o.LastMounted)
	// The sign of char on x86, whatever machine makes the image.
	sb.Flags = disk.SuperFlagSignedHash
	if o.TestFS {
		sb.Flags |= disk.SuperFlagTestFS
	}
	b.identityByFeatures()
	now := o.now()
	sb.MkfsTime, sb.LastCheck, sb.WriteTime = now, now, now
	if o.Reproducible {
		// The builder of the image sets them when the content is known.
		if o.UUID != nil {
			b.setUUID(*o.UUID)
		}
		if o.HashSeed != nil {
			b.setHashSeed(*o.HashSeed)
		}
		return nil
	}
	return b.randomIdentity()
}

// identityByFeatures sets fields that go with features.
func (b *builder) identityByFeatures() {
	sb := &b.sb
	f := sb.Features
	if !b.o.Revision0 {
		sb.DefaultMountOpts = mountUserXattr | mountACL
	}
	if f.Incompat.Has(disk.IncompatEncrypt) {
		sb.EncryptAlgos = [4]uint8{1, 4} // AES-256-XTS for data, AES-256-CTS for names
	}
	if f.ROCompat.Has(disk.ROCompatMetadataCsum) {
		sb.ChecksumType = 1
	}
	counted := disk.ROCompatHugeFile | disk.ROCompatGDTCsum | disk.ROCompatDirNlink | disk.ROCompatMetadataCsum | disk.ROCompatExtraIsize
	if f.Incompat.Has(disk.IncompatFlexBG) || f.ROCompat&counted != 0 {
		// Kernels count on from here; 0 would tell them not to. What is
		// written now is not counted: it depends on the device.
		sb.KBytesWritten = 1
	}
}

// Default mount options.
const (
	mountUserXattr = 0x4
	mountACL       = 0x8
)

// randomIdentity sets UUID and hash seed as they were given, or random ones.
func (b *builder) randomIdentity() error {
	u, err := givenUUID(b.o.UUID)
	if err != nil {
		return err
	}
	h, err := givenUUID(b.o.HashSeed)
	if err != nil {
		return err
	}
	b.setUUID(u)
	b.setHashSeed(h)
	return nil
}

// setUUID changes the UUID, and the seed of the checksums with it: nothing that
// has a checksum may be made before.
func (p *plan) setUUID(u [16]byte) {
	p.sb.UUID = u
	p.sb.ChecksumSeed = 0
	if p.sb.Features.Incompat.Has(disk.IncompatCsumSeed) {
		p.sb.ChecksumSeed = disk.Sum(^uint32(0), u[:])
	}
}

// setHashSeed changes the seed of directory hashes, given as the bytes of a
// UUID.
func (p *plan) setHashSeed(h [16]byte) {
	for i := range p.sb.HashSeed {
		p.sb.HashSeed[i] = uint32(h[4*i]) | uint32(h[4*i+1])<<8 | uint32(h[4*i+2])<<16 | uint32(h[4*i+3])<<24
	}
}

// now is the time of making, in seconds since 1970.
func (o *Options) now() uint64 { return uint64(max(o.time().Unix(), 0)) & (1<<40 - 1) }

func (o *Options) time() time.Time {
	if o.Time.IsZero() {
		return time.Now()
	}
	return o.Time
}

// fixed yields the blocks of superblocks, descriptors, bitmaps and inode tables
// of all groups, in ascending order, neighbours as one.
func (p *plan) fixed(yield func(bn disk.BlockNum, n uint64) bool) {
	for r := range p.meta.all {
		if !yield(disk.BlockNum(r.from), r.to-r.from) {
			return
		}
	}
}

var _ iter.Seq2[disk.BlockNum, uint64] = (*plan)(nil).fixed

// Bounds of lost+found, which is made with room for what a checker may find.
const (
	lostFoundBytes  = 16 << 10
	lostFoundDirect = 12
)

// lostFoundBlocks is the number of blocks of lost+found: 16 KiB, at least two
// so that there is always an empty one, and no more than need no map block.
func (p *plan) lostFoundBlocks() uint32 {
	bs := uint32(p.sb.BlockSize())
	n := min(max(lostFoundBytes/bs, 2), lostFoundDirect)
	if p.sb.Features.Incompat.Has(disk.IncompatInlineData) {
		n-- // as mke2fs, which counts the inode's part
	}
	return n
}
