package extract

import (
	"bytes"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// openHost opens a directory that the caller named; links in path are
// followed.
func openHost(path string) (hostDir, error) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &linuxDir{fd: fd}, nil
}

// ignoringEINTR repeats a call that a signal interrupted.
func ignoringEINTR[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// linuxFD sets attributes through a descriptor.
type linuxFD int

func (f linuxFD) chown(uid, gid uint32) error {
	return retry(func() error { return unix.Fchown(int(f), int(uid), int(gid)) })
}

func (f linuxFD) chmod(mode uint16) error {
	return retry(func() error { return unix.Fchmod(int(f), uint32(mode)) })
}

// setTimes is futimens: utimensat with a null path.
func (f linuxFD) setTimes(atime, mtime time.Time) error { return utimens(int(f), nil, 0, atime, mtime) }

func (f linuxFD) setXattr(name string, value []byte) error {
	return retry(func() error { return unix.Fsetxattr(int(f), name, value, 0) })
}

func (f linuxFD) removeXattr(name string) error {
	return retry(func() error { return unix.Fremovexattr(int(f), name) })
}

type linuxFile struct{ linuxFD }

func (f *linuxFile) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(int(f.linuxFD), p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (f *linuxFile) truncate(size int64) error {
	return retry(func() error { return unix.Ftruncate(int(f.linuxFD), size) })
}

func (f *linuxFile) close() error {
	err := unix.Close(int(f.linuxFD))
	if err == unix.EINTR {
		return nil // closed all the same on Linux
	}
	return err
}

// linuxDir is an open directory.
type linuxDir struct {
	fd     int
	closed atomic.Bool
}

func (d *linuxDir) chown(uid, gid uint32) error { return linuxFD(d.fd).chown(uid, gid) }
func (d *linuxDir) chmod(mode uint16) error     { return linuxFD(d.fd).chmod(mode) }
func (d *linuxDir) setTimes(atime, mtime time.Time) error {
	return linuxFD(d.fd).setTimes(atime, mtime)
}
func (d *linuxDir) setXattr(name string, v []byte) error { return linuxFD(d.fd).setXattr(name, v) }
func (d *linuxDir) removeXattr(name string) error        { return linuxFD(d.fd).removeXattr(name) }
func (d *linuxDir) rename(old, name string) error {
	return retry(func() error { return unix.Renameat(d.fd, old, d.fd, name) })
}

func (d *linuxDir) renameExclusive(old, name string) error {
	err := retry(func() error { return unix.Renameat2(d.fd, old, d.fd, name, unix.RENAME_NOREPLACE) })
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	// File systems without RENAME_NOREPLACE: a link fails where the name is
	// taken.
	if err := unix.Linkat(d.fd, old, d.fd, name, 0); err != nil {
		return err
	}
	return unix.Unlinkat(d.fd, old, 0)
}

func (d *linuxDir) info() (hostInfo, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(d.fd, &st) }); err != nil {
		return hostInfo{}, err
	}
	info := newHostInfo(&st)
	n, err := unix.Fgetxattr(d.fd, "system.posix_acl_default", nil)
	info.defaultACL = err == nil && n > 0
	return info, nil
}

func newHostInfo(st *unix.Stat_t) hostInfo {
	return hostInfo{
		isDir: st.Mode&unix.S_IFMT == unix.S_IFDIR, mode: uint16(st.Mode & 0o7777), uid: st.Uid, gid: st.Gid,
	}
}

func (d *linuxDir) lstat(name string) (hostInfo, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return hostInfo{}, err
	}
	return newHostInfo(&st), nil
}

func (d *linuxDir) mkdir(name string, perm uint16) error {
	return retry(func() error { return unix.Mkdirat(d.fd, name, uint32(perm)) })
}

func (d *linuxDir) openDir(name string) (hostDir, error) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return &linuxDir{fd: fd}, nil
}

