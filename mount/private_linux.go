//go:build !386

package mount

import (
	"os"
	"strings"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Where the kernel checks permissions it asks for a directory's attributes before
// each walk through one in which something was changed. Root needs no checks but
// those that are made here, so that a mount for root alone can do without them;
// see Options.Private.

// rights are the capabilities that open and change everything in a file system.
const rights = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

// unchecked reports whether the kernel need not check permissions, and the private
// handler answers: for the root of the machine and nobody else, where every opening
// is asked for.
func unchecked(fsys *ext4fs.FS, o *Options) bool {
	return o.Private && !o.AllowOther && !o.FakeRoot && !o.DefaultPermissions.or(false) &&
		!o.NoOpen && !o.IDMap && !o.ReadOnly && fsys.Writable() && machineRoot()
}

// machineRoot reports whether the server has root's rights on the machine, and
// sees its callers: not in a namespace of users or processes.
func machineRoot() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if f := strings.Fields(string(ids)); err != nil || len(f) != 3 || f[0] != "0" || f[1] != "0" || f[2] != "4294967295" {
		return false
	}
	const first = "pid:[4026531836]" // its number is fixed
	if space, err := os.Readlink("/proc/self/ns/pid"); err != nil || space != first {
		return false
	}
	return admits(&fuse.Caller{Owner: fuse.Owner{Uid: uint32(os.Geteuid())}, Pid: uint32(os.Getpid())})
}

// admits reports whether permissions would keep the caller from nothing. Who has
// root's ids, which the kernel looks at, may act for another user (a server of
// NFS) or may have given up rights (in a container). The caller waits for an
// answer, so that the number is its own.
func admits(c *fuse.Caller) bool {
	if c.Uid != 0 || c.Pid == 0 {
		return false
	}
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(c.Pid)}
	var sets [2]unix.CapUserData
	return unix.Capget(&h, &sets[0]) == nil && sets[0].Effective&rights == rights
}

// privateHandler is the handler of a mount that root has for himself, where the
// kernel checks nothing. Who has not all of root's rights is refused all but what
// is open and what the kernel does not ask for: names and attributes that it
// remembers.
type privateHandler struct{ *handler }

func (p privateHandler) Lookup(c <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Lookup(c, in, name, out)
}

func (p privateHandler) Access(c <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Access(c, in)
}

func (p privateHandler) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Open(c, in, out)
}

func (p privateHandler) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.ReadDir(c, in, out)
}

func (p privateHandler) ReadDirPlus(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.ReadDirPlus(c, in, out)
}

func (p privateHandler) Mknod(c <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Mknod(c, in, name, out)
}

func (p privateHandler) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Mkdir(c, in, name, out)
}

func (p privateHandler) Symlink(c <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Symlink(c, in, target, name, out)
}

func (p privateHandler) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Create(c, in, name, out)
}

func (p privateHandler) Tmpfile(c <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Tmpfile(c, in, out)
}

func (p privateHandler) Link(c <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Link(c, in, name, out)
}

func (p privateHandler) Unlink(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Unlink(c, in, name)
}

func (p privateHandler) Rmdir(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Rmdir(c, in, name)
}

func (p privateHandler) Rename(c <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EACCES
	}
	return p.handler.Rename(c, in, name, newName)
}

// SetAttr lets through what comes of files that are open: their size, the times of
// writing that the kernel keeps (nothing tells them from those that utimensat
// gives), and the question of what mode a write has left.
func (p privateHandler) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	const own = fuse.FATTR_MODE | fuse.FATTR_UID | fuse.FATTR_GID | fuse.FATTR_ATIME
	byName := in.Valid&fuse.FATTR_SIZE != 0 && in.Valid&fuse.FATTR_FH == 0
	if byName && !admits(&in.Caller) {
		return fuse.EACCES
	}
	if in.Valid&own != 0 && !admits(&in.Caller) {
		return fuse.EPERM
	}
	return p.handler.SetAttr(c, in, out)
}

// GetXAttr asks for rights as Linux does, which reads the others without.
func (p privateHandler) GetXAttr(c <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if strings.HasPrefix(name, "user.") && !admits(&in.Caller) {
		return 0, fuse.EACCES
	}
	return p.handler.GetXAttr(c, in, name, dest)
}

func (p privateHandler) SetXAttr(c <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EPERM
	}
	return p.handler.SetXAttr(c, in, name, value)
}

func (p privateHandler) RemoveXAttr(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EPERM
	}
	return p.handler.RemoveXAttr(c, in, name)
}

// Ioctl serves whoever has the file open, but for changes: the handler knows users
// only.
func (p privateHandler) Ioctl(c <-chan struct{}, in *fuse.IoctlIn, arg []byte, out *fuse.IoctlOut, answer []byte) fuse.Status {
	if !admits(&in.Caller) {
		return fuse.EPERM
	}
	return p.handler.Ioctl(c, in, arg, out, answer)
}

// access says what keeps root from a use of a file, where the kernel does not look
// itself: that nobody may execute it.
func access(r disk.Inode, mask uint32) error {
	const anyX = 0o111
	if mask&unix.X_OK != 0 && r.Mode()&disk.ModeType != disk.ModeDir && r.Mode()&anyX == 0 {
		return syscall.EACCES
	}
	return nil
}
