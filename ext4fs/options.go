package ext4fs

import (
	"context"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Options say how to open a file system. The zero value, and nil, are the
// right defaults.
type Options struct {
	// Device says how OpenFile opens the image: partition, offset, locks.
	Device device.Options

	// IgnoreChecksums reads on where a checksum is wrong.
	IgnoreChecksums bool

	// NoReplay shows the image as it lies there, without its journal.
	NoReplay bool

	// Journal is the external journal, for file systems that have one.
	Journal device.Device

	// Write opens the file system for writing: its journal is replayed into
	// the image, and what was left deleted or half truncated is cleaned up.
	// The device must be a device.Writer; OpenFile sees to that. ReadOnly
	// reasons of the image (see ErrReadOnly) are errors.
	Write bool

	// KeepReserved leaves the reserved blocks to others: without it this
	// writer acts as root.
	KeepReserved bool

	// EnforceQuotas makes the limits of the quota files count. Without it only
	// usage is kept, as Linux does when it mounts without options for quotas.
	EnforceQuotas bool

	// DataMode says how file data and the journal go together.
	DataMode DataMode

	// CommitInterval is how long changes wait for their commit at most; 0 is
	// five seconds, a negative one never commits by itself.
	CommitInterval time.Duration

	// Discard gives freed blocks back to the device.
	Discard bool

	// MountPoint is noted as the place of the last mount, which is counted;
	// "" notes nothing.
	MountPoint string

	// Owner names this writer in the block of the multiple mount protection;
	// "" is the host's name.
	Owner string

	// Clock tells the time for what is written; nil is time.Now.
	Clock func() time.Time

	// CacheBytes bounds the metadata cache; 0 is 64 MiB.
	CacheBytes int64

	// Superblock is the block of the superblock to use instead of the primary
	// one; it needs BlockSize. The group descriptors are read from the copy
	// beside it, whose flags and counters are old: bitmaps are then taken as
	// they lie there, and their checksums are not verified.
	Superblock disk.BlockNum
	// BlockSize is the block size that Superblock counts in.
	BlockSize int

	// OnAbort is called once, if the file system that is open for writing comes
	// to take no more changes, with the cause: a write that failed, damage in the
	// way of a change, a Shutdown. What was not durable by then is lost. It must
	// not wait for the file system. nil is nobody.
	OnAbort func(error)

	name string // of the image, for others to read

	// Context can stop what takes long on a hostile image: a replay, Space.
	// nil never does.
	Context context.Context
}

// DataMode says what is known of file data when its metadata commits.
type DataMode uint8

const (
	// DataDefault is what the superblock asks for, else DataOrdered.
	DataDefault DataMode = iota
	// DataOrdered writes data before the transaction that makes it reachable.
	DataOrdered
	// DataWriteback promises nothing: after a crash, new blocks may show what
	// was there before.
	DataWriteback
	// DataJournal sends data through the journal too.
	DataJournal
)

func (o *Options) orDefault() Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Context == nil {
		opts.Context = context.Background()
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = cache.DefaultMaxBytes
	}
	return opts
}

// deviceName is what the multiple mount protection calls the device.
func (o *Options) deviceName() string { return o.name }
