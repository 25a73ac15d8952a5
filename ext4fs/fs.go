package ext4fs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// FS is an open file system. It is safe for concurrent use until Close.
type FS struct {
	opts   Options
	dev    device.Device // what is read: with the journal replayed over it
	base   device.Device // the device as it lies there
	closer io.Closer     // set when OpenFile opened the device
	super  disk.Superblock
	raw    []byte // the 1024 bytes of super
	seed   uint32
	cache  *cache.Cache

	recovery *journal.Recovery // nil without a journal, or when not replayed
	fast     *fastView         // nil without fast commits
	inodes   disk.InodeNum     // inodes that exist

	live *live // nil when open for reading
}

// OpenFile opens the file system in the image file or block device at path;
// Close closes that too.
func OpenFile(path string, o *Options) (*FS, error) {
	opts := o.orDefault()
	opts.Device.Write = opts.Device.Write || opts.Write
	opts.name = filepath.Base(path)
	img, err := device.OpenContext(opts.Context, path, opts.Device)
	if err != nil {
		return nil, err
	}
	fsys, err := Open(img, &opts)
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	fsys.closer = img
	return fsys, nil
}

// Open opens the file system on dev for reading. The device stays the
// caller's. A nil o means defaults.
//
// It fails with ErrNotExt4 where there is no superblock, with a *FeatureError
// where an incompatible feature is not understood, with a *CorruptError or a
// *ChecksumError where superblock or journal are damaged, and with
// ErrNoJournal where an external journal is needed and Options.Journal is not
// set.
func Open(dev device.Device, o *Options) (*FS, error) {
	f := &FS{opts: o.orDefault(), base: dev, dev: dev}
	if err := f.readSuper(); err != nil {
		return nil, err
	}
	open := f.openJournal
	if f.opts.Write {
		open = f.openLive
	}
	if err := open(); err != nil {
		return nil, err
	}
	return f, nil
}

// Close ends the use of the file system. One that was open for writing is made
// durable and left clean; the error then says whether that is so. Close closes
// the device when OpenFile opened it.
func (f *FS) Close() error {
	var err error
	if f.live != nil {
		err = f.closeLive()
	}
	if f.closer != nil {
		err = errors.Join(err, f.closer.Close())
	}
	return err
}

// readSuper reads and judges the superblock from f.dev and sets everything
// that follows from it. It runs again after a replay.
func (f *FS) readSuper() error {
	off := int64(disk.SuperblockOffset)
	if f.opts.Superblock != 0 {
		bs := int64(f.opts.BlockSize)
		if bs < disk.MinBlockSize || bs > disk.MaxBlockSize || bs&(bs-1) != 0 {
			return fmt.Errorf("block size %d for the superblock: %w", bs, ErrInvalid)
		}
		if uint64(f.opts.Superblock) > uint64(f.dev.Size())/uint64(bs) {
			return fmt.Errorf("superblock at block %d: %w", f.opts.Superblock, io.ErrUnexpectedEOF)
		}
		off = int64(f.opts.Superblock) * bs
	}
	raw := make([]byte, disk.SuperblockSize)
	if n, err := f.dev.ReadAt(raw, off); n < len(raw) {
		if err == nil || err == io.EOF {
			return fmt.Errorf("%w: %d bytes are too short", ErrNotExt4, f.dev.Size())
		}
		return fmt.Errorf("read superblock: %w", err)
	}
	var s disk.Superblock
	if err := s.Decode(raw); err != nil {
		return fmt.Errorf("%w: %w", ErrNotExt4, err)
	}
	if bad := s.Features.Incompat.Unreadable(); bad != 0 {
		return unreadable(bad)
	}
	if s.HasMetadataCsum() && !f.opts.IgnoreChecksums {
		if stored, computed := disk.VerifySuperblock(raw); stored != computed {
			return &ChecksumError{What: "superblock", Stored: stored, Computed: computed}
		}
	}
	if err := s.Validate(f.dev.Size()); err != nil {
		return err
	}
	f.super, f.raw, f.seed = s, raw, s.Seed()
	f.inodes = s.Inodes()
	f.cache = cache.New(f.dev, s.BlockSize(), s.Blocks(), cache.Options{MaxBytes: f.opts.CacheBytes})
	return nil
}

func unreadable(bad disk.Incompat) error {
	err := error(&FeatureError{Set: "incompat", Names: bad.Names()})
	if bad.Has(disk.IncompatJournalDev) {
		return fmt.Errorf("this is an external journal, not a file system: %w", err)
	}
	return err
}

// Super is the superblock, after recovery where there was some to do.
func (f *FS) Super() *disk.Superblock {
	s := f.super
	if f.live != nil {
		s = f.live.super.now()
	}
	return &s
}

// RawSuper is the superblock's 1024 bytes, of a writable file system as they
// were at its open. The caller must not change them.
func (f *FS) RawSuper() []byte { return f.raw }

// Device is the device as the file system is read from it: with the journal
// replayed over it. Its bytes must not be changed while the FS is open.
func (f *FS) Device() device.Device { return f.dev }

// BaseDevice is the device that was opened, without the replayed journal.
func (f *FS) BaseDevice() device.Device { return f.base }

// Recovery says what the journal held, nil where there is none or it was not
// asked for.
func (f *FS) Recovery() *journal.Recovery { return f.recovery }

// CacheStats counts what the metadata cache did.
func (f *FS) CacheStats() cache.Stats { return f.cache.Stats() }

// BlockSize is the block size in bytes.
func (f *FS) BlockSize() int { return f.super.BlockSize() }

// Block returns one metadata block, through the cache. The caller must not
// change it.
func (f *FS) Block(n disk.BlockNum) ([]byte, error) {
	b, err := f.cache.Get(n)
	if err != nil {
		return nil, err
	}
	return b.Data(), nil
}

// verify reports whether metadata checksums are to be verified.
func (f *FS) verify() bool { return f.super.HasMetadataCsum() && !f.opts.IgnoreChecksums }
