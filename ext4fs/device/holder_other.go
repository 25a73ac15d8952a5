//go:build !linux

package device

import "os"

// flockHolder is not told by these systems.
func flockHolder(*os.File) int { return 0 }

// recordLocked is only looked at on Linux, where QEMU locks its images so.
func recordLocked(*os.File, bool) (int, bool) { return 0, false }

// processName is not needed: nobody knows the process.
func processName(int) string { return "" }
