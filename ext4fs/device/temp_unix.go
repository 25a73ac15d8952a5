//go:build unix

package device

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// unlinkOpen takes away the name of an open temporary file, so that nothing
// is left behind however the process ends. If that fails, so will the removal
// at close, and the file stays: there is nobody to tell.
func unlinkOpen(f *os.File) { os.Remove(f.Name()) }

// closeTemp closes a file that has no name any more.
func closeTemp(f *os.File) error { return f.Close() }

// freeSpace is what an ordinary user may still write to the file system of f.
func freeSpace(f *os.File, _ string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, false
	}
	// Signed on some systems: negative when only root's reserve is left.
	blocks, size := int64(st.Bavail), int64(st.Bsize)
	if blocks <= 0 || size <= 0 {
		return 0, true
	}
	if blocks > math.MaxInt64/size {
		return math.MaxInt64, true
	}
	return blocks * size, true
}
