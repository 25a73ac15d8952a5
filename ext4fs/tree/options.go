package tree

import (
	"context"
	"io/fs"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// Options are the rules by which sources become a tree. The zero value takes
// everything as the sources have it.
type Options struct {
	// Include and Exclude are globs, see Glob. With Include only what matches
	// one of them is taken, with all that is in it and the directories above
	// it; what matches Exclude is left out, with all that is in it, even if
	// it matches Include.
	Include, Exclude []string

	// UIDMap and GIDMap, if not nil, translate owners, also those in ACLs and
	// capabilities. An id that they say nothing of is ErrUnmapped.
	UIDMap, GIDMap IDMap
	// SetOwner, if not nil, is who owns everything.
	SetOwner *Owner
	// Chmod, if not nil, changes the i_mode that a file of the source would
	// get; the type stays, symbolic links are not asked about.
	Chmod func(mode uint16) uint16

	// KeepDirSymlinks leaves a symbolic link to a directory in its place when
	// a source has a directory of that name, and puts what is in that one
	// behind the link; the directory there keeps its attributes. So does tar
	// with --keep-directory-symlink: a system whose /lib leads to usr/lib
	// stays one when a layer has lib/ in it. Else the directory replaces the
	// link.
	KeepDirSymlinks bool

	// NoXattrs leaves extended attributes away, ACLs and capabilities too. What
	// an ACL gave to others than the owning group is not given to that.
	NoXattrs bool

	// Devtables are applied, in order, when all sources are there.
	Devtables []*Devtable
	// SELinux, if not nil, labels everything after that.
	SELinux *FileContexts

	// Time is that of files that no source tells times of.
	Time Time
	// ClampTime, if not nil, is what later times become.
	ClampTime *Time
	// MtimeOnly makes the times of access and change those of modification:
	// the former depend on who looked, the latter cannot be set.
	MtimeOnly bool
	// ContentHoles lets only the content of files tell where holes are, see
	// Tree.Spans: however a file was copied about, the result is the same.
	ContentHoles bool

	// OneFS leaves what is in directories that another file system of the
	// host is mounted on.
	OneFS bool
	// Leave are host files that are never taken: the image itself.
	Leave []fs.FileInfo

	// MaxNodes bounds the nodes and the names of the tree; 0 is
	// DefaultMaxNodes, which is also the most.
	MaxNodes int
	// MaxBytes bounds what streams may unpack to on the host; 0 is no bound.
	MaxBytes int64
	// TempDir is where streams are unpacked; "" is that of the system.
	TempDir string
	// Platform chooses one image of several ("linux/arm64"); "" is that of
	// the host.
	Platform string

	// IDs knows the names in ACLs of tar streams, as GNU tar writes them;
	// numbers always count.
	IDs xattr.IDs

	// Progress is told now and then how far reading the sources is.
	Progress func(ProgressInfo)
	// Warn is told what of a file could not be kept. Both are called from one
	// goroutine at a time.
	Warn func(path string, err error)

	spooled *atomic.Int64 // bytes that count for MaxBytes
}

// ProgressInfo is how far Load is.
type ProgressInfo struct {
	Files int64  // found, of any type
	Bytes int64  // their sizes
	Path  string // the last one
}

// Source adds files to a directory of a tree.
type Source func(ctx context.Context, t *Tree, at ID, o *Options) error

// Owner is a user and a group; a negative number leaves what there is.
type Owner struct{ UID, GID int64 }
