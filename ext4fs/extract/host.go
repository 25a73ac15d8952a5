package extract

import (
	"errors"
	"io"
	"os"
	"time"
)

// errNoSupport says that the host cannot do a thing at all.
var errNoSupport = errors.New("not supported on this system")

// hostAttrs sets the attributes of one open file or directory, or of one name
// in a directory, which is not followed.
type hostAttrs interface {
	chown(uid, gid uint32) error
	chmod(mode uint16) error // twelve bits
	setTimes(atime, mtime time.Time) error
	setXattr(name string, value []byte) error
	removeXattr(name string) error
}

// hostFile is a file being written.
type hostFile interface {
	hostAttrs
	io.WriterAt
	truncate(size int64) error
	// cloneRange copies n bytes of src without passing them through memory, as
	// far as the host can: the rest has to be written. supported is false when
	// there is no point in trying again with another range.
	cloneRange(src *os.File, srcOff, off, n int64) (copied int64, supported bool)
	close() error
}

// hostDir is an open directory. Names are single elements and are never
// followed.
type hostDir interface {
	hostAttrs
	info() (hostInfo, error)
	lstat(name string) (hostInfo, error)
	mkdir(name string, perm uint16) error
	openDir(name string) (hostDir, error)
	openBelow(names []string) (hostDir, error)         // openDir, one after the other
	create(name string, perm uint16) (hostFile, error) // a new file, or an error
	symlink(target, name string) error
	link(from hostDir, old, name string) error
	mknod(name string, mode uint16, major, minor uint32) error
	rename(old, name string) error          // replaces
	renameExclusive(old, name string) error // fails with fs.ErrExist
	remove(name string) error               // not a directory
	named(name string) hostAttrs
	close() error
}

// hostInfo is what has to be known of something on the host.
type hostInfo struct {
	isDir      bool
	mode       uint16 // twelve bits
	uid, gid   uint32
	defaultACL bool // only from info
}

// openEach is openBelow by single steps.
func openEach(d hostDir, names []string) (hostDir, error) {
	at := d
	for _, name := range names {
		next, err := at.openDir(name)
		if at != d {
			at.close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}
