// Package device says where the bytes of an image live: memory, any
// io.ReaderAt, a file, a block device, a window of another device, or a
// container that has to be undone first (gzip, zstd, xz, Android sparse).
//
// Open does all of it for a path: it takes an advisory lock, undoes containers
// that it recognises by content, finds the partition that holds an ext file
// system, and hands out an Image, which is a Device.
//
// # Reading
//
// ReadAt follows io.ReaderAt to the letter: a read that ends before the
// buffer is full returns an error, io.EOF at the end of the device. Whether a
// short read is an accident is the caller's business; the metadata cache turns
// it into io.ErrUnexpectedEOF with the block number.
//
// # Containers
//
// A compressed image is decompressed once, at Open, into memory while it is
// small and into a temporary file beyond that (see Options.MemoryBytes). Runs
// of zeros are not stored, so a mostly empty 1 TiB image costs what its
// content costs. Android sparse images are read in place through an index of
// their chunks. Containers may be nested twice: a sparse image inside gzip.
//
// Not understood: split Android sparse images, xz filters other than LZMA2,
// zstd dictionaries, and windows or dictionaries over 128 MiB.
//
// # Locks
//
// The lock is flock(2) on Unix: it belongs to the open file, so that two
// images opened by one process conflict just as those of two processes do,
// closing another descriptor of the same file does not drop it (fcntl's
// classic locks fail at both), and it is the lock that udev, systemd and
// util-linux use for block devices. Programs that lock with fcntl (QEMU) are
// noticed on Linux by a test for a conflicting lock; they do not notice us.
// On Windows it is LockFileEx. Neither keeps out a program that does not ask:
// see Image.InUse for what the kernel itself has open.
//
// # Writing
//
// A Writer is a host file or block device (an Image opened with
// Options.Write), memory (RAM), memory over another device (Overlay), or a
// window of one of these. Discarder, Zeroer and VectorWriter are optional; the
// functions Discard, Zero and WriteV do without them where they are missing.
// Nothing here makes a device longer.
//
// # Making containers
//
// WriteAndroidSparse and WriteCompressed (gzip, zstd) write a device as a
// stream, the same bytes each time, and read only what is data: what NextData
// tells, or the caller. WriteTable writes a GPT or MBR with one partition around
// what is at the place that TableOptions.Layout tells.
//
// # Concurrency
//
// A Device is safe for concurrent use, and the ones here read without taking a
// lock, but for RAM and Overlay, where each has one of its own. They call only
// the base of an overlay under it.
package device
