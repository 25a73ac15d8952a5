//go:build !linux

package testimages

// FillTree fills the folder dir with one of everything; Linux only.
func FillTree(dir string, o Fill) error { return errLinux }
