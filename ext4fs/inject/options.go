package inject

import (
	"errors"
	"io/fs"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/pax"
)

// Package extract, for the way out of an image, has types like these. They are
// not shared: the words are the same, but each package says what they mean for
// its own direction, what Result counts and what Existing can be differ, and
// neither needs the other.

// Sparse says what becomes of holes.
type Sparse uint8

const (
	// SparseKeep makes the holes that the source has.
	SparseKeep Sparse = iota
	// SparseNever writes zeros.
	SparseNever
	// SparseAlways makes holes of all zeros as well.
	SparseAlways
)

// Existing says what to do with a file that is there already.
type Existing uint8

const (
	// Replace lets the name lead to the new file.
	Replace Existing = iota
	// Skip leaves it, which is no error.
	Skip
	// Update replaces it if the new file was modified later, else leaves it.
	Update
	// Fail makes it an error of that file: ext4fs.ErrExist.
	Fail
)

// Owner is what Options.Owner gives to everything; a negative number leaves
// what it would have been.
type Owner struct{ UID, GID int64 }

// Options of a job. The zero value copies content, types and permission bits
// less ext4fs.DefaultUmask; owner and group are 0. A file that replaces one
// takes over its permissions, owner and attributes then, as cp(1) has it.
type Options struct {
	// Mode keeps all permissions, also setuid, setgid and sticky.
	Mode bool
	// Owner keeps user and group.
	Owner bool
	// Times keeps the times of access and modification.
	Times bool
	// Links keeps hard links between the files of one job.
	Links bool
	// Xattrs keeps extended attributes but ACLs, ACLs keeps those.
	Xattrs, ACLs bool
	// Devices makes device nodes; else they are errors.
	Devices bool
	// Follow copies what symbolic links lead to in place of them.
	Follow bool

	// SetOwner, if not nil, overrides who owns what is copied.
	SetOwner *Owner
	// Chmod, if not nil, changes the i_mode that a file would get; the type
	// stays.
	Chmod func(mode uint16) uint16

	Sparse   Sparse
	Existing Existing

	// DryRun changes nothing: Done is told what would be done.
	DryRun bool

	// Leave are host files that are never copied: the image itself.
	Leave []fs.FileInfo

	// Error is told of every file that could not be copied, by its name in
	// the source, Warn of what was lost although Options allow it, Done of
	// every file that was copied: source and destination. All are called from
	// one goroutine at a time and may be nil.
	Error func(path string, err error)
	Warn  func(path string, err error)
	Done  func(path, dest string)
	// Progress is told now and then how far the job is.
	Progress func(ProgressInfo)
}

// ProgressInfo is how far a job is.
type ProgressInfo struct {
	Files int64 // of any type, directories included
	Bytes int64 // content written; holes do not count
	Path  string
}

// Result sums up a job.
type Result struct {
	Files   int64 // copied, of any type
	Bytes   int64 // content written
	Failed  int64 // files that Options.Error was told of
	Skipped int64 // files that were left as they are
}

// Place is where a copy goes.
type Place struct {
	Dir  *ext4fs.Inode
	Name string // "": what the source directory holds goes into Dir itself
	Path string // of the copy, or of Dir without a Name: for messages
}

// Errors of a file.
var (
	// ErrName: a name of the stream leads out of the target directory, or
	// cannot be one.
	ErrName = errors.New("the name is not used: it leads out of the target directory")
	// ErrDevice: Options.Devices is not set.
	ErrDevice = errors.New("device nodes are left out")
	// ErrTwice: the same job just made a file of that name.
	ErrTwice = errors.New("a file of that name was just made, and is not overwritten")
	// ErrOverwriteDir: there is a directory where a file should go.
	ErrOverwriteDir = errors.New("cannot overwrite a directory with something else")
	// ErrOverwriteFile: there is something else where a directory should go.
	ErrOverwriteFile = errors.New("cannot overwrite with a directory what is none")
	// ErrLoop: following links leads into a directory from inside it.
	ErrLoop = errors.New("links lead in a circle")
	// ErrIntoItself: the destination lies in the tree that is copied.
	ErrIntoItself = errors.New("cannot copy a directory into itself")
	// ErrSelf: the source is the image that is written to.
	ErrSelf = errors.New("is the image itself, left out")
	// ErrSame: source and destination are the same file.
	ErrSame = errors.New("source and destination are the same file")
	// ErrType: the source is of a type that images do not have.
	ErrType = pax.ErrType
)

// fatal reports whether an error of the target ends the job: whatever comes
// next would meet it too.
func fatal(fsys *ext4fs.FS, err error) bool {
	return errors.Is(err, ext4fs.ErrNoSpace) ||
		errors.Is(err, ext4fs.ErrReadOnly) || errors.Is(err, ext4fs.ErrClosed) || !fsys.Writable()
}
