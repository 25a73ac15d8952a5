//go:build unix

package main

import (
	"errors"
	"os"
	"syscall"
)

// syncDir waits until the names in a directory are on the disk, where its file
// system can tell.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil // it may be written to, but not read
		}
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
