//go:build !linux

package testimages

// Matrix lists the images that every reader must understand; only Linux can
// make them.
func Matrix() []Case { return nil }

func mountedWithJournal(img, journal, opts string, fn func(dir string) error) error { return errLinux }
