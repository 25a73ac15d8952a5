//go:build !386

package mount

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What asks the mount of its own server has no file open, the device above all,
// and takes none from the others.
func TestWithoutFiles(t *testing.T) {
	mine, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	if unix.CloseRange(1<<30, 1<<30, 0) != nil {
		t.Skip("the kernel has no close_range(2)")
	}
	var there error
	for range 200 { // the first thread has its turn as well
		done := make(chan struct{})
		go func() {
			defer close(done)
			withoutFiles(func() {
				var st unix.Stat_t
				there = unix.Fstat(int(mine.Fd()), &st)
			})
		}()
		<-done
		if there != unix.EBADF {
			t.Fatalf("the file there: %v", there)
		}
	}
	if _, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", mine.Fd())); err != nil {
		t.Errorf("the first thread has lost the file: %v", err)
	}
	if _, err := mine.Stat(); err != nil {
		t.Errorf("the file is not open here: %v", err)
	}
}
