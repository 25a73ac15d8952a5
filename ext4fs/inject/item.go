package inject

import (
	"context"
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// item is one file on its way from a source to the writer.
type item struct {
	up    *item // its directory; nil for what was named to the job
	place Place // of those
	name  string
	path  string // in the source: for messages

	mode         uint16 // i_mode
	uid, gid     uint32
	major, minor uint32
	atime, mtime time.Time
	target       string // of a symbolic link
	size         int64
	xattrs       []ext4fs.Xattr
	data         []byte // content, when it was read ahead
	body         body   // content, when it was not
	link         any    // what all names of the inode have in common; nil with one name
	names        int    // how many those are
	same         *ext4fs.Inode

	warned []error // what could not be read and does not matter much
	err    error   // why the source could not be read
	ends   bool    // all that is in the directory up came before
	load   func(*item, *memory)

	// What the writer made of it.
	inode *ext4fs.Inode
	fresh bool // a directory that was not there before
	acl   acls // a directory's default ACL
	lost  bool // it could not be made, nor what is in it
	dest  string
}

// acls says whether a directory has a default ACL.
type acls uint8

const (
	aclUnknown acls = iota
	aclNone
	aclDefault
)

func (it *item) kind() uint16 { return it.mode & disk.ModeType }

// withoutACL is the mode where the access ACL, if there is one, is left out.
func (it *item) withoutACL() uint16 { return withoutACL(it.mode, it.xattrs) }

func withoutACL(mode uint16, list []ext4fs.Xattr) uint16 {
	for _, x := range list {
		if x.Name != nameAccess || mode&disk.ModeType == disk.ModeSymlink {
			continue
		}
		if entries, err := xattr.ParseCallACL(x.Value); err == nil {
			return xattr.WithoutACL(mode, entries)
		}
	}
	return mode
}

func (it *item) isDir() bool { return it.kind() == disk.ModeDir }

// body is content that is read when it is written.
type body interface {
	// writeTo writes it to an empty file.
	writeTo(ctx context.Context, w *writer, to *ext4fs.Inode) error
	// bytes reads all of it, if it is at most that long.
	bytes(limit int64) ([]byte, bool, error)
}

const (
	nameAccess  = "system.posix_acl_access"
	nameDefault = "system.posix_acl_default"
)

// keepable reports whether an image can have the attribute on a file of the
// kind.
func keepable(name string, kind uint16) bool {
	switch {
	case name == nameAccess:
		return kind != disk.ModeSymlink
	case name == nameDefault:
		return kind == disk.ModeDir
	case strings.HasPrefix(name, "user."):
		return kind == disk.ModeDir || kind == disk.ModeRegular
	}
	return strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "security.")
}

func isACL(name string) bool { return name == nameAccess || name == nameDefault }

func joinPath(dir, name string) string {
	switch {
	case name == "":
		return dir
	case dir == "", strings.HasSuffix(dir, "/"):
		return dir + name
	}
	return dir + "/" + name
}
