//go:build !linux

package mount

import "time"

// Clock is the time for who opens a file system to mount it.
func Clock() time.Time { return time.Now() }
