package device

// Options of Open. The zero value reads the only ext file system of an image,
// whatever container it is in, under a shared lock.
type Options struct {
	// Partition chooses a partition of a disk image:
	//
	//	1 ... 128                   its number
	//	a larger integer, 0x too    the byte at which it starts
	//	1MiB, 1M, 64k, 2048s        the same with a unit; s is 512 bytes
	//	@1048576, @1MiB, @0         the same, always an offset
	//	a UUID                      GPT's partition UUID, or MBR's 1a2b3c4d-01
	//	anything else               GPT's name (label)
	//
	// PARTUUID= and PARTLABEL= in front force the last two. At an offset
	// where no partition starts, all that follows is taken; @0 is the whole
	// image. "" chooses by content: the image itself if it holds an ext
	// superblock or no partition table, else the only partition that does.
	Partition string
	// Offset, if not 0, is where the file system starts, in bytes: the same
	// as Partition "@Offset". Only one of the two may be given.
	Offset int64

	// NoLock opens without a lock, and although somebody else has one.
	NoLock bool
	// Exclusive takes the exclusive lock instead of the shared one, which
	// keeps out readers too. The image is opened for reading all the same.
	Exclusive bool
	// Write opens for writing too, under the exclusive lock. What is in a
	// container is refused with *UnsupportedError, and with *BusyError an
	// image that the kernel has mounted, or attached to a device that can
	// be written to: two file systems at work on the same blocks destroy
	// them. NoLock skips the lock and that test.
	Write bool
	// WriteBehind, with Write, takes small writes and passes them on to the
	// host later, joined, from a goroutine; and it has the host begin early
	// to bring them to the disk. Reads and Sync are as without it, and a
	// write that fails later makes everything fail from then on, Sync before
	// all. It is for who writes much at once and reads little of it. Close
	// without Sync may lose what was taken. Where the system is not Linux,
	// it does nothing.
	WriteBehind bool

	// Direct says what goes past the page cache of the host.
	Direct Direct

	// NoContainers takes the bytes of the file as they are.
	NoContainers bool
	// MaxBytes bounds what a compressed image may decompress to; zeros do
	// not count, for they are not stored. 0 is no bound but the disk's: some
	// free space is always left (see FreeSpace). Going beyond is a
	// *TooLargeError.
	MaxBytes int64
	// MemoryBytes is how much content of a compressed image is kept in
	// memory before it moves to a temporary file; 0 is 64 MiB, negative is
	// always a file. It is the same kind of bytes as in MaxBytes.
	MemoryBytes int64
	// TempDir is where temporary files go; "" is os.TempDir, which honours
	// TMPDIR. They have no name once they are open, where the system allows.
	TempDir string
	// Progress is told how decompression goes, a few times per megabyte of
	// input at most, from one goroutine.
	Progress func(ProgressInfo)
}

// ProgressInfo is where a decompression is.
type ProgressInfo struct {
	Phase string // "gzip", "zstd", "xz"
	Done  int64  // bytes of compressed input that were read
	Total int64  // bytes of compressed input that there are
}

// FreeSpace is what a decompression leaves free on the disk of its temporary
// file, in bytes.
const FreeSpace = 128 << 20

const defaultMemory = 64 << 20

func (o *Options) memoryBytes() int64 {
	switch {
	case o.MemoryBytes < 0:
		return 0
	case o.MemoryBytes == 0:
		return defaultMemory
	}
	return o.MemoryBytes
}
