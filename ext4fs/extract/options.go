package extract

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs"
)

// Sparse says what becomes of holes.
type Sparse uint8

const (
	// SparseKeep makes the holes that the image has.
	SparseKeep Sparse = iota
	// SparseNever writes zeros.
	SparseNever
	// SparseAlways makes holes of all zeros as well.
	SparseAlways
)

// Existing says what to do with a file that is there already.
type Existing uint8

const (
	// Replace renames the new file over it.
	Replace Existing = iota
	// Skip leaves it, which is no error.
	Skip
)

// Options of a Job. The zero value copies content, types and permission bits
// as far as the umask lets through.
type Options struct {
	// Mode keeps all permissions, also setuid, setgid and sticky, whatever
	// the umask. Without it those three are dropped. Where an ACL gets lost, the
	// group has what that gave the owning group.
	Mode bool
	// Owner keeps user and group. What the caller may not give away stays his
	// own, without an error and without setuid and setgid.
	Owner bool
	// Times keeps the times of access and modification.
	Times bool
	// Links keeps hard links between the files of one job. Where the host
	// cannot link, the file is copied again.
	Links bool
	// Xattrs keeps extended attributes but ACLs, ACLs keeps those. Attributes
	// that the caller may not set are left out without an error, and those that
	// the host cannot have with one warning, unless StrictXattrs is set.
	Xattrs, ACLs bool
	StrictXattrs bool
	// Devices makes device nodes; else they are errors.
	Devices bool
	// Follow copies what symbolic links lead to, inside the image, in place of
	// them.
	Follow bool

	Sparse   Sparse
	Existing Existing

	// Workers is how many files are copied at a time; 0 is one for each
	// processor.
	Workers int

	// Error is told of every file that could not be copied whole, Warn of what
	// was lost although Options allow it, Done of every file that was copied:
	// its path in the image and on the host. All are called from one goroutine
	// at a time and may be nil.
	Error func(path string, err error)
	Warn  func(path string, err error)
	Done  func(path, dest string)
	// Progress is told now and then how far the job is, from one goroutine at
	// a time.
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
	Files  int64 // copied, of any type
	Bytes  int64 // content written
	Failed int64 // files that Options.Error was told of
}

// Item is one file or tree to copy.
type Item struct {
	Inode *ext4fs.Inode
	Path  string // in the image: for messages, and where Follow starts
	// Dir is an existing directory of the host. It may be named through
	// symbolic links: the caller is trusted, the image is not.
	Dir string
	// Name is what Inode is called in Dir. If it is empty, Inode is a
	// directory, and what it holds goes into Dir.
	Name string
}

// Errors of a file.
var (
	// ErrName: the name cannot be one on this host.
	ErrName = errors.New("the name cannot be used on this system")
	// ErrTwice: a file of the same name was just made by the same job.
	ErrTwice = errors.New("a file of that name was just made")
	// ErrDevice: Options.Devices is not set.
	ErrDevice = errors.New("device nodes are left out")
	// ErrOverwriteDir: there is a directory where a file should go.
	ErrOverwriteDir = errors.New("cannot overwrite a directory with something else")
	// ErrOverwriteFile: there is something else where a directory should go.
	ErrOverwriteFile = errors.New("cannot overwrite with a directory what is none")
	// ErrLoop: following links leads into a directory from inside it.
	ErrLoop = errors.New("links lead in a circle")
)
