//go:build !386

package mount

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// What asks the mount of its own server does not have the device open, takes it
// from nobody else, and can do all that a Go program does.
func TestWithoutFiles(t *testing.T) {
	w := newWire(t, newNullFS())
	defer unix.Close(w.fd)
	defer w.tr.close()
	if _, err := w.tr.newChannel(); err != nil {
		t.Fatal(err)
	}
	mine, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	for range 200 { // the first thread has its turn as well
		var device, other error
		done := make(chan struct{})
		go func() {
			defer close(done)
			withoutFiles(w.tr.unshare, func() {
				var st unix.Stat_t
				device = unix.Fstat(w.tr.fd, &st)
				other = unix.Fstat(int(mine.Fd()), &st)
				runtime.GC() // looks at the runtime's own descriptors
			})
		}()
		<-done
		if device != unix.EBADF || other != nil {
			t.Fatalf("the device there: %v; another file: %v", device, other)
		}
	}
	for _, fd := range []int{w.tr.fd, int(mine.Fd())} {
		if _, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
			t.Errorf("the first thread has lost a file: %v", err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Errorf("descriptor %d is not open here: %v", fd, err)
		}
	}
}
