package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// sectorSize is that of a block device, 512 if nothing tells it.
func sectorSize(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 512
	}
	defer f.Close()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil || n != 4096 {
		return 512
	}
	return n
}
