package ext4fs

import (
	"fmt"
	"iter"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// descVerified marks a block of group descriptors whose checksums are good.
const descVerified = 1<<63 | 1

// Group returns the descriptor of group g, a view that must not be changed.
func (f *FS) Group(g disk.GroupNum) (disk.GroupDesc, error) {
	if g >= f.super.Groups() {
		return nil, fmt.Errorf("group %d of %d: %w", g, f.super.Groups(), ErrInvalid)
	}
	if f.live != nil {
		return f.live.alloc.Group(g)
	}
	per := f.super.DescsPerBlock()
	block := f.descBlock(uint32(g) / per)
	buf, err := f.cache.Get(block)
	if err != nil {
		return nil, fmt.Errorf("descriptor of group %d: %w", g, err)
	}
	size := f.super.DescSize()
	at := int(uint32(g)%per) * size
	desc := disk.GroupDesc(buf.Data()[at : at+size : at+size])
	if !f.opts.IgnoreChecksums && f.super.HasGroupCsum() && !buf.Verified(descVerified) {
		first := g - disk.GroupNum(uint32(g)%per)
		if f.descsGood(first, buf.Data()) {
			buf.SetVerified(descVerified)
		} else if sum, _ := f.super.GroupDescSum(g, desc); sum != desc.Checksum() {
			return nil, &ChecksumError{
				What: fmt.Sprintf("descriptor of group %d", g), Block: block,
				Stored: uint32(desc.Checksum()), Computed: uint32(sum),
			}
		}
	}
	return desc, nil
}

// descBlock is where descriptor block i is read: next to the superblock that
// is used, since who asks for a backup of that has lost what follows the
// primary one too.
func (f *FS) descBlock(i uint32) disk.BlockNum {
	s := &f.super
	g := s.GroupOf(f.opts.Superblock)
	if f.opts.Superblock == 0 || g == 0 || s.GroupFirstBlock(g) != f.opts.Superblock {
		return s.DescBlock(i)
	}
	if !s.Features.Incompat.Has(disk.IncompatMetaBG) || i < s.FirstMetaBG {
		return s.DescBlockCopy(i, g)
	}
	if uint64(i)*uint64(s.DescsPerBlock())+1 < uint64(s.Groups()) {
		return s.DescBlockCopy(i, 1)
	}
	return s.DescBlock(i)
}

// backup reports whether the descriptors may be those of long ago: nobody
// renews the copies when flags, counters and bitmaps change.
func (f *FS) backup() bool { return f.opts.Superblock != 0 }

// descsGood verifies all descriptors of a block that begins with group first.
func (f *FS) descsGood(first disk.GroupNum, block []byte) bool {
	size := f.super.DescSize()
	for g := first; g < f.super.Groups() && len(block) >= size; g++ {
		desc := disk.GroupDesc(block[:size:size])
		if sum, _ := f.super.GroupDescSum(g, desc); sum != desc.Checksum() {
			return false
		}
		block = block[size:]
	}
	return true
}

// Bitmap is one group's bitmap: bit n of byte n/8, lowest first.
type Bitmap struct {
	Bits   []byte // must not be changed
	Len    int    // bits that stand for clusters or inodes
	Block  disk.BlockNum
	Uninit bool // built here, because the descriptor says it is not on disk
	// ChecksumOK: no checksum is kept, or it is good.
	ChecksumOK bool
	// Fast: fast commits changed it; Bits are not those on disk, nor do the
	// descriptor's counters fit.
	Fast bool
}

// Has reports whether bit n is set.
func (b *Bitmap) Has(n int) bool { return b.Bits[n>>3]&(1<<(n&7)) != 0 }

// Free counts the clear bits.
func (b *Bitmap) Free() int {
	n := 0
	for _, length := range b.Runs {
		n += length
	}
	return n
}

// Runs yields the runs of clear bits: first bit and length.
func (b *Bitmap) Runs(yield func(first, length int) bool) {
	start := -1
	for n := 0; n < b.Len; n++ {
		if n&7 == 0 && n+8 <= b.Len {
			// Whole bytes decide most of a bitmap.
			switch c := b.Bits[n>>3]; {
			case c == 0xff:
				if start >= 0 && !yield(start, n-start) {
					return
				}
				start = -1
				n += 7
				continue
			case c == 0:
				if start < 0 {
					start = n
				}
				n += 7
				continue
			}
		}
		if b.Has(n) {
			if start >= 0 && !yield(start, n-start) {
				return
			}
			start = -1
		} else if start < 0 {
			start = n
		}
	}
	if start >= 0 {
		yield(start, b.Len-start)
	}
}

// BlockBitmap returns group g's cluster bitmap. One that is not initialised
// is built as the format prescribes. A wrong checksum is an error unless
// checksums are ignored.
func (f *FS) BlockBitmap(g disk.GroupNum) (*Bitmap, error) {
	if f.live != nil {
		return liveBitmap(f.live.alloc.BlockBitmap(g))
	}
	desc, err := f.Group(g)
	if err != nil {
		return nil, err
	}
	bm := &Bitmap{Len: int(f.super.GroupClusters(g)), Block: desc.BlockBitmap(), ChecksumOK: true}
	if f.super.HasGroupCsum() && desc.Flags()&disk.GroupBlockUninit != 0 && !f.backup() {
		bm.Uninit = true
		bm.Bits, err = f.synthesiseBlocks(g)
	} else {
		covered := f.super.BlocksPerGroup / f.super.ClusterRatio() / 8
		err = f.loadBitmap(bm, "block bitmap", g, desc, int(covered), desc.BlockBitmapChecksum())
	}
	if err == nil {
		bm.Bits, bm.Fast = f.fastBlocks(g, bm.Bits)
	}
	return bm, err
}

// InodeBitmap returns group g's inode bitmap.
func (f *FS) InodeBitmap(g disk.GroupNum) (*Bitmap, error) {
	if f.live != nil {
		return liveBitmap(f.live.alloc.InodeBitmap(g))
	}
	desc, err := f.Group(g)
	if err != nil {
		return nil, err
	}
	bm := &Bitmap{Len: int(f.super.InodesPerGroup), Block: desc.InodeBitmap(), ChecksumOK: true}
	if f.super.HasGroupCsum() && desc.Flags()&disk.GroupInodeUninit != 0 && !f.backup() {
		bm.Uninit = true
		bm.Bits = make([]byte, f.super.BlockSize())
		for i := bm.Len; i < 8*len(bm.Bits); i++ {
			bm.Bits[i>>3] |= 1 << (i & 7)
		}
	} else {
		err = f.loadBitmap(bm, "inode bitmap", g, desc, int(f.super.InodesPerGroup/8), desc.InodeBitmapChecksum())
	}
	if err == nil {
		bm.Bits, bm.Fast = f.fastInodeBits(g, bm.Bits)
	}
	return bm, err
}

// liveBitmap is a copy of a bitmap that is being changed.
func liveBitmap(b *alloc.Bitmap, err error) (*Bitmap, error) {
	if err != nil {
		return nil, err
	}
	return &Bitmap{Bits: b.Bits, Len: b.Len, Block: b.Block, Uninit: b.Uninit, ChecksumOK: true}, nil
}

func (f *FS) loadBitmap(bm *Bitmap, what string, g disk.GroupNum, desc disk.GroupDesc, covered int, stored uint32) error {
	buf, err := f.cache.Get(bm.Block)
	if err != nil {
		return fmt.Errorf("%s of group %d: %w", what, g, err)
	}
	bm.Bits = buf.Data()
	if !f.super.HasMetadataCsum() || f.backup() {
		return nil
	}
	sum := desc.BitmapSum(f.seed, bm.Bits[:min(covered, len(bm.Bits))])
	if bm.ChecksumOK = sum == stored; !bm.ChecksumOK && !f.opts.IgnoreChecksums {
		return &ChecksumError{What: fmt.Sprintf("%s of group %d", what, g), Block: bm.Block, Stored: stored, Computed: sum}
	}
	return nil
}

// synthesiseBlocks builds the bitmap of a group whose BLOCK_UNINIT flag is
// set: in use are only the group's superblock and descriptors, those of its
// own bitmaps and inode table that lie inside it, and the padding.
func (f *FS) synthesiseBlocks(g disk.GroupNum) ([]byte, error) {
	desc, err := f.Group(g)
	if err != nil {
		return nil, err
	}
	s := &f.super
	bits := make([]byte, s.BlockSize())
	start, count, ratio := uint64(s.GroupFirstBlock(g)), uint64(s.GroupBlocks(g)), uint64(s.ClusterRatio())
	use := func(first disk.BlockNum, n uint64) {
		lo, hi := max(uint64(first), start), min(uint64(first)+n, start+count)
		for b := lo; b < hi; b++ {
			c := (b - start) / ratio
			bits[c>>3] |= 1 << (c & 7)
		}
	}
	base, n := s.BaseMeta(g)
	use(base, uint64(n))
	use(desc.BlockBitmap(), 1)
	use(desc.InodeBitmap(), 1)
	use(desc.InodeTable(), uint64(s.InodeTableBlocks()))
	for c := int(s.GroupClusters(g)); c < 8*len(bits); c++ {
		bits[c>>3] |= 1 << (c & 7)
	}
	return bits, nil
}

// FreeRun is a run of free blocks.
type FreeRun struct {
	Start disk.BlockNum
	Len   uint64 // blocks
}

// FreeRuns yields the runs of free blocks in ascending order, runs that touch
// over a group border joined.
func (f *FS) FreeRuns() iter.Seq2[FreeRun, error] {
	return func(yield func(FreeRun, error) bool) {
		var run FreeRun
		ratio := uint64(f.super.ClusterRatio())
		for g := disk.GroupNum(0); g < f.super.Groups(); g++ {
			bm, err := f.BlockBitmap(g)
			if err != nil {
				if !yield(FreeRun{}, err) {
					return
				}
				continue
			}
			start, size := f.super.GroupFirstBlock(g), uint64(f.super.GroupBlocks(g))
			for first, n := range bm.Runs {
				at := start + disk.BlockNum(uint64(first)*ratio)
				length := min(uint64(n)*ratio, size-uint64(first)*ratio)
				if run.Len != 0 && run.Start+disk.BlockNum(run.Len) == at {
					run.Len += length
					continue
				}
				if run.Len != 0 && !yield(run, nil) {
					return
				}
				run = FreeRun{at, length}
			}
		}
		if run.Len != 0 {
			yield(run, nil)
		}
	}
}
