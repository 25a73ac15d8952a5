//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package device

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockImage takes a flock without waiting. It reports false, and no error,
// where the file system has no locks. A lock in the way is a *BusyError.
func lockImage(f *os.File, exclusive bool) (bool, error) {
	// First the locks of others that flock does not see: on network file
	// systems, where flock is made of those, ours is not there yet.
	if pid, busy := recordLocked(f, exclusive); busy {
		return false, heldBy(f, pid)
	}
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	var err error
	for {
		if err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != unix.EINTR {
			break
		}
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EAGAIN):
		return false, heldBy(f, flockHolder(f))
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS),
		errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOLCK):
		return false, nil
	}
	return false, os.NewSyscallError("flock", err)
}

// unlockImage drops the lock before the file is closed: a program that is just
// being started still has the file, and would keep it locked for a moment.
func unlockImage(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
