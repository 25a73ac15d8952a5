package journal

import (
	"fmt"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Checksum is the kind of checksum that the log carries.
type Checksum uint8

const (
	// ChecksumNone: as the kernel does without metadata_csum.
	ChecksumNone Checksum = iota
	// ChecksumV1: a CRC-32 of the transaction in its commit block, as the
	// kernel does with the mount option journal_checksum and no metadata_csum.
	ChecksumV1
	// ChecksumV2: the form of old kernels, which new ones turn into V3.
	ChecksumV2
	// ChecksumV3: as the kernel does with metadata_csum.
	ChecksumV3
)

// DefaultInterval is the age at which a transaction is committed.
const DefaultInterval = 5 * time.Second

// Config says how a Journal works.
type Config struct {
	// Cache is where blocks live. It must read from Device.
	Cache *cache.Cache
	// Device holds the file system.
	Device device.Writer
	// Log is the journal; nil for a file system without one.
	Log *WriteLog
	// FSBlocks bounds the blocks of transactions; 0 is all of the cache's.
	FSBlocks uint64

	// Bits64 switches the journal's 64bit feature on, for a file system that
	// has it.
	Bits64 bool
	// FastCommit says that the file system has the fast_commit feature: then
	// the log keeps out of the area for fast commits, of which none are
	// written, and is never wrapped, since e2fsck 1.47 does that in another
	// place than the kernel.
	FastCommit bool
	// Checksum replaces the journal's kind of checksum.
	Checksum Checksum
	// Resume starts on the log that Recover has left open.
	Resume bool

	// Interval is the age at which a transaction is committed: 0 for
	// DefaultInterval, less for never.
	Interval time.Duration
	// OnCommit is called after a transaction has become durable, and before
	// those who wait for that go on: then what it has freed may be reused. It
	// runs in the journal's goroutine and must not call the journal.
	OnCommit func(tid uint32)
	// OnAbort is called once, if the journal aborts, with an *AbortError. It
	// must not wait for the journal.
	OnAbort func(error)
	// Now is the clock for commit times; nil for time.Now.
	Now func() time.Time
}

func (c *Config) check() error {
	if c.Cache == nil || c.Device == nil {
		return fmt.Errorf("journal without cache or device: %w", disk.ErrUnsupported)
	}
	if c.FSBlocks == 0 || c.FSBlocks > c.Cache.Blocks() {
		c.FSBlocks = c.Cache.Blocks()
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log != nil && c.Log.blockSize != c.Cache.BlockSize() {
		return fmt.Errorf("journal of block size %d in a file system of %d: %w",
			c.Log.blockSize, c.Cache.BlockSize(), disk.ErrUnsupported)
	}
	return nil
}
