package ext4fs

import (
	"context"

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

	// CacheBytes bounds the metadata cache; 0 is 64 MiB.
	CacheBytes int64

	// Superblock is the block of the superblock to use instead of the primary
	// one; it needs BlockSize. The group descriptors are read from the copy
	// beside it, whose flags and counters are old: bitmaps are then taken as
	// they lie there, and their checksums are not verified.
	Superblock disk.BlockNum
	// BlockSize is the block size that Superblock counts in.
	BlockSize int

	// Context can stop what takes long on a hostile image: a replay, Space.
	// nil never does.
	Context context.Context
}

func (o *Options) orDefault() Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Context == nil {
		opts.Context = context.Background()
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = cache.DefaultMaxBytes
	}
	return opts
}
