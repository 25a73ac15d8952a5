//go:build !linux

package testimages

func fillDemo(string) error { return errLinux }
