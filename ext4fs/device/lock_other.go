//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package device

import "os"

// lockImage takes no lock here.
func lockImage(*os.File, bool) (bool, error) { return false, nil }

// unlockImage has nothing to do.
func unlockImage(*os.File) {}
