package device

import (
	"os"

	"golang.org/x/sys/unix"
)

// canBehind: the host tells how much room it has.
const canBehind = true

// hostHasRoom reports whether the file system of f has n bytes free, for
// anybody.
func hostHasRoom(f *os.File, n int64) bool {
	var st unix.Statfs_t
	err := control(f, "statfs", func(fd int) error { return unix.Fstatfs(fd, &st) })
	return err == nil && st.Bsize > 0 && st.Bavail >= uint64(n)/uint64(st.Bsize)
}

// startWriting has the host begin to bring a range to the disk. That it does
// matters to nobody but the clock: Sync is what counts.
func startWriting(f *os.File, off, n int64) {
	_ = control(f, "sync_file_range", func(fd int) error {
		return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}
