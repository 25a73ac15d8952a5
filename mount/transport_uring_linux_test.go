package mount_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// byURing has all mounts of t's subtests served by io_uring.
func byURing(t *testing.T) {
	t.Helper()
	testimages.RequireURing(t, true)
}

// rings counts the rings that a server has.
func rings(t *testing.T, s *served) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd/", s.cmd.Process.Pid)
	fds, err := os.ReadDir(dir)
	must(t, "readdir", err)
	for _, fd := range fds {
		if to, _ := os.Readlink(dir + fd.Name()); strings.Contains(to, "[io_uring]") {
			n++
		}
	}
	return n
}

// Requests come by io_uring where the kernel offers it and nobody says no, else by
// the device; who has asked for it is told then.
func TestURing(t *testing.T) {
	img := fresh(t, 16<<20)
	for _, offer := range []bool{false, true} {
		for _, opts := range []string{"", "io_uring", "no_io_uring"} {
			t.Run(fmt.Sprintf("offered=%t,%s", offer, opts), func(t *testing.T) {
				testimages.RequireURing(t, offer)
				s := start(t, img, opts)
				want := offer && opts != "no_io_uring"
				if n := rings(t, s); (n > 0) != want {
					t.Errorf("%d rings", n)
				}
				must(t, "write", os.WriteFile(s.path("f"), []byte("content"), 0o644))
				s.stop()
				if told := strings.Contains(s.errs.String(), "enable_uring is N"); told != (opts == "io_uring" && !offer) {
					t.Errorf("the server says %q", s.errs.String())
				}
				if got := manifest(t, img); len(got) != 3 {
					t.Errorf("left:\n%s", got)
				}
			})
		}
	}
}

// forbid has a system call fail with EPERM in this process from now on, as a
// container's rules do; "" forbids nothing.
func forbid(call string) error {
	if call == "" {
		return nil
	}
	n, err := strconv.Atoi(call)
	if err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(n), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// Where a ring cannot be made, or not be used once the kernel counts on it, the
// mount is served by the device.
func TestURing_forbidden(t *testing.T) {
	byURing(t)
	img := fresh(t, 16<<20)
	for _, call := range []int{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER} {
		t.Setenv(envForbid, strconv.Itoa(call))
		s := start(t, img, "")
		if n := rings(t, s); n != 0 {
			t.Errorf("call %d: %d rings", call, n)
		}
		must(t, "write", os.WriteFile(s.path(strconv.Itoa(call)), []byte("content"), 0o644))
		s.stop()
	}
}

// The tests of whole mounts, by io_uring.
func TestURing_mounts(t *testing.T) {
	byURing(t)
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Traps", TestTraps},
		{"Leaks", TestLeaks},
		{"Killed", TestKilled},
		{"Ends", TestEnds},
		{"WritesTree", TestWritesTree},
		{"BigDirectory", TestBigDirectory},
		{"FullImage", TestFullImageFailsWrites},
		{"Fault", TestFault_underLoad},
		{"SetIDGoneAtOnce", TestSetIDGoneAtOnce},
	} {
		t.Run(test.name, test.run)
	}
}
