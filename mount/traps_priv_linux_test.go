package mount_test

import (
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asFileUser runs f on a thread that is another user to file systems, without
// root's privileges there.
func asFileUser(uid int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		unix.Setfsgid(uid)
		unix.Setfsuid(uid)
		done <- f()
	}()
	return <-done
}

// modeOnly is the mode as who asks for nothing else is told, exec(2) for one.
func modeOnly(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Statx_t
	must(t, "statx", unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MODE, &st))
	return uint32(st.Mode) & 0o7777
}

// What runs with its owner's rights loses that when another writes to it, also
// past the cache, and what stat(2) was told before is forgotten.
func trapSetuidDirect(t *testing.T, dir string) {
	f := dir + "/program"
	for mode, want := range map[uint32]uint32{0o6777: 0o777, 0o4777: 0o777, 0o2777: 0o777, 0o6666: 0o666} {
		write(t, f, 0o777)
		must(t, "chmod", syscall.Chmod(f, mode))
		if got := modeOnly(t, f); got != mode {
			t.Errorf("mode %o instead of %o", got, mode)
		}
		err := asFileUser(65534, func() error {
			fd, err := unix.Open(f, unix.O_RDWR|unix.O_DIRECT, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			_, err = unix.Pwrite(fd, aligned(4096), 0)
			return err
		})
		if got := modeOnly(t, f); err != nil || got != want {
			t.Errorf("direct write by another: mode %o became %o, %v", mode, got, err)
		}
		must(t, "unlink", syscall.Unlink(f))
	}
}
