package device

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Kinds of trouble in opening an image. The typed errors below match them
// with errors.Is.
var (
	// ErrBusy: somebody else has locked the image.
	ErrBusy = errors.New("image is locked by another program")
	// ErrTooLarge: a container holds more than may be stored.
	ErrTooLarge = errors.New("decompressed image is too large")
	// ErrNoPartition: the wanted partition, or any with an ext file system,
	// does not exist. It matches fs.ErrNotExist.
	ErrNoPartition = disk.NewKind("no such partition", fs.ErrNotExist)
	// ErrManyPartitions: several partitions fit and one must be named.
	ErrManyPartitions = errors.New("several partitions fit")
)

// FormatError says that a container or a partition table is not what it
// claims to be: cut off, out of range, or with a wrong checksum. It matches
// disk.ErrCorrupt, and io.ErrUnexpectedEOF when the data ends too early.
type FormatError struct {
	Format string // "gzip", "zstd", "xz", "Android sparse", "GPT", "MBR"
	Offset int64  // where in the container, when it is known; else 0
	Detail string
	Err    error // the cause, if there is one below
}

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString(e.Format)
	b.WriteString(": ")
	b.WriteString(e.Detail)
	if e.Offset != 0 {
		fmt.Fprintf(&b, " (at byte %d)", e.Offset)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Is reports whether target is disk.ErrCorrupt.
func (e *FormatError) Is(target error) bool { return target == disk.ErrCorrupt }

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// UnsupportedError says that a container uses something that is not
// understood, or that is refused because of its appetite for memory. It
// matches disk.ErrUnsupported and errors.ErrUnsupported.
type UnsupportedError struct {
	Format string
	Detail string
}

func (e *UnsupportedError) Error() string { return e.Format + ": " + e.Detail + " is not supported" }

// Is reports whether target is disk.ErrUnsupported or errors.ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool {
	return target == disk.ErrUnsupported || target == errors.ErrUnsupported
}

// TooLargeError says that a container was given up because its content would
// not fit: into Options.MaxBytes, or onto the disk that holds temporary files.
// It matches ErrTooLarge.
type TooLargeError struct {
	Format string
	Stored int64  // bytes stored so far; zeros do not count
	Limit  int64  // Options.MaxBytes, or 0 when the disk is the limit
	Dir    string // the directory that is nearly full, when it is the limit
}

func (e *TooLargeError) Error() string {
	if e.Limit > 0 {
		return fmt.Sprintf("%s: content is larger than the limit of %d bytes", e.Format, e.Limit)
	}
	return fmt.Sprintf("%s: content does not fit into %s (stored %d bytes so far)", e.Format, e.Dir, e.Stored)
}

// Is reports whether target is ErrTooLarge.
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// BusyError says that the image is locked by another program, or used by the
// kernel. It matches ErrBusy and syscall.EBUSY.
type BusyError struct {
	Path   string
	Holder string // "process 123 (mkfs.ext4)", or "" when it cannot be found
	PID    int    // of the holder, 0 when it cannot be found
	// Uses tells what the kernel does with an image that is to be written
	// to; there is no Holder then.
	Uses []Use
}

func (e *BusyError) Error() string {
	if len(e.Uses) > 0 {
		var b strings.Builder
		b.WriteString(e.Path)
		b.WriteString(" is in use")
		sep := ": "
		for _, u := range e.Uses {
			b.WriteString(sep)
			b.WriteString(u.String())
			sep = "; "
		}
		return b.String()
	}
	if e.Holder == "" {
		return e.Path + " is locked by another program"
	}
	return e.Path + " is locked by " + e.Holder
}

// Is reports whether target is ErrBusy or syscall.EBUSY.
func (e *BusyError) Is(target error) bool {
	return target == ErrBusy || target == error(syscall.EBUSY)
}

// PartitionError says why no partition could be chosen, and lists those that
// there are. It matches ErrNoPartition or ErrManyPartitions.
type PartitionError struct {
	Want   string // what was asked for; "" is "the one with an ext file system"
	Scheme Scheme
	// Candidates are the partitions that fit when several do, and all of
	// them when none does.
	Candidates []Partition
	Err        error // ErrNoPartition or ErrManyPartitions
}

func (e *PartitionError) Error() string {
	var b strings.Builder
	switch {
	case e.Err == ErrManyPartitions && e.Want == "":
		b.WriteString("several partitions hold an ext file system")
	case e.Err == ErrManyPartitions:
		fmt.Fprintf(&b, "several partitions are called %q", e.Want)
	case e.Want == "":
		b.WriteString("no partition holds an ext file system")
	default:
		fmt.Fprintf(&b, "no partition %q", e.Want)
	}
	if e.Scheme == SchemeNone {
		b.WriteString(" (there is no partition table)")
		return b.String()
	}
	sep := ": "
	for _, p := range e.Candidates {
		b.WriteString(sep)
		b.WriteString(p.String())
		sep = "; "
	}
	return b.String()
}

// Unwrap returns the kind.
func (e *PartitionError) Unwrap() error { return e.Err }