// openBelow asks the kernel to walk, as it would with single steps.
func (d *linuxDir) openBelow(names []string) (hostDir, error) {
	path := strings.Join(names, "/")
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := ignoringEINTR(func() (int, error) { return unix.Openat2(d.fd, path, &how) })
	switch err {
	case nil:
		return &linuxDir{fd: fd}, nil
	case unix.ENOSYS, unix.EPERM, unix.EAGAIN, unix.ENAMETOOLONG:
		// An old kernel, a sandbox that does not know the call, a rename
		// somewhere, or a path that is too long for one call.
		return openEach(d, names)
	}
	return nil, err
}

func (d *linuxDir) create(name string, perm uint16) (hostFile, error) {
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := ignoringEINTR(func() (int, error) { return unix.Openat(d.fd, name, flags, uint32(perm)) })
	if err != nil {
		return nil, err
	}
	return &linuxFile{linuxFD(fd)}, nil
}

func (d *linuxDir) symlink(target, name string) error {
	return retry(func() error { return unix.Symlinkat(target, d.fd, name) })
}

func (d *linuxDir) link(from hostDir, old, name string) error {
	return retry(func() error { return unix.Linkat(from.(*linuxDir).fd, old, d.fd, name, 0) })
}

func (d *linuxDir) mknod(name string, mode uint16, major, minor uint32) error {
	return retry(func() error { return unix.Mknodat(d.fd, name, uint32(mode), int(unix.Mkdev(major, minor))) })
}

func (d *linuxDir) remove(name string) error {
	return retry(func() error { return unix.Unlinkat(d.fd, name, 0) })
}

func (d *linuxDir) close() error {
	if d.closed.Swap(true) {
		return nil
	}
	return unix.Close(d.fd)
}

func (d *linuxDir) named(name string) hostAttrs { return &linuxName{d, name} }

// linuxName sets attributes of a name, not of what a link leads to.
type linuxName struct {
	dir  *linuxDir
	name string
}

func (n *linuxName) chown(uid, gid uint32) error {
	return retry(func() error {
		return unix.Fchownat(n.dir.fd, n.name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// chmod is never called for a symbolic link: Linux keeps no permissions for
// them. What is named was just made by us with mknod.
func (n *linuxName) chmod(mode uint16) error {
	err := retry(func() error {
		return unix.Fchmodat(n.dir.fd, n.name, uint32(mode), unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != unix.ENOSYS && err != unix.EOPNOTSUPP {
		return err
	}
	fd, err := unix.Openat(n.dir.fd, n.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(procPath(fd), uint32(mode))
}

func (n *linuxName) setTimes(atime, mtime time.Time) error {
	name, err := unix.BytePtrFromString(n.name)
	if err != nil {
		return err
	}
	return utimens(n.dir.fd, name, unix.AT_SYMLINK_NOFOLLOW, atime, mtime)
}

// setXattr goes by way of /proc: there is no call with a directory and a name
// before Linux 6.13.
func (n *linuxName) setXattr(name string, value []byte) error {
	return retry(func() error { return unix.Lsetxattr(procPath(n.dir.fd)+"/"+n.name, name, value, 0) })
}

func (n *linuxName) removeXattr(name string) error {
	return retry(func() error { return unix.Lremovexattr(procPath(n.dir.fd)+"/"+n.name, name) })
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// currentUmask asks the kernel for the umask; asking by setting it would race
// with other goroutines.
func currentUmask() uint16 {
	data, err := os.ReadFile("/proc/self/status")
	if err == nil {
		if _, rest, ok := bytes.Cut(data, []byte("\nUmask:\t")); ok {
			field, _, _ := bytes.Cut(rest, []byte("\n"))
			if n, err := strconv.ParseUint(string(field), 8, 16); err == nil {
				return uint16(n)
			}
		}
	}
	old := unix.Umask(0o077)
	unix.Umask(old)
	return uint16(old)
}
