package mount

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the time as the kernel stamps files with it, which goes in ticks. A
// file system that is mounted should be opened with it (ext4fs.Options.Clock):
// some times of a file are the kernel's and some the server's, and must compare.
func Clock() time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts) != nil {
		return time.Now()
	}
	return time.Unix(ts.Unix())
}
