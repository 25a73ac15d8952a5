package format

import (
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Sizes that Plan finds by itself.
const (
	// SizeAuto: just enough for the content, and Options.Free.
	SizeAuto int64 = -1
	// SizeMin: the smallest file system that holds the content.
	SizeMin int64 = -2
)

// Options say what file system is to be made. The zero value is what
// "mke2fs -t ext4" makes of a whole device. Ranges are checked by Plan; errors
// are *OptionError.
type Options struct {
	// Size is the size of the file system in bytes, SizeAuto or SizeMin; 0 is
	// that of the device. It is rounded down to whole blocks, and less when
	// the last group would have no room for more than its own tables.
	Size int64
	// Free is the free space, in bytes, and FreePercent that in percent of
	// the whole, at most 99, that SizeAuto adds.
	Free        int64
	FreePercent float64

	// Type is "ext2", "ext3" or "ext4"; "" is ext4 (ext2 for the Hurd).
	Type string
	// Usage are usage types: floppy, small, default, big, huge, news,
	// largefile, largefile4, hurd; the last one that has an opinion counts.
	// Without any the size decides.
	Usage []string
	// Features are changes to the type's features, in order; ParseFeatures
	// fills them.
	Features []string
	// Revision0 makes the form that kernels before 2.2 know, without features.
	Revision0 bool

	BlockSize    int   // bytes, a power of two from 1024 to 65536; 0: by usage
	MinBlockSize int   // bytes; what a default block size has at least
	ClusterSize  int64 // bytes, with bigalloc; 0 is 16 blocks
	InodeSize    int   // bytes, a power of two from 128 to the block size; 0: by usage
	InodeRatio   int64 // bytes of space for each inode; 0: by usage
	Inodes       uint64
	// ReservedPercent is what only root may fill, from 0 to 50; nil is 5.
	ReservedPercent *float64
	// BlocksPerGroup is 256 to 8 times the block size, a multiple of 8; with
	// bigalloc it counts clusters.
	BlocksPerGroup uint32
	// FlexSize is the number of groups whose tables lie together, a power of
	// two; 0 is 16. Other values need flex_bg.
	FlexSize uint32

	Label       string // at most 16 bytes; more is cut
	LastMounted string // at most 64 bytes; more is cut
	// UUID and HashSeed are random when nil.
	UUID     *[16]byte
	HashSeed *[16]byte
	// HashAlgorithm of directories: "legacy", "half_md4" (""), "tea".
	HashAlgorithm string
	// Errors is what the kernel does on errors: "continue" (""), "remount-ro",
	// "panic".
	Errors string
	// CreatorOS is "linux" (""), "hurd" or "gnu", "freebsd", "lites" or a number.
	CreatorOS string

	// Extended are what ParseExtended understands.
	Extended
	// Journal is what ParseJournal understands.
	Journal JournalOptions

	// Time is the time of making, in the superblock and in inodes that the
	// content does not give; the zero Time is now.
	Time time.Time
	// Reproducible derives what would be random from the content.
	Reproducible bool

	// Zeroed says that the device reads as zeros all over, as a new file
	// does: zeros are not written then.
	Zeroed bool

	// Progress is called from one goroutine at a time; nil is silent.
	Progress func(ProgressInfo)
	// Warn is told of what is not as it was asked for, with the path in the
	// image where there is one; nil ignores it.
	Warn func(path string, err error)
}

// ProgressInfo is how far Write has come. Counters never go down.
type ProgressInfo struct {
	Files, Bytes           int64 // done
	TotalFiles, TotalBytes int64
	Path                   string // in the image, of what is being written; may be ""
}

// Amount is a number of blocks, or of bytes.
type Amount struct {
	N     uint64
	Bytes bool
}

// blocks is the amount in whole blocks of 1024<<log bytes.
func (a Amount) blocks(log uint32) uint64 {
	if a.Bytes {
		return a.N >> (10 + log)
	}
	return a.N
}

// Extended are the extended options of mke2fs, its -E.
type Extended struct {
	Stride      uint16 // blocks on one disk of a RAID before the next
	StripeWidth uint32 // blocks on all disks
	// Resize is what the file system can grow to while it is mounted; 0 is
	// 1024 times its size.
	Resize   Amount
	DescSize int // bytes of a group descriptor, 64 to 1024, with 64bit
	// BackupSupers is the number of superblock copies with sparse_super2, 0
	// to 2; nil is 2.
	BackupSupers *int
	// PackedMeta puts the tables of all groups at the start (flex_bg).
	PackedMeta bool
	// LazyItable false zeroes all inode tables on a device that is not
	// zeroed; nil is true. LazyJournal leaves old content in the journal.
	LazyItable  *bool
	LazyJournal bool
	// NoDiscard leaves the content of the device where nothing is written.
	NoDiscard bool
	// RootUID and RootGID own the root directory, if they are not 0 or
	// RootOwner is set; else it is who owns it in the tree.
	RootUID   uint32
	RootGID   uint32
	RootOwner bool
	RootMode  *uint16 // permission bits of the root directory; nil is those in the tree
	// OrphanFileSize is the size of the orphan file; 0 is by size.
	OrphanFileSize Amount
	// Quota says which quota files to make, with the quota feature; nil is
	// users and groups.
	Quota []disk.QuotaKind
	// Encoding of names is "utf8" or "utf8-12.1"; giving it turns casefold on.
	Encoding string
	// EncodingFlags is "strict" or "nostrict".
	EncodingFlags string
	// MMPInterval is in seconds, 0 is 5.
	MMPInterval uint16
	TestFS      bool // says that a development kernel may mount it
	// Offset of the file system on the device, in bytes. The caller heeds it,
	// with a window of the device.
	Offset int64
}

// JournalOptions are the journal options of mke2fs, its -J and -j.
type JournalOptions struct {
	// Want makes a journal, like has_journal.
	Want bool
	// Size is in bytes; 0 is by size of the file system.
	Size int64
	// FastSize is the size of the fast-commit area in bytes, with
	// fast_commit; 0 is 1/64 of the journal.
	FastSize int64
	// Location is where the journal begins; nil is near the middle.
	Location *Amount
	// V1 makes the superblock that kernels before 2.4.15 know.
	V1 bool
	// Device is an external journal; nil is a journal inside.
	Device *JournalDevice
	// DeviceName is what ParseJournal found behind device=; the caller opens
	// it and sets Device.
	DeviceName string
}

// JournalDevice is an external journal, see ReadJournalDevice.
type JournalDevice struct {
	UUID      [16]byte
	BlockSize int    // bytes
	Blocks    uint64 // its length, without its superblocks' blocks
	// Dev is the device number as the superblock keeps it, a hint; see
	// EncodeDev.
	Dev uint32
}

// EncodeDev is a device number in the form of s_journal_dev.
func EncodeDev(major, minor uint32) uint32 {
	return minor&0xff | major<<8&0xfff00 | minor&^0xff<<12
}
