package device

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockImage takes a LockFileEx lock on the whole file without waiting. The
// system enforces it: others cannot write under a shared one. It reports
// false, and no error, where there are no locks.
func lockImage(f *os.File, exclusive bool) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	const all = ^uint32(0)
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, all, all, new(windows.Overlapped))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, &BusyError{Path: f.Name()}
	case errors.Is(err, windows.ERROR_NOT_SUPPORTED), errors.Is(err, windows.ERROR_INVALID_FUNCTION):
		return false, nil
	}
	return false, os.NewSyscallError("LockFileEx", err)
}

// unlockImage leaves the lock to Close, which ends it: nobody else has the file.
func unlockImage(*os.File) {}
