//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package device

import "os"

// flockHolder is not told by these systems.
func flockHolder(*os.File) string { return "" }

// recordLocked is only looked at on Linux, where QEMU locks its images so.
func recordLocked(*os.File, bool) (string, bool) { return "", false }
