package testimages

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// uringSwitch says whether the kernel offers FUSE over io_uring to new mounts.
const uringSwitch = "/sys/module/fuse/parameters/enable_uring"

// OfferURing has the kernel offer FUSE over io_uring to new mounts, or not, until
// the function that it returns is called; only root may. Others on the machine may
// mount meanwhile and are offered it as well. Who calls it while somebody else has
// it waits. Where the kernel has no such thing, the error matches os.ErrNotExist.
func OfferURing(offer bool) (end func() error, err error) {
	f, err := os.OpenFile(uringSwitch, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	end = f.Close
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, end())
	}
	value := "N"
	if offer {
		value = "Y"
	}
	was, err := os.ReadFile(uringSwitch)
	if err == nil && strings.TrimSpace(string(was)) != value {
		_, err = f.WriteString(value)
		end = func() error { return errors.Join(os.WriteFile(uringSwitch, was, 0), f.Close()) }
	}
	if err != nil {
		return nil, errors.Join(err, end())
	}
	return end, nil
}

// RequireURing has the kernel offer FUSE over io_uring, or not, until t ends, as
// [OfferURing] does; without such a kernel, or root, t is skipped.
func RequireURing(t testing.TB, offer bool) {
	t.Helper()
	RequireRoot(t)
	RequireFUSE(t)
	end, err := OfferURing(offer)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		Absent(t, "needs a kernel with FUSE over io_uring: "+err.Error())
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
