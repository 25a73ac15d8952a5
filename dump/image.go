package dump

import (
	"errors"
	"fmt"
	"sync"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrNoGeometry: the superblock does not say where things are, so only the
// superblock itself and raw blocks can be shown.
var ErrNoGeometry = errors.New("the superblock is not usable")

// Image is an image to be looked into. It is safe for concurrent use.
type Image struct {
	fs    *ext4fs.FS // nil when the geometry is impossible
	dev   device.Device
	base  device.Device // dev without the replayed journal
	super disk.Superblock
	raw   []byte // of super
	at    int64  // where super lies
	seed  uint32
	csum  bool // metadata_csum
	why   error
	notes []string
	// copyOf is the group of the backup superblock that the geometry is from;
	// 0 is the primary one. The descriptors beside a backup are read with it.
	copyOf disk.GroupNum
	stale  bool // those descriptors are in use, which nobody keeps up to date

	longestOnce sync.Once // guards longest
	longest     uint64
}

// Open makes an Image of what lies on dev. It ignores checksums and goes on
// without the journal where that cannot be replayed, and with a backup of the
// superblock where there is no primary one; Notes says so. It fails only where
// there is no superblock at all.
func Open(dev device.Device, o *ext4fs.Options) (*Image, error) {
	var opts ext4fs.Options
	if o != nil {
		opts = *o
	}
	opts.IgnoreChecksums = true
	fsys, err := ext4fs.Open(dev, &opts)
	if err == nil {
		return fromFS(fsys, &opts, nil), nil
	}
	if ctx := opts.Context; ctx != nil && ctx.Err() != nil {
		return nil, err
	}
	if !opts.NoReplay {
		opts.NoReplay = true
		if fsys, plain := ext4fs.Open(dev, &opts); plain == nil {
			return fromFS(fsys, &opts, []string{"shown without the journal: " + err.Error()}), nil
		}
	}
	if errors.Is(err, ext4fs.ErrNotExt4) && opts.Superblock == 0 {
		if im := openBackup(dev, opts); im != nil {
			im.notes = append([]string{err.Error()}, im.notes...)
			return im, nil
		}
		return nil, err
	}
	im, err := openSuper(dev, &opts, err)
	if err != nil {
		return nil, err
	}
	return im.withBackup(opts), nil
}

// withBackup gives an image whose superblock is not usable the geometry of a
// backup of it, if there is one. The damaged superblock stays the one that is
// shown.
func (im *Image) withBackup(opts ext4fs.Options) *Image {
	if opts.Superblock != 0 || im.super.Features.Incompat.Has(disk.IncompatJournalDev) {
		return im
	}
	b := openBackup(im.dev, opts)
	if b == nil {
		return im
	}
	b.raw, b.at = im.raw, im.at
	b.notes = append(im.notes, b.notes...)
	return b
}

// openBackup tries the places where the first backup of the superblock lies
// with usual geometries.
func openBackup(dev device.Device, opts ext4fs.Options) *Image {
	for bs := disk.MinBlockSize; bs <= disk.MaxBlockSize; bs *= 2 {
		opts.BlockSize = bs
		opts.Superblock = disk.BlockNum(min(8*bs, 65528))
		if bs == disk.MinBlockSize {
			opts.Superblock++
		}
		fsys, err := ext4fs.Open(dev, &opts)
		if err != nil || fsys.BlockSize() != bs {
			continue
		}
		return fromFS(fsys, &opts, []string{fmt.Sprintf(
			"the backup of the superblock in block %d, block size %d, is used, and the group descriptors beside it, which are not kept up to date",
			opts.Superblock, bs)})
	}
	return nil
}

// openSuper makes an Image of which only the superblock is known; why is the
// reason.
func openSuper(dev device.Device, opts *ext4fs.Options, why error) (*Image, error) {
	im := &Image{dev: dev, base: dev, why: why, at: superOffset(opts), notes: []string{why.Error()}}
	im.raw = make([]byte, disk.SuperblockSize)
	if err := device.ReadFull(dev, im.raw, im.at); err != nil {
		return nil, why
	}
	if err := im.super.Decode(im.raw); err != nil {
		return nil, why
	}
	im.seed, im.csum = im.super.Seed(), im.super.HasMetadataCsum()
	return im, nil
}

// New makes an Image of an open file system. Checksums stop it if fsys does
// not ignore them.
func New(fsys *ext4fs.FS) *Image { return fromFS(fsys, &ext4fs.Options{}, nil) }

func fromFS(fsys *ext4fs.FS, opts *ext4fs.Options, notes []string) *Image {
	s := fsys.Super()
	im := &Image{
		fs: fsys, dev: fsys.Device(), base: fsys.BaseDevice(), super: *s, raw: fsys.RawSuper(),
		at: superOffset(opts), seed: s.Seed(), csum: s.HasMetadataCsum(), notes: notes,
	}
	if opts.Superblock != 0 {
		im.copyOf = s.GroupOf(opts.Superblock)
	}
	// Who opened fsys may have used a backup, which knows its group.
	im.stale = im.copyOf != 0 || s.GroupNr != 0
	return im
}

func superOffset(opts *ext4fs.Options) int64 {
	if opts.Superblock != 0 {
		return int64(opts.Superblock) * int64(opts.BlockSize)
	}
	return disk.SuperblockOffset
}

// Notes says what is special about how the image could be opened.
func (im *Image) Notes() []string { return im.notes }

// FS is the file system; nil where its geometry is impossible.
func (im *Image) FS() *ext4fs.FS { return im.fs }

// Close closes the file system. The device stays the caller's.
func (im *Image) Close() error {
	if im.fs == nil {
		return nil
	}
	return im.fs.Close()
}

// geometry says why nothing but the superblock can be shown.
func (im *Image) geometry() error {
	if im.fs == nil {
		return fmt.Errorf("%w: %w", ErrNoGeometry, im.why)
	}
	return nil
}

// blockSize is the size of a block; 1024 where the superblock does not say.
func (im *Image) blockSize() int {
	if im.super.LogBlockSize > 6 {
		return disk.MinBlockSize
	}
	return im.super.BlockSize()
}

// block reads a block of metadata.
func (im *Image) block(n disk.BlockNum) ([]byte, error) { return im.fs.Block(n) }

// has reports whether the inode number exists.
func (im *Image) has(n disk.InodeNum) bool { return n != 0 && n <= im.super.Inodes() }

// hasFastCommits reports whether fast commits were laid over the image in
// memory.
func (im *Image) hasFastCommits() bool {
	rec := im.fs.Recovery()
	return rec != nil && len(rec.FastCommits) > 0
}

// inode opens an inode.
func (im *Image) inode(n disk.InodeNum) (*ext4fs.Inode, error) {
	if err := im.geometry(); err != nil {
		return nil, err
	}
	return im.fs.Inode(n)
}

// inodeSeed is the checksum seed of what an inode owns.
func (im *Image) inodeSeed(i *ext4fs.Inode) uint32 {
	return disk.InodeSeed(im.seed, i.Number(), i.Raw().Generation())
}
